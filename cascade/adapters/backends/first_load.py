"""The first load of a model file, in a process of its own: what a file can do to an engine, it does there.

An engine is a large parser and compiler in C++; a crash in it is a crash of whoever called it. So a file that this
machine has not loaded yet (by its SHA-256 and the engine's version) is first loaded and run on zeros by
`trial_load.py`, under limits of memory, processor time, file size and wall clock. What that process dies of is a
`ModelRejected` here.

A verdict that will not change is remembered in `first_loads.json`, so that a second start is fast. A crash or a timeout
is not: a busy or starved machine can cause them, and the installer keeps its own list of what failed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from cascade.adapters.backends.backend import Engine, EngineSettings
from cascade.adapters.backends.trial_load import Trial, TrialReport
from cascade.adapters.whole_file import write_whole
from cascade.errors import ModelRejected, StorageError

logger = logging.getLogger(__name__)

STATE_FILE = "first_loads.json"
MAX_REPORT_BYTES = 1 << 20
MAX_STATE_BYTES = 4 << 20
MAX_REMEMBERED = 1000
MAX_REASON = 500


class TrialLimits(NamedTuple):
    """What the process may use."""

    wait_s: float = 20.0
    memory_bytes: int = 1 << 30
    """Of address space, for engine and interpreter: onnxruntime takes 330 MiB before any model, most never touched."""
    memory_per_model_byte: int = 8
    """And so many more for each byte of the model: weights as read, copied and packed, what flows between layers."""


USUAL_LIMITS = TrialLimits()
NO_SHAPES: Mapping[str, tuple[int, ...]] = {}
NO_VALUES: Mapping[str, float] = {}


class FirstLoads:
    """The verdicts of this machine, kept in `folder`; without one that can be written, for this process only."""

    def __init__(self, folder: Path | None, limits: TrialLimits = USUAL_LIMITS) -> None:
        self._path = folder / STATE_FILE if folder else None
        self._limits = limits
        self._verdicts = _read_verdicts(self._path) if self._path else {}

    def check(
        self,
        engine: Engine,
        files: Sequence[Path],
        settings: EngineSettings,
        shapes: Mapping[str, tuple[int, ...]] = NO_SHAPES,
        values: Mapping[str, float] = NO_VALUES,
    ) -> None:
        """`ModelRejected` unless the model loads and runs in a process of its own. `files` is what `Engine.inspect`
        listed; `shapes` are those of one sample by input, for models that leave them open ("" is the only input);
        `values` stand in inputs that must not be zeros."""
        trial = self._trial(engine, files, settings, shapes, values)
        key = (
            f"{_digest(files)} {engine.name} {engine.version()} {trial.memory_bytes >> 20} MiB {sorted(shapes.items())}"
            f"{sorted(values.items()) or ''}"
        )
        if key not in self._verdicts:
            self._verdicts[key] = run_trial(trial, self._limits.wait_s).error[:MAX_REASON]
            self._remember()
        if self._verdicts[key]:
            raise ModelRejected(f"{files[0].name}: {self._verdicts[key]}")

    def _trial(
        self,
        engine: Engine,
        files: Sequence[Path],
        settings: EngineSettings,
        shapes: Mapping[str, tuple[int, ...]],
        values: Mapping[str, float],
    ) -> Trial:
        model_bytes = sum(file.stat().st_size for file in files)
        return Trial(
            engine=engine.name,
            path=str(files[0].resolve()),
            threads=settings.threads,
            max_model_bytes=settings.max_model_bytes,
            low_memory=settings.low_memory,
            memory_bytes=self._limits.memory_bytes + self._limits.memory_per_model_byte * model_bytes,
            cpu_s=int(self._limits.wait_s) * settings.threads + 1,
            shapes=dict(shapes),
            values=dict(values),
        )

    def _remember(self) -> None:
        while len(self._verdicts) > MAX_REMEMBERED:
            del self._verdicts[next(iter(self._verdicts))]
        if self._path is None:
            return
        try:
            write_whole(self._path, msgspec.json.encode(self._verdicts))
        except StorageError as error:
            logger.warning("verdicts on models are not kept, the next start checks them again: %s", error)


def run_trial(trial: Trial, wait_s: float) -> TrialReport:
    """Run one trial; `ModelRejected` if its process dies, hangs, or reports nothing that can be read."""
    name = Path(trial.path).name
    with subprocess.Popen(
        [sys.executable, "-m", "cascade.adapters.backends.trial_load", msgspec.json.encode(trial).decode()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        close_fds=True,
        start_new_session=True,
        env=_environment(),
    ) as process:
        try:
            raw = _output(process, time.monotonic() + wait_s)
            if raw is None:
                raise ModelRejected(f"{name}: its first load took longer than {wait_s:g} s")
        finally:
            _end(process)
    if process.returncode:
        raise ModelRejected(f"{name}: its first load {_death(process.returncode)}")
    try:
        return msgspec.json.decode(raw, type=TrialReport)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelRejected(f"{name}: its first load reported nothing that can be read") from error


def _environment() -> dict[str, str]:
    """Where the interpreter and its modules are, and nothing else: the trial needs no passwords of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), "OMP_NUM_THREADS": "1"}


def _output(process: subprocess.Popen[bytes], until: float) -> bytes | None:
    """What it writes until it ends; None if it doesn't in time, or writes more than any report."""
    assert process.stdout is not None
    descriptor, parts, size = process.stdout.fileno(), list[bytes](), 0
    readable = select.poll()
    readable.register(descriptor, select.POLLIN)
    while (left_s := until - time.monotonic()) > 0 and size <= MAX_REPORT_BYTES:
        if not readable.poll(left_s * 1000.0):
            return None
        part = os.read(descriptor, 65536)
        if not part:
            return b"".join(parts) if _ended(process, until) else None
        parts.append(part)
        size += len(part)
    return None


def _ended(process: subprocess.Popen[bytes], until: float) -> bool:
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it may have started, which may outlive it: it leads its own session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _death(code: int) -> str:
    if code == -signal.SIGXCPU:
        return "used up its processor time"
    return f"died with signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with status {code}"


def _digest(files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _read_verdicts(path: Path) -> dict[str, str]:
    """What was remembered; nothing, where the file is torn, too large or not there: then models are checked again."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_STATE_BYTES + 1)
        return msgspec.json.decode(raw, type=dict[str, str]) if len(raw) <= MAX_STATE_BYTES else {}
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        logger.warning("%s can't be read, models are checked again: %s", path, error)
        return {}
