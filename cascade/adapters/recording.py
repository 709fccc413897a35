"""Records what every stage of a release says of every sample: through the very code that runs stages in the field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from cascade.adapters.bundle_folder import LoadedRelease, open_release, tiers_of
from cascade.adapters.samples import payload_of
from cascade.adapters.stage_runner import StageRunner
from cascade.errors import BadInput
from cascade.inference.effects import RunStage
from cascade.inference.events import BadSample, Predicted, RunFailed
from cascade.inference.recordings import NO_LABEL, REPEATED, Array, BadRecording, Recordings, StageRecord
from cascade.messages import (
    DTYPES,
    AnomalyScore,
    Detections,
    Energy,
    Estimate,
    Payload,
    Prediction,
    Question,
    payload_digest,
)
from cascade.release.assembled import SHORT_DIGEST
from cascade.release.bundle import BundleManifest, StageSpec, Tier, stage_digest
from cascade.wire.codec import encode_questions
from cascade.wire.content import compressed

Said = Prediction | None
"""None: the stage failed, or could not read the sample."""


class LabelledSample(NamedTuple):
    """A sample as programs have it, and what is right; empty where nobody knows."""

    sample: Array | Mapping[str, Array]
    label: str = ""


class _Column(NamedTuple):
    """What one stage said so far."""

    said: list[Said]
    ms: list[float]
    joules: list[float]
    energy: list[Energy]


def record(
    folder: Path,
    samples: Iterable[LabelledSample],
    runner: StageRunner,
    *,
    batch: int = 64,
    encoding: str = "zlib",
    source: str = "",
    progress: Callable[[int], None] = lambda done: None,
    wanted: Callable[[Tier, StageSpec], bool] = lambda tier, stage: True,
) -> Recordings:
    """Run the stages of all tiers whose bundles are in the release folder, or those `wanted`: one at least.
    Milliseconds are a batch's, shared out."""
    releases = [_uncalibrated(open_release(folder, tier)) for tier in tiers_of(folder)]
    names = tuple(each.tensor for each in releases[0].bundle.manifest.stages[0].inputs if each.asked)
    specs = [
        (release, spec)
        for release in releases
        for spec in release.bundle.manifest.stages
        if wanted(release.bundle.manifest.tier, spec)
    ]
    for release in {id(release): release for release, _ in specs}.values():
        runner.install(_named(release))
    columns = [_Column([], [], [], []) for _ in specs]
    labels: list[str] = []
    sizes: list[int] = []
    different: set[bytes] = set()
    for part in _batches(samples, batch):
        payloads = [_payload(each.sample, names) for each in part]
        different.update(map(payload_digest, payloads))
        questions = [_question(releases[0], len(labels) + index, each) for index, each in enumerate(payloads)]
        labels += [each.label for each in part]
        sizes += [_bytes_up(question, encoding) for question in questions]
        for (release, spec), column in zip(specs, columns, strict=True):
            _run(runner, release, spec, questions, column)
        progress(len(labels))
    if not labels:
        raise BadRecording("nothing to record: no samples")
    repeated = 1.0 - len(different) / len(labels)
    notes = {"ms": "of a batch, shared out evenly", REPEATED: f"{repeated:.6f}"}
    return _recordings(specs, columns, labels, sizes, source, notes)


def _uncalibrated(release: LoadedRelease) -> LoadedRelease:
    """A recording is made before calibration: it is what calibrations are fitted on."""
    manifest = release.bundle.manifest
    plain = tuple(msgspec.structs.replace(stage, calibration=None) for stage in manifest.stages)
    bundle = release.bundle._replace(manifest=msgspec.structs.replace(manifest, stages=plain))
    return release._replace(bundle=bundle)


def _named(release: LoadedRelease) -> LoadedRelease:
    """The tiers of one release side by side in one runner: each under a name of its own."""
    manifest = msgspec.structs.replace(release.manifest, name=_name(release))
    return release._replace(manifest=manifest)


def _name(release: LoadedRelease) -> str:
    return f"recorded-{release.bundle.manifest.tier}"


def _batches(samples: Iterable[LabelledSample], size: int) -> Iterator[list[LabelledSample]]:
    source = iter(samples)
    while part := list(islice(source, size)):
        yield part


def _payload(sample: Array | Mapping[str, Array], names: Sequence[str]) -> Payload:
    try:
        return payload_of(sample, names)
    except BadInput as error:
        raise BadRecording(f"a sample: {error}") from error


def _question(release: LoadedRelease, number: int, payload: Payload) -> Question:
    """With names as long as usual, so that the bytes of the message are those of the field; and each its own, as
    segments of a model find what the one before left by the question's key."""
    return Question(
        id=f"{number:020}",
        device="site.device",
        stream="stream",
        sequence=1,
        task=release.manifest.task,
        release=release.id,
        payload=payload,
        ms_left=1000.0,
        digest=b"0" * 16,
    )


def _bytes_up(question: Question, encoding: str) -> int:
    return len(encode_questions([msgspec.structs.replace(question, payload=compressed(question.payload, encoding))]))


