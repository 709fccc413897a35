"""Training all exits of a network together: each learns the labels, and the earlier ones what the last one says.

Kaya, Hong and Dumitras (2019) train shallow-deep networks on a weighted sum of the losses of all exits; Zhang et al.
(2019) let the deepest exit teach the others ("be your own teacher"), which costs it nothing. Both are here; and where
there is a larger network above, that one can teach all exits (Hinton, Vinyals and Dean, 2015): then they err where it
errs, and the less has to climb.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cloud_service.compression.early_exit.network import SegmentedNetwork

Augment = Callable[[Any, torch.Generator], Any]


@dataclass(frozen=True)
class Training:
    """How to train."""

    epochs: int = 12
    batch: int = 256
    learning_rate: float = 6e-3
    """The highest, a third of the way in. It rises to there from a 25th of it, and falls to nothing."""
    weight_decay: float = 0.05
    exit_weights: tuple[float, ...] = ()
    """Of each exit's loss. Empty: the last counts 1, each before it half. Zeros train the network without that exit."""
    taught_share: float = 0.5
    """Of the loss of who is taught: how much of it is what the teacher says, in place of the label."""
    temperature: float = 2.0
    """What the teacher says is softened by this, so that its doubts are learned too."""
    label_smoothing: float = 0.0
    seed: int = 0
    bfloat16: bool = False
    """Multiply in 16 bits: twice as fast where the processor can, and slower where it can't."""


def train_jointly(
    network: SegmentedNetwork,
    inputs: Any,
    labels: Any,
    how: Training,
    augment: Augment | None = None,
    told: Callable[[int, float, float], None] = lambda epoch, loss, seconds: None,
    teacher: Callable[[Any], Any] | None = None,
) -> None:
    """In place. `told` hears of each epoch: its number, the mean loss, and the seconds since the beginning. `teacher`
    gives logits of a batch; without one the last exit teaches those before it."""
    torch.manual_seed(how.seed)
    chance = torch.Generator().manual_seed(how.seed)
    weights = exit_weights(len(network.exits), how)
    batch = min(how.batch, len(inputs))
    steps = len(inputs) // batch
    optimiser = torch.optim.AdamW(network.parameters(), how.learning_rate, weight_decay=how.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, how.learning_rate, steps * how.epochs, pct_start=0.3)
    began = time.perf_counter()
    for epoch in range(how.epochs):
        network.train()
        order, total = torch.randperm(len(inputs), generator=chance), 0.0
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            some = inputs[rows] if augment is None else augment(inputs[rows], chance)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how.bfloat16):
                logits = network(some) if any(weights[:-1]) else [network.last(some)]
                taught = _said_by(teacher, some)
            loss = joint_loss(logits, labels[rows], weights[-len(logits) :], how, taught)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        told(epoch, total / steps, time.perf_counter() - began)
    network.eval()


def exit_weights(exits: int, how: Training) -> tuple[float, ...]:
    weights = how.exit_weights or (*[0.5] * (exits - 1), 1.0)
    if len(weights) != exits or weights[-1] <= 0.0 or min(weights) < 0.0:
        raise ValueError(f"exit_weights {weights} for {exits} exits: expected one each, and the last above 0")
    return weights


def _said_by(teacher: Callable[[Any], Any] | None, some: Any) -> Any | None:
    if teacher is None:
        return None
    with torch.no_grad():
        return teacher(some).float()


def joint_loss(
    logits: Sequence[Any], labels: Any, weights: Sequence[float], how: Training, taught: Any | None = None
) -> Any:
    """`taught` are the teacher's logits; the last exit is taught by these alone."""
    last = logits[-1].float()
    heeded = (last.detach() if taught is None else taught) / how.temperature
    losses = [_loss(each.float(), labels, heeded, how) for each in logits[:-1]]
    losses.append(_loss(last, labels, None if taught is None else heeded, how))
    return sum(weight * loss for weight, loss in zip(weights, losses, strict=True))


def _loss(logits: Any, labels: Any, heeded: Any | None, how: Training) -> Any:
    own = nn.functional.cross_entropy(logits, labels, label_smoothing=how.label_smoothing)
    if heeded is None:
        return own
    said = nn.functional.log_softmax(logits / how.temperature, 1)
    heard = nn.functional.kl_div(said, heeded.softmax(1), reduction="batchmean") * how.temperature**2
    return (1.0 - how.taught_share) * own + how.taught_share * heard
