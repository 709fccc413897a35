"""Streams with a sensor: triggers and windows by settings, models that look, sensors that others wake."""

from __future__ import annotations

import asyncio
import io
import json
import time
import tomllib
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.adapters.settings_file import settings_from
from cascade.errors import SettingsError
from cascade.inference.triggers.spec import Voice
from cascade.metrics import SENSOR_JOULES, SENSOR_SECONDS, SENSOR_SWITCHED, WATCH_ASKED, WATCH_BAD, WATCH_LOOKS
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.features import Feature
from cascade.release.ladder import GateSpec
from cascade.release.spectra import LogMel
from edge_agent import EdgeAgent
from edge_agent.settings import EdgeSettings

RATE = 8000
Make = Callable[..., EdgeAgent]


def scripted(name: str, rows: int, dtype: str, scores: list[float], *features: Feature) -> tuple[StageSpec, bytes]:
    spec = InputSpec(tensor="sound", shape=(rows,), dtype=dtype, features=features)
    script = {
        "script": "fixed", "inputs": {"sound": list(spec.fed_shape)}, "outputs": {"y": [2]}, "values": {"y": scores},
    }  # fmt: skip
    stage = StageSpec(
        name=name, file=f"{name}.json", format="scripted", inputs=(spec,), output=OutputSpec(kind="classes"),
        labels=("nothing", "word"),
    )  # fmt: skip
    return stage, msgspec.json.encode(script)


def write_ladder(folder: Path, task: str, *stages: tuple[StageSpec, bytes]) -> Path:
    specs = tuple(spec for spec, _ in stages)
    manifest = BundleManifest(format=1, name=task, task=task, tier="edge", stages=specs, files={})
    write_bundle(folder / "edge", manifest, {spec.file: raw for spec, raw in stages})
    gates = [StageGate(tier="edge", stage=spec.name, gate=GateSpec("confidence", 0.6, ("nothing",))) for spec in specs]
    write_release(folder, task, task, gates)
    return folder


