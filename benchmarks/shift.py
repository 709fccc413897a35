"""Real shift: a speaker, or a phone, that the device has never met. `CASCADE_DATA=… python -m benchmarks.shift`

For each speaker of FSDD in turn: the device's model knows the three others, the model above knows all four (of other
clips than are asked about). For each group of phones of UJIIndoorLoc: both know the other phones, and the task is the
floor; the model above is a larger one. Thresholds are the cheapest at which the ladder is at most a point worse than
the model above on held-out samples of those who are known; the reference is of these samples too. Then questions come
through a real hop: first of the known, then of the new one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cascade.inference.cues import cues_of
from cascade.inference.effects import AskAbove, RecordStanding, Reply
from cascade.inference.events import Answered, Asked, LadderInstalled, LinkUp, Predicted
from cascade.inference.features import apply_features
from cascade.inference.hop import Hop
from cascade.inference.references import shape_of
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import ClassScores, Outcome, Question, answer_to
from cascade.release.ladder import Care, GateSpec, Ladder, LadderStage
from cascade.release.reference import Reference
from cascade.release.spectra import Mfcc

CUES = ("mean", "deviation")
WORSE = 0.01


class Samples(NamedTuple):
    """What both models say of some samples, and what is true."""

    scores: Any
    above: Any
    labels: Any
    cues: Any

    def taken(self, rows: Any) -> Samples:
        return Samples(*[each[rows] for each in self])

    @property
    def right(self) -> float:
        return float((self.scores.argmax(axis=1) == self.labels).mean())

    @property
    def right_above(self) -> float:
        return float((self.above.argmax(axis=1) == self.labels).mean())


class Shift(NamedTuple):
    """One who is new."""

    name: str
    calibration: Samples
    known: Samples
    new: Samples


class Seen(NamedTuple):
    """What came of it."""

    noticed_after: int | None
    """Questions of the new one; None: never. Negative: before the first of them, a false alarm."""
    doubts: tuple[str, ...]
    climbed_known: float
    climbed_new: float
    right_known: float
    right_new: float


def threshold_of(calibration: Samples) -> float:
    """The lowest at which the ladder is at most a point worse than the model above, on these samples."""
    confidence = calibration.scores.max(axis=1)
    here, above = calibration.scores.argmax(axis=1), calibration.above.argmax(axis=1)
    for threshold in np.unique(np.quantile(confidence, np.linspace(0, 1, 101))):
        said = np.where(confidence >= threshold, here, above)
        if (said == calibration.labels).mean() >= calibration.right_above - WORSE:
            return float(threshold)
    return 1.0


def run(shift: Shift, care: Care, questions: int = 400, seed: int = 0) -> Seen:
    """So many of the known, then as many of the new one, through a hop."""
    chance = np.random.default_rng(seed)
    rows = shift.known.taken(chance.integers(0, len(shift.known.labels), questions))
    new = shift.new.taken(chance.permutation(len(shift.new.labels))[:questions])
    device = _Device(shift.calibration, care)
    known = [device.ask(rows.taken([at])) for at in range(len(rows.labels))]
    noticed_early = device.doubts
    fresh = []
    noticed = -1 if noticed_early else None
    for at in range(len(new.labels)):
        fresh.append(device.ask(new.taken([at])))
        if noticed is None and device.doubts:
            noticed = at + 1
    right_known, climbed_known = np.mean(known, axis=0)
    right_new, climbed_new = np.mean(fresh, axis=0)
    return Seen(noticed, device.ever, float(climbed_known), float(climbed_new), float(right_known), float(right_new))


class _Device:
    """A hop whose models are the recorded scores."""

    def __init__(self, calibration: Samples, care: Care) -> None:
        self.hop = Hop(HopSettings(node="site.device", tier="edge"), UplinkSettings())
        reference = Reference(
            tier="edge", stage="small", bundle="0" * 64, gate="confidence",
            confidence=shape_of(calibration.scores.max(axis=1)), cues=tuple(map(shape_of, calibration.cues.T)),
        )  # fmt: skip
        stage = LadderStage(
            name="small", kind="classes", gate=GateSpec("confidence", threshold_of(calibration)), cues=CUES,
            reference=reference,
        )  # fmt: skip
        self.asked = 0
        self.doubts: tuple[str, ...] = ()
        self.ever: tuple[str, ...] = ()
        self._happen(LadderInstalled(Ladder(task="task", release="r", stages=(stage,), care=care)))
        self._happen(LinkUp())

    def ask(self, sample: Samples) -> tuple[bool, bool]:
        """Whether the answer was right, and whether it was asked above."""
        self.asked += 1
        question = Question(
            id=f"q{self.asked}", device="site.device", stream="s", sequence=self.asked, task="task", release="r",
            payload=(), ms_left=1000.0,
        )  # fmt: skip
        (wanted,) = self._happen(Asked(question, "here", alone=True))
        prediction = ClassScores(tuple(sample.scores[0].tolist()), tuple(sample.cues[0].tolist()))
        effects = self._happen(Predicted(wanted.run, (prediction,)))
        climbed = any(isinstance(effect, AskAbove) for effect in effects)
        if climbed:
            above = ClassScores(tuple(sample.above[0].tolist()))
            effects = self._happen(
                Answered(answer_to(question, Outcome.ANSWERED, "sure", guess=above, tier="cloud", label=""))
            )
        (answer,) = [effect.answer for effect in effects if isinstance(effect, Reply)]
        return answer.prediction.best == int(sample.labels[0]), climbed

    def _happen(self, event: Any) -> list[Any]:
        effects = self.hop.handle(event, 0.001 * self.asked)
        for effect in effects:
            if isinstance(effect, RecordStanding):
                self.doubts = effect.doubts
                self.ever = tuple(dict.fromkeys((*self.ever, *effect.doubts)))
        return [effect for effect in effects if not type(effect).__name__.startswith("Record")]


# The data


def speakers(data: Path) -> Iterator[Shift]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    raw = np.load(data / "fsdd" / "fsdd_design_4spk.npz")
    labels, speaker = raw["label"].astype(int), raw["speaker"]
    clips = _one_second(raw["audio"], raw["offset"])
    frames = apply_features(clips, [Mfcc(rate_hz=8000, frame=256, hop=160, floor=1e-4)])
    parts = np.array_split(np.arange(frames.shape[1]), 4)
    small = np.concatenate([frames[:, part].mean(axis=1) for part in parts] + [frames.std(axis=1)], axis=1)
    large = frames.reshape(len(frames), -1)
    cues = np.array(cues_of(clips, CUES))
    for new in np.unique(speaker):
        order = np.random.default_rng(int(new)).permutation(len(labels))
        known, unheard = order[speaker[order] != new], order[speaker[order] == new]
        learn, rest = known[:600], known[600:]
        wide = np.concatenate([learn, unheard[:200]])
        device = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, C=0.1)).fit(
            small[learn], labels[learn]
        )
        cloud = make_pipeline(StandardScaler(), MLPClassifier((128,), max_iter=60, alpha=1.0, random_state=0))
        cloud.fit(large[wide], labels[wide])
        said = Samples(device.predict_proba(small), cloud.predict_proba(large), labels, cues)
        yield Shift(
            str(raw["speaker_names"][new]), said.taken(rest[:500]), said.taken(rest[500:]), said.taken(unheard[200:])
        )


def phones(data: Path) -> Iterator[Shift]:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    raw = np.load(data / "uji-indoorloc" / "ujiindoorloc_train.npz")
    heard = np.where(raw["rssi"] == 100, -105, raw["rssi"]).astype(np.float32)
    inputs, labels, phone = (heard + 105.0) / 105.0, raw["floor"].astype(int), raw["phone"]
    cues = np.array(cues_of(inputs, CUES))
    for new in [each for each in np.unique(phone) if (phone == each).sum() >= 700]:
        order = np.random.default_rng(int(new)).permutation(len(labels))
        known, fresh = order[phone[order] != new], order[phone[order] == new]
        learn = known[:3000]
        device = LogisticRegression(max_iter=60).fit(inputs[learn][:, ::4], labels[learn])
        cloud = ExtraTreesClassifier(60, n_jobs=1, random_state=0).fit(inputs[known[:6000]], labels[known[:6000]])
        asked = np.concatenate([known[6000:8000], fresh[:1000]])
        said = Samples(
            device.predict_proba(inputs[asked][:, ::4]), cloud.predict_proba(inputs[asked]), labels[asked], cues[asked]
        )
        split = [np.arange(1000), np.arange(1000, 2000), np.arange(2000, len(asked))]
        yield Shift(f"phone {new}", *[said.taken(rows) for rows in split])


def _one_second(audio: Any, offsets: Any, length: int = 8000) -> Any:
    clips = np.zeros((len(offsets) - 1, length), np.float32)
    for index in range(len(clips)):
        clip = audio[offsets[index] : offsets[index + 1]][:length].astype(np.float32) / 32_768.0
        begins = (length - len(clip)) // 2
        clips[index, begins : begins + len(clip)] = clip
    return clips


def told(shifts: Iterator[Shift]) -> Iterator[str]:
    yield f"{'new':>10} {'noticed':>8} {'climbed':>14} {'device alone':>14} {'not careful':>14} {'careful':>14}  doubts"
    for shift in shifts:
        still, careful = run(shift, Care(most=1.0)), run(shift, Care())
        pairs = [
            (careful.climbed_known, careful.climbed_new), (shift.known.right, shift.new.right),
            (still.right_known, still.right_new), (careful.right_known, careful.right_new),
        ]  # fmt: skip
        shown = " ".join(f"{100 * before:6.1f} {100 * after:6.1f} " for before, after in pairs)
        yield f"{shift.name:>10} {careful.noticed_after!s:>8} {shown} {', '.join(careful.doubts)}"


def main() -> None:
    data = os.environ.get("CASCADE_DATA")
    if not data:
        sys.exit("CASCADE_DATA is not set: the folder with fsdd and uji-indoorloc")
    for shifts in (speakers, phones):
        for line in told(shifts(Path(data))):
            print(line, flush=True)


if __name__ == "__main__":
    main()
