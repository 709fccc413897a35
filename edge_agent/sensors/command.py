"""Samples from any program's standard output: a camera's capture tool, `arecord`, a script of your own.

The program is started without a shell, in a process group of its own, and is held back by not being read: its pipe
fills, and it waits. When it ends it is started again, after a wait that doubles until it gives a frame. What it says on
standard error goes to the log, within bounds. If the agent is killed, the program ends at its next write to the pipe.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cascade.errors import PeerError
from cascade.messages import DTYPES
from edge_agent.sensors.sensor import Emit, Running, Sample, shaped
from edge_agent.sensors.sensor_settings import CommandTable

log = logging.getLogger(__name__)
LOG_LINES_PER_S = 5
LOG_LINE_CHARACTERS = 200


class CommandSensor:
    """`restarts` and `frames` are for whoever watches it."""

    def __init__(self, name: str, settings: CommandTable) -> None:
        self.name = name
        self.frames = 0
        self.restarts = 0
        self._settings = settings
        self._running = Running()

    async def start(self, emit: Emit) -> None:
        self._running.start(self._keep_running(emit), f"sensor {self.name}")

    async def ended(self) -> None:
        """Never: a program that ends is started again."""
        await self._running.ended()

    async def stop(self) -> None:
        await self._running.stop()

    async def _keep_running(self, emit: Emit) -> None:
        wait_s = self._settings.restart_s
        while True:
            frames_before = self.frames
            try:
                why = await self._run_once(emit)
            except OSError as error:
                why = f"can't be started: {error.strerror or error}"
            except PeerError as error:
                why = f"was stopped: {error}"
            if self.frames > frames_before:
                wait_s = self._settings.restart_s
            log.warning("sensor %s: %s %s; again in %g s", self.name, self._settings.argv[0], why, wait_s)
            await asyncio.sleep(wait_s)
            self.restarts += 1
            wait_s = min(2.0 * wait_s, self._settings.restart_most_s)

    async def _run_once(self, emit: Emit) -> str:
        async with _pipe() as (frames, frames_in), _pipe() as (words, words_in):
            # Nothing is awaited between its start and the `try` that ends it: being stopped can't leave it behind.
            process = self._started(frames_in, words_in)
            listening = asyncio.create_task(self._listen(words))
            try:
                await self._read_frames(frames, emit)
            finally:
                await self._end(process)
                listening.cancel()
                await asyncio.wait([listening])
        return f"ended ({process.returncode})"

    def _started(self, frames_in: int, words_in: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._settings.argv,
                stdin=subprocess.DEVNULL,
                stdout=frames_in,
                stderr=words_in,
                start_new_session=True,
            )
        finally:
            os.close(frames_in)
            os.close(words_in)

    async def _read_frames(self, pipe: asyncio.StreamReader, emit: Emit) -> None:
        settings = self._settings
        frame_bytes = math.prod(settings.shape) * DTYPES[settings.dtype]
        try:
            while True:
                size = frame_bytes if settings.framing == "fixed" else await self._announced(pipe)
                raw = await pipe.readexactly(size)
                shape = settings.shape or (size // DTYPES[settings.dtype],)
                self.frames += 1
                sample = Sample({settings.tensor: shaped(raw, settings.dtype, shape)}, "", f"frame {self.frames}")
                await emit(sample)
        except asyncio.IncompleteReadError:
            return  # The program ended; half a frame is none.

    async def _announced(self, pipe: asyncio.StreamReader) -> int:
        settings = self._settings
        size = int.from_bytes(await pipe.readexactly(4), "little")
        element_bytes = DTYPES[settings.dtype]
        if size > settings.max_frame_bytes:
            raise PeerError("too_large", f"a frame of {size} bytes, more than {settings.max_frame_bytes}")
        if size == 0 or size % element_bytes or (settings.shape and size != math.prod(settings.shape) * element_bytes):
            raise PeerError(
                "bad_frame", f"a frame of {size} bytes, which is no {settings.dtype} {settings.shape or ''}"
            )
        return size

    async def _end(self, process: subprocess.Popen[bytes]) -> None:
        """First asked, then made: the whole group, since what it started may hold the pipes and the device."""
        _signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, self._settings.stop_within_s)
        except subprocess.TimeoutExpired:
            log.warning("sensor %s: %s did not end when asked", self.name, self._settings.argv[0])
        _signal_group(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)

    async def _listen(self, pipe: asyncio.StreamReader) -> None:
        """Reads on when it logs no more: a full pipe would stop the program."""
        clock = asyncio.get_running_loop().time
        second, lines, silenced = 0.0, 0, 0
        while data := await pipe.read(4096):
            for line in data.splitlines():
                if clock() - second >= 1.0:
                    if silenced:
                        log.info("sensor %s: %d more lines on its standard error", self.name, silenced)
                    second, lines, silenced = clock(), 0, 0
                lines += 1
                if lines > LOG_LINES_PER_S:
                    silenced += 1
                else:
                    log.info("sensor %s: %s", self.name, line[:LOG_LINE_CHARACTERS].decode(errors="replace"))


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """A pipe that we close. asyncio's own stay open for as long as they are not read to their end."""
    out, into = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(out, "rb", 0)
    )
    try:
        yield reader, into
    finally:
        transport.close()


def _signal_group(pid: int, signal_number: signal.Signals) -> None:
    try:
        os.killpg(pid, signal_number)
    except ProcessLookupError:
        return  # Everybody in it has ended.
    except PermissionError as error:
        log.warning("process group %d: %s", pid, error)
