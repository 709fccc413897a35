"""From settings to figures: the steps of `cascade evaluate`, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cascade.adapters.bundle_folder import LoadedRelease
from cascade.adapters.world.models import ReleaseModels
from cascade.adapters.world.node import Engine
from cascade.errors import SettingsError
from cascade.inference.recordings import NO_LABEL, Recordings, StageRecord, readable_samples
from cascade.release.bundle import TIERS, ReleaseManifest, StageSpec, Tier
from cascade.release.calibrated import Calibration
from cascade.release.ladder import GateSpec
from cascade.release.segments import before
from cascade_cli.evaluate.figures import Candidate, Difference, Row, Single, difference, row_of, singles
from cascade_cli.evaluate.in_memory import InMemory, RecordedModels, SegmentedModels
from cascade_cli.evaluate.intervals import Array
from cascade_cli.evaluate.looking_back import look_back
from cascade_cli.evaluate.progress import Progress
from cascade_cli.evaluate.recorded import Place, Recorded, opened, record_release, usual_cache
from cascade_cli.evaluate.replayed import Replayed, Told, gathered, numbers_of, right_by
from cascade_cli.evaluate.samples import DataSet, misfits, open_data, unsayable
from cascade_cli.evaluate.settings import Evaluation, JournalOf
from cascade_cli.evaluate.sweeps import Sweep, rights, sweeps
from cascade_cli.evaluate.systems import CASCADE, System, rival, systems_of

Ask = Callable[[Sequence[System], DataSet, Progress], Mapping[str, list[Told]]]
"""Asks every system about all samples."""


@dataclass(frozen=True)
class Evaluated:
    """All that is known now."""

    task: str
    release: str
    source: str
    samples: int
    how: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    """The cascade against each tier alone; other thresholds against what was."""
    singles: tuple[Single, ...]
    sweeps: tuple[Sweep, ...]
    recordings: Recordings | None
    """After calibration. None: they don't hold all samples, and make no picture."""
    right: tuple[Array, ...]
    """Per stage of the recordings and sample."""
    gates: tuple[GateSpec, ...]
    ran: Mapping[str, int]
    """Stage by stage: samples that were run, and not found in the cache."""
    notes: tuple[str, ...] = field(default=())

    @property
    def differences_of(self) -> str:
        """Who is compared."""
        return f"the {CASCADE}" if self.ran else self.rows[-1].system


def evaluate(settings: Evaluation, where: str, progress: Progress, ask: Ask | None = None) -> Evaluated:
    """`ask`: how questions are put; absent: in memory."""
    if isinstance(settings.data, JournalOf):
        return _from_a_journal(settings, settings.data)
    data = open_data(settings.data, progress.doing("reading samples"))
    _check(data, opened(settings.release), settings, where)
    recorded = _recorded(settings.release, settings, data, progress)
    rivals = {folder.name: _rival(folder, settings, data, where, progress) for folder in settings.rivals}
    systems = systems_of(recorded.releases)
    told: Mapping[str, list[Told]]
    if ask is None:
        told = _told_in_memory(settings.release, settings, data, recorded, systems, progress)
    else:
        told = ask(systems, data, progress)
    for folder in settings.rivals:
        single = rival(folder.name, rivals[folder.name].releases["edge"])
        told = {**told, **_told_in_memory(folder, settings, data, rivals[folder.name], [single], progress)}
    replays = {name: gathered(name, each, data.labels, right_by(settings.within)) for name, each in told.items()}
    return _evaluated(settings, data, recorded, rivals, replays, "in memory" if ask is None else "over processes")


def _from_a_journal(settings: Evaluation, table: JournalOf) -> Evaluated:
    life = look_back(settings, table)
    per_byte, seed = settings.above.budget.joules_per_byte, settings.seed
    was, would_be = life.replays.values()
    notes = [*life.notes]
    if life.unknown:
        between = (
            "" if life.right_between is None else " (right: between {:.1%} and {:.1%})".format(*life.right_between)
        )
        notes.append(
            f"of {life.unknown:.1%} of the questions nobody knows what the hop above would have said{between}; "
            "shares right are of the others, and their bytes are taken as those that climbed had on average"
        )
    return Evaluated(
        task=life.task,
        release=str(settings.release),
        source=str(table.path),
        samples=was.questions,
        how="by going through the journal again",
        rows=tuple(row_of(each, per_byte, seed) for each in (was, would_be)),
        differences=(difference(would_be, was, per_byte, seed),),
        singles=(),
        sweeps=(),
        recordings=None,
        right=(),
        gates=(),
        ran={},
        notes=tuple(notes),
    )


