"""What goes up of a question: the smaller of its input and its hidden features, as they travel."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from cascade.adapters.going_up import smaller, zipped
from cascade.inference.effects import AskAbove
from cascade.inference.events import Packed
from cascade.messages import Question, Tensor

NOISE = np.random.default_rng(1).integers(0, 256, 400, dtype=np.uint8).tobytes()
FLAT = bytes(400)


def question(data: bytes, hidden: bytes = b"") -> Question:
    payload = (Tensor("x", "uint8", (len(data),), data),)
    return Question(
        id="q", device="a.b", stream="s", sequence=1, task="t", release="r", payload=payload, ms_left=1.0, hidden=hidden
    )


def features(data: bytes):
    return lambda asked, stage: msgspec.structs.replace(question(data, b"s" * 16), id=asked.id)


def test_smaller_hidden_features_go_up_compressed_and_the_hop_hears_of_it():
    going, packed = smaller(AskAbove(question(NOISE), "exit"), zipped, features(FLAT))
    assert (going.hidden, going.payload[0].encoding) == (b"s" * 16, "zlib")
    assert packed == Packed(question(NOISE).key, going.payload_bytes, 400)


def test_where_the_input_is_smaller_as_it_travels_it_goes_up():
    """Uncompressed the features would have been the smaller."""
    going, packed = smaller(AskAbove(question(FLAT), "exit"), zipped, features(NOISE[:300]))
    assert (going.hidden, packed) == (b"", None)


def test_of_two_that_are_equal_the_input_goes_up():
    assert smaller(AskAbove(question(NOISE), "exit"), None, features(NOISE)) == (question(NOISE), None)


def test_a_hop_that_compresses_no_inputs_compresses_its_own_features():
    going, _ = smaller(AskAbove(question(NOISE), "exit"), None, features(FLAT))
    assert going.payload[0].encoding == "zlib"


def test_features_that_are_gone_are_replaced_by_the_input():
    assert smaller(AskAbove(question(NOISE), "exit"), None, lambda asked, stage: None) == (question(NOISE), None)


@pytest.mark.parametrize("prepare", [None, zipped])
def test_a_question_without_hidden_features_is_only_prepared(prepare):
    going, packed = smaller(AskAbove(question(FLAT)), prepare, features(b""))
    assert (going.payload[0].encoding, packed) == ("zlib" if prepare else "raw", None)
