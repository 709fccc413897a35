"""Metrics that devices sent, shown by their gateway with a `device` label. A hostile device spoils only its own.

Taken are metrics of the table, with as many labels and buckets as the table says, and values that can be. Each message
takes the place of the one before. What is refused is counted by kind, and no message of a device is read sooner than
`min_interval_s` after the one before.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from cascade import metrics
from cascade.errors import PeerError
from cascade.metrics import BY_NAME, Kind, Reading, Row
from cascade.series import Labels, kept, shown
from cascade.wire.codec import Sample, decode_metrics

DEVICE_TIER = "edge"
NOT_THEIRS = frozenset({metrics.DEVICES_ONLINE, metrics.DEVICE_AGE, metrics.DEVICE_REFUSED})


class DeviceMetricsSettings(NamedTuple):
    """Bounds. The page that Prometheus reads has at most `max_devices * max_series_per_device` lines of devices."""

    max_devices: int = 500
    max_series_per_device: int = 1000
    """As Prometheus counts: a histogram is one for each bucket."""
    forget_after_s: float = 300.0
    min_interval_s: float = 1.0


class Heard(NamedTuple):
    """What one device said last."""

    at: float
    readings: tuple[Reading, ...]


class DeviceMetrics:
    """One thread takes; any may read."""

    def __init__(
        self,
        settings: DeviceMetricsSettings = DeviceMetricsSettings(),  # noqa: B008 - immutable
        *,
        tier: str = "fog",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.refused: Counter[str] = Counter()
        self._tier = tier
        self._clock = clock
        self._heard: dict[str, Heard] = {}
        """The one that was heard longest ago stands first."""

    def take(self, device: str, message: bytes) -> None:
        """A message of `device`, whose name its topic and its broker vouch for. Never raises."""
        now = self._clock()
        last = self._heard.get(device)
        if last is not None and now - last.at < self.settings.min_interval_s:
            self.refused["flood"] += 1
            return
        self._forget_silent(now)
        if device not in self._heard and len(self._heard) >= self.settings.max_devices:
            self.refused["devices"] += 1
            return
        readings = self._read(device, message)
        if readings is None:  # What it said before stands, until it is too old.
            readings = last.readings if last is not None else ()
        self._heard.pop(device, None)
        self._heard[device] = Heard(now, readings)

    def readings(self) -> Iterator[Reading]:
        """What devices say, and what was refused."""
        now = self._clock()
        for device, heard in self._heard.copy().items():
            if now - heard.at <= self.settings.forget_after_s:
                yield from heard.readings
                yield Reading(metrics.DEVICE_AGE, (self._tier,), max(0.0, now - heard.at), device=shown(device))
        for kind, times in self.refused.copy().items():
            yield Reading(metrics.DEVICE_REFUSED, (self._tier, kind), times)

    def _forget_silent(self, now: float) -> None:
        while self._heard:
            device, heard = next(iter(self._heard.items()))
            if now - heard.at <= self.settings.forget_after_s:
                return
            del self._heard[device]

    def _read(self, device: str, message: bytes) -> tuple[Reading, ...] | None:
        try:
            samples = decode_metrics(message)
        except PeerError as error:
            self.refused[error.kind] += 1
            return None
        name = shown(device)
        taken: dict[tuple[Row, Labels], Reading] = {}
        room = self.settings.max_series_per_device
        for sample in samples:
            row = BY_NAME.get(sample.metric)
            fault = _fault(row, sample)
            if row is None or fault or room < row.lines:
                self.refused[fault or "series"] += 1
                continue
            labels = kept(row.labels, sample.labels)
            if (row, labels) not in taken:
                taken[row, labels] = Reading(row, labels, sample.value, sample.buckets, name)
                room -= row.lines
        return tuple(taken.values())


def _fault(row: Row | None, sample: Sample) -> str:
    """What is wrong with a sample, as a word; empty where nothing is."""
    if row is None or row in NOT_THEIRS:
        return "metric"
    if len(sample.labels) != len(row.labels) or sample.labels[0] != DEVICE_TIER:
        return "labels"
    if len(sample.buckets) != (len(row.buckets) + 1 if row.buckets else 0):
        return "buckets"
    if any(later < earlier for earlier, later in pairwise(sample.buckets)):
        return "buckets"
    return "number" if sample.value < 0.0 and row.kind is not Kind.GAUGE else ""
