"""How a device's life would have been under other thresholds, from what its journal knows.

What its stages said is in there; of the hop above, what it answered: to what climbed, and to what was audited. The rest
is unknown, and stays so: a journal holds no inputs that could be asked about again. So the figures of other thresholds
are of what is known, and beside them stands how much isn't.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from cascade.adapters.bundle_folder import open_release
from cascade.errors import SettingsError
from cascade.inference.recordings import NO_LABEL, Recordings, StageRecord
from cascade.inference.scoring import UNKNOWN, Scored, score
from cascade.messages import ClassScores, Energy, Key
from cascade.release.ladder import GateSpec, Ladder, LadderStage
from cascade_cli.evaluate.intervals import Array
from cascade_cli.evaluate.journals import Lived, live_again
from cascade_cli.evaluate.replayed import NOBODY, Replayed, gathered, right_by
from cascade_cli.evaluate.settings import Evaluation, JournalOf

AS_IT_WAS, AS_IT_WOULD_BE = "as it was", "these thresholds"
ABOVE = "above"


class Lifetime(NamedTuple):
    """The two ways to look at it."""

    task: str
    replays: dict[str, Replayed]
    unknown: float
    """Share of questions of which nobody knows what would have come of them under these thresholds."""
    right_between: tuple[float, float] | None
    """Share right under these thresholds, if all that is unknown were wrong, and if it were right."""
    notes: tuple[str, ...]


def look_back(settings: Evaluation, table: JournalOf) -> Lifetime:
    release = open_release(settings.release, "edge")
    lived = live_again(table, release.manifest.task)
    wanted = _gates(settings.release, release.ladder, lived.ladder)
    labels = _labels(table.labels, lived)
    was = gathered(AS_IT_WAS, lived.told, labels, right_by(settings.within))
    recordings = _recordings(lived, labels, was)
    scored = score(recordings, wanted)
    unknown = scored.answered_by == UNKNOWN
    known = scored.right[~np.isnan(scored.right)]
    labelled = int((recordings.label != NO_LABEL).sum())
    between = None
    if labelled:
        hits = float(known.sum())
        unsure = int((unknown & (recordings.label != NO_LABEL)).sum())
        between = (hits / labelled, (hits + unsure) / labelled)
    would_be = _would_be(scored, recordings, was, lived)
    return Lifetime(
        lived.ladder.task, {AS_IT_WAS: was, AS_IT_WOULD_BE: would_be}, float(unknown.mean()), between, lived.notes
    )


def _gates(release: Path, opened: Ladder, ladder: Ladder) -> list[GateSpec]:
    """Those of the release for the stages of the journal; the hop above answers whatever reaches it."""
    there = {(stage.name, stage.model): stage.gate for stage in opened.stages}
    unknown = [stage.name for stage in ladder.stages if (stage.name, stage.model) not in there]
    if unknown or len(opened.stages) != len(ladder.stages):
        mistake = f"its device runs other models than those of the journal ({', '.join(unknown) or 'more of them'})"
        raise SettingsError(str(release), [f"{mistake}: what they would have said is unknown"])
    return [*(there[stage.name, stage.model] for stage in ladder.stages), GateSpec("always")]


class _Known(msgspec.Struct):
    """A line of the file of labels."""

    id: str
    label: str


def _labels(path: Path | None, lived: Lived) -> list[str]:
    """Of each question; empty where nobody has looked at it."""
    if path is None:
        return [""] * len(lived.told)
    try:
        raw = path.read_bytes()
        lines = [msgspec.json.decode(line, type=_Known) for line in raw.splitlines() if line.strip()]
    except OSError as error:
        raise SettingsError(str(path), [f"can't be read: {error.strerror}"]) from error
    except msgspec.MsgspecError as error:
        raise SettingsError(str(path), [f'found {error}, expected lines of {{"id": "…", "label": "…"}}']) from error
    known = {line.id: line.label for line in lines}
    labels = [known.get(told.final.id, "") for told in lived.told]
    if known and not any(labels):
        raise SettingsError(str(path), ["found no id that is in the journal, expected those of its questions"])
    return labels


def _recordings(lived: Lived, labels: list[str], was: Replayed) -> Recordings:
    keys = [told.final.key for told in lived.told]
    words = {word for stage in lived.ladder.stages for word in stage.labels}
    names = tuple(sorted(words | {label for label in labels if label} | {each.label for each in lived.above.values()}))
    places = {name: index for index, name in enumerate(names)}
    sent = was.bytes_up["edge"]
    usual = float(np.mean(sent[sent > 0])) if (sent > 0).any() else 0.0
    return Recordings(
        task=lived.ladder.task,
        stages=(*(_stage(stage, keys, lived) for stage in lived.ladder.stages), _above(keys, names, lived)),
        label_names=names,
        label=np.array([places.get(label, NO_LABEL) if label else NO_LABEL for label in labels]),
        input_bytes=np.where(sent > 0, sent, usual),
        max_input_bytes=int(max(sent.max(), usual)) + 1,
        source="journal",
    )


def _stage(stage: LadderStage, keys: list[Key], lived: Lived) -> StageRecord:
    width = max(1, len(stage.labels))
    said = [lived.said.get((stage.name, key)) for key in keys]
    names = [each.name for each in lived.ladder.stages]
    later = names[names.index(stage.name) + 1 :]
    passed = (0.0, 0.0, Energy.ESTIMATED)  # it was not asked, said nothing, and the question went on
    spent = [lived.spent.get((stage.name, key), passed if lived.entered.get(key) in later else None) for key in keys]
    rows = [each.scores if each is not None and len(each.scores) == width else (np.nan,) * width for each in said]
    energies = {each[2] for each in spent if each is not None and each is not passed}
    return StageRecord(
        tier="edge",
        name=stage.name,
        kind=stage.kind,
        labels=stage.labels,
        model=stage.model,
        stage_digest="",
        columns={"scores": np.array(rows, float)},
        cues=_cues(stage, said),
        ran=np.array([each is not None for each in spent]),
        ms=np.array([each[0] if each else np.nan for each in spent]),
        joules=np.array([each[1] if each and each[2] is not Energy.UNKNOWN else np.nan for each in spent]),
        energy=str(energies.pop()) if len(energies) == 1 else str(Energy.UNKNOWN),
        calibrated=True,
    )


def _cues(stage: LadderStage, said: list[ClassScores | None]) -> Array | None:
    if not stage.cues:
        return None
    nothing = (np.nan,) * len(stage.cues)
    return np.array([each.cues if each is not None and each.cues else nothing for each in said], float)


def _above(keys: list[Key], names: tuple[str, ...], lived: Lived) -> StageRecord:
    """All that is above in one: its word, where it was asked."""
    scores = np.zeros((len(keys), max(1, len(names))))
    answers = [lived.above.get(key) for key in keys]
    for row, answer in enumerate(answers):
        if answer is not None and answer.label in names:
            scores[row, names.index(answer.label)] = 1.0
    zeros = np.zeros(len(keys))
    return StageRecord(
        tier="cloud",
        name=ABOVE,
        kind="classes",
        labels=names,
        model="",
        stage_digest="",
        columns={"scores": scores},
        ran=np.array([answer is not None for answer in answers]),
        ms=zeros,
        joules=zeros,
        calibrated=True,
    )


def _would_be(scored: Scored, recordings: Recordings, was: Replayed, lived: Lived) -> Replayed:
    """Milliseconds are not known: nobody knows how long the hop above would have taken."""
    names = [f"{stage.tier}/{stage.name}" for stage in recordings.stages]
    codes: Mapping[int, str] = {-1: NOBODY, UNKNOWN: "unknown"}
    device = [stage for stage in recordings.stages if stage.tier == "edge"]
    joules = np.sum(
        [np.where(scored.reached[number], stage.joules, 0.0) for number, stage in enumerate(device)], axis=0
    )
    climbs = scored.reached[-1] | (scored.answered_by == UNKNOWN)
    nothing: dict[str, Any] = {"fog": np.zeros(recordings.samples), "cloud": np.full(recordings.samples, np.nan)}
    return Replayed(
        system=AS_IT_WOULD_BE,
        right=scored.right,
        ms=np.zeros(0),
        answered_by=tuple(codes.get(code) or names[code] for code in scored.answered_by.tolist()),
        bytes_up={"edge": np.where(climbs, recordings.input_bytes, 0.0), "fog": nothing["fog"]},
        model_joules={"edge": joules, **nothing},
        energy=was.energy,
        provisional=np.zeros(recordings.samples, bool),
        decisions="",
    )
