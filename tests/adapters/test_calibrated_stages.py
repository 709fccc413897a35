"""A calibrated release as it runs: what stages say is what the recording, bent, says; cues reach a learned gate."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import open_bundle, open_release, write_bundle, write_calibrations, write_release
from cascade.adapters.recording import LabelledSample, record
from cascade.adapters.samples import payload_of
from cascade.adapters.scripted_release import TENSOR, scripted_sample, write_scripted_release
from cascade.adapters.stage_runner import StageRunner
from cascade.inference.effects import RunStage
from cascade.inference.gate import Gate
from cascade.messages import Question, Verdict
from cascade.release.bundle import StageGate, stage_digest
from cascade.release.calibrated import Calibration
from cascade.release.ladder import Deferral, GateSpec

SAMPLES = [scripted_sample((share, 1 - share), (0.5, 0.5), (0.5, 0.5)) for share in (0.2, 0.7, 0.99, 1.0)]
ALWAYS = GateSpec("always")


@pytest.fixture
def folder(tmp_path):
    return write_scripted_release(tmp_path / "release")


def released(folder, gates=None):
    """The release written anew around its bundles as they are."""
    chosen = {"edge": ALWAYS, "fog": ALWAYS, "cloud": ALWAYS, **(gates or {})}
    write_release(
        folder, "r", "task", [StageGate(tier=tier, stage=f"{tier}-model", gate=gate) for tier, gate in chosen.items()]
    )
    return open_release(folder, "edge")


def said(release, samples=SAMPLES):
    runner = StageRunner()
    ladder = runner.install(release)
    questions = tuple(
        Question(
            id=str(index), device="s.d", stream="s", sequence=index, task="task", release=ladder.release,
            payload=payload_of(sample, (TENSOR,)), ms_left=1000.0,
        )
        for index, sample in enumerate(samples)
    )  # fmt: skip
    done = runner.run(RunStage(1, "task", ladder.release, "edge-model", questions))
    runner.close()
    return done.results


def calibrated(folder):
    manifest = open_bundle(folder / "edge").manifest
    digest = stage_digest(manifest.stages[0], manifest)
    calibration = Calibration(method="platt", stage_digest=digest, scale=(0.5,), shift=(-0.5,), floor=1e-3)
    write_calibrations(folder / "edge", {"edge-model": calibration})
    return calibration


def test_a_stage_says_what_its_recording_says_when_bent(folder):
    calibration = calibrated(folder)
    release = released(folder)
    recorded = record(folder, [LabelledSample(sample) for sample in SAMPLES], StageRunner())
    assert recorded.stages[0].prediction(1).scores == pytest.approx((0.7, 0.3)), "recorded before calibration"
    bent = recorded.stages[0].bent(calibration)
    for index, prediction in enumerate(said(release)):
        assert prediction.scores == pytest.approx(bent.prediction(index).scores, rel=1e-9)
    assert said(release)[3].scores[0] < 0.97, "a confidence of exactly 1 is doubted too"


def test_a_sample_alone_gets_the_same_scores(folder):
    calibrated(folder)
    release = released(folder)
    together = said(release)
    alone = [said(release, [sample])[0] for sample in SAMPLES]
    assert [each.scores for each in alone] == [pytest.approx(each.scores, rel=1e-9) for each in together]


def with_cues(folder, *names):
    bundle = open_bundle(folder / "edge")
    stage = msgspec.structs.replace(bundle.manifest.stages[0], cues=names)
    script = (folder / "edge/model.json").read_bytes()
    write_bundle(folder / "edge", msgspec.structs.replace(bundle.manifest, stages=(stage,)), {"model.json": script})


@pytest.mark.parametrize("number", [1e20, 3.4e38])
def test_an_input_whose_cues_overflow_is_not_easy(folder, number):
    """The model may well be sure of it: it does not read that number."""
    with_cues(folder, "mean", "deviation")
    weights = (*(0.0,) * 9, -1.0, -1.0)
    gate = GateSpec("deferral", 0.1, (), Deferral(gain=weights, loss=weights, cues=2))
    release = released(folder, {"edge": gate})
    absurd = SAMPLES[2].copy()
    absurd[-1] = number
    usual, strange = map(Gate(release.ladder.stages[0]).decide, said(release, [SAMPLES[2], absurd]))
    assert (usual.verdict, strange.verdict) == (Verdict.ANSWER, Verdict.CLIMB)


def test_cues_of_the_input_reach_the_learned_gate_and_are_recorded(folder):
    with_cues(folder, "mean", "largest")
    numbers = 5 + 2 * 2 + 2
    gain = (*(0.0,) * (numbers - 1), 20.0)  # by the largest number of the input alone
    gate = GateSpec("deferral", 0.499999, (), Deferral(gain=gain, loss=(0.0,) * numbers, cues=2))
    release = released(folder, {"edge": gate})
    predictions = said(release)
    assert [each.cues for each in predictions] == [pytest.approx((0.5, max(sample))) for sample in SAMPLES]
    decide = Gate(release.ladder.stages[0]).decide
    assert decide(predictions[3]).verdict is Verdict.CLIMB
    recorded = record(folder, [LabelledSample(sample) for sample in SAMPLES], StageRunner())
    assert np.array_equal(recorded.stages[0].cues, [each.cues for each in predictions])
    assert [decide(recorded.stages[0].prediction(index)) for index in range(4)] == [
        decide(each) for each in predictions
    ]
