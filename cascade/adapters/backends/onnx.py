"""The engine for ONNX files: onnxruntime, tuned for a small machine that answers one small batch after another.

One thread, no spinning, sequential: a second thread on a two-core board takes the core that talks to the network.
The session gets a path, not bytes: weights are then mapped, not held twice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cascade.adapters.backends.backend import Array, EngineSettings, TensorSpec
from cascade.adapters.backends.fitting import batch_of, fitted
from cascade.adapters.backends.model_file import mapped
from cascade.adapters.backends.onnx_allowed import check_operators, external_files
from cascade.adapters.backends.onnx_outline import OnnxOutline
from cascade.adapters.backends.protobuf_walk import Malformed
from cascade.errors import MissingDependency, ModelRejected, how_to_install

logger = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
_DTYPES = {
    "tensor(bool)": "bool", "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(uint16)": "uint16",
    "tensor(int16)": "int16", "tensor(uint32)": "uint32", "tensor(int32)": "int32", "tensor(uint64)": "uint64",
    "tensor(int64)": "int64", "tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64",
}  # fmt: skip
_PACKAGES = ("onnxruntime", "onnxruntime-gpu")


class OnnxEngine:
    """onnxruntime."""

    name = "onnx"

    def missing(self) -> str | None:
        return None if find_spec("onnxruntime") else f"onnxruntime is not installed: {how_to_install('edge-onnx')}"

    def version(self) -> str:
        return f"onnxruntime {next((v for v in map(_installed, _PACKAGES) if v), 'unknown')}"

    def inspect(self, path: Path, settings: EngineSettings) -> tuple[Path, ...]:
        with mapped(path, settings.max_model_bytes) as model:
            try:
                outline = OnnxOutline(model)
                check_operators(outline, path.name)
            except Malformed as error:
                raise ModelRejected(f"{path.name}: not a readable ONNX model: {error}") from error
        if outline.largest_tensor_bytes > settings.max_model_bytes:
            raise ModelRejected(f"{path.name}: declares a tensor of {outline.largest_tensor_bytes} bytes")
        files = (path, *external_files(outline, path))
        total = sum(file.stat().st_size for file in files)
        if total > settings.max_model_bytes:
            raise ModelRejected(
                f"{path.name}: {total} bytes with its external data; at most {settings.max_model_bytes}"
            )
        return files

    def load(self, path: Path, settings: EngineSettings) -> OnnxModel:
        reason = self.missing()
        if reason:
            raise MissingDependency(reason)
        import onnxruntime

        try:
            session = onnxruntime.InferenceSession(
                str(path), _options(onnxruntime, settings), providers=_providers(onnxruntime, settings, path.name)
            )
        except Exception as error:  # onnxruntime's own classes derive from Exception, each by itself
            raise ModelRejected(f"{path.name}: onnxruntime does not load it: {_first_line(error)}") from error
        return OnnxModel(session, path.name)


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _options(onnxruntime: Any, settings: EngineSettings) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if settings.low_memory:
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _providers(onnxruntime: Any, settings: EngineSettings, where: str) -> list[str]:
    there = onnxruntime.get_available_providers()
    for provider in settings.providers:
        if provider not in there:
            logger.warning("%s: this onnxruntime has no %s; it has %s", where, provider, ", ".join(there))
    return [*(provider for provider in settings.providers if provider in there and provider != CPU), CPU]


class OnnxModel:
    """A session. A model that was exported for one batch size is run that many at a time, the last padded."""

    def __init__(self, session: Any, where: str) -> None:
        self._session = session
        declared = tuple(_spec(node, where) for node in session.get_inputs())
        results = tuple(_spec(node, where) for node in session.get_outputs())
        self._output_names = [spec.name for spec in results]
        self._batch = _batching(declared)
        batched = self._batch != "as declared"
        self.inputs = tuple(_any_batch(spec) for spec in declared) if batched else declared
        self.outputs = tuple(_any_batch(spec) for spec in results) if batched else results

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        arrays = fitted(self.inputs, inputs)
        if isinstance(self._batch, str):
            return dict(zip(self._output_names, self._session.run(self._output_names, arrays), strict=True))
        samples, size = batch_of(self.inputs, arrays), self._batch
        parts = [self._run_part(arrays, first, min(size, samples - first)) for first in range(0, samples, size)]
        return {
            name: np.concatenate([part[index] for part in parts]) if len(parts) > 1 else parts[0][index]
            for index, name in enumerate(self._output_names)
        }

    def _run_part(self, arrays: dict[str, Array], first: int, count: int) -> list[Array]:
        size = int(self._batch)
        part = {
            name: _padded(array[first : first + count], size) if array.ndim else array for name, array in arrays.items()
        }
        return [_per_sample(output, size)[:count] for output in self._session.run(self._output_names, part)]

    def close(self) -> None:
        self._session = None


def _spec(node: Any, where: str) -> TensorSpec:
    if node.type not in _DTYPES:
        raise ModelRejected(f"{where}: {node.name} is a {node.type}; supported are {', '.join(_DTYPES)}")
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape)
    return TensorSpec(node.name, np.dtype(_DTYPES[node.type]), shape)


def _batching(inputs: tuple[TensorSpec, ...]) -> int | Literal["any", "as declared"]:
    """How many samples a call takes. A model whose inputs have different first axes (recurrent state) has no batch that
    we could know: it takes and gives exactly what it declares."""
    firsts = {spec.shape[0] for spec in inputs if spec.shape}
    if len(firsts) != 1:
        return "as declared"
    return firsts.pop() or "any"


def _any_batch(spec: TensorSpec) -> TensorSpec:
    return spec._replace(shape=(None, *spec.shape[1:])) if spec.shape else spec


def _padded(array: Array, size: int) -> Array:
    if len(array) == size:
        return array
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])


def _per_sample(output: Array, size: int) -> Array:
    """With the batch as its first axis, which a model exported for one sample may have left out."""
    return output if output.ndim and output.shape[0] == size else np.stack([output]) if size == 1 else output


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
