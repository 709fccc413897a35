"""Asks every stage of a ladder about the same questions, whatever its gates say.

A stage that goes on from hidden features of a tier below is asked about those: made small, compressed and read again by
the code that does it in the field, which also says whether they or the input would go up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

import msgspec

from cascade.adapters.bundle_folder import LoadedRelease
from cascade.adapters.going_up import smaller, zipped
from cascade.adapters.recorded_columns import Column, Heard
from cascade.adapters.stage_runner import StageRunner
from cascade.inference.effects import AskAbove, RunStage
from cascade.inference.events import BadSample, RunFailed
from cascade.messages import Question
from cascade.release.assembled import asked_stages
from cascade.release.bundle import StageSpec, Tier
from cascade.wire.codec import encode_questions
from cascade.wire.content import compressed

Wanted = Callable[[Tier, StageSpec], bool]
Prepare = Callable[[Question], Question]


class _Stage:
    """A stage that is recorded, and how its tier makes small what it sends up. Only a device compresses its inputs."""

    def __init__(self, release: LoadedRelease, spec: StageSpec, prepare: Prepare | None) -> None:
        self.release, self.spec, self.prepare = release, spec, prepare
        self.column = Column(release.bundle.manifest, spec)


class RecordedLadder:
    """The stages of all tiers, from the device up, in one runner."""

    def __init__(self, releases: Sequence[LoadedRelease], runner: StageRunner, encoding: str, wanted: Wanted) -> None:
        self._runner, self._compress = runner, partial(_compressed, encoding)
        self._stages: list[_Stage] = []
        asked = asked_stages([release.bundle.manifest for release in releases])
        for release, specs in zip(map(_ready, releases), asked, strict=True):
            tier = release.bundle.manifest.tier
            prepare = self._compress if tier == "edge" else None
            mine = [_Stage(release, spec, prepare) for spec in specs if wanted(tier, spec)]
            if mine:
                runner.install(release)
            self._stages += mine
        self.columns = [each.column for each in self._stages]
        self.input_bytes: list[int] = []

    def ask(self, questions: Sequence[Question]) -> None:
        """A batch of them. What goes on from their hidden features are new questions, under the same keys."""
        travelling = [self._compress(each) for each in questions]
        self.input_bytes += map(message_bytes, travelling)
        nothing = [None] * len(questions)
        runs: dict[str, Sequence[Question | None]] = {"": questions}
        goes: dict[str, Sequence[Question | None]] = {"": travelling}
        for _, tier in groupby(self._stages, lambda each: each.column.manifest.tier):
            chains: dict[str, list[Column]] = {}
            for stage in tier:
                root, column = stage.column.root, stage.column
                mine = runs.get(root, nothing)
                heard = self._heard(stage, mine)
                column.heard += heard
                if stage.spec.sends:
                    runs[column.digest] = goes[column.digest] = self._features(stage, mine, heard)
                    _note_sent(stage, goes.get(root, nothing), goes[column.digest], heard, chains.setdefault(root, []))
        for question in questions:
            self._runner.free(question.key)

    def _heard(self, stage: _Stage, questions: Sequence[Question | None]) -> list[Heard]:
        there = iter(self._run(stage, [each for each in questions if each is not None]))
        return [Heard(ran=False) if each is None else next(there) for each in questions]

    def _run(self, stage: _Stage, questions: Sequence[Question]) -> list[Heard]:
        """A batch that fails is tried one by one, as a hop does."""
        if not questions:
            return []
        ladder = stage.release.ladder
        done = self._runner.run(RunStage(0, ladder.task, ladder.release, stage.spec.name, tuple(questions)))
        if not isinstance(done, RunFailed):
            ms, joules = done.ms / len(questions), done.joules / len(questions)
            said = [None if isinstance(result, BadSample) else result for result in done.results]
            return [Heard(each, ms, joules, done.energy) for each in said]
        if len(questions) > 1:
            return [heard for question in questions for heard in self._run(stage, [question])]
        return [Heard()]

    def _features(
        self, stage: _Stage, questions: Sequence[Question | None], heard: Sequence[Heard]
    ) -> list[Question | None]:
        return [
            self._sendable(stage, question) if question is not None and each.energy is not None else None
            for question, each in zip(questions, heard, strict=True)
        ]

    def _sendable(self, stage: _Stage, question: Question) -> Question | None:
        """Of a large batch some may be gone already, for want of room: of one question there is always room."""
        found = self._runner.sendable(question, stage.spec.name)
        if found is None:
            self._run(stage, [question])
            found = self._runner.sendable(question, stage.spec.name)
        return None if found is None else (stage.prepare or zipped)(found)


def _note_sent(
    stage: _Stage,
    brought: Sequence[Question | None],
    features: Sequence[Question | None],
    heard: Sequence[Heard],
    before: list[Column],
) -> None:
    """Whether they go in place of what was brought. What a hop may send is that of the last segment that ran and sends:
    of those before it nothing goes then."""
    for question, hidden, each in zip(brought, features, heard, strict=True):
        goes = 0
        if question is not None and hidden is not None:
            going, packed = smaller(AskAbove(question, stage.spec.name), stage.prepare, lambda _, __, it=hidden: it)  # type: ignore[misc]
            goes = message_bytes(going) if packed is not None else 0
        stage.column.sent.append(goes)
        if each.energy is not None:
            for column in before:
                column.sent[len(stage.column.sent) - 1] = 0
    before.append(stage.column)


def message_bytes(question: Question) -> int:
    return len(encode_questions([question]))


def _compressed(encoding: str, question: Question) -> Question:
    return msgspec.structs.replace(question, payload=compressed(question.payload, encoding))


def _ready(release: LoadedRelease) -> LoadedRelease:
    """Under a name of its own, as all tiers are side by side in one runner; and before calibration: a recording is what
    calibrations are fitted on."""
    manifest = release.bundle.manifest
    plain = tuple(msgspec.structs.replace(stage, calibration=None) for stage in manifest.stages)
    bundle = release.bundle._replace(manifest=msgspec.structs.replace(manifest, stages=plain))
    named = msgspec.structs.replace(release.manifest, name=f"recorded-{manifest.tier}")
    return release._replace(manifest=named, bundle=bundle)
