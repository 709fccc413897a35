"""The process that loads a model for the first time: limits first, then the engine. Started by `first_load.py`.

It inherits no open files, sees no secrets in its environment, may write no files, and dies with its parent. That
contains accidents and crude attacks and is no sandbox: what keeps hostile code out is the signature on the bundle.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from cascade.adapters.backends import engine
from cascade.adapters.backends.backend import Array, EngineSettings, Model, TensorSpec
from cascade.errors import BundleRejected

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_NICER = 5
_SEVERAL = 8
"""As many as LiteRT runs together."""
_QUICK_S = 0.25
"""A model that takes longer for one is tried on two: eight could take all the time that there is."""


class Trial(msgspec.Struct, frozen=True):
    """What is to be tried."""

    engine: str
    path: str
    threads: int
    max_model_bytes: int
    low_memory: bool
    memory_bytes: int
    cpu_s: int
    shapes: dict[str, tuple[int, ...]] = {}
    values: dict[str, float] = {}


class TrialReport(msgspec.Struct, frozen=True):
    """What came of it: what the model takes and gives, or why it can't be used."""

    error: str = ""
    inputs: list[str] = []
    outputs: list[str] = []


def limit_this_process(trial: Trial) -> None:
    _first_to_go()
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 128),
        (resource.RLIMIT_AS, trial.memory_bytes),
    ):
        hard = resource.getrlimit(kind)[1]
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lower, lower))
    resource.setrlimit(resource.RLIMIT_CPU, _processor_time(trial.cpu_s))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.nice(_NICER)


def _processor_time(limit_s: int) -> tuple[int, int]:
    """The end a second later: at the first limit the signal says what it was."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    return (limit_s, limit_s + 1) if hard == resource.RLIM_INFINITY else (min(limit_s, hard), min(limit_s + 1, hard))


def _first_to_go() -> None:
    """Where memory runs out, the kernel takes this process before any other."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def try_model(trial: Trial) -> TrialReport:
    """Load and run it. On the CPU, whatever the settings say: drivers of accelerators reserve more address space than
    a limit could allow."""
    settings = EngineSettings(threads=trial.threads, max_model_bytes=trial.max_model_bytes, low_memory=trial.low_memory)
    try:
        model = engine(trial.engine).load(Path(trial.path), settings)
        run_on_zeros(model, trial.shapes, trial.values)
    except BundleRejected as error:
        return TrialReport(error=str(error))
    except MemoryError:
        return TrialReport(error=f"its first load wanted more than {trial.memory_bytes} bytes of memory")
    except Exception as error:  # noqa: BLE001  # whatever an engine raises on a bad model is the verdict on the model
        return TrialReport(error=f"its first run failed: {type(error).__name__}: {str(error)[:300]}")
    return TrialReport(inputs=[str(spec) for spec in model.inputs], outputs=[str(spec) for spec in model.outputs])


def run_on_zeros(model: Model, shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, float]) -> None:
    """Zeros but for `values`. One sample, then several: an engine may do otherwise with these. A model that leaves
    sizes open which nobody names is loaded, and not run."""
    specs = [_filled(spec, shapes.get(spec.name, shapes.get(""))) for spec in model.inputs]
    if any(size is None for spec in specs for size in spec.shape[1:]):
        return
    started_s = time.perf_counter()
    model.run(_zeros(specs, 1, values))
    if all(spec.shape[:1] == (None,) for spec in specs):
        model.run(_zeros(specs, _SEVERAL if time.perf_counter() - started_s < _QUICK_S else 2, values))


def _zeros(specs: Sequence[TensorSpec], samples: int, values: Mapping[str, float]) -> dict[str, Array]:
    return {
        spec.name: np.full([size or samples for size in spec.shape], values.get(spec.name, 0.0), spec.dtype)
        for spec in specs
    }


def _filled(spec: TensorSpec, sample: tuple[int, ...] | None) -> TensorSpec:
    """With the shape of one sample in place of sizes that the model leaves open."""
    if sample is None or len(sample) != len(spec.shape) - 1:
        return spec
    sizes = (given if size is None else size for size, given in zip(spec.shape[1:], sample, strict=True))
    return spec._replace(shape=(*spec.shape[:1], *sizes))


def main() -> None:
    trial = msgspec.json.decode(sys.argv[1], type=Trial)
    report_to = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    limit_this_process(trial)
    os.write(report_to, msgspec.json.encode(try_model(trial)))
    os._exit(0)


if __name__ == "__main__":
    main()
