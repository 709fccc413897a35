"""The engine for .tflite files: ai-edge-litert, or tflite-runtime where that is what a board has.

A .tflite file has one batch size at a time, and changing it allocates everything anew. So a model is held for single
samples, and from the first larger batch on once more for `BATCH` of them, if it then still says the same of each.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cascade.adapters.backends.backend import Array, EngineSettings, TensorSpec
from cascade.adapters.backends.fitting import batch_of, fitted
from cascade.adapters.backends.flatbuffer import Malformed
from cascade.adapters.backends.model_file import mapped
from cascade.adapters.backends.quantisation import Quantisation
from cascade.adapters.backends.tflite_outline import ALLOWED_CUSTOM, TfliteOutline
from cascade.errors import MissingDependency, ModelRejected, how_to_install

logger = logging.getLogger(__name__)

BATCH = 8
"""Beyond this a batch gains nothing: XNNPACK's time per sample is flat, and memory grows with the batch."""
WORTH_BATCHING_S = 0.002
"""What a batch saves is the call, some 50 µs a sample; a ResNet of 0.3 ms gains 5 %. Where one sample takes longer than
this, trying out a batch would cost more time at once than it ever saves."""

_RUNTIMES = (("ai_edge_litert.interpreter", "ai-edge-litert"), ("tflite_runtime.interpreter", "tflite-runtime"))
_SMALLEST_MODEL = bytes.fromhex(
    "1800000054464c3300000e00140010000c000800000004000e000000100000001c000000840000000300000001000000080000000400040004"
    "00000001000000100000000c00140010000c00080004000c000000100000001000000014000000180000000000000001000000000000000100"
    "00000000000001000000100000000c000c0008000000000004000c000000080000000c00000001000000780000000100000001000000000000"
    "00"
)
"""One tensor that is input and output, no operators. An Interpreter of tflite-runtime is only known to work once built:
with numpy 2 it imports, and then fails."""


class TfliteEngine:
    """LiteRT, formerly TensorFlow Lite."""

    name = "tflite"

    def missing(self) -> str | None:
        runtime, reasons = _runtime()
        return None if runtime else f"{reasons}; {how_to_install('edge-tflite')}"

    def version(self) -> str:
        runtime, _ = _runtime()
        return f"{runtime.package} {metadata.version(runtime.package)}" if runtime else "none"

    def inspect(self, path: Path, settings: EngineSettings) -> tuple[Path, ...]:
        with mapped(path, settings.max_model_bytes) as model:
            try:
                outline = TfliteOutline(model)
            except Malformed as error:
                raise ModelRejected(f"{path.name}: not a readable .tflite model: {error}") from error
        for name in sorted(outline.custom):
            if name not in ALLOWED_CUSTOM:
                raise ModelRejected(f"{path.name}: custom operator {name!r} is not allowed")
        if outline.largest_tensor_bytes > settings.max_model_bytes:
            raise ModelRejected(f"{path.name}: declares a tensor of {outline.largest_tensor_bytes} bytes")
        return (path,)

    def load(self, path: Path, settings: EngineSettings) -> TfliteModel:
        runtime, reasons = _runtime()
        if runtime is None:
            raise MissingDependency(reasons)
        build = _builder(runtime, path, settings)
        try:
            return TfliteModel(build, path.name)
        except (ValueError, RuntimeError) as error:
            raise ModelRejected(f"{path.name}: {runtime.package} does not load it: {error}") from error


class _Runtime(NamedTuple):
    package: str
    module: Any


@cache
def _runtime() -> tuple[_Runtime | None, str]:
    """The first runtime in which an Interpreter can be built, or why there is none."""
    reasons = []
    for module_name, package in _RUNTIMES:
        try:
            module = import_module(module_name)
            module.Interpreter(model_content=_SMALLEST_MODEL).allocate_tensors()
            return _Runtime(package, module), ""
        except ImportError:
            reasons.append(f"{package} is not installed")
        except Exception as error:  # noqa: BLE001  # a runtime built for another numpy fails in ways of its own
            reasons.append(f"{package} does not work here ({error})")
    return None, ", ".join(reasons)


def _builder(runtime: _Runtime, path: Path, settings: EngineSettings) -> Callable[[], Any]:
    """What builds an Interpreter: with the delegates that load, or plainly where they don't take the model."""
    delegates = [delegate for name in settings.delegates if (delegate := _delegate(runtime, name, path.name))]

    def plain() -> Any:
        return runtime.module.Interpreter(model_path=str(path), num_threads=settings.threads)

    def build() -> Any:
        if not delegates:
            return plain()
        try:
            return runtime.module.Interpreter(
                model_path=str(path), num_threads=settings.threads, experimental_delegates=delegates
            )
        except (ValueError, RuntimeError) as error:
            logger.warning("%s: no delegate takes it, so it runs on the CPU: %s", path.name, error)
            return plain()

    return build


def _delegate(runtime: _Runtime, library: str, where: str) -> Any:
    try:
        return runtime.module.load_delegate(library)
    except (ValueError, OSError, AttributeError) as error:  # AttributeError: a library, and no delegate
        logger.warning("%s: delegate %s can't be loaded, so it runs on the CPU: %s", where, library, error)
        return None


class _Port(NamedTuple):
    """An input or output, as the interpreter knows it."""

    tensor: int
    spec: TensorSpec
    quantisation: Quantisation | None


