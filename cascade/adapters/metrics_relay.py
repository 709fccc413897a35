"""A device's metrics as a message: its gateway shows them, so that a device need not be reachable to be watched."""

from __future__ import annotations

from collections.abc import Iterator

from cascade.tally import Tally
from cascade.wire.codec import Sample, encode_metrics

MAX_METRICS_BYTES = 64 * 1024
"""Of one message. A device with one task and ten classes needs about 10 KiB."""


def metrics_message(tally: Tally, max_bytes: int = MAX_METRICS_BYTES) -> bytes:
    """All that the tally says now: each message stands for itself, so one that is lost costs nothing.

    What doesn't fit is left out from the end: histograms come last.
    """
    readings = sorted(tally.snapshot(), key=lambda reading: bool(reading.buckets))
    samples = [Sample(reading.row.name, reading.labels, reading.value, reading.buckets) for reading in readings]
    message = encode_metrics(samples)
    return message if len(message) <= max_bytes else encode_metrics(list(_fitting(samples, max_bytes)))


def _fitting(samples: list[Sample], max_bytes: int) -> Iterator[Sample]:
    for sample in samples:
        max_bytes -= len(encode_metrics([sample]))
        if max_bytes < 0:
            return
        yield sample
