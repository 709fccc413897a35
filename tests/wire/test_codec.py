"""What goes out comes in again; what is wrong is refused by its kind, and harms no other."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade.errors import PeerError
from cascade.messages import Answer, ClassScores, Detection, Detections, Estimate, Outcome, Question, Step, Tensor
from cascade.wire.codec import (
    FAULT_KINDS,
    Limits,
    answer_packs,
    decode_answers,
    decode_down,
    decode_questions,
    decode_up,
    encode_answers,
    encode_down,
    encode_questions,
    encode_up,
    packs,
)
from cascade.wire.frames import framed_bytes, write_frame
from cascade.wire.question_words import write_question
from cascade.wire.v1 import cascade_pb2 as pb

MakeQuestion = Callable[..., Question]
MakeAnswer = Callable[..., Answer]


def kind_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(PeerError) as caught:
        attempt()
    assert caught.value.kind in FAULT_KINDS
    return caught.value.kind


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_valid_question_comes_back_the_same(words: SimpleNamespace, data: st.DataObject) -> None:
    questions = data.draw(st.lists(words.questions, max_size=4))
    assert decode_questions(encode_questions(questions)) == questions


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_valid_answer_comes_back_the_same(words: SimpleNamespace, data: st.DataObject) -> None:
    answers = data.draw(st.lists(words.answers, max_size=4))
    assert decode_answers(encode_answers(answers)) == answers


def test_the_bytes_are_what_protobuf_reads(a_question: MakeQuestion) -> None:
    read = pb.Up.FromString(encode_up([a_question()] * 3, hello="barn.gw1", ping=300))
    assert (read.version, len(read.questions), read.hello, read.ping) == (1, 3, "barn.gw1", 300)
    assert read.questions[2].payload[0].data == b"abcdef"


def test_bytes_that_protobuf_wrote_are_read(a_question: MakeQuestion) -> None:
    written = pb.Up.FromString(encode_up([a_question()], hello="h", ping=2**63)).SerializeToString()
    assert decode_up(written) == ((a_question(),), (), (), "h", 2**63)


def test_heartbeats_travel_down_too(an_answer: MakeAnswer) -> None:
    assert decode_down(encode_down([an_answer()], welcome="cloud", pong=5)) == ((an_answer(),), (), "cloud", 5)


def test_a_nan_score_travels(an_answer: MakeAnswer) -> None:
    (read,) = decode_answers(encode_answers([an_answer(prediction=ClassScores((math.nan, 1.0)))]))
    assert isinstance(read.prediction, ClassScores)
    assert math.isnan(read.prediction.scores[0])


def test_no_scores_at_all_are_still_class_scores(an_answer: MakeAnswer) -> None:
    answer = an_answer(prediction=ClassScores(()))
    assert decode_answers(encode_answers([answer])) == [answer]


def test_a_reason_with_line_breaks_does_not_cost_the_answer(an_answer: MakeAnswer) -> None:
    (read,) = decode_answers(encode_answers([an_answer(reason="no\nmodel" + "x" * 1000)]))
    assert read.reason.startswith("no modelx")


def test_fields_of_a_later_version_are_ignored(a_question: MakeQuestion) -> None:
    later = b"".join((b"\x28\x07", b"\x31" + b"8" * 8, b"\x3a\x02hi", b"\x45" + b"4" * 4, b"\xc0\x3e\x01"))
    assert decode_questions(encode_questions([a_question()]) + later) == [a_question()]


def test_fields_of_a_later_question_are_ignored(a_question: MakeQuestion) -> None:
    assert decode_questions(write_frame([write_question(a_question()) + b"\xf8\x07\x01"])) == [a_question()]


WRONG_QUESTIONS = {
    "no id": ({"id": ""}, "text"),
    "an id with a wildcard": ({"id": "a/b"}, "text"),
    "an id with a line break": ({"id": "a\nb"}, "text"),
    "an id without end": ({"id": "a" * 257}, "text"),
    "a task with a wildcard": ({"task": "+"}, "text"),
    "a stream with a wildcard": ({"stream": "#"}, "text"),
    "a device without a site": ({"device": "cam1"}, "identity"),
    "a device with a wildcard": ({"device": "barn.cam/1"}, "identity"),
    "a deadline that is not a number": ({"ms_left": math.nan}, "number"),
    "a deadline without end": ({"ms_left": math.inf}, "number"),
    "a negative age": ({"age_ms": -1.0}, "number"),
    "a negative zero is fine but minus is not": ({"keep_ms": -1e-9}, "number"),
    "a priority above the highest": ({"priority": 10}, "number"),
    "a digest without end": ({"digest": b"d" * 65}, "size"),
    "an unknown dtype": ({"payload": (Tensor("x", "uint8x", (1,), b"a"),)}, "tensor"),
    "too many axes": ({"payload": (Tensor("x", "uint8", (1,) * 9, b"a"),)}, "tensor"),
    "too few bytes": ({"payload": (Tensor("x", "uint8", (2,), b"a"),)}, "tensor"),
    "a huge declared shape": ({"payload": (Tensor("x", "uint8", (2**32 - 1,) * 8, b"a", "zlib"),)}, "size"),
    "an unknown encoding": ({"payload": (Tensor("x", "uint8", (1,), b"a", "lzma"),)}, "encoding"),
    "two tensors of one name": ({"payload": (Tensor("x", "uint8", (1,), b"a"),) * 2}, "tensor"),
    "too many tensors": ({"payload": tuple(Tensor(f"{n}", "uint8", (0,), b"") for n in range(17))}, "count"),
    "too much together": (
        {"payload": tuple(Tensor(f"{n}", "float32", (2**21,), b"", "zlib") for n in range(3))},
        "size",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_QUESTIONS)
def test_a_wrong_question_is_refused_by_its_kind(a_question: MakeQuestion, wrong: str) -> None:
    different, kind = WRONG_QUESTIONS[wrong]
    assert kind_of(lambda: decode_questions(encode_questions([a_question(**different)]))) == kind


def test_one_bad_question_does_not_harm_the_others(a_question: MakeQuestion) -> None:
    bad = a_question(id="bad", priority=77)
    up = decode_up(encode_up([a_question(), bad, a_question(id="q2")], hello="barn.gw1", ping=4))
    assert [question.id for question in up.questions] == ["q1", "q2"]
    assert [fault.kind for fault in up.faults] == ["number"]
    assert (up.hello, up.ping) == ("barn.gw1", 4)


def test_the_asker_of_a_bad_question_is_owed_a_refusal(a_question: MakeQuestion) -> None:
    bad = a_question(id="bad", ms_left=math.nan)
    (told,) = decode_up(encode_up([bad])).refusals
    assert (told.key, told.outcome, told.reason) == (bad.key, Outcome.REFUSED, "malformed")


def test_a_question_that_does_not_say_whose_it_is_gets_no_refusal(a_question: MakeQuestion) -> None:
    up = decode_up(encode_up([a_question(device="nobody")]))
    assert (len(up.faults), up.refusals) == (1, ())


def test_rubbish_among_questions_harms_no_other(a_question: MakeQuestion) -> None:
    up = decode_up(write_frame([b"\xff\xff\xff", write_question(a_question())]))
    assert (up.questions, [fault.kind for fault in up.faults]) == ((a_question(),), ["unparseable"])


def test_another_version_is_refused() -> None:
    assert kind_of(lambda: decode_up(pb.Up(version=2).SerializeToString())) == "version"


def test_no_version_is_refused() -> None:
    assert kind_of(lambda: decode_down(b"")) == "version"


def test_a_message_over_the_limit_is_refused_unread() -> None:
    assert kind_of(lambda: decode_up(b"\xff" * 101, Limits(max_message_bytes=100))) == "size"


def test_more_questions_than_agreed_are_refused_before_they_are_built() -> None:
    assert kind_of(lambda: decode_up(b"\x08\x01" + b"\x12\x00" * 2_000_000)) == "count"


def test_more_foreign_fields_than_any_version_has_are_refused() -> None:
    assert kind_of(lambda: decode_up(b"\x08\x01" + b"\x28\x00" * 2_000_000)) == "count"


def test_a_question_over_its_limit_is_refused() -> None:
    assert kind_of(lambda: decode_up(write_frame([b"x" * 101]), Limits(max_question_bytes=100))) == "size"


WRONG_ANSWERS = {
    "no outcome": (pb.Answer(id="a", device="a.b"), "word"),
    "an unknown outcome": (pb.Answer(id="a", device="a.b", outcome=99), "word"),
    "no device": (pb.Answer(id="a", outcome=1), "identity"),
    "an unknown verdict": (pb.Answer(id="a", device="a.b", outcome=1, trail=[pb.Step(verdict=9)]), "word"),
    "a step without a verdict": (pb.Answer(id="a", device="a.b", outcome=1, trail=[pb.Step()]), "word"),
    "an unknown source of joules": (
        pb.Answer(id="a", device="a.b", outcome=1, trail=[pb.Step(verdict=1, energy=9)]),
        "word",
    ),
    "a step that took no finite time": (
        pb.Answer(id="a", device="a.b", outcome=1, trail=[pb.Step(verdict=1, ms=math.inf)]),
        "number",
    ),
    "a confidence that is not a number": (
        pb.Answer(id="a", device="a.b", outcome=1, trail=[pb.Step(verdict=1, confidence=math.nan)]),
        "number",
    ),
    "too many steps": (pb.Answer(id="a", device="a.b", outcome=1, trail=[pb.Step(verdict=1)] * 65), "count"),
    "a retry in the past": (pb.Answer(id="a", device="a.b", outcome=4, retry_ms=-1), "number"),
    "values without spreads": (pb.Answer(id="a", device="a.b", outcome=1, estimate=pb.Estimate(values=[1])), "count"),
    "a box of three": (
        pb.Answer(
            id="a", device="a.b", outcome=1, detections=pb.Detections(found=[pb.Detection(box=[0, 0, 1])])
        ),
        "count",
    ),
    "too many scores": (
        pb.Answer(id="a", device="a.b", outcome=1, classes=pb.ClassScores(scores=[0] * 65537)),
        "count",
    ),
    "too many things found": (
        pb.Answer(id="a", device="a.b", outcome=1, detections=pb.Detections(found=[pb.Detection()] * 65537)),
        "count",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_ANSWERS)
def test_a_wrong_answer_is_refused_by_its_kind(wrong: str) -> None:
    answer, kind = WRONG_ANSWERS[wrong]
    data = pb.Down(version=1, answers=[answer]).SerializeToString()
    assert kind_of(lambda: decode_answers(data)) == kind


def test_one_bad_answer_does_not_harm_the_others(an_answer: MakeAnswer) -> None:
    down = decode_down(encode_down([an_answer(device="nobody"), an_answer()]))
    assert (down.answers, [fault.kind for fault in down.faults]) == ((an_answer(),), ["identity"])


@pytest.mark.parametrize(
    "prediction",
    [
        ClassScores((0.5,) * 60_000),
        Estimate((1.0,) * 60_000, (0.5,) * 60_000),
        Detections((Detection(1, 0.5, (0.0, 0.0, 1.0, 1.0)),) * 5_000, 0.5),
    ],
    ids=["scores", "values", "detections"],
)
def test_large_predictions_travel(an_answer: MakeAnswer, prediction: object) -> None:
    answer = an_answer(prediction=prediction)
    assert decode_answers(encode_answers([answer])) == [answer]


@given(st.integers(0, 5000), st.integers(1, 7))
def test_the_size_of_a_framed_word_is_known_before(size: int, count: int) -> None:
    words = [bytes(size)] * count
    assert len(write_frame(words)) == 2 + sum(framed_bytes(word) for word in words)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 900), max_size=40), st.integers(300, 2000), st.integers(1, 8))
def test_packs_hold_every_question_once_in_order_within_the_bounds(
    a_question: MakeQuestion, sizes: list[int], max_bytes: int, max_count: int
) -> None:
    questions = [
        a_question(id=f"q{n}", payload=(Tensor("x", "uint8", (size,), bytes(size)),)) for n, size in enumerate(sizes)
    ]
    unsendable: list = []
    packed = list(packs(questions, max_bytes, max_count, unsendable=unsendable))
    read = [question for data, _ in packed for question in decode_questions(data)]
    refused = {each.key for each in unsendable}
    assert read == [question for question in questions if question.key not in refused]
    assert [question.key for question in read] == [key for _, keys in packed for key in keys]
    assert all(len(data) <= max_bytes and len(keys) <= max_count for data, keys in packed)
    assert all(len(encode_questions([question])) > max_bytes for question in questions if question.key in refused)


def test_a_question_too_large_is_told_apart_and_harms_no_other(a_question: MakeQuestion) -> None:
    large = a_question(id="large", payload=(Tensor("x", "uint8", (2**19,), bytes(2**19)),))
    unsendable: list = []
    ((data, keys),) = packs([a_question(), large, a_question(id="q2")], 2**22, unsendable=unsendable)
    assert [key.id for key in keys] == ["q1", "q2"]
    assert [(each.key, each.reason) for each in unsendable] == [(large.key, "too_large")]
    assert len(decode_questions(data)) == 2


@pytest.mark.parametrize("different", [{"sequence": -1}, {"id": "\ud800"}, {"sequence": 2**64}, {"priority": -1}])
def test_a_question_that_protobuf_cannot_write_is_told_apart(
    a_question: MakeQuestion, different: dict[str, object]
) -> None:
    unsendable: list = []
    packed = list(packs([a_question(**different), a_question()], 2**22, unsendable=unsendable))
    assert (len(packed), [each.reason for each in unsendable]) == (1, ["unwritable"])


def test_an_answer_too_large_becomes_a_refusal(an_answer: MakeAnswer) -> None:
    (data,) = answer_packs([an_answer(prediction=ClassScores((0.5,) * 1000)), an_answer(id="q2")], 1000)
    large, small = decode_answers(data)
    assert (large.outcome, large.reason, small) == (Outcome.REFUSED, "too_large", an_answer(id="q2"))


def test_answers_are_packed_within_the_bounds(an_answer: MakeAnswer) -> None:
    answers = [an_answer(id=f"q{n}") for n in range(100)]
    packed = list(answer_packs(answers, 2000, 9))
    assert all(len(data) <= 2000 for data in packed)
    assert [answer for data in packed for answer in decode_answers(data)] == answers


def test_a_threshold_that_nothing_reaches_travels(an_answer: MakeAnswer) -> None:
    step: Step = an_answer().trail[0]
    answer = an_answer(trail=(Step(node="n", tier="fog", stage="", model="", verdict=step.verdict, reason="",
                                   threshold=math.inf, confidence=0.0),))  # fmt: skip
    assert decode_answers(encode_answers([answer])) == [answer]


@pytest.mark.parametrize("length", [1, 15, 17, 64])
def test_a_segment_is_named_by_sixteen_bytes_or_not_at_all(length: int, a_question: MakeQuestion) -> None:
    assert kind_of(lambda: decode_questions(encode_questions([a_question(hidden=b"h" * length)]))) == "size"
