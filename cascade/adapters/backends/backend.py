"""What an engine owes: load a model file with care, and run it on batches of numpy arrays.

Quantised models take and give real numbers here: scale and zero point are read from the model's own description,
and applied inside. An array goes in with the batch as its first axis, whatever batch the model was converted with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class TensorSpec(NamedTuple):
    """An input or output of a model. The first axis is the batch; None where any size goes.

    Without any axis it is one number for the whole batch (a sample rate, say), and is handed on as it is.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


class EngineSettings(NamedTuple):
    """How an engine runs. What isn't there falls back to the CPU, with a word in the log."""

    threads: int = 1
    providers: tuple[str, ...] = ()
    """onnxruntime: providers, the preferred one first: `("TensorrtExecutionProvider", "CUDAExecutionProvider")`."""
    delegates: tuple[str, ...] = ()
    """tflite: shared libraries of delegates, as `("libedgetpu.so.1",)`."""
    max_model_bytes: int = 512 * 1024 * 1024
    low_memory: bool = False
    """onnxruntime: no arena and no second, packed copy of the weights. Slower, and the weights count once."""


class Model(Protocol):
    """A loaded model. Not thread-safe: one caller at a time. What `run` returns is the caller's to keep."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Raises `BadInput` where shapes or types don't fit; anything else that it raises is the model's failure."""

    def close(self) -> None:
        """Free what the model holds. It can't run any more; closing twice is harmless."""


class Engine(Protocol):
    """One kind of model file, and what runs it."""

    name: str

    def missing(self) -> str | None:
        """Why this engine can't run here (which extra to install), or None if it can."""

    def version(self) -> str:
        """Of the runtime: a model that one version loaded well may still kill the next."""

    def inspect(self, path: Path, settings: EngineSettings) -> tuple[Path, ...]:
        """Look at the file without running it: `ModelRejected` for what is not a model, too large, has an operator that
        is not allowed, or refers to files outside its folder. Returns the files it consists of, this one first."""

    def load(self, path: Path, settings: EngineSettings) -> Model:
        """Load what `inspect` let pass. `ModelRejected` where the engine doesn't take it."""
