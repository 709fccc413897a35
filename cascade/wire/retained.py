"""What a device says of itself: its presence (retained state, never a command) and its counters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError

from cascade.errors import PeerError
from cascade.wire.frames import VERSION
from cascade.wire.limits import USUAL, Limits, check_given, check_text
from cascade.wire.v1 import cascade_pb2 as pb

MAX_RETAINED_BYTES = 256 * 1024


class Presence(NamedTuple):
    """Whether a device is there. The broker says "no" for it by its will."""

    online: bool
    runtime: str = ""
    """The version of this package on the device."""


class Sample(NamedTuple):
    """One series of a metric."""

    metric: str
    labels: tuple[str, ...]
    """Values, in the order of the metric's label names."""
    value: float
    buckets: tuple[int, ...] = ()
    """Of a histogram: cumulative counts; `value` is then the sum."""


def encode_presence(presence: Presence) -> bytes:
    return pb.Presence(version=VERSION, online=presence.online, runtime=presence.runtime).SerializeToString()


def decode_presence(data: bytes, limits: Limits = USUAL) -> Presence:
    _check_bytes(data)
    try:
        read = pb.Presence.FromString(data)
    except DecodeError as error:
        raise PeerError("unparseable", f"a presence: {error}") from None
    _check_version(read.version)
    return Presence(read.online, check_text("runtime", read.runtime, limits.max_text))


def encode_metrics(samples: Sequence[Sample]) -> bytes:
    return pb.Metrics(
        version=VERSION,
        samples=[
            pb.Sample(metric=sample.metric, labels=sample.labels, value=sample.value, buckets=sample.buckets)
            for sample in samples
        ],
    ).SerializeToString()


def decode_metrics(data: bytes, limits: Limits = USUAL) -> list[Sample]:
    _check_bytes(data)
    try:
        read = pb.Metrics.FromString(data)
    except DecodeError as error:
        raise PeerError("unparseable", f"metrics: {error}") from None
    _check_version(read.version)
    if len(read.samples) > limits.max_samples:
        raise PeerError("count", f"{len(read.samples)} samples, at most {limits.max_samples} are taken")
    return [_sample(sample, limits) for sample in read.samples]


def _sample(read: pb.Sample, limits: Limits) -> Sample:
    if len(read.labels) > limits.max_labels or len(read.buckets) > limits.max_buckets:
        raise PeerError("count", f"{len(read.labels)} labels, {len(read.buckets)} buckets")
    if not math.isfinite(read.value):
        raise PeerError("number", f"value: {read.value!r}")
    return Sample(
        check_given("metric", read.metric, limits.max_text),
        tuple([check_text("label", label, limits.max_text) for label in read.labels]),
        read.value,
        tuple(read.buckets),
    )


def _check_bytes(data: bytes) -> None:
    if len(data) > MAX_RETAINED_BYTES:
        raise PeerError("size", f"a message of {len(data)} bytes, at most {MAX_RETAINED_BYTES} are taken")


def _check_version(version: int) -> None:
    if version != VERSION:
        raise PeerError("version", f"version {version}, spoken here: {VERSION}")