def _recorded(folder: Path, settings: Evaluation, data: DataSet, progress: Progress) -> Recorded:
    doing = progress.doing(f"running the stages of {folder.name}")
    cache, encoding = settings.cache or usual_cache(), settings.questions.encoding
    return record_release(folder, data, cache, settings.engine, doing, encoding=encoding)


def _rival(folder: Path, settings: Evaluation, data: DataSet, where: str, progress: Progress) -> Recorded:
    if "edge" not in opened(folder):
        raise SettingsError(where, [f"rivals: {folder} has no bundle for tier edge, where a single model would run"])
    return _recorded(folder, settings, data, progress)


def _told_in_memory(
    folder: Path,
    settings: Evaluation,
    data: DataSet,
    recorded: Recorded,
    systems: Sequence[System],
    progress: Progress,
) -> dict[str, list[Told]]:
    engine, close = _engine(folder, settings, data, recorded)
    try:
        return {
            system.name: InMemory(system, engine, data, settings).run(progress.doing(f"asking: {system.name}"))
            for system in systems
        }
    finally:
        close()


def _engine(folder: Path, settings: Evaluation, data: DataSet, recorded: Recorded) -> tuple[Engine, Callable[[], None]]:
    stages = calibrated(recorded)
    if not any(before(spec) or spec.sends for spec in _specs(recorded.releases).values()):
        return RecordedModels(stages, data, settings), lambda: None
    models = ReleaseModels(folder, engines=settings.engine.engine_settings())
    return SegmentedModels(models, stages, settings), models.close


def _specs(releases: Mapping[Tier, LoadedRelease]) -> dict[tuple[str, str], StageSpec]:
    return {(tier, spec.name): spec for tier, release in releases.items() for spec in release.bundle.manifest.stages}


def calibrated(recorded: Recorded) -> dict[Place, StageRecord]:
    """As the stages say it in the field."""
    specs = _specs(recorded.releases)
    bends: dict[Place, Calibration | None] = {place: specs[place].calibration for place in recorded.stages}
    return {place: stage.bent(bends[place]) for place, stage in recorded.stages.items()}


def _check(data: DataSet, releases: Mapping[Tier, LoadedRelease], settings: Evaluation, where: str) -> None:
    """Before anything is run: whether the samples are for this release."""
    specs = list(_specs(releases).values())
    kinds = {spec.output.kind for spec in specs}
    mistakes = misfits(data, specs[0])
    if "detections" in kinds:
        mistakes.append("found a release of detectors, expected classes, anomaly scores or estimates: a label says "
                        "nothing of where a thing is")  # fmt: skip
    elif kinds == {"estimate"}:
        wordy = sorted({label for label in data.labels if not numbers_of(label)})
        if wordy:
            mistakes.append(f'found the label "{wordy[0]}", expected numbers: the release makes estimates')
        if not settings.within:
            raise SettingsError(where, ["within: is missing, expected how near an estimate must be to be right"])
    else:
        sayable = {label for spec in specs for label in spec.labels}
        sayable |= {"normal", "anomaly"} if "anomaly" in kinds else set()
        mistakes += unsayable(data.labels, sorted(sayable))
    if mistakes:
        raise SettingsError(data.source, mistakes)


def _evaluated(
    settings: Evaluation,
    data: DataSet,
    recorded: Recorded,
    rivals: Mapping[str, Recorded],
    replays: Mapping[str, Replayed],
    how: str,
) -> Evaluated:
    per_byte, seed = settings.above.budget.joules_per_byte, settings.seed
    recordings = _as_recordings(data, recorded, replays)
    right = rights(recordings, data.labels, settings.within)
    by_place = {(entry.tier, entry.stage): entry.gate for entry in _manifest(recorded).gates}
    gates = [by_place[stage.tier, stage.name] for stage in recordings.stages]  # type: ignore[index]
    cascade = replays.get(CASCADE)
    candidates = _candidates(recordings, right, recorded) + [
        candidate for name, each in rivals.items() for candidate in _rival_candidates(name, each, data, settings)
    ]
    return Evaluated(
        task=_manifest(recorded).task,
        release=str(settings.release),
        source=data.source,
        samples=len(data),
        how=how,
        rows=tuple(row_of(each, per_byte, seed) for each in replays.values()),
        differences=()
        if cascade is None
        else tuple(difference(cascade, each, per_byte, seed) for each in replays.values() if each is not cascade),
        singles=() if cascade is None else tuple(singles(candidates, cascade.right, seed)),
        sweeps=tuple(sweeps(recordings, gates, right, per_byte)),
        recordings=recordings,
        right=tuple(right),
        gates=tuple(gates),
        ran={f"{tier}/{name}": count for (tier, name), count in recorded.ran.items()},
        notes=tuple(_notes(settings, recorded, replays)),
    )


