"""`examples/spoken_digits` on words that a generator makes; on FSDD where CASCADE_DATA is set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cascade.adapters.world import InMemoryCascade
from cascade.inference.careful import Standing
from cascade.messages import Outcome

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/spoken_digits"
STRANGER = "dan"
KEYWORDS, OTHER_WORD = "mlperf-tiny/models/kws_ref_model_float32.tflite", 11
SPEECH = "silero-vad/silero_vad.onnx"
HEARD_BY_IT = """
import json, sys
sys.path.insert(0, "spoken_digits")
import onnxruntime
from clips import read
from graph import SPECTRUM, Graph
from keyword_ears import FINE, coefficients
from train import fsdd, heard
graph = Graph()
model = graph.finished(graph.add("Flatten", coefficients(graph)), "mfcc", 490)
clips = heard(read(fsdd()).sounds[::10], FINE)
print(json.dumps(onnxruntime.InferenceSession(model).run(None, {SPECTRUM: clips})[0].tolist()))
"""
WORD = 700
REMEMBERED_OF_IT = """
import json, sys
sys.path.insert(0, "spoken_digits")
import onnxruntime
from clips import RATE, read
from graph import SOUND, Graph
from speech_ears import FRAMES, read_weights, remembered
from train import fsdd, heard
graph = Graph()
states = remembered(read_weights(sys.argv[1]), graph, graph.fed(SOUND, (RATE,)))
model = graph.finished(states, "states", FRAMES, 128)
word = heard(read(fsdd()).sounds[int(sys.argv[2]):][:1])
states = onnxruntime.InferenceSession(model).run(None, {SOUND: word})[0]
print(json.dumps({"word": word[0].tolist(), "states": states[0].tolist()}))
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run) -> Path:
    made = tmp_path_factory.mktemp("spoken")
    words = made / "words.npz"
    run("spoken_digits/stand_ins.py", words, 25, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CASCADE_DATA", raising=False)
        said = run("spoken_digits/train.py", "--clips", words, "--without", STRANGER, "--out", made, "--steps", 80)
    (made / "said.txt").write_text(said)
    for settings in EXAMPLE.glob("*.toml"):
        shutil.copy(settings, made)
    target = "at most 1.5 points worse than the cloud, with 80 % confidence"
    run(
        "-m", "cascade_cli", "calibrate", made / "release", "--recordings", made / "recordings.npz",
        "--record", made / "calibrate.npz", "--target", target,
    )  # fmt: skip
    return made


@pytest.fixture
def cascade(folder) -> Iterator[InMemoryCascade]:
    with InMemoryCascade(folder / "release") as world:
        yield world


def asked(cascade: InMemoryCascade, path: Path) -> float:
    """In an order by chance: the share that went up."""
    with np.load(path) as file:
        sounds = file["sound"]
    answers = [cascade.ask(sounds[row], final=True) for row in np.random.default_rng(0).permutation(len(sounds))]
    return sum(answer.tier == "cloud" for answer in answers) / len(answers)


def test_those_who_are_known_raise_no_doubt(folder, cascade):
    asked(cascade, folder / "test.npz")
    assert cascade.stood().standing != Standing.CAREFUL


def test_a_stranger_makes_it_careful(folder, cascade):
    before = asked(cascade, folder / "test.npz")
    after = asked(cascade, folder / "stranger.npz")
    assert cascade.stood().standing == Standing.CAREFUL
    assert after > before


def test_no_clip_is_in_two_parts(folder):
    parts = [np.load(folder / f"{name}.npz")["sound"] for name in ("calibrate", "test", "stranger")]
    each = [{clip.tobytes() for clip in part} for part in parts]
    assert len(set.union(*each)) == sum(map(len, each))


@pytest.mark.parametrize("tier", ["edge", "fog", "cloud"])
def test_its_settings_are_right(folder, run, tier):
    assert "right" in run("-m", "cascade_cli", "check", folder / f"{tier}.toml")


def test_it_can_be_evaluated(folder, run):
    said = json.loads(run("-m", "cascade_cli", "evaluate", folder / "evaluate.toml", "--json", "--cache", folder / "c"))
    assert said["samples"] == len(np.load(folder / "test.npz")["labels"])


def test_ears_that_are_not_there_are_missing_and_it_says_so(folder):
    said = (folder / "said.txt").read_text()
    assert "no keyword ears" in said
    assert "no speech ears" in said


def test_silence_is_an_error(cascade):
    assert cascade.ask(np.zeros(8000, np.int16)).outcome is Outcome.REFUSED


def test_clipped_sound_is_an_error(cascade):
    loud = np.random.default_rng(0).normal(size=8000) * 60_000
    assert cascade.ask(loud.clip(-32768, 32767).astype(np.int16)).outcome is Outcome.REFUSED


def test_what_is_no_number_is_an_error(cascade):
    assert cascade.ask(np.full(8000, np.nan, np.float32)).outcome is Outcome.REFUSED


def test_without_data_it_says_that_nothing_was_measured(run, monkeypatch):
    monkeypatch.delenv("CASCADE_DATA", raising=False)
    assert "nothing was measured" in run("spoken_digits/measure.py")


def test_to_the_whole_keyword_network_digits_are_other_words(real_data, run):
    """So its front end is what it was trained with: else they would be silence to it, or anything."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(real_data / KEYWORDS))
    interpreter.allocate_tensors()
    fed, told = (each[0]["index"] for each in (interpreter.get_input_details(), interpreter.get_output_details()))
    heard = []
    for clip in json.loads(run("-c", HEARD_BY_IT)):
        interpreter.set_tensor(fed, np.array(clip, np.float32).reshape(1, 49, 10, 1))
        interpreter.invoke()
        heard.append(interpreter.get_tensor(told).argmax() == OTHER_WORD)
    assert np.mean(heard) > 0.95


def test_the_unrolled_memory_is_that_of_the_network_asked_frame_by_frame(real_data, run):
    import onnxruntime

    said = json.loads(run("-c", REMEMBERED_OF_IT, real_data / SPEECH, WORD))
    word = np.pad(np.array(said["word"], np.float32), (32, 0))
    asked, state = onnxruntime.InferenceSession(real_data / SPEECH), np.zeros((2, 1, 128), np.float32)
    for frame, unrolled in enumerate(said["states"]):
        fed = word[None, 256 * frame : 256 * (frame + 1) + 32]
        _, state = asked.run(None, {"input": fed, "state": state, "sr": np.array(8000)})
        np.testing.assert_allclose(unrolled, state[0, 0], atol=1e-4)
    assert np.abs(state[0]).max() > 0.1


def test_three_speakers_and_all_ears_are_one_model(real_data, run, tmp_path):
    pytest.importorskip("ai_edge_litert")
    assert "ears" not in run("spoken_digits/train.py", "--without", "theo", "--out", tmp_path, "--steps", 1)
    with np.load(tmp_path / "test.npz") as file, InMemoryCascade(tmp_path / "release") as cascade:
        assert cascade.ask(file["sound"][0], final=True).outcome is Outcome.ANSWERED


@pytest.mark.timeout(1800)
def test_a_new_speaker_is_noticed_and_escalated(real_data, run, tmp_path):
    """Each of the four, and the cascade falls by less than half. The README tells who has little to spare."""
    pytest.importorskip("ai_edge_litert")
    run("spoken_digits/measure.py", "--ways", "strict", "--json", tmp_path / "found.json", timeout_s=1790.0)
    found = json.loads((tmp_path / "found.json").read_text())
    for met in found:
        assert all(noticed is not None and noticed <= 200 for noticed in met["noticed"]), met["stranger"]
        (_, before), (_, after) = met["cascade"]
        assert after > before
        device, cascade = met["falls"]
        assert cascade < device / 2, met["stranger"]


@pytest.mark.timeout(600)
def test_where_the_model_above_knows_the_new_speaker_the_cascade_falls_by_less_than_half(real_data, run, tmp_path):
    told = ("--ways", "known above", "--strangers", "jackson", "--json", tmp_path / "found.json")
    run("spoken_digits/measure.py", *told, timeout_s=590.0)
    (met,) = json.loads((tmp_path / "found.json").read_text())
    device, cascade = met["falls"]
    assert cascade < device / 2
