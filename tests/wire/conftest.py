"""Strategies for any valid question and answer, and a plain one of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st

from cascade.messages import (
    DTYPES,
    AnomalyScore,
    Answer,
    ClassScores,
    Detection,
    Detections,
    Energy,
    Estimate,
    Outcome,
    Question,
    Step,
    Tensor,
    Verdict,
    payload_digest,
)

SEEN = ("L", "N", "P", "S")
texts = st.text(st.characters(categories=SEEN), max_size=8)
names = st.text(st.characters(categories=SEEN, exclude_characters="/+#"), max_size=8)
given_names = st.text(st.characters(categories=SEEN, exclude_characters="/+#"), min_size=1, max_size=8)
devices = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}\.[A-Za-z0-9][A-Za-z0-9_.-]{0,9}", fullmatch=True)
amounts = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
figures = st.none() | st.floats(allow_nan=False)
singles = st.floats(width=32, allow_nan=False)
counts = st.integers(0, 2**64 - 1)


@st.composite
def tensors(draw: st.DrawFn, name: str) -> Tensor:
    dtype = draw(st.sampled_from(sorted(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    size = DTYPES[dtype] * math.prod(shape)
    encoding = draw(st.sampled_from(("raw", "zlib", "zstd")))
    data = draw(st.binary(min_size=size, max_size=size) if encoding == "raw" else st.binary(max_size=40))
    return Tensor(name, dtype, shape, data, encoding)


payloads = st.lists(texts, max_size=3, unique=True).flatmap(lambda each: st.tuples(*map(tensors, each)))
questions = st.builds(
    Question,
    id=given_names, device=devices, stream=names, sequence=counts, task=given_names, release=names, payload=payloads,
    ms_left=amounts, digest=st.binary(max_size=64), stage=names, priority=st.integers(0, 9), age_ms=amounts,
    keep_ms=amounts, audit=st.booleans(), hidden=st.just(b"") | st.binary(min_size=16, max_size=16),
)  # fmt: skip

predictions = st.one_of(
    st.none(),
    st.builds(ClassScores, st.lists(singles, max_size=12).map(tuple)),
    st.lists(st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)), max_size=5).map(
        lambda pairs: Estimate(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
    ),
    st.builds(AnomalyScore, st.floats(allow_nan=False), st.floats(allow_nan=False)),
    st.builds(
        Detections,
        st.lists(
            st.builds(Detection, st.integers(0, 2**32 - 1), singles, st.tuples(*[singles] * 4)), max_size=3
        ).map(tuple),
        st.floats(allow_nan=False),
    ),
)  # fmt: skip
steps = st.builds(
    Step,
    node=names, tier=names, stage=names, model=names, verdict=st.sampled_from(Verdict), reason=texts,
    confidence=figures, threshold=figures, ms=amounts, joules=amounts, energy=st.sampled_from(Energy), bytes_up=counts,
    sent=texts,
)  # fmt: skip
answers = st.builds(
    Answer,
    id=given_names, device=devices, digest=st.binary(max_size=64), stream=names, sequence=counts, task=names,
    release=names, outcome=st.sampled_from(Outcome), reason=texts, prediction=predictions, label=texts, tier=names,
    provisional=st.booleans(), correction=st.booleans(), repeated=st.booleans(), retry_ms=st.none() | amounts,
    trail=st.lists(steps, max_size=3).map(tuple),
)  # fmt: skip


@pytest.fixture(scope="session")
def words() -> SimpleNamespace:
    """The strategies, for `data.draw`: a test module can't import its neighbour."""
    return SimpleNamespace(questions=questions, answers=answers)


@pytest.fixture(scope="session")
def a_question() -> Callable[..., Question]:
    """A plain question, with whatever the test says is different."""

    def make(**different: object) -> Question:
        payload = (Tensor("image", "uint8", (2, 3), b"abcdef"),)
        plain: dict[str, object] = {
            "id": "q1", "device": "barn.cam1", "stream": "kitchen", "sequence": 7, "task": "digits", "release": "r1",
            "payload": payload, "ms_left": 200.0, "digest": payload_digest(payload),
        }  # fmt: skip
        return Question(**(plain | different))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def an_answer() -> Callable[..., Answer]:
    def make(**different: object) -> Answer:
        step = Step(
            node="barn.gw1", tier="fog", stage="cnn", model="ab12", verdict=Verdict.ANSWER, reason="sure",
            confidence=0.9, threshold=0.75, ms=1.5, joules=0.25, energy=Energy.ESTIMATED, bytes_up=300,
            sent="hidden", guess="one",
        )  # fmt: skip
        plain: dict[str, object] = {
            "id": "q1", "device": "barn.cam1", "digest": b"d" * 16, "stream": "kitchen", "sequence": 7,
            "task": "digits", "release": "r1", "outcome": Outcome.ANSWERED, "reason": "sure",
            "prediction": ClassScores((0.25, 0.75)), "label": "one", "tier": "fog", "trail": (step,),
        }  # fmt: skip
        return Answer(**(plain | different))  # type: ignore[arg-type]

    return make
