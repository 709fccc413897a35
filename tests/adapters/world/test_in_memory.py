"""A release in memory: the hops and models of the processes, and a world around them that stands still."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from cascade.adapters.bundle_folder import write_release
from cascade.adapters.scripted_release import scripted_sample, write_scripted_release
from cascade.adapters.world import InMemoryCascade, Weather
from cascade.errors import BadInput, BundleRejected
from cascade.release.bundle import RELEASE_FILE, read_release_manifest
from cascade.wire.codec import decode_questions, encode_questions

SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)
FOR_EDGE = scripted_sample(SURE, UNSURE, UNSURE)
FOR_FOG = scripted_sample(UNSURE, SURE, UNSURE)
FOR_CLOUD = scripted_sample(UNSURE, UNSURE, SURE)
FAR = {"fog": Weather(latency_s=0.01), "cloud": Weather(latency_s=0.04)}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_scripted_release(tmp_path / "release")


def without(release: Path, *tiers: str) -> Path:
    """The same release without the bundles of these tiers."""
    manifest = read_release_manifest((release / RELEASE_FILE).read_bytes(), "")
    for tier in tiers:
        (release / tier / "manifest.json").unlink()
    write_release(release, "scripted", "task", [gate for gate in manifest.gates if gate.tier not in tiers])
    return release


def test_each_tier_answers_what_it_is_sure_of(release):
    with InMemoryCascade(release) as cascade:
        answers = [cascade.ask(sample) for sample in (FOR_EDGE, FOR_FOG, FOR_CLOUD)]
    assert [(answer.label, answer.tier) for answer in answers] == [("yes", "edge"), ("yes", "fog"), ("yes", "cloud")]
    assert [step.tier for step in answers[2].trail] == ["edge", "fog", "cloud"]


def test_a_cut_costs_accuracy_and_not_the_answer(release):
    with InMemoryCascade(release) as cascade:
        cascade.cut("cloud")
        answer = cascade.ask(FOR_CLOUD)
        assert (answer.tier, answer.reason, answer.provisional) == ("fog", "link_down", False)
        cascade.cut("fog")
        assert cascade.ask(FOR_CLOUD).tier == "edge"
        cascade.mend("fog")
        cascade.mend("cloud")
        assert cascade.ask(FOR_CLOUD).tier == "cloud"


def test_who_goes_on_asking_hears_a_correction_when_the_link_is_mended(release):
    with InMemoryCascade(release) as cascade:
        cascade.cut("cloud")
        first = cascade.ask(FOR_CLOUD, keep_asking_s=60.0)
        assert (first.tier, first.provisional) == ("fog", True)
        assert cascade.wait(10.0) == []
        cascade.mend("cloud")
        (correction,) = cascade.wait(1.0)
        assert (correction.id, correction.tier, correction.correction) == (first.id, "cloud", True)


def test_a_cut_that_nobody_has_noticed_yet_costs_the_deadline(release):
    with InMemoryCascade(release, weather={"cloud": Weather(latency_s=0.0, notice_s=5.0)}) as cascade:
        cascade.cut("cloud")
        began_s = cascade.now_s
        assert cascade.ask(FOR_CLOUD, deadline_ms=200.0).tier == "fog"
        assert cascade.now_s - began_s <= 0.2


def test_the_final_answer_can_be_waited_for(release):
    with InMemoryCascade(release, weather={"cloud": Weather(latency_s=0.3)}) as cascade:
        first = cascade.ask(FOR_CLOUD, deadline_ms=200.0, keep_asking_s=5.0)
        final = cascade.ask(FOR_CLOUD, deadline_ms=200.0, keep_asking_s=5.0, final=True)
    assert (first.tier, first.provisional) == ("fog", True)
    assert (final.tier, final.provisional) == ("cloud", False)


def test_time_is_that_of_links_and_models_as_they_were_given(release):
    with InMemoryCascade(release, weather=FAR, model_ms={"edge": 1.0, "fog": 2.0, "cloud": 5.0}) as cascade:
        began_s = cascade.now_s
        answer = cascade.ask(FOR_CLOUD)
        assert cascade.now_s - began_s == pytest.approx(2 * (0.01 + 0.04) + 0.008)
    assert [step.ms for step in answer.trail] == [1.0, 2.0, 5.0]


def test_the_same_questions_get_the_same_answers(release):
    rough = {"fog": Weather(latency_s=0.01, jitter_s=0.05, loss=0.3), "cloud": Weather(jitter_s=0.1, loss=0.2)}
    samples = [FOR_EDGE, FOR_FOG, FOR_CLOUD] * 20

    def told(seed: int):
        with InMemoryCascade(release, weather=rough, model_ms=dict.fromkeys(FAR, 1.0), seed=seed) as cascade:
            answers = [cascade.ask(sample, deadline_ms=100.0) for sample in samples]
            return [(each.id, each.tier, each.reason) for each in answers], cascade.now_s, cascade.totals()

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_devices_share_a_gateway_and_have_names_of_their_own(release):
    with InMemoryCascade(release, devices=3) as cascade:
        answers = [cascade.ask(FOR_FOG, device=number) for number in range(3)]
    assert [answer.device for answer in answers] == ["site.device0", "site.device1", "site.device2"]
    assert {answer.trail[-1].node for answer in answers} == {"site.gateway"}


def test_totals_are_of_all_that_was_asked(release):
    with InMemoryCascade(release, joules_per_byte=1e-6) as cascade:
        for sample in (FOR_EDGE, FOR_FOG, FOR_CLOUD, FOR_CLOUD):
            cascade.ask(sample)
        totals = cascade.totals()
    assert totals.questions == 4
    assert totals.answered_by == {"edge": 1, "fog": 1, "cloud": 2}
    assert totals.bytes_up["edge"] > totals.bytes_up["fog"] > 0
    assert totals.joules["edge"] == pytest.approx(totals.bytes_up["edge"] * 1e-6)


def test_bytes_are_those_that_travel_on_the_wire(release):
    seen = []
    with InMemoryCascade(release) as cascade:
        hop = cascade._fleet.gateway
        hop.on_event = lambda event, effects, now: seen.extend(
            effect.question for effect in effects if type(effect).__name__ == "AskAbove"
        )
        cascade.ask(FOR_CLOUD)
        message = encode_questions(seen)
        assert cascade.totals().bytes_up["fog"] == len(message)
        assert decode_questions(message)[0].payload[0].shape == (6,)


def test_without_a_model_in_the_fog_questions_pass_through_it(release):
    with InMemoryCascade(without(release, "fog")) as cascade:
        answer = cascade.ask(FOR_FOG)
        assert cascade.tiers == ("edge", "cloud")
    assert [(step.tier, step.reason) for step in answer.trail][1] == ("fog", "no_stage_here")
    assert answer.tier == "cloud"


def test_without_a_cloud_the_fog_has_the_last_word(release):
    with InMemoryCascade(without(release, "cloud")) as cascade:
        answer = cascade.ask(FOR_CLOUD)
        assert (answer.tier, answer.reason) == ("fog", "nobody_above")
        with pytest.raises(ValueError, match="there are links to fog"):
            cascade.cut("cloud")


def test_a_device_alone_answers_what_it_can(release):
    with InMemoryCascade(without(release, "fog", "cloud")) as cascade:
        assert cascade.ask(FOR_CLOUD).reason == "nobody_above"


def test_without_a_model_on_the_device_there_is_no_cascade(release):
    with pytest.raises(BundleRejected, match="no bundle for tier edge"):
        InMemoryCascade(without(release, "edge"))


@pytest.mark.parametrize("wrong", [{"weather": {"moon": Weather()}}, {"model_ms": {"moon": 1.0}}])
def test_a_tier_that_is_not_there_is_told(release, wrong):
    with pytest.raises(ValueError, match="moon; there are"):
        InMemoryCascade(release, **wrong)


@pytest.mark.parametrize("wrong", [{"deadline_ms": 0.0}, {"deadline_ms": float("nan")}, {"keep_asking_s": -1.0}])
def test_an_impossible_deadline_is_refused(release, wrong):
    with InMemoryCascade(release) as cascade, pytest.raises(BadInput, match="a deadline of"):
        cascade.ask(FOR_EDGE, **wrong)


def test_a_sample_of_another_shape_is_refused_as_a_device_refuses_it(release):
    with InMemoryCascade(release) as cascade:
        answer = cascade.ask(np.zeros(5, np.float32))
        assert (answer.outcome, answer.reason) == ("refused", "bad_input")
        assert cascade.totals().answered_by == {"nobody": 1}


def test_what_has_ended_takes_no_memory(release):
    with InMemoryCascade(release) as cascade:
        for _ in range(100):
            cascade.ask(FOR_CLOUD)
        application = cascade._fleet.application
        assert not application.accepted
        assert not application.told


def test_through_a_storm_and_outages_each_question_ends_once(release):
    chance = Random(3)
    storm = {
        "fog": Weather(latency_s=0.02, jitter_s=0.05, loss=0.2, duplication=0.1, reordering=0.2),
        "cloud": Weather(latency_s=0.05, loss=0.2, notice_s=2.0),
    }
    with InMemoryCascade(release, devices=3, weather=storm, model_ms={"cloud": 30.0}, seed=1) as cascade:
        provisional = []
        for number in range(300):
            if chance.random() < 0.1:
                chance.choice((cascade.cut, cascade.mend))(chance.choice(("fog", "cloud")))
            sample = chance.choice((FOR_EDGE, FOR_FOG, FOR_CLOUD))
            answer = cascade.ask(sample, device=number % 3, deadline_ms=100.0, keep_asking_s=chance.choice((0, 300)))
            provisional += [answer.id] if answer.provisional else []
        for tier in storm:
            cascade.mend(tier)
        later = [answer.id for answer in cascade.wait(2000.0) if not answer.provisional]
        assert sum(cascade.totals().answered_by.values()) == 300
    assert sorted(later) == sorted(provisional)
    assert len(provisional) > 20


def test_a_release_that_promises_nothing_has_nothing_to_doubt(release):
    with InMemoryCascade(release) as cascade:
        cascade.ask(FOR_CLOUD)
        assert cascade.stood() == ("unguarded", (), 0.0)
