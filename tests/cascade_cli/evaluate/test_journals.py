"""A journal from the field: gone through again bit for bit, and under other thresholds as far as anybody knows."""

from __future__ import annotations

import asyncio
import io
import json

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import open_release, write_bundle, write_release
from cascade.adapters.journal_writer import JournalWriter
from cascade.adapters.scripted_release import write_scripted_release
from cascade.adapters.settings_file import settings_from
from cascade.adapters.world.models import ReleaseModels
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.ladder import GateSpec
from cascade_cli import exit_codes
from cascade_cli.evaluate.in_memory import InMemory
from cascade_cli.evaluate.replayed import decisions_digest
from cascade_cli.evaluate.samples import open_data
from cascade_cli.evaluate.systems import systems_of
from edge_agent import EdgeAgent
from edge_agent.settings import EdgeSettings


@pytest.fixture
def lived(settings, folder):
    """A device's journal, what its application was told, and a file of what was right."""
    data, models = open_data(settings.data), ReleaseModels(settings.release)
    (*_, cascade) = systems_of(models.releases)
    replay = InMemory(cascade, models, data, settings)
    device = replay.fleet.devices[0]
    rebuild = {"hop": msgspec.to_builtins(device.settings), "uplink": msgspec.to_builtins(device._uplink)}
    writer = JournalWriter(
        folder / "device.journal", node=device.settings.node, tier="edge", seed=device.settings.seed, rebuild=rebuild
    )
    device.on_event = lambda event, effects, now: writer.append(now, event)
    told = replay.run()
    writer.close()
    models.close()
    lines = [json.dumps({"id": each.final.id, "label": label}) for each, label in zip(told, data.labels, strict=True)]
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n")
    table = '{ kind = "journal", path = "device.journal", labels = "labels.jsonl" }'
    (folder / "evaluate.toml").write_text(f'release = "release"\ndata = {table}\n')
    return told


def moved(folder, threshold):
    gates = open_release(folder / "release", "edge").manifest.gates
    changed = [
        StageGate(tier=each.tier, stage=each.stage, gate=GateSpec("confidence", threshold))
        if each.tier == "edge"
        else each
        for each in gates
    ]
    write_release(folder / "release", "scripted", "task", changed)


def test_the_same_journal_gives_the_same_decisions_bit_for_bit(lived, evaluate):
    first, second = evaluate(), evaluate()
    assert first == second
    assert first["systems"]["as it was"]["decisions"] == decisions_digest([each.final for each in lived])


def test_under_the_thresholds_that_it_had_nothing_is_unknown_and_nothing_differs(lived, evaluate):
    found = evaluate()["systems"]
    was, same = found["as it was"], found["these thresholds"]
    assert "unknown" not in same["answered_by"]
    assert same["right"] == was["right"]
    assert same["bytes_up_per_question"] == was["bytes_up_per_question"]


def test_under_a_lower_threshold_all_is_known(lived, evaluate, folder):
    moved(folder, 0.6)
    found = evaluate()["systems"]
    assert "unknown" not in found["these thresholds"]["answered_by"]
    assert found["these thresholds"]["right"]["value"] < found["as it was"]["right"]["value"]
    assert (
        found["these thresholds"]["bytes_up_per_question"]["value"]
        < found["as it was"]["bytes_up_per_question"]["value"]
    )


def test_under_a_higher_threshold_what_was_never_asked_above_is_unknown(lived, evaluate, folder):
    moved(folder, 0.99)
    found = evaluate()
    assert found["systems"]["these thresholds"]["answered_by"]["unknown"]["value"] > 0.05
    assert any("nobody knows" in note and "between" in note for note in found["notes"])


def test_without_labels_accuracy_is_unknown_and_the_rest_is_not(lived, evaluate, folder):
    (folder / "evaluate.toml").write_text('release = "release"\ndata = { kind = "journal", path = "device.journal" }\n')
    was = evaluate()["systems"]["as it was"]
    assert was["right"]["value"] is None
    assert was["bytes_up_per_question"]["value"] > 0


def test_a_journal_of_other_models_says_nothing_of_this_release(lived, evaluate, folder):
    write_scripted_release(folder / "release", faults={"edge": {"delay_ms": 0.001}})
    refused = evaluate()
    assert refused.code == exit_codes.WRONG
    assert "other models than those of the journal" in refused.err


