"""`cascade calibrate --record`: what each stage says of samples, and why a recording of them would be no use.

All is looked at before anything is written: a bad recording must not take the place of a good one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cascade.adapters.installing import stage_runner
from cascade.adapters.recording import LabelledSample, record
from cascade.adapters.recording_file import write_recordings
from cascade.adapters.settings_tables import EngineTable
from cascade.errors import SettingsError
from cascade.inference.recordings import BadRecording, Recordings, readable_samples, words_of
from edge_agent.sensors.recordings import open_recording
from edge_agent.sensors.sensor_settings import ReplayTable

USUAL_LABELS = "labels"
_SHOWN = 5


def record_samples(wanted: argparse.Namespace) -> None:
    """`SettingsError` for samples that are asked for wrongly, `BadRecording` for what came of them."""
    if wanted.record.exists() and wanted.recordings.exists() and wanted.record.samefile(wanted.recordings):
        raise SettingsError("--recordings", [f"found {wanted.recordings}, which --record reads: expected another file"])
    samples = _samples(wanted.record, wanted.labels)
    with tempfile.TemporaryDirectory() as folder:
        runner = stage_runner(Path(folder), EngineTable())
        try:
            recordings = record(
                wanted.release,
                samples,
                runner,
                encoding="raw" if wanted.encoding == "none" else wanted.encoding,
                source=wanted.record.name,
                progress=_progress,
            )
        finally:
            runner.close()
            sys.stderr.write("\n" if sys.stderr.isatty() else "")
    mistakes = useless(recordings)
    if mistakes:
        raise BadRecording(f"{wanted.record}: {'; '.join(mistakes)}; nothing was written")
    write_recordings(wanted.recordings, recordings)


def _samples(path: Path, labels: str | None) -> Iterator[LabelledSample]:
    replay = open_recording(ReplayTable(path=path, labels=labels or USUAL_LABELS))
    if labels is not None:
        _check_named(path, labels)

    def read() -> Iterator[LabelledSample]:
        for index in range(replay.samples):
            sample = replay.read(index)
            yield LabelledSample(sample.tensors, sample.label)

    return read()


def _check_named(path: Path, labels: str) -> None:
    """Labels under the usual name may be missing. Whoever names others means some that are there."""
    if path.suffix != ".npz":
        raise SettingsError("--labels", [f"found {labels!r}: only an .npz file has an array of labels"])
    with np.load(path, allow_pickle=False) as file:
        if labels not in file.files:
            raise SettingsError("--labels", [f"found no array {labels!r} in {path}; it has {', '.join(file.files)}"])


def useless(recordings: Recordings) -> list[str]:
    """What keeps anything from being learned from it. Empty: nothing does."""
    mute = [
        f"{stage.tier}/{stage.name} could read none of the {recordings.samples} samples"
        for stage in recordings.stages
        if not readable_samples(stage).any()
    ]
    sayable = {word for stage in recordings.stages for word in words_of(stage)}
    there = [recordings.label_names[index] for index in np.unique(recordings.label[recordings.label >= 0])]
    unknown = sorted(set(there) - sayable)
    if not unknown or not sayable:
        return mute
    shown = ", ".join(unknown[:_SHOWN]) + (f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else "")
    return [*mute, f"labelled {shown}, which no stage can say: they say {', '.join(sorted(sayable)[:20])}"]


def counted(recordings: Recordings) -> dict[str, Any]:
    """What is in a recording, for programs."""
    unreadable = {
        f"{stage.tier}/{stage.name}": recordings.samples - int(readable_samples(stage).sum())
        for stage in recordings.stages
    }
    return {
        "samples": recordings.samples,
        "labelled": int((recordings.label >= 0).sum()),
        "copies": round(recordings.repeated_share * recordings.samples),
        "unreadable": {place: count for place, count in unreadable.items() if count},
        "hidden": {
            f"{stage.tier}/{stage.name}": int((stage.sent_bytes > 0).sum())
            for stage in recordings.stages
            if stage.sent_bytes is not None
        },
    }


def described(recordings: Recordings) -> str:
    """The same, for people."""
    found = counted(recordings)
    holes = ", ".join(f"{count:,} of {place}" for place, count in found["unreadable"].items()) or "none"
    copies = f", {found['copies']:,} copies of others" if found["copies"] else ""
    hidden = "".join(f"; smaller than the input: {n:,} of {place}'s features" for place, n in found["hidden"].items())
    return (
        f"{found['samples']:,} samples of {len(recordings.stages)} stages, {found['labelled']:,} labelled{copies}; "
        f"unreadable: {holes}{hidden}"
    )


def _progress(done: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rrecorded {done} samples")