def write_sound(path: Path, *parts: tuple[float, float]) -> Path:
    """Seconds of noise, each at its loudness."""
    dice = np.random.default_rng(0)
    sound = np.concatenate([dice.normal(0, 32767 * share, round(seconds * RATE)) for seconds, share in parts])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.clip(-32768, 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def agent(tmp_path: Path) -> Make:
    def make(tasks: dict[str, Path], *streams: dict[str, Any], out: Any = None) -> EdgeAgent:
        document = {
            "device": {"name": "barn.mic1", "state_dir": str(tmp_path / "state")},
            "tasks": [{"name": name, "release": str(folder)} for name, folder in tasks.items()],
            "streams": [{"durability": "memory", **stream} for stream in streams],
        }
        return EdgeAgent.from_settings(settings_from(document, EdgeSettings, "edge.toml", tmp_path), out=out)

    return make


def said(agent: EdgeAgent, row: Any) -> dict[tuple[str, ...], float]:
    return {reading.labels[1:]: reading.value for reading in agent.tally.snapshot() if reading.row is row}


def microphone(path: Path, chunk: int = 400, **more: Any) -> dict[str, Any]:
    return {"kind": "replay", "path": str(path), "window": chunk, "step": chunk, **more}


async def run(agent: EdgeAgent) -> None:
    async with agent, asyncio.timeout(20):
        await agent.run_until(asyncio.Event())


async def test_a_trigger_of_the_settings_lets_pass_what_is_loud(agent: Make, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.wav", (1.0, 0.0005), (0.5, 0.3), (1.0, 0.0005))
    release = write_ladder(tmp_path / "r", "word", scripted("s", 1600, "int16", [0.1, 0.9]))
    out = io.BytesIO()
    made = agent(
        {"word": release},
        {
            "name": "mic",
            "task": "word",
            "sensor": microphone(sound),
            "watch": {"by": "row", "window": 800, "step": 800, "pre_roll": 800, "trigger": {"kind": "sound_level"}},
        },
        out=out,
    )
    await run(made)
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [answer["outcome"] for answer in answers] == ["answered"] * 5
    assert said(made, WATCH_ASKED) == {("mic",): 5.0}


async def test_what_the_first_stage_woke_the_next_one_verifies(agent: Make, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.wav", (1.0, 0.2))
    release = write_ladder(
        tmp_path / "r",
        "word",
        scripted("small", 800, "int16", [0.1, 0.9]),
        scripted("large", 1600, "int16", [0.3, 0.7]),
    )
    out = io.BytesIO()
    made = agent(
        {"word": release},
        {
            "name": "mic",
            "task": "word",
            "sensor": microphone(sound),
            "watch": {"by": "row", "window": 800, "step": 400, "pre_roll": 800, "wake_task": "word", "once": True},
        },
        out=out,
    )
    await run(made)
    (answer,) = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [step["stage"] for step in answer["trail"]] == ["large"]
    assert answer["label"] == "word"
    assert said(made, WATCH_LOOKS)["mic",] == 17.0


async def test_a_look_that_does_not_end_shows_while_it_runs(agent: Make, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.wav", (0.1, 0.2))
    release = write_ladder(tmp_path / "r", "word", scripted("small", 800, "int16", [0.1, 0.9]))
    watch = {"by": "row", "window": 800, "step": 800, "wake_task": "word"}
    made = agent({"word": release}, {"name": "mic", "task": "word", "sensor": microphone(sound), "watch": watch})
    looked, seen = made._runner.look, []

    def hanging(*wanted: Any) -> Any:
        began_at = time.monotonic()
        while time.monotonic() < began_at + 0.05:
            seen.append(made.idle_s())
        return looked(*wanted)

    made._runner.look = hanging
    await run(made)
    assert (max(seen) >= 0.04, made.idle_s()) == (True, 0.0)


async def test_a_thousand_windows_of_one_sample_are_looked_at_one_after_the_other(agent: Make, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.wav", (1.0, 0.2))
    release = write_ladder(tmp_path / "r", "word", scripted("s", 80, "int16", [0.9, 0.1]))
    made = agent(
        {"word": release},
        {
            "name": "mic",
            "task": "word",
            "sensor": microphone(sound, chunk=RATE),
            "watch": {"by": "row", "window": 80, "step": 4, "wake_task": "word"},
        },
    )
    await run(made)
    assert said(made, WATCH_LOOKS) == {("mic",): (RATE - 80) / 4 + 1}


async def test_a_muted_microphone_is_told_and_asks_nothing(agent: Make, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.wav", (1.0, 0.0))
    features = LogMel(rate_hz=RATE, frame=200, hop=80, bands=10)
    release = write_ladder(tmp_path / "r", "word", scripted("s", 800, "int16", [0.1, 0.9], features))
    made = agent(
        {"word": release},
        {
            "name": "mic",
            "task": "word",
            "sensor": microphone(sound),
            "watch": {"by": "row", "window": 800, "step": 800, "wake_task": "word"},
        },
    )
    await run(made)
    assert said(made, WATCH_BAD)["mic", "bad_input"] == 10.0
    assert said(made, WATCH_ASKED) == {("mic",): 0.0}


async def test_the_joules_of_a_sensor_are_counted_in_both_states(agent: Make, tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.wav", (0.5, 0.0005), (0.5, 0.3))
    release = write_ladder(tmp_path / "r", "word", scripted("s", 400, "int16", [0.1, 0.9]))
    images = tmp_path / "camera.npz"
    np.savez(images, sound=np.random.default_rng(0).integers(-9, 9, (2, 400)).astype(np.int16))
    mic = {
        "name": "mic",
        "task": "word",
        "sensor": microphone(sound, rate_hz=100, watts_on=0.01),
        "watch": {"trigger": {"kind": "sound_level"}, "wakes": "camera", "awake_s": 0.05},
    }
    camera = {
        "name": "camera",
        "task": "word",
        "sensor": {
            "kind": "replay",
            "path": str(images),
            "repeat": True,
            "rate_hz": 50,
            "watts_on": 2.0,
            "watts_off": 0.1,
        },
    }
    made = agent({"word": release}, mic, camera, out=io.BytesIO())
    async with made, asyncio.timeout(20):
        while said(made, SENSOR_SWITCHED)["camera",] < 1 or made._watches[1].energy._on:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    seconds, joules = said(made, SENSOR_SECONDS), said(made, SENSOR_JOULES)
    assert joules["camera", "on", "estimated"] == pytest.approx(2.0 * seconds["camera", "on"])
    assert joules["camera", "off", "estimated"] == pytest.approx(0.1 * seconds["camera", "off"])
    assert seconds["mic", "off"] == 0.0
    assert ("mic", "on", "estimated") in joules


async def test_a_sensor_that_its_trigger_can_not_hear_is_told_once(agent: Make, tmp_path: Path, caplog: Any) -> None:
    release = write_ladder(tmp_path / "r", "word", scripted("s", 400, "int16", [0.1, 0.9]))
    np.savez(tmp_path / "rows.npz", sound=np.full((9, 1), 30_000, np.int16))
    sensor = {"kind": "replay", "path": str(tmp_path / "rows.npz")}
    watch = {"by": "row", "window": 400, "step": 400, "trigger": {"kind": "sound_level"}}
    made = agent({"word": release}, {"name": "mic", "task": "word", "sensor": sensor, "watch": watch}, out=io.BytesIO())
    await run(made)
    assert said(made, WATCH_BAD)["mic", "misfit"] == 9.0
    assert caplog.text.count("its trigger can't hear it") == 1


@pytest.fixture
def woken(agent: Make, tmp_path: Path) -> EdgeAgent:
    """An agent with a camera, listed first, that two microphones wake, which hear nothing."""
    release = write_ladder(tmp_path / "r", "word", scripted("s", 400, "int16", [0.1, 0.9]))
    sensor = microphone(write_sound(tmp_path / "s.wav", (1, 0.0005)), rate_hz=50, repeat=True)
    watch = {"trigger": {"kind": "sound_level"}, "wakes": "camera"}
    mics = [{"name": name, "task": "word", "sensor": sensor, "watch": watch} for name in ("left", "right")]
    return agent({"word": release}, {"name": "camera", "task": "word", "sensor": sensor}, *mics, out=io.BytesIO())


async def test_a_sensor_that_two_streams_wake_sleeps_when_neither_wants_it(woken: EdgeAgent) -> None:
    on = []
    async with woken, asyncio.timeout(20):
        camera = woken._watches[0]
        for wants, who in [(True, "left"), (True, "right"), (False, "left"), (False, "right")]:
            camera.switch(wants, who)
            await asyncio.wait([camera._switching])
            on.append(camera._keeping is not None)
    assert (on, camera.energy.switches) == ([True, True, True, False], 1)


async def test_a_sensor_that_was_stopped_for_good_is_not_woken_again(woken: EdgeAgent) -> None:
    async with woken, asyncio.timeout(20):
        camera = woken._watches[0]
        await camera.stop()
        camera.switch(True, "left")
        if camera._switching is not None:
            await asyncio.wait([camera._switching])
        assert camera._keeping is None


WATCHED = {"by": "row", "window": 800, "step": 800, "wake_task": "word"}


@pytest.mark.parametrize(
    ("watch", "mistake"),
    [
        ({**WATCHED, "window": 400}, "streams[0].watch.window: found 400 rows, expected 800, which stage s takes"),
        ({**WATCHED, "pre_roll": 1}, "streams[0].watch.pre_roll + window + post_roll: found 801 rows, expected 800"),
        ({"by": "row", "window": 800, "smooth": 2}, "streams[0].watch.smooth: is there without a wake_task"),
    ],
)
async def test_a_watch_that_does_not_fit_its_models_is_told_at_the_start(
    agent: Make, tmp_path: Path, watch: dict[str, Any], mistake: str
) -> None:
    sound = write_sound(tmp_path / "s.wav", (1.0, 0.2))
    release = write_ladder(tmp_path / "r", "word", scripted("s", 800, "int16", [0.1, 0.9]))
    made = agent({"word": release}, {"name": "mic", "task": "word", "sensor": microphone(sound), "watch": watch})
    with pytest.raises(SettingsError) as told:
        async with made:
            pass
    assert mistake in str(told.value)


@pytest.mark.parametrize(
    ("trigger", "mistake"),
    [
        ({"kind": "sound_lever"}, "watch.trigger.kind"),
        ({"kind": "activity"}, "watch.trigger.on_at: is missing"),
        (
            {"kind": "motion", "on_at": 0.1, "off_at": 0.5},
            "watch.trigger.off_at: found 0.5, expected on_at (0.1) or less",
        ),
        ({"kind": "voice", "rate_hz": 16000, "loud": True}, "watch.trigger.loud: is unknown"),
    ],
)
def test_mistakes_in_the_settings_of_a_trigger_are_told(
    agent: Make, tmp_path: Path, trigger: dict[str, Any], mistake: str
) -> None:
    release = write_ladder(tmp_path / "r", "word", scripted("s", 800, "int16", [0.1, 0.9]))
    sensor = {"kind": "command", "argv": ["true"], "shape": [800], "dtype": "int16"}
    with pytest.raises(SettingsError) as told:
        agent({"word": release}, {"name": "mic", "task": "word", "sensor": sensor, "watch": {"trigger": trigger}})
    assert mistake in str(told.value)


def test_the_stream_of_the_documents_can_be_read(agent: Make, tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs/watching.md"
    written = tomllib.loads(page.read_text().split("```toml\n")[1].split("```")[0])
    release = write_ladder(tmp_path / "r", "keyword", scripted("s", 16_000, "int16", [0.1, 0.9]))
    made = agent({"keyword": release}, written["streams"][0])
    watch = made.settings.streams[0].watch
    assert watch is not None
    assert isinstance(watch.trigger, Voice)
