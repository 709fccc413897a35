"""Samples from files."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.errors import MissingDependency, SettingsError
from edge_agent.sensors import SENSORS, make_sensor
from edge_agent.sensors.recordings import open_recording, read_image, samples_in
from edge_agent.sensors.sensor import Sample
from edge_agent.sensors.sensor_settings import CommandTable, ReplayTable


async def replayed(path: Path, **more: Any) -> list[Sample]:
    taken: list[Sample] = []

    async def emit(sample: Sample) -> None:
        taken.append(sample)

    sensor = make_sensor("cam", ReplayTable(path=path, **more))
    await sensor.start(emit)
    await sensor.ended()
    await sensor.stop()
    return taken


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez(tmp_path / "a.npz", image=np.arange(12).reshape(3, 2, 2), labels=np.array(["a", "b", "c"]))
    return tmp_path / "a.npz"


def test_every_kind_of_sensor_is_in_the_table() -> None:
    assert {ReplayTable.__struct_config__.tag, CommandTable.__struct_config__.tag} == set(SENSORS)


async def test_an_npz_gives_a_sample_per_row(npz: Path) -> None:
    taken = await replayed(npz)
    assert [(sample.tensors["image"].tolist(), sample.label) for sample in taken] == [
        ([[0, 1], [2, 3]], "a"),
        ([[4, 5], [6, 7]], "b"),
        ([[8, 9], [10, 11]], "c"),
    ]
    assert taken[1].reference == "a.npz[1]"


async def test_which_arrays_are_tensors_is_a_setting(npz: Path) -> None:
    taken = await replayed(npz, tensors=("labels",), labels="image")
    assert list(taken[0].tensors) == ["labels"]


async def test_it_begins_again_until_the_limit(npz: Path) -> None:
    assert [sample.label for sample in await replayed(npz, repeat=True, limit=5)] == ["a", "b", "c", "a", "b"]
    assert len(await replayed(npz, limit=2)) == 2


async def test_it_keeps_its_rate(npz: Path) -> None:
    begun = asyncio.get_running_loop().time()
    await replayed(npz, rate_hz=50, repeat=True, limit=6)
    assert asyncio.get_running_loop().time() - begun >= 0.09


async def test_it_waits_while_the_agent_has_no_room(npz: Path) -> None:
    room, taken = asyncio.Semaphore(2), []

    async def emit(sample: Sample) -> None:
        await room.acquire()
        taken.append(sample.label)

    sensor = make_sensor("cam", ReplayTable(path=npz))
    await sensor.start(emit)
    for _ in range(20):
        await asyncio.sleep(0)
    assert taken == ["a", "b"]
    room.release()
    await sensor.ended()
    assert taken == ["a", "b", "c"]


async def test_a_sensor_can_be_stopped_and_started_again(npz: Path) -> None:
    never, taken = asyncio.Event(), []

    async def stuck(sample: Sample) -> None:
        await never.wait()

    async def emit(sample: Sample) -> None:
        taken.append(sample.label)

    sensor = make_sensor("cam", ReplayTable(path=npz))
    await sensor.start(stuck)
    await sensor.stop()
    await sensor.start(emit)
    await sensor.ended()
    assert taken == ["a", "b", "c"]


async def test_what_the_agent_raises_is_told_to_who_waits_for_the_end(npz: Path) -> None:
    async def emit(sample: Sample) -> None:
        raise ZeroDivisionError

    sensor = make_sensor("cam", ReplayTable(path=npz))
    await sensor.start(emit)
    with pytest.raises(ZeroDivisionError):
        await sensor.ended()
    await sensor.stop()


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.array([object()], dtype=object))
    with pytest.raises(SettingsError):
        open_recording(ReplayTable(path=tmp_path / "a.npz"))


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", b"rubbish" * 100])
@pytest.mark.parametrize("name", ["a.npz", "a.wav", "a.mp3"])
def test_rubbish_is_a_mistake_in_the_settings(raw: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(SettingsError, match="a\\."):
        open_recording(ReplayTable(path=tmp_path / name))


def test_arrays_of_different_lengths_are_a_mistake(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((3, 2)), labels=np.zeros(2))
    with pytest.raises(SettingsError, match=r"\[2, 3\] samples"):
        open_recording(ReplayTable(path=tmp_path / "a.npz"))


@pytest.mark.parametrize(("width", "dtype"), [(1, "uint8"), (2, "int16"), (4, "int32")])
async def test_sound_is_cut_into_windows(width: int, dtype: str, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(16_000)
        file.writeframes(np.arange(10, dtype=dtype).tobytes())
    taken = await replayed(tmp_path / "a.wav", window=4, step=3, tensor="sound")
    assert [sample.tensors["sound"].tolist() for sample in taken] == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert taken[0].tensors["sound"].dtype == dtype


async def test_sound_in_stereo_has_an_axis_for_its_channels(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.arange(8, dtype="<i2").tobytes())
    (sample,) = await replayed(tmp_path / "a.wav", window=3, step=3)
    assert sample.tensors["input"].tolist() == [[0, 1], [2, 3], [4, 5]]


async def test_a_folder_of_images_is_replayed_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "2.pgm").write_bytes(b"P5\n# a comment\n3 2 255\n" + bytes(range(6)))
    (tmp_path / "1.ppm").write_bytes(b"P6 1 2 255\n" + bytes(range(6)))
    (tmp_path / "notes.txt").write_text("not an image")
    one, two = await replayed(tmp_path)
    assert (one.tensors["input"].tolist(), one.label) == ([[[0, 1, 2]], [[3, 4, 5]]], "")
    assert (two.tensors["input"].tolist(), two.label) == ([[0, 1, 2], [3, 4, 5]], "cat")
    assert two.reference == "cat/2.pgm"


@pytest.mark.parametrize("ending", ["png", "jpg"])
async def test_other_images_are_read_with_pillow(tmp_path: Path, ending: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(np.full((4, 6, 3), 128, np.uint8)).save(tmp_path / f"1.{ending}")
    (sample,) = await replayed(tmp_path)
    assert sample.tensors["input"].shape == (4, 6, 3)
    assert abs(sample.tensors["input"].astype(int) - 128).max() <= 2


def test_sixteen_bits_of_an_image_are_big_endian(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n\x01\x00\x00\x02")
    assert read_image(tmp_path / "a.pgm").tolist() == [[256, 2]]


@pytest.mark.parametrize(
    "raw", [b"", b"P5 2 2 255\n123", b"P2 1 1 255\n1", b"P6 9999999 9999999 255\nx", b"P5 0 0 255\n"]
)
def test_a_broken_image_is_a_mistake(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(raw)
    with pytest.raises(SettingsError, match="no image"):
        read_image(tmp_path / "a.pgm")


def test_png_without_pillow_says_what_to_install(tmp_path: Path) -> None:
    try:
        import PIL  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        (tmp_path / "a.png").write_bytes(b"\x89PNG")
        with pytest.raises(MissingDependency, match="pillow"):
            open_recording(ReplayTable(path=tmp_path))
    else:
        pytest.skip("Pillow is installed here")


def test_a_program_reads_the_same_samples_as_the_sensor(npz: Path) -> None:
    assert [sample.label for sample in samples_in(npz)] == ["a", "b", "c"]
    (tmp := npz.parent / "cat").mkdir()
    (tmp / "1.pgm").write_bytes(b"P5 2 1 255\n\x01\x02")
    (sample,) = samples_in(str(npz.parent))
    assert (sample.label, sample.tensors["input"].tolist()) == ("cat", [[1, 2]])


def test_a_program_may_say_how_a_recording_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 3)), other=np.zeros((2, 1)))
    table = ReplayTable(path=tmp_path, tensors=("image",))
    assert [set(sample.tensors) for sample in samples_in(tmp_path / "a.npz", table)] == [{"image"}] * 2