@pytest.fixture
async def two_tasks(folder):
    """The journal of a device that has another task beside the one of the release."""
    write_scripted_release(folder / "other", "other")
    np.savez(folder / "few.npz", x=np.full((5, 6), 0.5, np.float32))
    sensors = {"task": folder / "samples.npz", "other": folder / "few.npz"}
    document = {
        "device": {"name": "barn.cam1", "state_dir": str(folder / "state")},
        "tasks": [
            {"name": "task", "release": str(folder / "release")},
            {"name": "other", "release": str(folder / "other")},
        ],
        "streams": [
            {"name": task, "task": task, "durability": "memory", "sensor": {"kind": "replay", "path": str(path)}}
            for task, path in sensors.items()
        ],
        "journal": {"path": str(folder / "device.journal")},
    }
    settings = settings_from(document, EdgeSettings, "edge.toml", folder)
    async with EdgeAgent.from_settings(settings, out=io.BytesIO()) as agent, asyncio.timeout(20):
        await agent.run_until(asyncio.Event())


@pytest.mark.parametrize(("release", "task", "questions"), [("release", "task", 160), ("other", "other", 5)])
async def test_of_a_device_with_two_tasks_those_of_the_release_are_looked_at(
    two_tasks, evaluate, folder, release, task, questions
):
    table = '{ kind = "journal", path = "device.journal" }'
    (folder / "evaluate.toml").write_text(f'release = "{release}"\ndata = {table}\n')
    found = evaluate()
    assert (found["task"], found["samples"]) == (task, questions)


async def test_a_journal_without_the_task_of_the_release_says_which_it_has(two_tasks, evaluate, folder):
    write_scripted_release(folder / "third", "third")
    table = '{ kind = "journal", path = "device.journal" }'
    (folder / "evaluate.toml").write_text(f'release = "third"\ndata = {table}\n')
    assert "found the tasks other, task, expected third" in evaluate().err


async def test_what_the_first_stage_woke_was_not_asked_of_it_and_is_known(evaluate, folder):
    stages = tuple(
        StageSpec(
            name=name, file="model.json", format="scripted", inputs=(InputSpec(tensor="x", shape=(6,)),),
            output=OutputSpec(kind="classes"), labels=("no", "yes"),
        )
        for name in ("wakes", "verifies")
    )  # fmt: skip
    edge = BundleManifest(format=1, name="e", task="task", tier="edge", stages=stages, files={})
    script = {"script": "fixed", "inputs": {"x": [6]}, "outputs": {"y": [2]}, "values": {"y": [0.1, 0.9]}}
    write_bundle(folder / "woken" / "edge", edge, {"model.json": msgspec.json.encode(script)})
    gates = [StageGate(tier="edge", stage=each.name, gate=GateSpec("confidence", 0.5)) for each in stages]
    write_release(folder / "woken", "woken", "task", gates)
    sensor = {"kind": "replay", "path": str(folder / "samples.npz"), "limit": 9}
    watch = {"wake_task": "task"}
    document = {
        "device": {"name": "barn.mic1", "state_dir": str(folder / "state")},
        "tasks": [{"name": "task", "release": str(folder / "woken")}],
        "streams": [{"name": "mic", "task": "task", "durability": "memory", "sensor": sensor, "watch": watch}],
        "journal": {"path": str(folder / "device.journal")},
    }
    settings = settings_from(document, EdgeSettings, "edge.toml", folder)
    async with EdgeAgent.from_settings(settings, out=io.BytesIO()) as agent, asyncio.timeout(20):
        await agent.run_until(asyncio.Event())
    (folder / "evaluate.toml").write_text('release = "woken"\ndata = { kind = "journal", path = "device.journal" }\n')
    found = evaluate()
    same = found["systems"]["these thresholds"]
    assert (found["samples"], list(same["answered_by"])) == (9, ["edge/verifies"])
    assert same["device_joules_per_question"] == found["systems"]["as it was"]["device_joules_per_question"]


def test_labels_of_other_questions_are_refused(lived, evaluate, folder):
    (folder / "labels.jsonl").write_text('{"id": "no such", "label": "yes"}\n')
    assert "no id that is in the journal" in evaluate().err
    (folder / "labels.jsonl").write_text("yes\n")
    assert "expected lines of" in evaluate().err
