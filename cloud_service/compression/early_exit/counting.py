"""What a segment costs: its multiply-adds, layer by layer, and the bytes that it moves."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn

BYTES = 4
_FREE = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.ReLU6, nn.Identity, nn.Flatten, nn.MaxPool1d,
    nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.Softmax,
)  # fmt: skip
"""No multiplications to speak of, or folded into the layer before when it is exported."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


class Counted(NamedTuple):
    """Of one sample."""

    multiply_adds: int
    parameters: int
    bytes_moved: int
    """Weights once, and what is between layers twice: written and read."""


def counted(module: nn.Module, sample: Any) -> Counted:
    """By running it on one sample. `ValueError` for a layer whose price isn't known: nothing is free by default."""
    multiply_adds, between = 0, 0

    def note(layer: nn.Module, given: Any, output: Any) -> None:
        nonlocal multiply_adds, between
        if isinstance(layer, (*_CONVOLUTIONS, nn.Linear)):
            multiply_adds += _multiply_adds(layer, output)
            between += output[0].numel()

    hooks = [layer.register_forward_hook(note) for layer in module.modules() if _is_leaf(layer)]
    was_training = module.training
    try:
        module.eval()
        with torch.no_grad():
            module(sample[:1])
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()
    parameters = sum(each.numel() for each in module.parameters())
    return Counted(multiply_adds, parameters, BYTES * (parameters + 2 * between))


def _multiply_adds(layer: nn.Module, output: Any) -> int:
    if isinstance(layer, nn.Linear):
        return int(layer.in_features * output[0].numel())
    return int(output[0].numel() * layer.in_channels // layer.groups * math.prod(layer.kernel_size))


def _is_leaf(layer: nn.Module) -> bool:
    if any(True for _ in layer.children()):
        return False
    known = isinstance(layer, (*_CONVOLUTIONS, nn.Linear, *_FREE))
    if not known and any(True for _ in layer.parameters()):
        raise ValueError(f"what a {type(layer).__name__} costs is not known here")
    return known
