"""Which ONNX operators may run, and what of a model may lie outside its file.

The standard domains are allowed whole: onnxruntime knows them or refuses them. Of `com.microsoft` only those operators
that compute from their inputs alone, and that its quantiser and its optimisers write: EPContext, for one, opens a
file that it names.
Any other domain means code from elsewhere, and is refused by name.
"""

from __future__ import annotations

from pathlib import Path

from cascade.adapters.backends.onnx_outline import MAX_INLINED_NODES, External, OnnxOutline, Operator
from cascade.errors import ModelRejected

STANDARD_DOMAINS = ("", "ai.onnx.ml")
MICROSOFT_OPERATORS = frozenset({
    "Attention", "BiasAdd", "BiasGelu", "BiasSplitGelu", "BiasSoftmax", "ConvTransposeWithDynamicPads",
    "CropAndResize", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "EmbedLayerNormalization",
    "ExpandDims", "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul", "GatherBlockQuantized", "GatherND", "Gelu",
    "GridSample", "GroupNorm", "Inverse", "Irfft", "LayerNormalization", "MatMulBnb4", "MatMulFpQ4",
    "MatMulInteger16", "MatMulIntegerToFloat", "MatMulNBits", "MulInteger", "MultiHeadAttention", "NhwcConv",
    "NhwcFusedConv", "NhwcMaxPool", "PackedAttention", "PackedMultiHeadAttention", "Pad", "QAttention",
    "QEmbedLayerNormalization", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv",
    "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean", "QLinearSigmoid",
    "QLinearSoftmax", "QLinearWhere", "QMoE", "QOrderedAttention", "QOrderedGelu", "QOrderedLayerNormalization",
    "QOrderedMatMul", "QuantizeBFP", "DequantizeBFP", "QuantizeLinear", "QuickGelu", "Range", "ReduceSumInteger",
    "RemovePadding", "RestorePadding", "Rfft", "RotaryEmbedding", "SimplifiedLayerNormalization", "SkipGroupNorm",
    "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SparseToDenseMatMul", "TransposeMatMul", "Trilu",
    "Unique",
})  # fmt: skip


def check_operators(outline: OnnxOutline, where: str) -> None:
    for operator in sorted({*outline.operators, *(call for each in outline.functions.values() for call in each.calls)}):
        if not _allowed(operator, outline):
            raise ModelRejected(f"{where}: operator {operator} is not allowed")
    nodes = outline.inlined_nodes()
    if nodes > MAX_INLINED_NODES:
        raise ModelRejected(f"{where}: {nodes} nodes once its functions are written out; at most {MAX_INLINED_NODES}")


def _allowed(operator: Operator, outline: OnnxOutline) -> bool:
    """A model's own function counts as what it is made of, but for one that goes by the name of a built-in operator."""
    if operator.domain == "com.microsoft":
        return operator.name in MICROSOFT_OPERATORS
    return operator.domain in STANDARD_DOMAINS or operator in outline.functions


def external_files(outline: OnnxOutline, model: Path) -> tuple[Path, ...]:
    """The files beside the model that hold its tensors. `ModelRejected` for any that isn't a file in its folder.

    That also refuses `*/_ORT_MEM_ADDR_/*`, by which onnxruntime would read the process's own memory.
    """
    files: dict[Path, None] = {}
    for external in outline.external:
        files[_external_file(external, model)] = None
    return tuple(files)


def _external_file(external: External, model: Path) -> Path:
    where = f"{model.name}: tensor {external.tensor!r}"
    location = Path(external.location)
    if not external.location or location.is_absolute() or ".." in location.parts or "\0" in external.location:
        raise ModelRejected(f"{where} lies in {external.location!r}, which is outside the model's folder")
    folder = model.parent.resolve()
    try:
        path = (folder / location).resolve()
        size = path.stat().st_size if path.is_file() else None
    except (OSError, RuntimeError) as error:
        raise ModelRejected(f"{where} lies in {external.location!r}: {error}") from error
    if not path.is_relative_to(folder):
        raise ModelRejected(f"{where} lies in {external.location!r}, a link to outside the model's folder")
    if size is None:
        raise ModelRejected(f"{where} lies in {external.location!r}, which is no file beside the model")
    length = size - external.offset if external.length is None else external.length
    if external.offset < 0 or length < 0 or external.offset + length > size:
        raise ModelRejected(f"{where} lies at {external.offset} of {external.location!r}, past its {size} bytes")
    return path
