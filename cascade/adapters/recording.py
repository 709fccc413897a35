"""Records what every stage of a release says of every sample: through the very code that runs stages in the field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cascade.adapters.bundle_folder import LoadedRelease, open_release, tiers_of
from cascade.adapters.recorded_ladder import RecordedLadder, Wanted
from cascade.adapters.samples import payload_of
from cascade.adapters.stage_runner import StageRunner
from cascade.errors import BadInput
from cascade.inference.recordings import ENCODING, NO_LABEL, REPEATED, Array, BadRecording, Recordings
from cascade.messages import Payload, Question, payload_digest


class LabelledSample(NamedTuple):
    """A sample as programs have it, and what is right; empty where nobody knows."""

    sample: Array | Mapping[str, Array]
    label: str = ""


def record(
    folder: Path,
    samples: Iterable[LabelledSample],
    runner: StageRunner,
    *,
    batch: int = 64,
    encoding: str = "zlib",
    source: str = "",
    progress: Callable[[int], None] = lambda done: None,
    wanted: Wanted = lambda tier, stage: True,
) -> Recordings:
    """Run the stages of all tiers whose bundles are in the release folder, or those `wanted`: one at least.
    Milliseconds are a batch's, shared out."""
    releases = [open_release(folder, tier) for tier in tiers_of(folder)]
    first = releases[0].bundle.manifest.stages[0]
    names = tuple(first.asks_for)
    ladder = RecordedLadder(releases, runner, encoding, wanted)
    labels: list[str] = []
    different: set[bytes] = set()
    for part in _batches(samples, batch):
        payloads = [_payload(each.sample, names) for each in part]
        different.update(map(payload_digest, payloads))
        ladder.ask([_question(releases[0], len(labels) + index, each) for index, each in enumerate(payloads)])
        labels += [each.label for each in part]
        progress(len(labels))
    if not labels:
        raise BadRecording("nothing to record: no samples")
    repeated = 1.0 - len(different) / len(labels)
    notes = {"ms": "of a batch, shared out evenly", REPEATED: f"{repeated:.6f}", ENCODING: encoding}
    return _recordings(releases[0].manifest.task, ladder, labels, sum(first.asks_for.values()), source, notes)


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
        age_ms=1.0,
        digest=b"0" * 16,
    )


def _recordings(
    task: str, ladder: RecordedLadder, labels: Sequence[str], raw: int, source: str, notes: Mapping[str, str]
) -> Recordings:
    words = {word for column in ladder.columns for word in column.spec.labels}
    names = tuple(sorted({label for label in labels if label} | words))
    places = {name: index for index, name in enumerate(names)}
    sent = [size for column in ladder.columns for size in column.sent]
    return Recordings(
        task=task,
        stages=tuple(column.record() for column in ladder.columns),
        label_names=names,
        label=np.array([places.get(label, NO_LABEL) for label in labels]),
        input_bytes=np.array(ladder.input_bytes),
        max_input_bytes=max(raw + 512, *ladder.input_bytes, *sent),
        source=source,
        notes=notes,
    )
