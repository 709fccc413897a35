"""The lines of the ask socket, read from bytes in any portions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.messages import Tensor
from edge_agent.ask_protocol import (
    MAX_LINE_BYTES,
    Ack,
    AskRequest,
    Fault,
    HealthAsked,
    Hello,
    Labelled,
    RequestReader,
    Why,
)

QUESTION = {"stream": "cam", "tensors": [{"name": "x", "dtype": "uint8", "shape": [2, 2]}], "bytes": 4, "id": "mine"}
READ = AskRequest("cam", (Tensor("x", "uint8", (2, 2), b"abcd"),), "mine", None, None)


def line(said: Any, body: bytes = b"") -> bytes:
    return json.dumps(said).encode() + b"\n" + body


def feed(*portions: bytes) -> list[Any]:
    reader = RequestReader(1000)
    return [request for portion in portions for request in reader.feed(portion)]


def test_a_question_is_a_line_and_its_bytes() -> None:
    assert feed(line(QUESTION, b"abcd")) == [READ]


@given(st.lists(st.integers(1, 40), max_size=12))
def test_how_the_bytes_were_cut_makes_no_difference(cuts: list[int]) -> None:
    raw = (
        line({"client": "bell", "acks": True}) + line(QUESTION, b"abcd") + line({"ack": "q1"}) + line(QUESTION, b"abcd")
    )
    portions, at = [], 0
    for cut in cuts:
        portions.append(raw[at : at + cut])
        at += cut
    assert feed(*portions, raw[at:]) == [Hello("bell", True), READ, Ack("q1"), READ]


def test_who_asks_why_names_a_question_or_how_many() -> None:
    assert feed(line({"why": "q1"}) + line({"why_last": 20})) == [Why("q1", 1), Why("", 20)]
    assert [fault.kind for fault in feed(line({"why_last": 0}))] == ["bad_request"]


def test_labels_and_health_are_lines_of_their_own() -> None:
    said = [{"feedback": "q1", "label": "yes"}, {"feedback": "q2", "label": [1, 2.5]}, {"health": True}]
    assert feed(b"".join(map(line, said))) == [Labelled("q1", "yes"), Labelled("q2", (1.0, 2.5)), HealthAsked()]
    assert [fault.kind for fault in feed(line({"feedback": "q1"}))] == ["bad_input"]


def test_several_tensors_share_the_bytes_in_their_order() -> None:
    tensors = [{"name": "a", "dtype": "int16", "shape": [1]}, {"name": "b", "dtype": "uint8", "shape": [2]}]
    (read,) = feed(line(QUESTION | {"tensors": tensors, "deadline_ms": 20, "priority": 9}, b"abcd"))
    assert read.payload == (Tensor("a", "int16", (1,), b"ab"), Tensor("b", "uint8", (2,), b"cd"))
    assert (read.deadline_ms, read.priority) == (20.0, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tensors": []},
        {"stream": ""},
        {"tensors": [{"name": "x", "dtype": "uint8", "shape": [5]}]},
        {"tensors": [{"name": "x", "dtype": "uint8", "shape": [1 << 31] * 8}]},
        {"tensors": [{"name": "x", "dtype": "uint8", "shape": [2]}] * 2},
    ],
)
def test_a_question_that_is_wrong_in_itself_costs_that_question_alone(wrong: dict[str, Any]) -> None:
    fault, after = feed(line(QUESTION | wrong, b"abcd") + line(QUESTION, b"abcd"))
    assert (fault.kind, fault.tag, fault.fatal) == ("bad_input", "mine", False)
    assert after == READ


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "bad_request"),
        (b"\xff\xfe\n", "bad_request"),
        (b"[" * 10_000 + b"\n", "bad_request"),
        (b"x" * (MAX_LINE_BYTES + 1), "bad_request"),
        (line(QUESTION | {"bytes": 1001}), "too_large"),
        (line(QUESTION | {"bytes": -1}), "bad_request"),
        (line(QUESTION | {"priority": 10}), "bad_request"),
        (line(QUESTION | {"deadline_ms": 0}), "bad_request"),
        (line(QUESTION | {"more": 1}), "bad_request"),
        (line({"client": "../etc"}), "bad_request"),
        (line(QUESTION | {"tensors": [{"name": "x", "dtype": "object", "shape": []}]}), "bad_request"),
    ],
)
def test_where_the_next_line_begins_unknown_the_connection_ends(raw: bytes, kind: str) -> None:
    (fault,) = feed(raw + line(QUESTION, b"abcd"), line(QUESTION, b"abcd"))
    assert (fault.kind, fault.fatal) == (kind, True)


@given(st.lists(st.binary(max_size=60) | st.sampled_from([line(QUESTION), b"abcd", line({"ack": "q"})]), max_size=8))
def test_any_bytes_give_requests_or_faults(portions: list[bytes]) -> None:
    assert all(isinstance(request, AskRequest | Hello | Ack | Fault) for request in feed(*portions))
