"""Presence and metrics: bounded as everything that a peer says."""

from __future__ import annotations

import math

import pytest

from cascade.errors import PeerError
from cascade.wire.codec import (
    Limits,
    Presence,
    Sample,
    decode_metrics,
    decode_presence,
    encode_metrics,
    encode_presence,
)
from cascade.wire.v1 import cascade_pb2 as pb


@pytest.mark.parametrize("presence", [Presence(True, "1.2.3"), Presence(False)])
def test_presence_comes_back(presence: Presence) -> None:
    assert decode_presence(encode_presence(presence)) == presence


def test_metrics_come_back() -> None:
    samples = [Sample("asked_total", ("digits", "kitchen"), 5.0), Sample("ms", ("digits",), 12.5, (1, 2, 2**40))]
    assert decode_metrics(encode_metrics(samples)) == samples


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "version"),
        (pb.Metrics(version=2).SerializeToString(), "version"),
        (b"\xff", "unparseable"),
        (bytes(300_000), "size"),
        (encode_metrics([Sample("m", (), math.nan)]), "number"),
        (encode_metrics([Sample("", (), 1.0)]), "text"),
        (encode_metrics([Sample("m", ("a\nb",), 1.0)]), "text"),
        (encode_metrics([Sample("m", ("a",) * 17, 1.0)]), "count"),
        (encode_metrics([Sample("m", (), 1.0, (1,) * 65)]), "count"),
        (encode_metrics([Sample("m", (), 1.0)] * 4097), "count"),
    ],
)
def test_wrong_metrics_are_refused(data: bytes, kind: str) -> None:
    with pytest.raises(PeerError) as caught:
        decode_metrics(data)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (pb.Presence().SerializeToString(), "version"),
        (encode_presence(Presence(True, "x" * 300)), "text"),
        (b"\xff", "unparseable"),
    ],
)
def test_a_wrong_presence_is_refused(data: bytes, kind: str) -> None:
    with pytest.raises(PeerError) as caught:
        decode_presence(data, Limits())
    assert caught.value.kind == kind