class TfliteModel:
    """An interpreter for single samples, and perhaps one for batches."""

    def __init__(self, build: Callable[[], Any], where: str) -> None:
        self._build, self._where = build, where
        self._single = _Interpreter(build())
        self._batched: _Interpreter | None = None
        self._batches_fail = not self._single.one_sample
        self.inputs = self._single.specs(self._single.inputs)
        self.outputs = self._single.specs(self._single.outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        arrays = fitted(self.inputs, inputs)
        if not self._single.one_sample:
            return self._single.run(arrays)
        samples = batch_of(self.inputs, arrays)
        if samples == 1:
            return self._single.run(arrays)
        parts, first = [], 0
        while first < samples:
            interpreter, count = self._for_batch(samples - first)
            parts.append(interpreter.run({name: array[first : first + count] for name, array in arrays.items()}))
            first += count
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _for_batch(self, samples: int) -> tuple[_Interpreter, int]:
        if samples >= BATCH and not self._batches_fail and self._batched is None:
            self._batched = self._try_batches()
            self._batches_fail = self._batched is None
        return (self._batched, BATCH) if self._batched and samples >= BATCH else (self._single, 1)

    def _try_batches(self) -> _Interpreter | None:
        """An interpreter for `BATCH` samples, if it takes them and answers each as it answers it alone."""
        try:
            probe = {port.spec.name: _probe(port) for port in self._single.inputs}
            started_s = time.perf_counter()
            singles = [self._single.run({k: v[:1] for k, v in probe.items()})]
            if time.perf_counter() - started_s > WORTH_BATCHING_S:
                return None
            singles += [self._single.run({k: v[i : i + 1] for k, v in probe.items()}) for i in range(1, BATCH)]
            batched = _Interpreter(self._build(), BATCH)
            together = batched.run(probe)
        except (ValueError, RuntimeError) as error:
            logger.info("%s: runs one sample at a time: %s", self._where, error)
            return None
        for port in self._single.outputs:
            alone = np.concatenate([single[port.spec.name] for single in singles])
            step = port.quantisation.scale if port.quantisation else 1e-4
            if together[port.spec.name].shape != alone.shape or not np.allclose(
                together[port.spec.name], alone, rtol=1e-3, atol=1.01 * step, equal_nan=True
            ):
                logger.info("%s: runs one sample at a time: a batch answers otherwise", self._where)
                return None
        return batched

    def close(self) -> None:
        self._batched = None
        self._batches_fail = True
        self._single.interpreter = None


class _Interpreter:
    """One interpreter with one batch size."""

    def __init__(self, interpreter: Any, batch: int | None = None) -> None:
        self.interpreter = interpreter
        if batch is not None:
            for detail in interpreter.get_input_details():
                if len(detail["shape"]):
                    interpreter.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:]], strict=False)
        interpreter.allocate_tensors()
        self.inputs = tuple(_port(detail) for detail in interpreter.get_input_details())
        self.outputs = tuple(_port(detail) for detail in interpreter.get_output_details())
        self.one_sample = all(port.spec.shape[:1] in ((), (1,)) for port in self.inputs) and all(
            port.spec.shape[:1] == (1,) for port in self.outputs
        )

    def specs(self, ports: tuple[_Port, ...]) -> tuple[TensorSpec, ...]:
        """As `backend.py` promises: any batch, if the model takes one sample."""
        return tuple(
            port.spec._replace(shape=(None, *port.spec.shape[1:])) if self.one_sample and port.spec.shape else port.spec
            for port in ports
        )

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        interpreter = self.interpreter
        for port in self.inputs:
            array = arrays[port.spec.name]
            interpreter.set_tensor(port.tensor, port.quantisation.integers(array) if port.quantisation else array)
        interpreter.invoke()
        return {
            port.spec.name: port.quantisation.real(interpreter.get_tensor(port.tensor))
            if port.quantisation
            else interpreter.get_tensor(port.tensor)
            for port in self.outputs
        }


def _port(detail: Mapping[str, Any]) -> _Port:
    dtype, scales = np.dtype(detail["dtype"]), detail["quantization_parameters"]["scales"]
    if dtype.kind not in "iufb":
        raise ValueError(f"tensor {detail['name']} is a {dtype}")
    shape = tuple(int(size) for size in detail["shape"])
    if dtype.kind not in "iu" or not len(scales):
        return _Port(detail["index"], TensorSpec(detail["name"], dtype, shape), None)
    if len(scales) > 1 or not scales[0] > 0:
        raise ValueError(f"tensor {detail['name']} has {len(scales)} scales; an input or output has one, above 0")
    zero_point = int(detail["quantization_parameters"]["zero_points"][0])
    real = TensorSpec(detail["name"], np.dtype(np.float32), shape)
    return _Port(detail["index"], real, Quantisation(float(scales[0]), zero_point, dtype))


def _probe(port: _Port) -> Array:
    """Eight samples that differ, over the range that the model was made for."""
    shape = (BATCH, *(size or 1 for size in port.spec.shape[1:]))
    steps = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) * np.float32(0.618034) % 1.0
    if port.quantisation:
        limits = np.iinfo(port.quantisation.dtype)
        return port.quantisation.real(limits.min + steps * (limits.max - limits.min))
    return (steps * 2 - 1 if port.spec.dtype.kind == "f" else steps * 2).astype(port.spec.dtype)
