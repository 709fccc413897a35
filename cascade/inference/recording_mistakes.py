"""Whether a recording holds together: every array as long as it must be, every number of something that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cascade.release.words import TIERS

if TYPE_CHECKING:
    from cascade.inference.recordings import Recordings, StageRecord

COLUMNS: dict[str, tuple[str, ...]] = {
    "classes": ("scores",),
    "estimate": ("values", "spreads"),
    "anomaly": ("score", "limit"),
    "detections": ("nothing", "count", "label", "found", "box"),
}
"""Arrays of each kind of prediction, one row per sample. Of detections the last three have a row per thing found."""


def recording_mistakes(recordings: Recordings, repeated: str) -> list[str]:
    """What doesn't hold together. `repeated`: the share of copies, as it was noted. Empty: all does."""
    samples = recordings.samples
    mistakes = [] if recordings.stages else ["a recording without a stage"]
    if not samples:
        mistakes.append("a recording without a sample")
    sent = [stage.sent_bytes for stage in recordings.stages if stage.sent_bytes is not None]
    for name, sizes in [("input", recordings.input_bytes), *(("sent", each) for each in sent)]:
        if len(sizes) != samples or not np.all((sizes >= 0) & (sizes <= recordings.max_input_bytes)):
            mistakes.append(f"{name} bytes that don't fit the samples")
    if samples and not -1 <= recordings.label.min() <= recordings.label.max() < max(1, len(recordings.label_names)):
        mistakes.append("a label without a name")
    if not _is_share(repeated):
        mistakes.append("a share of repeated samples that is none")
    order = [TIERS.index(stage.tier) if stage.tier in TIERS else -1 for stage in recordings.stages]
    if -1 in order or order != sorted(order):
        mistakes.append(f"stages are listed from the device up: {', '.join(TIERS)}")
    names = [(stage.tier, stage.name) for stage in recordings.stages]
    if len(set(names)) != len(names):
        mistakes.append("two stages of one tier have one name")
    for stage in recordings.stages:
        if len(stage.joules) and float(np.nanmin(stage.joules, initial=0.0)) < 0.0:
            mistakes.append(f"stage {stage.name} of {stage.tier}: joules below 0")
        mistakes += [f"stage {stage.name} of {stage.tier}: {mistake}" for mistake in _stage_mistakes(stage, samples)]
    return mistakes


def _is_share(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 1.0
    except ValueError:
        return False


def _stage_mistakes(stage: StageRecord, samples: int) -> list[str]:
    wanted = COLUMNS.get(stage.kind)
    if wanted is None or set(stage.columns) != set(wanted):
        return [f"no columns of a prediction of kind {stage.kind!r}"]
    things = int(stage.columns["count"].sum()) if stage.kind == "detections" else samples
    lengths = {name: things if name in ("label", "found", "box") else samples for name in wanted}
    parts = {**stage.columns, "ran": stage.ran, "ms": stage.ms, "joules": stage.joules}
    if stage.cues is not None:
        parts["cues"] = stage.cues
    wrong = [name for name, array in parts.items() if len(array) != lengths.get(name, samples)]
    if stage.kind == "classes" and (stage.columns["scores"].ndim != 2 or not stage.columns["scores"].shape[1]):
        wrong.append("scores")
    elif stage.kind == "classes" and stage.labels and stage.columns["scores"].shape[1] != len(stage.labels):
        return [f"{stage.columns['scores'].shape[1]} scores for {len(stage.labels)} labels"]
    return [f"other counts than {samples} in {', '.join(wrong)}"] if wrong else []
