"""The networks of this example: three exits for the device, a larger one for the cloud, single ones to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cloud_service.compression.early_exit.network import SegmentedNetwork

MEAN, DEVIATION = 73.0, 90.0
CLASSES = 10


class Scaled(nn.Module):
    """Bytes as they come, to numbers around zero: a part of the network, so that nothing has to be done before it."""

    def forward(self, images: Any) -> Any:
        scaled = (images.unsqueeze(1).to(torch.float32) - MEAN) / DEVIATION
        return scaled.contiguous(memory_format=torch.channels_last) if self.training else scaled


def convolved(before: int, after: int, size: int = 3, step: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, size, step, size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            convolved(channels, channels),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.active = nn.ReLU()

    def forward(self, hidden: Any) -> Any:
        return self.active(hidden + self.change(hidden))


def exit_by_place(channels: int, pool: int, side: int, between: int = 0) -> nn.Module:
    """Early features mean something else in each place, so an early exit looks at all of them; with a layer between,
    at several together."""
    places = channels * side * side
    leave = [nn.Linear(places, CLASSES)] if not between else [_joined(places, between), nn.Linear(between, CLASSES)]
    return nn.Sequential(nn.MaxPool2d(pool), nn.Flatten(), nn.Dropout(0.2), *leave)


def _joined(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Linear(before, after), nn.ReLU())


def exit_by_mean(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, CLASSES))


def device(width: float = 1.0) -> SegmentedNetwork:
    """Of the multiply-adds of all three segments the first takes a twentieth, the second an eighth."""
    first, second, third = (max(4, 4 * round(width * channels / 4)) for channels in (32, 48, 96))
    stem = nn.Sequential(Scaled(), convolved(1, 16, 5, 2), convolved(16, first))
    middle = nn.Sequential(convolved(first, second, 3, 2), Residual(second))
    rest = nn.Sequential(convolved(second, third), Residual(third), Residual(third))
    exits = exit_by_place(first, 2, 7, 32), exit_by_place(second, 2, 3), exit_by_mean(third)
    return SegmentedNetwork([(stem, exits[0]), (middle, exits[1]), (rest, exits[2])])


class BothWays(nn.Module):
    """A garment and its mirror image are the same: the mean of what is said of both."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Any) -> Any:
        if self.training:
            return self.network(images)
        return (self.network(images).softmax(1) + self.network(images.flip(2)).softmax(1)).log() - 0.6931


def cloud(width: int = 24, mirrored: bool = True) -> SegmentedNetwork:
    """A residual network; one segment, one exit. `mirrored`: what it knows is the same in a mirror."""
    body = nn.Sequential(
        Scaled(),
        convolved(1, width),
        nn.MaxPool2d(2),
        convolved(width, 2 * width),
        Residual(2 * width),
        nn.MaxPool2d(2),
        convolved(2 * width, 4 * width),
        Residual(4 * width),
        exit_by_mean(4 * width),
    )
    return SegmentedNetwork([(BothWays(body) if mirrored else body, nn.Identity())])
