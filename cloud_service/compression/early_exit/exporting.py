"""From a trained network to the model files of its segments, and the stages that describe them in a bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from cascade.errors import MissingDependency
from cascade.release.bundle import Costs, InputSpec, OutputSpec, SentSpec, StageSpec
from cascade.release.preprocessing import Quantise
from cloud_service.compression.early_exit.counting import Counted, counted
from cloud_service.compression.early_exit.network import Segment, SegmentedNetwork

Format = Literal["onnx", "tflite"]
SCORES: Mapping[Format, str] = {"onnx": "scores", "tflite": "serving_default_output_0_output"}
HIDDEN: Mapping[Format, str] = {"onnx": "hidden", "tflite": "serving_default_output_1_output"}
"""What the outputs of a segment are called: ours to say in ONNX, in .tflite those that litert-torch 0.10 gives them."""
MOST_BATCH = 1024
_LEVELS = 255
"""Of eight bits."""


class ExportedSegment(NamedTuple):
    """One segment, as a file."""

    path: Path
    format: Format
    takes: tuple[int, ...]
    """The shape of one sample of its input: of the model's, or of the hidden features before it."""
    cost: Counted
    hands_on: tuple[int, ...] | None
    """The shape of one sample's hidden features; None of the last."""
    hidden_low: float = 0.0
    hidden_high: float = 0.0
    """Between which the hidden features lie, but for one in ten thousand: what eight bits are spent on."""


Exporter = Callable[[nn.Module, Any, Path, bool], None]
"""Of one segment: the module, a few samples of its input, where to, and whether it hands something on."""


def export_segments(
    network: SegmentedNetwork,
    samples: Any,
    folder: Path,
    *,
    to: Format = "onnx",
    name: str = "segment",
    last_hands_on: bool = False,
) -> list[ExportedSegment]:
    """One file for each, `segment1.onnx` and so on; `.tflite` wants the package litert-torch. `samples` are inputs as
    those of the field: by them the range of hidden features is found. With `last_hands_on` the last segment has hidden
    features too, for a hop above."""
    folder.mkdir(parents=True, exist_ok=True)
    network.eval()
    found, inputs = [], samples
    for index, (trunk, leave) in enumerate(zip(network.trunks, network.exits, strict=True)):
        hands_on = last_hands_on or index < len(network.trunks) - 1
        segment = Segment(trunk, leave, hands_on=hands_on).eval()
        path = folder / f"{name}{index + 1}.{to}"
        _EXPORTERS[to](segment, inputs, path, hands_on)
        with torch.no_grad():
            hidden = trunk(inputs)
        low, high = _range(hidden) if hands_on else (0.0, 0.0)
        shape = tuple(hidden.shape[1:]) if hands_on else None
        found.append(ExportedSegment(path, to, tuple(inputs.shape[1:]), counted(segment, inputs), shape, low, high))
        inputs = hidden
    return found


def stages_of(
    exported: Sequence[ExportedSegment],
    first: InputSpec,
    labels: Sequence[str],
    *,
    names: Sequence[str] = (),
    sends: Sequence[int] = (),
    max_batch: int = 64,
) -> tuple[StageSpec, ...]:
    """The stages of a bundle. `first` is the input of the first, as questions bring it; `sends` are the segments,
    counted from 0, whose hidden features may go up."""
    names = names or [f"exit{index + 1}" for index in range(len(exported))]
    stages = []
    for index, (segment, name) in enumerate(zip(exported, names, strict=True)):
        spec = first
        if index:
            spec = InputSpec(tensor=HIDDEN[exported[index - 1].format], shape=segment.takes, segment=names[index - 1])
        stages.append(
            StageSpec(
                name=name,
                file=segment.path.name,
                format=segment.format,
                inputs=(spec,),
                output=OutputSpec(kind="classes", tensor=SCORES[segment.format], activation="softmax"),
                labels=tuple(labels),
                max_batch=max_batch,
                costs=Costs(multiply_adds=segment.cost.multiply_adds, bytes_moved=segment.cost.bytes_moved),
                sends=(sent(segment),) if index in sends else (),
            )
        )
    return tuple(stages)


def sent(segment: ExportedSegment) -> SentSpec:
    """Its hidden features in eight bits. What goes on from there undoes it by `dequantise` with the same numbers."""
    if segment.hands_on is None:
        raise ValueError("the last segment hands nothing on")
    return SentSpec(output=HIDDEN[segment.format], shape=segment.hands_on, features=(quantised(segment),))


def quantised(segment: ExportedSegment) -> Quantise:
    low, high = min(segment.hidden_low, 0.0), max(segment.hidden_high, 0.0)
    scale = max(high - low, 1e-6) / _LEVELS
    return Quantise(scale=scale, zero_point=round(-low / scale), dtype="uint8")


def _range(hidden: Any) -> tuple[float, float]:
    numbers = hidden.float().numpy()
    return float(np.quantile(numbers, 1e-4)), float(np.quantile(numbers, 1.0 - 1e-4))


def _to_onnx(segment: nn.Module, inputs: Any, path: Path, hands_on: bool) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.onnx.export(
        segment,
        (inputs[:2],),
        str(path),
        dynamo=True,
        external_data=False,
        input_names=["inputs"],
        output_names=[SCORES["onnx"], HIDDEN["onnx"]] if hands_on else [SCORES["onnx"]],
        dynamic_shapes={"inputs": {0: torch.export.Dim("batch", min=1, max=MOST_BATCH)}},
        verbose=False,
    )


def _to_tflite(segment: nn.Module, inputs: Any, path: Path, hands_on: bool) -> None:
    try:
        import litert_torch
    except ImportError as error:
        raise MissingDependency(
            "to .tflite converts litert-torch, which no extra brings: pip install litert-torch==0.10.0, known to work "
            f"with torch 2.13.0 ({error})"
        ) from error
    litert_torch.convert(segment, (inputs[:1],)).export(str(path))


_EXPORTERS: dict[Format, Exporter] = {"onnx": _to_onnx, "tflite": _to_tflite}
