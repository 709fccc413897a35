"""From tensors to what the model gets: also what no question holds, and without what no model should be asked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cascade.adapters.stage_inputs import InputReader, Stacked, part_of, stacked
from cascade.messages import Question, Tensor
from cascade.release.bundle import InputSpec
from cascade.release.features import Feature
from cascade.release.preprocessing import Check, Normalise, Rssi
from cascade.release.spectra import LogMel

SOUND = np.random.default_rng(0).integers(-9000, 9000, 400).astype(np.int16)


def asked(*arrays: np.ndarray) -> list[Question]:
    return [
        Question(
            id="q", device="a.b", stream="s", sequence=1, task="t", release="r", ms_left=1.0,
            payload=(Tensor("x", array.dtype.name, array.shape, array.tobytes()),),
        )
        for array in arrays
    ]  # fmt: skip


def read(*arrays: np.ndarray, features: tuple[Feature, ...] = (), more: tuple[InputSpec, ...] = ()) -> Stacked:
    spec = InputSpec(tensor="x", shape=arrays[0].shape, dtype=arrays[0].dtype.name, features=features)
    with np.errstate(over="ignore"):
        return stacked([InputReader(each, each.model_input or "x") for each in (spec, *more)], asked(*arrays))


SILENT = np.zeros(400, np.int16)
LOG_MEL = LogMel(rate_hz=8000, frame=200, hop=80)


def test_a_muted_microphone_is_bad_input_and_harms_no_other() -> None:
    batch = read(SOUND, SILENT, SOUND[::-1].copy(), features=(LOG_MEL,))
    assert batch.kept == [0, 2]
    assert "muted, covered or broken" in batch.bad[1]
    assert batch.arrays["x"].shape == (2, 3, 40)


def test_a_stage_may_want_silence_to_be_heard() -> None:
    batch = read(SILENT, features=(Check(varies=False), LOG_MEL))
    assert np.isfinite(batch.arrays["x"]).all()


def test_clipped_sound_is_bad_input_where_the_stage_says_so() -> None:
    clipped = np.where(SOUND > 0, 32767, -32768).astype(np.int16)
    assert list(read(clipped, SOUND, features=(Check(clipped_share=0.3),)).bad) == [0]


def test_numbers_that_overflow_on_their_way_are_bad_input() -> None:
    batch = read(np.array([1e30, 1.0]), np.array([2.0, 3.0]), features=(Normalise(divide=1e-30),))
    assert batch.bad == {0: "what is made of it is not finite: its numbers are too large"}


def test_each_reason_stands_beside_the_question_that_it_is_about() -> None:
    good, nan = np.array([-50.0, 100.0]), np.array([math.nan, -50.0])
    batch = read(nan, good, np.full(2, 100.0), good, features=(Rssi(),))
    assert batch.bad == {0: "a number in it is not finite", 2: "no access point in it was heard"}
    assert batch.kept == [1, 3]


def test_a_batch_in_which_all_is_bad_has_no_arrays() -> None:
    assert read(SILENT, SILENT, features=(LOG_MEL,)).arrays == {}


STATE = InputSpec(tensor="state", shape=(2, 5), batch_axis=1, model_input="state", carried="state_out")
RATE = InputSpec(tensor="rate", shape=(), dtype="int64", model_input="rate", value=16000.0)


def test_what_is_not_in_the_question_is_given() -> None:
    batch = read(SOUND, SOUND, more=(STATE, RATE))
    assert batch.arrays["state"].shape == (2, 2, 5)
    assert batch.arrays["rate"] == np.int64(16000)
    assert batch.arrays["rate"].shape == ()


def test_a_batch_is_parted_along_the_axis_on_which_it_lies() -> None:
    readers = [InputReader(InputSpec(tensor="x", shape=(400,), dtype="int16"), "x")]
    readers += [InputReader(each, each.model_input) for each in (STATE, RATE)]
    batch = stacked(readers, asked(*[SOUND] * 5))
    part = part_of(readers, batch.arrays, 4, 2)
    assert {name: array.shape for name, array in part.items()} == {"x": (1, 400), "state": (2, 1, 5), "rate": ()}


@pytest.mark.parametrize("spec", [STATE, RATE])
def test_warming_up_gives_them_too(spec: InputSpec) -> None:
    zeros = InputReader(spec, "x").zeros()
    assert zeros.shape == ((2, 1, 5) if spec is STATE else ())
