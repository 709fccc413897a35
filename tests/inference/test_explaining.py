"""Why an answer is as it is, in sentences: of every reason, every gate, every way in which an answer can come about."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cascade.inference.explaining import apart, explain, in_a_line, joules_in_words
from cascade.inference.reasons import WORDS, in_words
from cascade.messages import (
    Answer,
    ClassScores,
    Detections,
    Energy,
    Estimate,
    Outcome,
    Step,
    Verdict,
)

ROOT = Path(__file__).resolve().parents[2]
TAKES_A_REASON = {
    "Decision": 1, "turn_away": 2, "refuse": 1, "end_without_above": 1, "provisionally": 1, "without_above": 1,
    "refusal_of": 1, "Unsendable": 1, "_give_up": 1, "answer_to": 2,
}  # fmt: skip
"""Who is given a reason, and where it stands among the arguments: what the runtime can say is found by these."""
SAY_REASONS = ("gate.py", "uplink.py")
"""Rooms with functions that return a reason."""


def reasons_in(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = TAKES_A_REASON.get(called)
            given = [node.args[place]] if place is not None and len(node.args) > place else []
            given += [word.value for word in node.keywords if word.arg == "reason"]
            for value in given:
                yield from words_of(value, name)
        if (
            isinstance(node, ast.FunctionDef)
            and path.name in SAY_REASONS
            and ast.unparse(node.returns or node) == "str"
        ):
            for line in ast.walk(node):
                if isinstance(line, ast.Return) and line.value is not None:
                    yield from words_of(line.value, name)


def words_of(value: ast.expr, module: str) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from words_of(value.body, module)
        yield from words_of(value.orelse, module)
    elif isinstance(value, ast.Name) and value.id.isupper():
        yield getattr(import_module(module), value.id)


def all_reasons() -> set[str]:
    rooms = ["cascade/inference", "cascade/wire", "cascade/adapters", "edge_agent", "fog_gateway", "cloud_service"]
    paths = [path for room in rooms for path in (ROOT / room).rglob("*.py") if "/v1/" not in str(path)]
    return {reason for path in paths for reason in reasons_in(path)}


def test_every_reason_that_the_runtime_can_produce_has_words() -> None:
    found = {reason for reason in all_reasons() if re.fullmatch(r"[a-z_]+", reason)}
    assert {"unsure", "link_down", "gave_up", "draining", "too_large", "malformed", "spool_full", "bad_input"} <= found
    assert found - set(WORDS) == set()


def test_there_are_words_for_every_reason_that_is_documented() -> None:
    listed = re.findall(r"`([a-z_]+)`", (ROOT / "docs/flows.md").read_text().split("## Reasons")[1])
    assert {reason for reason in listed if not reason.endswith("_ms")} - set(WORDS) == set()


def test_a_refusal_of_the_hop_above_is_told_with_its_own_reason() -> None:
    assert in_words("above_overloaded") == f"the hop above refused, because {WORDS['overloaded']}"
    assert in_words("above_above_x y") == (
        'the hop above refused, because the hop above refused, because the reason given is "x y"'
    )


def step(tier: str = "edge", verdict: Verdict = Verdict.CLIMB, reason: str = "unsure", **more: Any) -> Step:
    said = {"node": f"barn.{tier}", "stage": "small", "model": "abc123", "confidence": 0.55, "threshold": 0.9}
    return Step(tier=tier, verdict=verdict, reason=reason, **said | more)


@pytest.fixture
def answered() -> Callable[..., Answer]:
    def make(*trail: Step, reason: str = "sure", **more: Any) -> Answer:
        said = {
            "id": "q1", "device": "barn.cam1", "digest": b"", "stream": "cam", "sequence": 7, "task": "ripe",
            "release": "r1", "outcome": Outcome.ANSWERED, "prediction": ClassScores((0.1, 0.9)), "label": "yes",
            "tier": trail[-1].tier if trail else "", "reason": reason, "trail": trail,
        }  # fmt: skip
        return Answer(**said | more)

    return make


SURE = step("fog", Verdict.ANSWER, "sure", confidence=0.98)


def test_each_hop_is_told_with_what_it_saw_and_what_it_cost(answered: Callable[..., Answer]) -> None:
    first = step(ms=1.5, joules=2e-6, energy=Energy.ESTIMATED, bytes_up=1212)
    told = explain([answered(first, SURE)])
    assert told.heading == "Question q1: barn.cam1, stream cam, number 7, task ripe, release r1."
    assert told.hops[0] == (
        "edge, barn.edge, stage small (model abc123): its gate measured 0.55 and wants at least 0.90: it was not sure "
        "enough, so the question went on to the next who may know. It took 1.5 ms, 2 µJ (estimated), 1,212 bytes up."
    )
    assert "measured 0.98 and wants at least 0.90: it was sure enough, so it answered." in told.hops[1]
    assert told.ending == ('The answer is "yes", by the fog tier, because it was sure enough.',)


@pytest.mark.parametrize(
    ("sent", "said"),
    [("hidden", " (hidden features)"), ("hidden, input", " (hidden features, then the input)"), ("news", " (news)")],
)
def test_what_went_up_in_place_of_the_input_is_told(answered: Callable[..., Answer], sent: str, said: str) -> None:
    assert explain([answered(step(bytes_up=300, sent=sent), SURE)]).hops[0].endswith(f"300 bytes up{said}.")


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (step("edge", Verdict.ANSWER, "sure", confidence=0.1, threshold=0.3), "measured 0.10 and wants at most 0.30"),
        (step("edge", Verdict.CLIMB, "unsure", confidence=0.4, threshold=0.3), "measured 0.40 and wants at most 0.30"),
        (step("edge", Verdict.ANSWER, "sure", confidence=0.9), "measured 0.90 and wants at least 0.90"),
        (step(confidence=0.8996), "measured 0.900 and wants"),
        (step(confidence=0.6, threshold=None), "its best score was 0.60; its gate lets every question climb"),
        (
            step("edge", Verdict.ANSWER, "sure", confidence=0.777, threshold=None),
            "its best score was 0.78; its gate answers whatever can be read, so it answered.",
        ),
        (
            step("edge", Verdict.ANSWER, "sure", confidence=None, threshold=None),
            "): its gate answers whatever can be read",
        ),
        (step(confidence=None), "how sure it was can't be said"),
        (step(reason="unreadable", confidence=None, threshold=None), "could not be read"),
        (step("edge", Verdict.DROP, "nothing_here", confidence=0.95), "so it was dropped"),
    ],
)
def test_a_gate_is_told_by_its_numbers(seen: Step, said: str, answered: Callable[..., Answer]) -> None:
    if "0.900" in said:
        said = "measured 0.8996 and wants at least 0.9000"
    assert said in explain([answered(seen)]).hops[0]


def test_who_answers_whatever_can_be_read_is_not_said_to_have_been_sure(answered: Callable[..., Answer]) -> None:
    last = answered(step(), step("cloud", Verdict.ANSWER, "sure", confidence=0.777, threshold=None))
    assert explain([last]).ending[0] == (
        'The answer is "yes", by the cloud tier, because the last gate answers whatever can be read.'
    )
    assert in_a_line([last]) == (
        'q1  cam 7  answered: "yes" by cloud, the last word  (edge 0.55/0.90 unsure → cloud 0.78 answer)'
    )


def test_a_hop_without_a_model_is_told_as_one(answered: Callable[..., Answer]) -> None:
    passed_on = step(reason="no_stage_here", stage="", model="", confidence=None, threshold=None)
    assert explain([answered(passed_on)]).hops[0] == (
        "edge, barn.edge: no model for this task runs here, so the question went on to the next who may know."
    )


def test_a_correction_tells_what_it_replaced(answered: Callable[..., Answer]) -> None:
    early = answered(step(), reason="link_down", provisional=True, label="no", prediction=ClassScores((0.9, 0.1)))
    told = explain([early, early, answered(step(), SURE, correction=True)])
    assert told.ending[1:] == (
        'Before that it was told "no" by the edge tier, provisionally, because the link to the hop above was down. '
        "The later answer differs.",
        "It is a correction: it takes the place of a provisional answer.",
    )


def test_what_is_provisional_or_repeated_or_to_be_asked_again_is_said(answered: Callable[..., Answer]) -> None:
    waiting = explain([answered(step(), reason="deadline", provisional=True)])
    assert waiting.ending[0].startswith('So far the answer is "yes", by the edge tier, because no answer had come')
    assert "another may come" in waiting.ending[1]
    refused = answered(outcome=Outcome.REFUSED, reason="overloaded", prediction=None, retry_ms=1000.0, repeated=True)
    assert [sentence.split(",")[0].split(":")[0] for sentence in explain([refused]).ending] == [
        "It was refused",
        "It is marked as repeated",
        "It may be asked again after 1",
    ]
    assert explain([refused]).costs == "No model ran for it, as far as its trail tells."


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("reason", sorted(WORDS))
def test_every_outcome_for_every_reason_reads_as_a_page(
    outcome: Outcome, reason: str, answered: Callable[..., Answer]
) -> None:
    page = str(explain([answered(step(reason=reason), outcome=outcome, reason=reason)]))
    assert max(map(len, page.splitlines())) <= 100
    assert WORDS[reason].split("(")[0].strip() in " ".join(page.split())


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (Estimate((1.0, 2.0, 3.0, 4.0, 5.0), (0.1,) * 5), "an estimate of 1, 2, 3, 4 …"),
        (Detections((), 0.9), "0 things found"),
        (ClassScores((1.0,)), "a prediction without a label"),
    ],
)
def test_predictions_without_a_label_are_told_all_the_same(
    prediction: Any, said: str, answered: Callable[..., Answer]
) -> None:
    assert said in explain([answered(SURE, prediction=prediction, label="")]).ending[0]


def test_joules_say_where_they_are_from_and_a_sum_says_its_weakest_source(answered: Callable[..., Answer]) -> None:
    told = explain([answered(step(joules=0.1, energy=Energy.MEASURED), step(joules=0.2, energy=Energy.ESTIMATED))])
    assert "300 mJ (estimated)" in told.costs
    assert [joules_in_words(joules, Energy.MEASURED) for joules in (2.0, 0.002, 2e-6, 2e-9)] == [
        "2 J (measured)", "2 mJ (measured)", "2 µJ (measured)", "2 nJ (measured)",
    ]  # fmt: skip
    assert joules_in_words(0.0, Energy.UNKNOWN) == "joules unknown"


def test_a_line_of_a_list_has_the_whole_way(answered: Callable[..., Answer]) -> None:
    assert in_a_line([answered(step(), SURE)]) == (
        'q1  cam 7  answered: "yes" by fog, sure  (edge 0.55/0.90 unsure → fog 0.98/0.90 sure)'
    )


def test_what_a_hop_would_have_said_is_told(answered: Callable[..., Answer]) -> None:
    given = [answered(step(guess="no"), SURE)]
    assert ': its guess was "no"; its gate measured 0.55' in explain(given).hops[0]
    assert '(edge "no" 0.55/0.90 unsure → fog 0.98/0.90 sure)' in in_a_line(given)


def test_numbers_that_differ_are_shown_apart() -> None:
    assert apart(0.9, 0.9) == ("0.90", "0.90")
    assert apart(0.90000001, 0.9) == ("0.90000001", "0.9")


def test_a_page_is_as_wide_as_it_is_wished(answered: Callable[..., Answer]) -> None:
    told = explain([answered(step(ms=1.5, bytes_up=1212), SURE)], ["+0.00 ms asked with 1000 ms to its deadline" * 3])
    widths = [max(map(len, told.page(width).splitlines())) for width in (60, 80, 120)]
    assert widths[0] <= 60 < widths[1] <= 80 < widths[2] <= 120
