"""What thresholds shall promise, as people write it, and the number per sample whose mean must stay below a bound.

    at most 0.5 points worse than the cloud, with 90 % confidence
    at most 2 points worse than the cloud on fault
    at most 3 % wrong
    at most 1 % disagreement with the cloud        (needs no labels)
    at most 5 kB per minute                        (needs a rate: questions per minute)
    at most 2 mJ per question

"The cloud" is whatever stands at the top of the recorded ladder. With costs per class a wrong answer counts as much
as its class costs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.errors import SettingsError
from cascade.inference.crossings import sent_in_vain
from cascade.inference.recordings import Recordings, said_labels
from cascade.inference.scoring import Scored, top_alone
from cascade.wire.topics import ask_topic, published_bytes
from cloud_service.calibrating.p_values import betting_p, binomial_p, paired_p

Array = npt.NDArray[Any]

PACKET_BYTES = published_bytes(ask_topic("site.device"), 0, expires=True)
"""What the packet takes beside the message in it, for a device whose name is as long as that of recorded questions."""

USUAL_CONFIDENCE = 0.9


class Target(NamedTuple):
    """A bound on a mean."""

    kind: str
    """`worse`, `wrong`, `disagreement`, `bytes`, `joules`."""
    bound: float
    """As a share, bytes per minute, or joules per question."""
    label: str = ""
    """Of `worse` and `wrong`: only samples of this class."""
    text: str = ""
    unit: str = ""
    """In which a budget was said."""

    def said(self, amount: float) -> str:
        """An amount in the unit that the target speaks of."""
        per = {"bytes": " per minute", "joules": " per question"}.get(self.kind)
        if per is None:
            return f"{100.0 * amount:.4g} {'points' if self.kind == 'worse' else '%'}"
        unit = self.unit or {"bytes": "B", "joules": "J"}[self.kind]
        return f"{amount / _UNITS[unit]:.4g} {unit}{per}"

    @property
    def is_budget(self) -> bool:
        """Whether climbing makes it harder to keep; of the others answering below does."""
        return self.kind in ("bytes", "joules")


class Circumstances(NamedTuple):
    """What no recording knows."""

    questions_per_minute: float | None = None
    joules_per_byte: float = 0.0
    costs: Mapping[str, float] = {}  # read only
    """What a wrong answer costs, per class; 1 where it isn't said."""