def _manifest(recorded: Recorded) -> ReleaseManifest:
    return next(iter(recorded.releases.values())).manifest


def _as_recordings(data: DataSet, recorded: Recorded, replays: Mapping[str, Replayed]) -> Recordings:
    """With the bytes that climbing costs, sample by sample."""
    stages = tuple(calibrated(recorded).values())
    names = sorted({*data.labels, *(word for stage in stages for word in stage.labels)})
    places = {name: index for index, name in enumerate(names)}
    sent = _sent(replays)
    hidden = [int(stage.sent_bytes.max()) for stage in stages if stage.sent_bytes is not None]
    return Recordings(
        task=_manifest(recorded).task,
        stages=stages,
        label_names=tuple(names),
        label=np.array([places.get(label, NO_LABEL) for label in data.labels]),
        input_bytes=sent,
        max_input_bytes=max([int(sent.max()), *hidden]),
        source=data.source,
    )


def _sent(replays: Mapping[str, Replayed]) -> Array:
    """What the top alone was sent."""
    top = [each for name, each in replays.items() if name.endswith(" only")][-1]
    return top.bytes_up[TIERS[0]]


def _candidates(recordings: Recordings, right: Sequence[Array], recorded: Recorded) -> list[Candidate]:
    sizes = {place: _model_bytes(recorded, place) for place in recorded.stages}
    return [
        Candidate(f"{stage.tier}/{stage.name}", hits, stage, sizes[stage.tier, stage.name])  # type: ignore[index]
        for stage, hits in zip(recordings.stages, right, strict=True)
        if not stage.root
    ]


def _rival_candidates(name: str, found: Recorded, data: DataSet, settings: Evaluation) -> list[Candidate]:
    edge = {place: replace(stage, sent_bytes=None) for place, stage in calibrated(found).items() if place[0] == "edge"}
    names = sorted({*data.labels, *(word for stage in edge.values() for word in stage.labels)})
    label = np.array([names.index(each) for each in data.labels])
    zeros = np.zeros(len(data))
    recordings = Recordings(
        task=name, stages=tuple(edge.values()), label_names=tuple(names), label=label, input_bytes=zeros,
        max_input_bytes=0,
    )  # fmt: skip
    found_right = rights(recordings, data.labels, settings.within)
    return [
        candidate._replace(place=f"{name}/{candidate.stage.name}")
        for candidate in _candidates(recordings, found_right, found)
    ]


def _model_bytes(recorded: Recorded, place: Place) -> int:
    tier, name = place
    manifest = recorded.releases[tier].bundle.manifest
    spec = next(spec for spec in manifest.stages if spec.name == name)
    return manifest.files[spec.file].bytes


def _notes(settings: Evaluation, recorded: Recorded, replays: Mapping[str, Replayed]) -> list[str]:
    notes = []
    manifest = _manifest(recorded)
    missing = sorted(set(manifest.bundles) - set(recorded.releases), key=TIERS.index)
    if missing:
        notes.append(
            f"the release names a bundle for {' and '.join(missing)} that is not here: what it would say is unknown"
        )
    if not settings.above.budget.joules_per_byte:
        notes.append("no joules are known of the radio (above.budget.joules_per_byte): what goes up costs none here")
    for stage in recorded.stages.values():
        unreadable = stage.samples - int(readable_samples(stage).sum())
        if unreadable:
            notes.append(f"{stage.tier}/{stage.name} gave nothing that can be read of {unreadable} samples: they climb")
    late = {name: each.provisional.mean() for name, each in replays.items() if each.provisional.any()}
    notes += [
        f"{name}: {share:.1%} of answers by the deadline were provisional, and were judged as they were"
        for name, share in late.items()
    ]
    return notes