def _run(
    runner: StageRunner, release: LoadedRelease, spec: StageSpec, questions: Sequence[Question], column: _Column
) -> None:
    """A batch that fails is tried one by one, as a hop does."""
    ladder = _named(release).ladder
    done = runner.run(RunStage(0, ladder.task, ladder.release, spec.name, tuple(questions)))
    if isinstance(done, RunFailed) and len(questions) > 1:
        for question in questions:
            _run(runner, release, spec, [question], column)
        return
    _keep(done, len(questions), column)


def _keep(done: Predicted | RunFailed, samples: int, column: _Column) -> None:
    if isinstance(done, RunFailed):
        column.said.append(None)
        column.ms.append(0.0)
        column.joules.append(0.0)
        return
    column.said.extend(None if isinstance(result, BadSample) else result for result in done.results)
    column.ms.extend([done.ms / samples] * samples)
    column.joules.extend([done.joules / samples] * samples)
    column.energy.append(done.energy)


def _recordings(
    specs: Sequence[tuple[LoadedRelease, StageSpec]],
    columns: Sequence[_Column],
    labels: Sequence[str],
    sizes: Sequence[int],
    source: str,
    notes: Mapping[str, str],
) -> Recordings:
    names = tuple(sorted({label for label in labels if label} | {word for _, spec in specs for word in spec.labels}))
    places = {name: index for index, name in enumerate(names)}
    payload = sum(DTYPES[each.dtype] * int(np.prod(each.shape)) for each in specs[0][1].inputs if each.asked)
    return Recordings(
        task=specs[0][0].manifest.task,
        stages=tuple(
            _stage(release.bundle.manifest, spec, column)
            for (release, spec), column in zip(specs, columns, strict=True)
        ),
        label_names=names,
        label=np.array([places.get(label, NO_LABEL) for label in labels]),
        input_bytes=np.array(sizes),
        max_input_bytes=max(payload + 512, *sizes),
        source=source,
        notes=notes,
    )


def _stage(manifest: BundleManifest, spec: StageSpec, column: _Column) -> StageRecord:
    energy = set(column.energy)
    cues = [len(each.cues) for each in column.said if each is not None and each.cues]
    return StageRecord(
        tier=manifest.tier,
        name=spec.name,
        kind=spec.output.kind,
        labels=spec.labels,
        model=manifest.files[spec.file].sha256[:SHORT_DIGEST],
        stage_digest=stage_digest(spec, manifest),
        columns=_COLUMNS[spec.output.kind](column.said, spec),
        cues=_cues(column.said, cues[0]) if cues else None,
        ran=np.ones(len(column.said), bool),
        ms=np.array(column.ms),
        joules=np.array(column.joules),
        energy=str(energy.pop()) if len(energy) == 1 else str(Energy.UNKNOWN),
    )


def _cues(said: Sequence[Said], width: int) -> Array:
    empty = (np.nan,) * width
    return np.array([each.cues if each is not None and each.cues else empty for each in said])


def _rows(said: Sequence[Said], numbers: Callable[[Any], tuple[float, ...]], least: int = 1) -> Array:
    """One row each. float32 where that says the same: models speak it, and calibrations compute in float64."""
    rows = [() if each is None else numbers(each) for each in said]
    width = max([least, *map(len, rows)])
    array = np.array([row if len(row) == width else (np.nan,) * width for row in rows], np.float64)
    small = array.astype(np.float32)
    return small if np.array_equal(small.astype(np.float64), array, equal_nan=True) else array


def _classes(said: Sequence[Said], spec: StageSpec) -> dict[str, Array]:
    return {"scores": _rows(said, lambda each: each.scores, len(spec.labels) or 1)}


def _estimates(said: Sequence[Said], spec: StageSpec) -> dict[str, Array]:
    def values(each: Estimate) -> tuple[float, ...]:
        return each.values

    return {"values": _rows(said, values), "spreads": _rows(said, lambda each: each.spreads)}


def _anomalies(said: Sequence[Said], spec: StageSpec) -> dict[str, Array]:
    scores = [each.score if isinstance(each, AnomalyScore) else np.nan for each in said]
    return {"score": np.array(scores), "limit": np.full(len(scores), spec.output.limit)}


def _detections(said: Sequence[Said], spec: StageSpec) -> dict[str, Array]:
    readable = [each if isinstance(each, Detections) else Detections((), np.nan) for each in said]
    things = [thing for each in readable for thing in each.found]
    return {
        "nothing": np.array([each.nothing for each in readable]),
        "count": np.array([len(each.found) for each in readable]),
        "label": np.array([thing.label for thing in things], np.int64),
        "found": np.array([thing.score for thing in things], np.float64),
        "box": np.array([thing.box for thing in things], np.float64).reshape(-1, 4),
    }


_COLUMNS: Mapping[str, Callable[[Sequence[Said], StageSpec], dict[str, Array]]] = {
    "classes": _classes,
    "estimate": _estimates,
    "anomaly": _anomalies,
    "detections": _detections,
}
