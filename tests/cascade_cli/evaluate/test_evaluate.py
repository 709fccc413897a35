"""`cascade evaluate`: what it reports, and that it is what the hops, gates and links really do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cascade.adapters.bundle_folder import open_release, write_release
from cascade.adapters.scripted_release import write_scripted_release
from cascade.adapters.world.models import ReleaseModels
from cascade.inference.hop import Hop
from cascade.inference.scoring import score
from cascade.release.bundle import StageGate
from cascade.release.ladder import GateSpec
from cascade_cli.evaluate.evaluating import evaluate as evaluated
from cascade_cli.evaluate.in_memory import InMemory
from cascade_cli.evaluate.progress import Progress
from cascade_cli.evaluate.recorded import record_release
from cascade_cli.evaluate.replayed import decisions_digest
from cascade_cli.evaluate.samples import open_data
from cascade_cli.evaluate.systems import systems_of

ROOT = Path(__file__).resolve().parents[3]
SYSTEMS = ["device only", "fog only", "cloud only", "cascade"]


def with_threshold(folder, threshold):
    gates = open_release(folder / "release", "edge").manifest.gates
    moved = [
        StageGate(tier=each.tier, stage=each.stage, gate=GateSpec("confidence", threshold))
        if each.tier == "edge"
        else each
        for each in gates
    ]
    write_release(folder / "release", "scripted", "task", moved)


def test_each_tier_alone_and_the_cascade_are_reported_together(evaluate):
    found = evaluate()
    assert list(found["systems"]) == SYSTEMS
    for row in found["systems"].values():
        assert row["questions"] == 160
        assert row["right"]["low"] < row["right"]["value"] < row["right"]["high"]
        assert set(row["ms"]) == {"p50", "p95", "p99"}
        assert sum(each["value"] for each in row["answered_by"].values()) == pytest.approx(1.0)
    assert found["systems"]["device only"]["bytes_up_per_question"]["value"] == 0.0
    right = [found["systems"][name]["right"]["value"] for name in SYSTEMS]
    assert right[0] < right[1] < right[2]
    assert right[0] < right[3]


def test_the_digits_example_works_as_it_is_delivered(cascade, tmp_path):
    pytest.importorskip("sklearn")
    said = cascade("evaluate", ROOT / "examples/digits/evaluate.toml", "--cache", tmp_path, "--json")
    found = json.loads(said.out)
    assert found["systems"]["cascade"]["right"]["value"] > found["systems"]["device only"]["right"]["value"]
    assert found["cascade_beside"]["cloud only"]["times_fewer_bytes"]["low"] > 3.0
    assert found["run_anew"] == {"edge/mlp-6": 450, "fog/mlp-8": 450, "cloud/mlp-256-128": 450}


def test_a_second_replay_runs_nothing_and_decides_the_same_bit_for_bit(evaluate):
    first, second = evaluate(), evaluate()
    assert set(second["run_anew"].values()) == {0}
    assert {name: row["decisions"] for name, row in first["systems"].items()} == {
        name: row["decisions"] for name, row in second["systems"].items()
    }
    del first["run_anew"], second["run_anew"]
    assert first == second


def test_a_fresh_recording_decides_the_same(evaluate, tmp_path):
    first = evaluate()
    second = evaluate("--cache", tmp_path / "another")
    assert set(second["run_anew"].values()) == {160}
    assert [row["decisions"] for row in first["systems"].values()] == [
        row["decisions"] for row in second["systems"].values()
    ]


def test_under_a_new_threshold_nothing_is_run_again(evaluate, folder):
    before = evaluate()["systems"]["cascade"]
    with_threshold(folder, 0.99)
    found = evaluate()
    assert set(found["run_anew"].values()) == {0}
    after = found["systems"]["cascade"]
    assert after["answered_by"]["edge/edge-model"]["value"] < before["answered_by"]["edge/edge-model"]["value"]
    assert after["bytes_up_per_question"]["value"] > before["bytes_up_per_question"]["value"]


def test_of_a_new_model_only_that_is_run(evaluate, folder):
    evaluate()
    write_scripted_release(folder / "release", faults={"fog": {"delay_ms": 0.001}})
    assert evaluate()["run_anew"] == {"edge/edge-model": 0, "fog/fog-model": 160, "cloud/cloud-model": 0}


def test_the_replay_says_what_scoring_the_recordings_says(settings):
    found = evaluated(settings, "here", Progress())
    scored = score(found.recordings, found.gates)
    cascade = next(row for row in found.rows if row.system == "cascade")
    assert {place: share.value for place, share in cascade.answered.items()} == pytest.approx(scored.shares())
    assert cascade.right.value == pytest.approx(scored.right.mean())
    assert cascade.bytes_up.value == pytest.approx(scored.device_bytes.mean())


def test_recorded_models_decide_what_the_models_themselves_decide(settings):
    found = evaluated(settings, "here", Progress())
    data = open_data(settings.data)
    models = ReleaseModels(settings.release)
    try:
        for system, row in zip(systems_of(models.releases), found.rows, strict=True):
            told = InMemory(system, models, data, settings).run()
            assert decisions_digest([each.final for each in told]) == row.decisions, system.name
    finally:
        models.close()


def test_the_journal_of_every_hop_replays_to_the_same_decisions(settings):
    data = open_data(settings.data)
    models = ReleaseModels(settings.release)
    (*_, cascade) = systems_of(models.releases)
    replay = InMemory(cascade, models, data, settings)
    nodes = {node.settings.node: node for node in (replay.fleet.cloud, replay.fleet.gateway, *replay.fleet.devices)}
    seen = {name: [] for name in nodes}
    for name, node in nodes.items():
        node.on_event = lambda event, effects, now, seen=seen[name]: seen.append((event, now, list(effects)))
    replay.run()
    models.close()
    assert all(seen.values())
    for name, node in nodes.items():
        again = Hop(node.settings, node._uplink)
        for event, now, effects in seen[name]:
            assert again.handle(event, now) == effects


def test_cloud_only_sends_each_input_as_compressed_as_the_cascade_does(settings):
    data = open_data(settings.data)
    models = ReleaseModels(settings.release)
    systems = {system.name: system for system in systems_of(models.releases)}
    told = {name: InMemory(systems[name], models, data, settings).run() for name in ("cloud only", "cascade")}
    models.close()
    sent = {
        name: [sum(step.bytes_up for step in each.final.trail if step.tier == "edge") for each in told[name]]
        for name in told
    }
    climbed = [index for index, size in enumerate(sent["cascade"]) if size]
    assert 0 < len(climbed) < len(data)
    assert [sent["cascade"][index] for index in climbed] == [sent["cloud only"][index] for index in climbed]


def test_a_tier_alone_pays_for_no_model_below_it(settings):
    data = open_data(settings.data)
    recorded = record_release(settings.release, data, settings.cache, settings.engine)
    cloud = next(system for system in systems_of(recorded.releases) if system.name == "cloud only")
    models = ReleaseModels(settings.release)
    told = InMemory(cloud, models, data, settings).run()
    models.close()
    assert {step.stage for each in told for step in each.final.trail} == {"", "cloud-model"}


def test_links_machines_and_deadlines_of_the_settings_count(evaluate, folder):
    fair = evaluate()["systems"]["cloud only"]
    text = (folder / "evaluate.toml").read_text()
    links = "[links.fog]\nlatency_ms = 10\n[links.cloud]\nlatency_ms = 30\n[tiers.cloud]\nmodel_ms = 7\n"
    (folder / "evaluate.toml").write_text(text + links)
    slow = evaluate()["systems"]["cloud only"]
    assert slow["ms"]["p50"]["value"] == pytest.approx(2 * 40 + 7, abs=0.01)
    assert fair["ms"]["p50"]["value"] < 7
    (folder / "evaluate.toml").write_text(text + links + "[questions]\ndeadline_ms = 50\n")
    late = evaluate()
    assert late["systems"]["cloud only"]["answered_by"]["nobody"]["value"] == 1.0
    assert late["systems"]["cloud only"]["right"]["value"] == 0.0
    assert late["systems"]["cascade"]["ms"]["p99"]["value"] <= 50.001


def test_a_narrow_link_queues_what_is_asked_faster_than_it_carries(evaluate, folder):
    text = (folder / "evaluate.toml").read_text()
    (folder / "evaluate.toml").write_text(
        text + "[links.fog]\nbytes_per_s = 10_000\n[questions]\nper_s = 80\ndeadline_ms = 60_000\n"
    )
    found = evaluate()["systems"]
    assert found["cloud only"]["ms"]["p95"]["value"] > 2 * found["cascade"]["ms"]["p95"]["value"]


def test_answers_that_were_provisional_by_the_deadline_are_judged_and_noted(evaluate, folder):
    text = (folder / "evaluate.toml").read_text()
    (folder / "evaluate.toml").write_text(
        text + "[links.cloud]\nlatency_ms = 300\n[questions]\ndeadline_ms = 100\nkeep_asking_s = 5\n"
    )
    found = evaluate()
    assert found["systems"]["cascade"]["provisional"]["value"] > 0.1
    assert any("provisional" in note for note in found["notes"])


def test_the_cheapest_model_that_is_as_good_is_named(evaluate, folder):
    """A rival that always says what the cloud says, on the device: then who needs a cascade?"""
    write_scripted_release(folder / "oracle", faults={"edge": {"at": 4}})
    text = (folder / "evaluate.toml").read_text()
    (folder / "evaluate.toml").write_text('rivals = ["oracle"]\n' + text)
    found = evaluate()
    assert list(found["systems"]) == [*SYSTEMS, "oracle on the device"]
    assert found["systems"]["oracle on the device"]["bytes_up_per_question"]["value"] == 0.0
    good = [each["place"] for each in found["single_models"] if each["as_good_as_the_cascade"]]
    assert "oracle/edge-model" in good
    assert "edge/edge-model" not in good


def test_what_is_not_here_is_said_to_be_unknown(evaluate, folder):
    (folder / "release/cloud/manifest.json").unlink()
    found = evaluate()
    assert list(found["systems"]) == ["device only", "fog only", "cascade"]
    assert any("cloud that is not here" in note and "unknown" in note for note in found["notes"])


def test_a_release_of_one_tier_has_no_cascade(evaluate, folder):
    for tier in ("fog", "cloud"):
        (folder / f"release/{tier}/manifest.json").unlink()
    found = evaluate()
    assert list(found["systems"]) == ["device only"]
    assert found["single_models"] == []


def test_joules_that_nobody_knows_are_null(evaluate):
    found = evaluate()
    assert found["systems"]["cascade"]["joules_source"] == "unknown"
    assert found["systems"]["cascade"]["device_joules_per_question"]["value"] is None


def test_the_table_has_the_figures_and_their_limits(cascade, folder):
    said = cascade("evaluate", folder / "evaluate.toml")
    assert said.code == 0, said.err
    for words in (*SYSTEMS, "p50 ms", "p95 ms", "p99 ms", "bytes up", "Wilson", "order statistics", "bootstrap"):
        assert words in said.out
    assert said.err == ""
    assert max(map(len, said.out.splitlines())) < 170


@pytest.mark.needs_services
@pytest.mark.slow
def test_over_processes_the_same_is_answered_as_in_memory(evaluate, folder, samples):
    samples(folder / "samples.npz", 60)
    memory, processes = evaluate(), evaluate("--processes")
    assert isinstance(processes, dict), processes.err
    for name in SYSTEMS:
        ours, theirs = memory["systems"][name], processes["systems"][name]
        assert ours["right"] == theirs["right"]
        assert ours["answered_by"] == theirs["answered_by"]
        assert bool(ours["bytes_up_per_question"]["value"]) == bool(theirs["bytes_up_per_question"]["value"])
    assert processes["how"] == "over processes"


def test_where_nothing_can_be_written_that_is_told_before_the_work(evaluate, folder):
    (folder / "a-file").touch()
    assert "pictures can't be put there" in evaluate("--pictures", folder / "a-file").err
    assert "--cache FOLDER" in evaluate("--cache", folder / "a-file" / "x").err
