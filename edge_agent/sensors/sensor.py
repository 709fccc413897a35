"""What a sensor owes: samples, one after the other, no faster than they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


class Sample(NamedTuple):
    """One moment of one stream, without a batch axis."""

    tensors: Mapping[str, Array]
    """The arrays may be views of one buffer, and are not changed by whoever takes them."""
    label: str = ""
    """What it is, where somebody knows: for measuring, never for answering."""
    reference: str = ""
    """Where it comes from: a file's name, an index."""


Emit: TypeAlias = Callable[[Sample], Awaitable[None]]
"""Takes a sample. To await it is the back-pressure: it returns when the agent has room for the next one.

A sensor that can wait (a file, a program behind a pipe) waits, and nothing is lost. One that can't (a bus that goes on)
starts no second `emit` beside the first, drops what comes meanwhile, and counts it.
"""


class Sensor(Protocol):
    """A source of samples. Lives on the agent's loop, and never blocks it for longer than a few milliseconds."""

    name: str

    async def start(self, emit: Emit) -> None:
        """Begin; returns when samples may come. `SettingsError` or `MissingDependency` for what can never work.

        After `stop` it may be started again: a cheap sensor can switch an expensive one on and off.
        """

    async def ended(self) -> None:
        """Returns when there is nothing more to come, which may be never. Raises what broke the sensor for good."""

    async def stop(self) -> None:
        """Returns when everything is closed, and no `emit` will be called any more."""


class Running:
    """The one task of a sensor: started, awaited, stopped."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._task is not None and not self._task.done():
            work.close()
            raise RuntimeError(f"{name} was started twice")
        self._task = asyncio.create_task(work, name=name)

    async def ended(self) -> None:
        """Waits without owning: who gives up waiting does not stop the sensor."""
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def stop(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # looked at: whoever cares has asked `ended`
        self._task = None


def shaped(raw: bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    """Little-endian bytes as an array; `ValueError` where they don't fit."""
    if dtype == "bool":
        return np.not_equal(np.frombuffer(raw, np.uint8), 0).reshape(shape)
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(shape)