class Counted(NamedTuple):
    """One number per sample that counts, and between which bounds any such number lies."""

    values: Array
    low: float
    high: float
    bound: float
    is_count: bool = False
    """Only 0 and 1 are possible; with a `low` of -1 also -1."""

    @property
    def samples(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return float(self.values.mean()) if len(self.values) else float("nan")

    def p_value(self, error: float) -> float:
        """That it looks this good although the mean is above the bound."""
        if not len(self.values):
            return 1.0
        if not self.is_count:
            return betting_p(self.values, self.bound, self.low, self.high, error)
        worse, better = self.counts
        return p_of_counts(worse, better, self.samples, self.low < 0.0, self.bound, error)

    @property
    def counts(self) -> tuple[int, int]:
        """How many are above 0, and how many below."""
        return int((self.values > 0).sum()), int((self.values < 0).sum())

    def at_most(self, error: float) -> float:
        """The smallest bound that would have been kept: an upper confidence limit of the mean."""
        low, high = self.low, self.high
        for _ in range(30):
            middle = 0.5 * (low + high)
            if self._replace(bound=middle).p_value(error) <= error:
                high = middle
            else:
                low = middle
        return high


def p_of_counts(worse: int, better: int, samples: int, is_difference: bool, bound: float, error: float) -> float:
    if is_difference:
        return paired_p(worse, better, samples, bound, error)
    return binomial_p(worse, samples, bound)


class Losses:
    """Turns scored ladders into numbers that count. What the top of the ladder says is worked out once: `top` is where
    everything climbs."""

    def __init__(self, top: Scored, circumstances: Circumstances) -> None:
        self._top = top
        self._recordings = top.recordings
        self._circumstances = circumstances
        self._labelled = top.recordings.label >= 0
        self._top_wrong = _wrong(top_alone(top))
        names = top.recordings.label_names
        by_name = np.array([circumstances.costs.get(name, 1.0) for name in names] or [1.0])
        self._costs = by_name[np.maximum(top.recordings.label, 0)]
        self._dearest = float(by_name.max())

    def counted(self, target: Target, scored: Scored) -> Counted:
        return _KINDS[target.kind](self, target, scored)

    def worse(self, target: Target, scored: Scored) -> Counted:
        difference = (_wrong(scored) - self._top_wrong) * self._costs
        plain = bool(np.all(self._costs == 1.0))
        return Counted(difference[self._rows(target)], -self._dearest, self._dearest, target.bound, plain)

    def wrong(self, target: Target, scored: Scored) -> Counted:
        plain = bool(np.all(self._costs == 1.0))
        values = (_wrong(scored) * self._costs)[self._rows(target)]
        return Counted(values, 0.0, self._dearest, target.bound, plain)

    def disagreement(self, target: Target, scored: Scored) -> Counted:
        differs = np.ones(self._recordings.samples, bool)
        for number, agrees in enumerate(self._agreeing):
            mine = scored.answered_by == number
            differs[mine] = ~agrees[mine]
        return Counted(differs.astype(float), 0.0, 1.0, target.bound, True)

    @cached_property
    def _agreeing(self) -> list[Array]:
        """Per stage and sample: whether it says what the ladder's top says, by the rule of its kind of prediction."""
        top = self._recordings.stages[-1]
        words = said_labels(top, self._recordings.label_names)
        found = []
        for stage in self._recordings.stages:
            if stage.kind == top.kind == "classes" and stage.labels and top.labels:
                found.append((said_labels(stage, self._recordings.label_names) == words) & (words >= 0) & top.ran)
            else:
                pairs = ((stage.prediction(index), top.prediction(index)) for index in range(stage.samples))
                found.append(np.array([one.readable() and one.agrees(other) for one, other in pairs]) & top.ran)
        return found

    def sent(self, target: Target, scored: Scored) -> Counted:
        rate = self._circumstances.questions_per_minute or 0.0
        sent, most = self._packets(scored)
        return Counted(sent * rate, 0.0, most * rate, target.bound)

    def joules(self, target: Target, scored: Scored) -> Counted:
        """A stage's joules are taken as their mean: how much one run of a model takes is no matter of its input."""
        per_byte, lowest = self._circumstances.joules_per_byte, self._recordings.stages[0].tier
        sent, most_sent = self._packets(scored)
        spent, most = sent * per_byte, most_sent * per_byte
        for number, stage in enumerate(self._recordings.stages):
            if stage.tier == lowest:
                each = float(np.nanmean(stage.joules[stage.ran])) if stage.ran.any() else 0.0
                spent, most = spent + scored.reached[number] * each, most + each
        return Counted(spent, 0.0, most, target.bound)

    def _packets(self, scored: Scored) -> tuple[Array, int]:
        """What leaves the device for each sample, and at most: a message is recorded without its packet's head, and one
        question alone has one of its own."""
        head = PACKET_BYTES if self._recordings.stages[0].tier == "edge" else 0
        return scored.device_bytes + head * (scored.device_bytes > 0), self._recordings.max_input_bytes + head

    def _rows(self, target: Target) -> Array:
        if not target.label:
            return self._labelled
        names = self._recordings.label_names
        return np.asarray(self._recordings.label == (names.index(target.label) if target.label in names else -2))


_KINDS: dict[str, Callable[[Losses, Target, Scored], Counted]] = {
    "worse": Losses.worse,
    "wrong": Losses.wrong,
    "disagreement": Losses.disagreement,
    "bytes": Losses.sent,
    "joules": Losses.joules,
}


def _wrong(scored: Scored) -> Array:
    """What reached a stage that was never recorded counts as wrong: the worst that could have come of it."""
    return np.asarray(1.0 - np.nan_to_num(scored.right, nan=0.0))


_NUMBER = r"(?P<number>\d+(?:\.\d+)?|\.\d+)"
_ON = r"(?: (?i:on|for) (?P<label>\S+))?"
_PER = r"(?: ?/ ?| (?i:per|a) )"
_FORMS: Sequence[tuple[str, re.Pattern[str]]] = (
    ("worse", re.compile(rf"{_NUMBER} (?i:points? worse than (?:the )?(?:cloud|top)){_ON}")),
    ("wrong", re.compile(rf"{_NUMBER} ?% (?i:wrong){_ON}")),
    ("disagreement", re.compile(rf"{_NUMBER} ?% (?i:disagreement(?: with (?:the )?(?:cloud|top))?)")),
    ("bytes", re.compile(rf"{_NUMBER} ?(?P<unit>B|kB|KB|MB|bytes?){_PER}(?i:minute|min)")),
    ("joules", re.compile(rf"{_NUMBER} ?(?P<unit>J|mJ|uJ|µJ|μJ){_PER}(?i:question)")),
)
"""Large and small letters are one, but for labels and units: mJ and MJ are not."""
_UNITS = {
    "B": 1.0, "byte": 1.0, "bytes": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6,
    "J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "μJ": 1e-6,
}  # fmt: skip
_CONFIDENCE = re.compile(rf",? with {_NUMBER} ?% confidence$", re.IGNORECASE)
_BEFORE = re.compile(r"^(?:at most|no more than|not more than|less than) ", re.IGNORECASE)
EXPECTED = (
    '"at most 0.5 points worse than the cloud, with 90 % confidence", "at most 3 % wrong", '
    '"at most 1 % disagreement with the cloud", "at most 5 kB per minute" or "at most 2 mJ per question"'
)


def read_target(text: str) -> tuple[Target, float | None]:
    """A target and the confidence that it asks for, if it says so; `SettingsError` with what can be said."""
    rest = " ".join(text.split())
    confidence = None
    said = _CONFIDENCE.search(rest)
    if said:
        confidence, rest = float(said["number"]) / 100.0, rest[: said.start()]
    rest = _BEFORE.sub("", rest)
    for kind, form in _FORMS:
        found = form.fullmatch(rest)
        if found:
            parts = found.groupdict()
            scale = _UNITS[parts["unit"]] if "unit" in parts else 0.01
            unit = parts.get("unit") or ""
            target = Target(kind, float(parts["number"]) * scale, parts.get("label") or "", text, unit)
            return _checked(target), confidence
    raise SettingsError("--target", [f"found {text!r}; expected {EXPECTED}"])


def _checked(target: Target) -> Target:
    if target.bound <= 0.0 or (not target.is_budget and target.bound >= 1.0):
        raise SettingsError("--target", [f"{target.text!r}: expected more than 0, and of shares less than all"])
    return target


def read_targets(texts: Sequence[str]) -> tuple[tuple[Target, ...], float]:
    """All targets, which hold together with one confidence."""
    read = [read_target(text) for text in texts]
    said = {confidence for _, confidence in read if confidence is not None}
    if len(said) > 1:
        raise SettingsError("--target", ["two confidences: all targets hold together, with one"])
    confidence = said.pop() if said else USUAL_CONFIDENCE
    if not 0.5 <= confidence < 1.0:
        raise SettingsError(
            "--target", [f"a confidence of {confidence:.0%}: expected 50 % or more, and less than 100 %"]
        )
    return tuple(target for target, _ in read), confidence


def missing_facts(targets: Sequence[Target], recordings: Recordings, circumstances: Circumstances) -> list[str]:
    """What keeps these targets from being judged on these recordings."""
    mistakes = []
    names = set(recordings.label_names)
    if any(target.kind == "bytes" for target in targets) and not circumstances.questions_per_minute:
        mistakes.append("bytes per minute need to know how many questions a minute there will be")
    if any(target.kind == "joules" for target in targets) and not _joules_known(recordings):
        mistakes.append("no joules are recorded: the bundles declare no costs, and nothing measured them")
    if any(target.kind == "bytes" or (target.kind == "joules" and circumstances.joules_per_byte) for target in targets):
        mistakes += [
            f"{place} sends hidden features from which no stage of the next tier goes on: each device tries it once a "
            "minute, and bytes that are sent in vain were not counted"
            for place in sent_in_vain(recordings.stages)
        ]
    unknown = [label for label in (*circumstances.costs, *(t.label for t in targets if t.label)) if label not in names]
    mistakes += [f"no label {label!r}; there are {', '.join(sorted(names)) or 'none'}" for label in unknown]
    if any(target.kind in ("worse", "wrong") for target in targets) and not (recordings.label >= 0).any():
        mistakes.append('no sample has a label; without labels only "disagreement with the cloud" can be promised')
    return mistakes


def _joules_known(recordings: Recordings) -> bool:
    lowest = recordings.stages[0].tier
    return all(stage.energy != "unknown" for stage in recordings.stages if stage.tier == lowest)
