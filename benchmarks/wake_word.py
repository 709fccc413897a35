"""Wake words on composed streams: false accepts per hour, missed words, and how often a model had to look.

    CASCADE_DATA=… python -m benchmarks.wake_word [--minutes 60] [--out FILE.json]

Two wake words, both through the watch and the ladder that a device runs, at the pace of the stream and not of a clock:

1. The keyword model of MLPerf Tiny as it is, its features computed as the sound comes. False accepts are measured on
   spoken digits, silence and noise, in which none of its words is said; missed words on the official inputs, which are
   features already, each between two seconds of a quiet room.
2. The digit seven, by two models that are trained here on training clips alone: a logistic regression that looks all
   the time, and a network of 64 neurons that verifies. Measured on streams of the test clips, of all digits.

The clips are few (200 for testing) and are heard again and again at other loudnesses, over other noises: an hour of
them says less than an hour of a real room. The bounds count wakes, not clips.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from benchmarks.machine import measured_on
from benchmarks.wake_models import KEYWORDS, MFCC, seven_release, silero_release, tiny_release
from benchmarks.wake_streams import RATE, Array, Stream, composed, digits
from cascade.adapters.bundle_folder import LoadedRelease
from cascade.adapters.stage_runner import StageRunner
from cascade.inference.features import apply_features
from cascade.inference.features.streaming import WindowFeatures
from cascade.inference.gate import Gate
from cascade.inference.triggers import Trigger
from cascade.inference.triggers.spec import AnyTrigger, Voice
from cascade.inference.wake_report import WakeReport, Word, score_wakes
from cascade.inference.watch import Watch
from cascade.inference.watch_thread import Looks
from cascade.inference.watch_words import Ask, Look, Sampled, WatchSettings
from cascade.messages import Verdict
from cascade.release.preprocessing import Normalise, Quantise

CHUNK = 1600
WITHIN_S = 0.7
"""A wake so long after a word still is for it: the window is a second, and it is looked at each tenth."""
SEVEN = 7


class Ears(NamedTuple):
    """A watch with its models, as a device has them."""

    runner: StageRunner
    release: LoadedRelease
    watch: Watch
    verified: bool

    def hear(self, tensors: dict[str, Array], now: float) -> list[bool]:
        """Of each window that was asked about, whether it is the word."""
        answers, effects = [], self.watch.handle(Sampled(tensors), now)
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, Look):
                stage = self.release.bundle.manifest.stages[0].name
                looked = self.runner.look(self.release.manifest.task, self.release.id, stage, effect).looked
                effects += self.watch.handle(looked, now)
            elif isinstance(effect, Ask):
                answers.append(not self.verified or self._verify(effect))
        return answers

    def _verify(self, ask: Ask) -> bool:
        """By the next stage of the ladder, and its gate."""
        spec, ladder = self.release.bundle.manifest.stages[1], self.release.ladder
        said = self.runner.look(ladder.task, ladder.release, spec.name, Look(ask.window)).looked.prediction
        return said is not None and Gate(ladder.stages[1]).decide(said).verdict is Verdict.ANSWER


def ears(
    release: LoadedRelease, settings: WatchSettings, *, trigger: AnyTrigger | None = None, verified: bool = False
) -> Ears:
    runner = StageRunner()
    runner.install(release)
    spec = release.bundle.manifest.stages[0]
    one = next(each for each in spec.inputs if each.asked)
    features = WindowFeatures(one.features, settings.window, settings.step, one.shape[1:]) if one.features else None
    looks = Looks(Gate(release.ladder.stages[0]), features)
    return Ears(runner, release, Watch(settings, Trigger(trigger) if trigger else None, looks), verified)


def listen(ears: Ears, rows: Array, rows_per_s: float, chunk: int) -> list[float]:
    """Seconds into the stream at which it woke."""
    wakes = []
    for begin in range(0, len(rows) - chunk + 1, chunk):
        now = (begin + chunk) / rows_per_s
        wakes += [now for heard in ears.hear({"x": rows[begin : begin + chunk]}, now) if heard]
    return wakes


def shown(name: str, report: WakeReport, looks: int) -> dict[str, Any]:
    delay_s = median(report.delays_s) if report.delays_s else None
    row = {
        "way": name, "hours": report.hours, "false_accepts": report.false_accepts,
        "false_accepts_per_hour": report.false_accepts_per_hour, "at_most_per_hour": report.most_false_accepts_per_hour,
        "words": report.words, "missed": report.missed, "repeats": report.repeats, "delay_s": delay_s,
        "looks_per_s": looks / max(1e-9, report.hours * 3600),
    }  # fmt: skip
    words = f"{report.missed} of {report.words}" if report.words else "–"
    late = f"{delay_s:+.2f} s" if delay_s is not None else "–"
    false = (
        f"{report.false_accepts:4} {report.false_accepts_per_hour:7.1f}/h (≤ {report.most_false_accepts_per_hour:5.1f})"
    )
    print(f"{name:44}{false}{words:>12} missed{late:>9}{row['looks_per_s']:6.1f} looks/s")
    return row


def tiny_words(folder: Path, data: Path, stream: Stream) -> list[dict[str, Any]]:
    """The keyword model as it is: where it should be silent, and where it should not."""
    inputs = np.load(data / "mlperf-tiny/eval/kws01_mfcc_int8.npz")
    spoken = inputs["x"][inputs["label"] < 10]
    room = np.random.default_rng(0).normal(0, 30, 2 * RATE).astype(np.int16)
    quiet = apply_features(room[None], (Normalise(divide=32768.0), MFCC, Quantise(scale=0.5847029, zero_point=83)))[0]
    frames = np.concatenate([part for word in spoken for part in (quiet, word)])
    each_s = (len(quiet) + 49) / 50.0
    words = [Word(n * each_s + len(quiet) / 50.0, (n + 1) * each_s) for n in range(len(spoken))]
    rows = []
    for name, smooth, patience, sure in (
        ("each window by itself, from 0.8 on", 1, 1, 0.8),
        ("mean of 3, from 0.8 on", 3, 1, 0.8),
        ("mean of 3, twice in a row, from 0.9 on", 3, 2, 0.9),
    ):
        sound, ready = (tiny_release(folder / f"{name}{kind}", data, kind, sure) for kind in ("sound", "features"))
        shared = WatchSettings(by="row", smooth=smooth, patience=patience, cool_down_s=1.0)
        silent = ears(sound, replace(shared, window=RATE, step=CHUNK))
        false = listen(silent, stream.sound, RATE, CHUNK)
        attentive = ears(ready, replace(shared, window=49, step=5))
        woken = score_wakes(listen(attentive, frames, 50.0, 5), words, 0.0, WITHIN_S)
        report = score_wakes(false, [], stream.hours, WITHIN_S)._replace(
            words=woken.words, missed=woken.missed, repeats=woken.repeats, delays_s=woken.delays_s
        )
        rows.append(shown(name, report, silent.watch.counts.looks))
    return rows


def sevens(release: LoadedRelease, stream: Stream) -> list[dict[str, Any]]:
    plain = WatchSettings(by="row", window=RATE, step=CHUNK, cool_down_s=1.0)
    ways: list[tuple[str, WatchSettings, bool, AnyTrigger | None]] = [
        ("small model, each window by itself", plain, False, None),
        ("mean of 2", replace(plain, smooth=2), False, None),
        ("each window, verified by the larger model", plain, True, None),
        ("mean of 2, verified", replace(plain, smooth=2), True, None),
        ("voice trigger, then each window, verified", plain, True, Voice(rate_hz=RATE)),
    ]
    rows = []
    for name, settings, verified, trigger in ways:
        made = ears(release, settings, trigger=trigger, verified=verified)
        wakes = listen(made, stream.sound, RATE, CHUNK)
        rows.append(
            shown(name, score_wakes(wakes, stream.words(SEVEN), stream.hours, WITHIN_S), made.watch.counts.looks)
        )
    return rows


def voices(folder: Path, data: Path, stream: Stream) -> dict[str, float]:
    """Silero VAD as it is, its state carried: which share of the words and of the rest it takes for speech."""
    release = silero_release(folder, data)
    runner = StageRunner()
    runner.install(release)
    watch = Watch(WatchSettings(by="row", window=576, step=512), None, Looks(Gate(release.ladder.stages[0])))
    spoken = np.zeros(len(stream.sound) // 512 + 1, bool)
    for word, _ in stream.said:
        spoken[int(word.begin_s * RATE / 512) : int(word.end_s * RATE / 512) + 1] = True
    heard = {True: [0, 0], False: [0, 0]}
    for at, begin in enumerate(range(0, len(stream.sound), 512)):
        effects = watch.handle(Sampled({"x": stream.sound[begin : begin + 512]}), begin / RATE)
        for look in [effect for effect in effects if isinstance(effect, Look)]:
            looked = runner.look("voice", release.id, "silero", look).looked
            speech = bool(watch.handle(looked, begin / RATE))
            count = heard[bool(spoken[at])]
            count[0] += speech
            count[1] += 1
    shares = {
        "of words": heard[True][0] / max(1, heard[True][1]),
        "of the rest": heard[False][0] / max(1, heard[False][1]),
    }
    print("\nSilero VAD, its state carried, takes for speech: " + ", ".join(f"{v:.1%} {k}" for k, v in shares.items()))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = Path(os.environ.get("CASCADE_DATA", "/nonexistent"))
    if not (data / "fsdd").is_dir():
        raise SystemExit(
            "CASCADE_DATA names no folder with fsdd, mlperf-tiny and silero-vad in it: nothing was measured"
        )
    test, train = digits(data, test=True), digits(data, test=False)
    stream = composed(test, options.minutes, seed=1)
    print(f"{stream.hours:.2f} h of {len(stream.said)} digits ({len(test.sounds)} clips), silence and noise\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print(f"MLPerf Tiny: {', '.join(KEYWORDS[:10])}")
        found: dict[str, Any] = {"mlperf_tiny": tiny_words(folder, data, stream)}
        print("\nThe digit seven")
        found["seven"] = sevens(seven_release(folder / "seven", train, SEVEN), stream)
        found["silero"] = voices(folder / "silero", data, composed(test, min(10.0, options.minutes), seed=2))
    if options.out is not None:
        options.out.write_text(json.dumps({**found, **measured_on()}, indent=1))


if __name__ == "__main__":
    main()
