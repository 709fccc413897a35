"""A network in segments, each with an exit: what the one hands on, the next takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class SegmentedNetwork(nn.Module):  # type: ignore[misc]  # torch is not where types are checked
    """Pairs of a trunk, which makes hidden features, and an exit, which makes logits of them."""

    def __init__(self, segments: Sequence[tuple[nn.Module, nn.Module]]) -> None:
        super().__init__()
        if not segments:
            raise ValueError("a network without a segment")
        self.trunks = nn.ModuleList([trunk for trunk, _ in segments])
        self.exits = nn.ModuleList([leave for _, leave in segments])

    def forward(self, inputs: Any) -> list[Any]:
        """The logits of every exit."""
        logits = []
        for trunk, leave in zip(self.trunks, self.exits, strict=True):
            inputs = trunk(inputs)
            logits.append(leave(inputs))
        return logits

    def last(self, inputs: Any) -> Any:
        """The logits of the last exit alone: the network as it would be without the others."""
        for trunk in self.trunks:
            inputs = trunk(inputs)
        return self.exits[-1](inputs)

    def hidden(self, inputs: Any) -> list[Any]:
        """What every trunk hands on."""
        found = []
        for trunk in self.trunks:
            inputs = trunk(inputs)
            found.append(inputs)
        return found


class Segment(nn.Module):  # type: ignore[misc]
    """One segment as it is exported: logits, and the hidden features where somebody takes them."""

    def __init__(self, trunk: nn.Module, leave: nn.Module, *, hands_on: bool) -> None:
        super().__init__()
        self.trunk, self.leave, self.hands_on = trunk, leave, hands_on

    def forward(self, inputs: Any) -> Any:
        hidden = self.trunk(inputs)
        logits = self.leave(hidden)
        return (logits, hidden) if self.hands_on else logits


def probabilities(network: SegmentedNetwork, inputs: Any, batch: int = 500) -> list[Any]:
    """Of every exit, sample by sample: one array of rows per exit."""
    network.eval()
    parts: list[list[Any]] = [[] for _ in network.exits]
    with torch.no_grad():
        for at in range(0, len(inputs), batch):
            for part, logits in zip(parts, network(inputs[at : at + batch]), strict=True):
                part.append(logits.float().softmax(1))
    return [torch.cat(part).numpy() for part in parts]
