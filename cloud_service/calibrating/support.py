"""Whether recordings can support a promise at all, and how many samples would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cascade.inference.recordings import Recordings, best_of, readable_samples, words_of
from cloud_service.calibrating.targets import Counted, Target, p_of_counts

MOST_MUTE = 0.05
"""Share of samples of which the top may say nothing: it is what is compared with."""
MOST_REPEATS = 0.05
"""Share of samples that may be copies of others. Tests count each as a sample of its own: so many, copied once each,
make the true variance a tenth larger than they take it to be. Honest surveys have some (UJIIndoorLoc 2 %)."""
_WORDLESS = {"estimate": "estimates", "detections": "detections", "classes": "classes without words"}
_MOST = 100_000_000
"""Samples beyond which nobody will go and record more."""
_MOST_REPEATED = 1_000_000


def unsupported(
    recordings: Recordings, targets: Sequence[Target], without: Sequence[str], repeats: bool = False
) -> list[str]:
    """What no number of tests would mend. `repeats`: samples repeat in the field just as they do here."""
    mistakes = not_without(recordings, without)
    if any(target.kind in ("worse", "wrong") for target in targets):
        mistakes += _unseen(recordings, without)
    if not all(target.is_budget for target in targets):
        mistakes += _monotonous(recordings, without)
    if recordings.repeated_share > MOST_REPEATS and not repeats:
        mistakes.append(
            f"{recordings.repeated_share:.0%} of the samples are copies of others, which tell nothing new: record "
            f"others ({MOST_REPEATS:.0%} may be copies), or say that the field repeats itself as often (--repeats)"
        )
    mute = 1.0 - _readable_share(recordings)
    if mute > MOST_MUTE:
        mistakes.append(f"the top of the ladder said nothing that can be read of {mute:.0%} of the samples")
    if len(recordings.stages) < 2:
        mistakes.append("a ladder of one stage has nobody above to be compared with")
    return mistakes + _not_run(recordings)


def _not_run(recordings: Recordings) -> list[str]:
    """Of what a stage was never asked nobody knows what it costs to leave it there."""
    mistakes = []
    for stage, comes in zip(recordings.stages, recordings.crossings.comes, strict=True):
        missing = int((~stage.ran if comes is None else comes & ~stage.ran).sum())
        if missing:
            mistakes.append(f"{stage.tier}/{stage.name} was not run on {missing} of the samples: record them again")
    return mistakes


def not_without(recordings: Recordings, without: Sequence[str]) -> list[str]:
    """Labels of which the field is said to have none, and which the recordings have, or nobody knows."""
    words = {*recordings.label_names, *(word for stage in recordings.stages for word in words_of(stage))}
    mistakes = [
        f"no label {label!r} for the field to be without; there are {', '.join(sorted(words)) or 'none'}"
        for label in without
        if label not in words
    ]
    for index, name in enumerate(recordings.label_names):
        count = int((recordings.label == index).sum()) if name in without else 0
        if count:
            mistakes.append(f"the field is said to be without {name}, and {count} samples are of it: leave them out")
    return mistakes


def _readable_share(recordings: Recordings) -> float:
    top = recordings.stages[-1]
    return float((readable_samples(top) & top.ran).mean())


def _unseen(recordings: Recordings, without: Sequence[str]) -> list[str]:
    """A promise over labels that were never recorded would be one about nothing."""
    top = recordings.stages[-1]
    if not words_of(top):
        return [
            f"{_WORDLESS.get(top.kind, top.kind)} of the top of the ladder can't be right or wrong by a label: "
            'only "disagreement with the cloud" can be promised'
        ]
    there = {recordings.label_names[index] for index in np.unique(recordings.label[recordings.label >= 0])}
    can_say = {word for stage in recordings.stages for word in words_of(stage)}
    mistakes = []
    if len(there) == 1 and len(can_say) > 1:
        return [f"all samples are of one class, {there.pop()}: of the others nothing is known"]
    unseen = sorted(can_say - there - set(without))
    if unseen and there:
        mistakes.append(
            f"no sample of {', '.join(unseen)}: record some, or say that the field has none either (--without)"
        )
    unknown = sorted(there - set(words_of(top)))
    if unknown:
        mistakes.append(f"samples of {', '.join(unknown)}, which the top of the ladder can't say")
    return mistakes


def _monotonous(recordings: Recordings, without: Sequence[str]) -> list[str]:
    """Whoever always says the same is agreed with at no cost, and beaten by nobody who was asked about one thing."""
    top = recordings.stages[-1]
    if top.kind not in ("classes", "anomaly"):
        return []
    best = best_of(top)[top.ran]
    said = np.unique(best[best >= 0])
    words = words_of(top) or tuple(str(number) for number in range(top.columns["scores"].shape[1]))
    if len(said) != 1 or not set(words) - {words[said[0]], *without}:
        return []
    return [f"the top of the ladder says {words[said[0]]} of all samples: whether it knows anything else is not known"]


def needed(counted: Mapping[Target, Counted], error: float, samples: int) -> int | None:
    """How many samples like these would refute that a target is missed, as often as not. None: no number would."""
    if any(each.samples and each.mean >= each.bound for each in counted.values()):
        return None
    if any(not each.samples for each in counted.values()):
        return None
    enough, short = 1.0, 0.0
    while not _would_do(counted, error, enough):
        short, enough = enough, enough * 2.0
        if enough * samples > _MOST:
            return None
    while enough - short > 0.02 * enough:
        middle = 0.5 * (short + enough)
        short, enough = (short, middle) if _would_do(counted, error, middle) else (middle, enough)
    return max(samples + 1, round(enough * samples))


def _would_do(counted: Mapping[Target, Counted], error: float, times: float) -> bool:
    return all(_p_of_more(each, error, times) <= error for each in counted.values())


def _p_of_more(counted: Counted, error: float, times: float) -> float:
    """Of so many times as many samples, with the same shares. Of yes and no the counts say all; others are repeated."""
    samples = max(1, round(counted.samples * times))
    if counted.is_count:
        worse, better = (round(count * times) for count in counted.counts)
        return p_of_counts(worse, better, samples, counted.low < 0.0, counted.bound, error)
    rows = np.random.default_rng(0).permutation(np.arange(min(samples, _MOST_REPEATED)) % counted.samples)
    return counted._replace(values=counted.values[rows]).p_value(error)
