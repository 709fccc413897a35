"""Samples from a program's standard output."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.sensors import make_sensor
from edge_agent.sensors.command import CommandSensor
from edge_agent.sensors.sensor import Sample
from edge_agent.sensors.sensor_settings import CommandTable

pytestmark = pytest.mark.needs_services


class Taken:
    """Takes samples until the test says that there is no room."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.room = asyncio.Event()
        self.room.set()

    async def __call__(self, sample: Sample) -> None:
        await self.room.wait()
        self.samples.append(sample)

    @property
    def values(self) -> list[Any]:
        return [sample.tensors["input"].tolist() for sample in self.samples]


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    sensors: list[Any] = []

    async def begin(program: str, taken: Taken, **more: Any) -> CommandSensor:
        settings = {"shape": (2,), "restart_s": 0.02, "restart_most_s": 0.1, "stop_within_s": 0.3} | more
        sensor = make_sensor("cam", CommandTable(argv=(sys.executable, "-c", program), **settings))
        sensors.append(sensor)
        await sensor.start(taken)
        assert isinstance(sensor, CommandSensor)
        return sensor

    yield begin
    for sensor in sensors:
        await sensor.stop()


WRITES = "import sys, time; w = sys.stdout.buffer; w.write({!r}); w.flush(); time.sleep(60)"


async def test_frames_of_fixed_size_become_samples(start: Start) -> None:
    taken = Taken()
    await start(WRITES.format(b"\x01\x00\x02\x00\x03\x00\x04\x00"), taken, dtype="int16")
    await until(lambda: len(taken.samples) == 2)
    assert taken.values == [[1, 2], [3, 4]]


async def test_frames_that_announce_their_length_become_samples(start: Start) -> None:
    taken = Taken()
    await start(WRITES.format(b"\x01\0\0\0a\x03\0\0\0bcd"), taken, framing="length", shape=())
    await until(lambda: len(taken.samples) == 2)
    assert taken.values == [[97], [98, 99, 100]]


async def test_a_frame_larger_than_a_pipe_is_read(start: Start) -> None:
    taken = Taken()
    await start("import sys; sys.stdout.buffer.write(bytes(3_000_000) * 2)", taken, shape=(3, 1000, 1000))
    await until(lambda: len(taken.samples) >= 2)
    assert taken.samples[0].tensors["input"].shape == (3, 1000, 1000)


@pytest.mark.parametrize("raw", [b"\xff\xff\xff\x7f", b"\x00\0\0\0", b"\x03\0\0\0abc"])
async def test_a_program_that_announces_nonsense_is_stopped_and_started_again(start: Start, raw: bytes) -> None:
    sensor = await start(WRITES.format(raw), Taken(), framing="length", dtype="int16", shape=())
    await until(lambda: sensor.restarts >= 2)


async def test_a_program_that_ends_is_started_again(start: Start) -> None:
    taken = Taken()
    sensor = await start("import sys; sys.stdout.buffer.write(b'abc')", taken)
    await until(lambda: len(taken.samples) >= 3)
    assert taken.values[0] == [97, 98]
    assert sensor.restarts >= 2


async def test_a_program_that_is_not_there_is_tried_again(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    sensor = CommandSensor("cam", CommandTable(argv=(str(tmp_path / "none"),), shape=(1,), restart_s=0.01))
    await sensor.start(Taken())
    await until(lambda: sensor.restarts >= 2)
    await sensor.stop()
    assert "can't be started: No such file" in caplog.text


async def test_a_program_that_floods_is_held_back(start: Start, tmp_path: Path) -> None:
    taken, counted = Taken(), tmp_path / "count"
    taken.room.clear()
    await start(
        f"import os\nn = 0\nwhile True:\n n += os.write(1, bytes(4096))\n open({str(counted)!r}, 'w').write(str(n))",
        taken,
        shape=(4096,),
    )
    written = -1
    while True:
        await asyncio.sleep(0.2)
        now = int((counted.read_text() if counted.exists() else "") or 0)
        if now and now == written:
            break
        written = now
    assert written < 1_000_000
    taken.room.set()
    await until(lambda: len(taken.samples) > 500)


async def test_stopping_ends_the_program_and_what_it_started(start: Start, tmp_path: Path) -> None:
    taken = Taken()
    program = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)'])\n"
        "sys.stdout.buffer.write(os.getpid().to_bytes(4, 'little') + child.pid.to_bytes(4, 'little'))\n"
        "sys.stdout.flush()\ntime.sleep(60)"
    )
    sensor = await start(program, taken, dtype="uint32")
    await until(lambda: taken.samples)
    await sensor.stop()
    await until(lambda: not any(_lives(pid) for pid in taken.values[0]))


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_stopping_while_the_agent_has_no_room_returns(start: Start) -> None:
    taken = Taken()
    taken.room.clear()
    sensor = await start("import os\nwhile True: os.write(1, bytes(4096))", taken)
    await until(lambda: sensor.frames)
    async with asyncio.timeout(5):
        await sensor.stop()
    assert taken.samples == []


async def test_standard_error_goes_to_the_log_within_bounds(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    taken = Taken()
    await start("import os\nfor n in range(20000): os.write(2, b'no light %d\\n' % n)\nos.write(1, b'ab')", taken)
    await until(lambda: taken.samples)
    assert "no light 0" in caplog.text
    assert len([record for record in caplog.records if "no light" in record.message]) < 100


async def test_no_descriptor_is_left_behind(start: Start) -> None:
    taken = Taken()
    sensor = await start("import sys; sys.stdout.buffer.write(b'ab')", taken)
    await until(lambda: sensor.restarts >= 2)
    before = len(os.listdir("/proc/self/fd"))
    await until(lambda: sensor.restarts >= 8)
    await sensor.stop()
    assert len(os.listdir("/proc/self/fd")) <= before
