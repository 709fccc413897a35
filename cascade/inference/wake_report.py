"""How good a wake word is: false accepts per hour, missed words, how long after the word. From times alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Word(NamedTuple):
    """Where in the stream the word was said."""

    begin_s: float
    end_s: float


class WakeReport(NamedTuple):
    """Bounds are one-sided, of 95 %: false accepts as of a Poisson process, missed words as of a binomial."""

    hours: float
    words: int
    missed: int
    false_accepts: int
    repeats: int
    """Wakes for a word that had woken already."""
    delays_s: tuple[float, ...]
    """From the end of each word that was heard to its wake; below nought where it woke before."""

    @property
    def false_accepts_per_hour(self) -> float:
        return self.false_accepts / self.hours if self.hours else math.nan

    @property
    def most_false_accepts_per_hour(self) -> float:
        return most_expected(self.false_accepts) / self.hours if self.hours else math.nan

    @property
    def missed_share(self) -> float:
        return self.missed / self.words if self.words else math.nan

    @property
    def most_missed_share(self) -> float:
        return most_likely_share(self.missed, self.words) if self.words else math.nan


def score_wakes(wakes_s: Sequence[float], words: Sequence[Word], hours: float, within_s: float) -> WakeReport:
    """A wake belongs to a word if it comes after its begin and not later than `within_s` after its end: of several,
    to the earliest that has not woken yet, because that one can wait the least."""
    words = sorted(words, key=lambda word: word.end_s)
    heard: dict[Word, float] = {}
    false_accepts = repeats = 0
    for at_s in sorted(wakes_s):
        near = [word for word in words if word.begin_s <= at_s <= word.end_s + within_s]
        word = next((word for word in near if word not in heard), None)
        if word is not None:
            heard[word] = at_s
        elif near:
            repeats += 1
        else:
            false_accepts += 1
    delays_s = tuple(at_s - word.end_s for word, at_s in heard.items())
    return WakeReport(hours, len(words), len(words) - len(heard), false_accepts, repeats, delays_s)


def most_expected(count: int, doubt: float = 0.05) -> float:
    """The largest mean under which so few are no surprise: 3.0 for none."""
    return _bisected(lambda mean: _poisson_up_to(count, mean) > doubt, 0.0, 10.0 + 3.0 * count)


def most_likely_share(count: int, of: int, doubt: float = 0.05) -> float:
    if count >= of:
        return 1.0
    return _bisected(lambda share: _binomial_up_to(count, of, share) > doubt, 0.0, 1.0)


def _poisson_up_to(count: int, mean: float) -> float:
    """In logarithms: of many the single terms are too small to be told from nought."""
    if mean <= 0.0:
        return 1.0
    return sum(math.exp(number * math.log(mean) - mean - math.lgamma(number + 1)) for number in range(count + 1))


def _binomial_up_to(count: int, of: int, share: float) -> float:
    if not 0.0 < share < 1.0:
        return float(share <= 0.0)
    whole, hit, miss = math.lgamma(of + 1), math.log(share), math.log1p(-share)
    return sum(
        math.exp(whole - math.lgamma(n + 1) - math.lgamma(of - n + 1) + n * hit + (of - n) * miss)
        for n in range(count + 1)
    )


def _bisected(below: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if below(middle) else (low, middle)
    return 0.5 * (low + high)
