"""One device without anybody above, asked about one image after the other: what it answers, computes and takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from data import Array, Images, Kind

from cascade.adapters.bundle_folder import open_release
from cascade.adapters.stage_runner import StageRunner
from cascade.inference.effects import Effect, FreeHidden, Reply, RunStage
from cascade.inference.events import Asked, LadderInstalled, Ticked
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.messages import Answer, Question, Tensor

BLOCK = 200
ROUNDS = 3


class Found(NamedTuple):
    """Sample by sample."""

    right: Array
    multiply_adds: Array
    ms: Array
    """Of the fastest of some rounds: what a busy machine adds is none of the model's business."""
    stages: Array
    """How many were run."""


class Device:
    """The hop and the models of an agent, without its sockets."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._task = kind.name
        self._release = open_release(folder, "edge")
        self._runner = StageRunner()
        self._hop = Hop(HopSettings(node="home.camera", tier="edge"))
        self._hop.handle(LadderInstalled(self._runner.install(self._release)), 0.0)
        stages = self._release.bundle.manifest.stages
        self._costs = {stage.name: stage.costs.multiply_adds for stage in stages}
        self._asked = 0

    def ask(self, image: Array) -> tuple[Answer, float]:
        """The answer, and the milliseconds until it was there."""
        self._asked += 1
        question = Question(
            id=str(self._asked), device="home.camera", stream="camera", sequence=self._asked, task=self._task,
            release=self._release.id, payload=(Tensor("image", "uint8", image.shape, image.tobytes()),), ms_left=1e6,
        )  # fmt: skip
        began = time.perf_counter()
        effects = self._hop.handle(Asked(question, "", alone=True), 0.0)
        while True:
            for effect in effects:
                if isinstance(effect, Reply):
                    self._free(effects)
                    return effect.answer, (time.perf_counter() - began) * 1000.0
            runs = [effect for effect in effects if isinstance(effect, RunStage)]
            effects = self._hop.handle(self._runner.run(runs[0]) if runs else Ticked(), 0.0)

    def multiply_adds(self, answer: Answer) -> int:
        return sum(self._costs[step.stage] for step in answer.trail)

    def _free(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, FreeHidden):
                self._runner.free(effect.key)


def ask_all(folders: Mapping[str, Path], kind: Kind, test: Images, timed: int) -> dict[str, Found]:
    """Every device about every image; in turns, so that what else the machine does falls on all alike. Times are those
    of the first `timed` images."""
    devices = {name: Device(folder, kind) for name, folder in folders.items()}
    rows: dict[str, list[tuple[bool, int, float, int]]] = {name: [] for name in devices}
    for at in range(0, len(test.images), BLOCK):
        part = test.taken(slice(at, at + BLOCK))
        for name, device in devices.items():
            rows[name] += _block(device, part, kind.labels, ROUNDS if at < timed else 1)
    found = {}
    for name, each in rows.items():
        right, multiply_adds, ms, stages = (np.array(column) for column in zip(*each, strict=True))
        found[name] = Found(right, multiply_adds, ms[:timed], stages)
    return found


def _block(device: Device, part: Images, names: tuple[str, ...], rounds: int) -> list[tuple[bool, int, float, int]]:
    """Round after round over the whole block, not image by image: a cache that is warm for one image would flatter."""
    told = [[device.ask(image) for image in part.images] for _ in range(rounds)]
    rows = []
    for index, label in enumerate(part.labels):
        answer = told[0][index][0]
        ms = min(one_round[index][1] for one_round in told)
        rows.append((answer.label == names[label], device.multiply_adds(answer), ms, len(answer.trail)))
    return rows
