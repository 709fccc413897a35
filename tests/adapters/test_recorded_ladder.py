"""Recording ladders that send hidden features up: what was recorded is what happens when the same samples are asked."""

from __future__ import annotations

from itertools import product

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.adapters.recording import LabelledSample, record
from cascade.adapters.recording_file import read_recordings, write_recordings
from cascade.adapters.stage_runner import StageRunner
from cascade.adapters.world.in_memory import InMemoryCascade
from cascade.inference.recordings import ENCODING, BadRecording
from cascade.inference.scoring import score, top_alone
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, SentSpec, StageGate, StageSpec, stage_digest
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Dequantise

WIDTH, MIDDLE = 200, 60
"""Numbers of an image, and those of them that the second exit hands on: as they are, four bytes each."""
IMAGE = InputSpec(tensor="image", shape=(WIDTH,), dtype="uint8", features=(Dequantise(scale=1 / 255),))
SURE, UNSURE = (250, 5), (140, 115)
PLACES = {"exit1": 0, "exit2": 2, "fog rest": 4, "cloud rest": 6, "cloud last": 8, "fog whole": 64, "cloud whole": 66}


def stage(name, spec, **more):
    output = OutputSpec(kind="classes", tensor="y")
    return StageSpec(
        name=name, file=name, format="scripted", inputs=(spec,), output=output, labels=("no", "yes"), **more
    )


def write_tier(folder, tier, stages, models):
    manifest = BundleManifest(format=1, name=tier, task="t", tier=tier, stages=stages, files={})
    scripts = {name: msgspec.json.encode({"script": "echo"} | script) for name, script in models.items()}
    return write_bundle(folder / tier, manifest, scripts).manifest


def whole(place):
    return {"inputs": {"x": [WIDTH]}, "outputs": {"y": [2]}, "at": PLACES[place]}


def rest(digest, width):
    return InputSpec(tensor="h", shape=(width,), continues=digest)


def write_cascade(folder, *, fog_sends=False, fog=True, faults=None):
    """Two exits on the device. Above, each tier has a model for the input and one for what goes on from the exits."""
    edge = write_tier(
        folder,
        "edge",
        (
            stage("exit1", IMAGE),
            stage("exit2", InputSpec(tensor="h", shape=(MIDDLE + 2,), segment="exit1"), sends=(sent(MIDDLE),)),
        ),
        {
            "exit1": {"inputs": {"x": [WIDTH]}, "outputs": {"y": [2], "h": [MIDDLE + 2]}},
            "exit2": {"inputs": {"x": [MIDDLE + 2]}, "outputs": {"y": [2], "h": [MIDDLE]}} | (faults or {}),
        },
    )
    digests = [stage_digest(edge.stages[1], edge)]
    names = {"edge": ["exit1", "exit2"]}
    if fog:
        more = {"sends": (sent(4),)} if fog_sends else {}
        stages = (stage("whole", IMAGE), stage("rest", rest(digests[0], MIDDLE), **more))
        scripts = {"whole": whole("fog whole"), "rest": {"inputs": {"x": [MIDDLE]}, "outputs": {"y": [2], "h": [4]}}}
        written = write_tier(folder, "fog", stages, scripts)
        digests.append(stage_digest(written.stages[1], written))
        names["fog"] = ["whole", "rest"]
    stages, scripts = [stage("whole", IMAGE), stage("rest", rest(digests[0], MIDDLE))], {"whole": whole("cloud whole")}
    scripts["rest"] = {"inputs": {"x": [MIDDLE]}, "outputs": {"y": [2]}, "at": 2}
    if fog_sends:
        stages.append(stage("last", rest(digests[1], 4)))
        scripts["last"] = {"inputs": {"x": [4]}, "outputs": {"y": [2]}, "at": 2}
    write_tier(folder, "cloud", tuple(stages), scripts)
    names["cloud"] = [each.name for each in stages]
    gates = [
        StageGate(tier=tier, stage=name, gate=GateSpec("always") if tier == "cloud" else GateSpec("confidence", 0.9))
        for tier, each in names.items()
        for name in each
    ]
    write_release(folder, "r", "t", gates)
    return gates


def sent(width):
    return SentSpec(output="h", shape=(width,))


def samples():
    """Each stage sure or not, in turn; with features that are smaller than the input, and with some that are not."""
    rng = np.random.default_rng(0)
    found = []
    for sure, dense in product(product((True, False), repeat=4), (True, False)):
        image = np.zeros(WIDTH, np.uint8)
        noisy = slice(10, 64) if dense else slice(70, WIDTH)
        image[noisy] = rng.integers(0, 256, noisy.stop - noisy.start)
        said = dict.fromkeys(PLACES, UNSURE)
        said |= {
            name: SURE if each else UNSURE for name, each in zip(("exit1", "exit2", "fog rest"), sure, strict=False)
        }
        said["fog whole"] = SURE if sure[3] else UNSURE
        for name, scores in said.items():
            image[PLACES[name] : PLACES[name] + 2] = scores if rng.random() < 0.5 else scores[::-1]
        found.append(image)
    return found


def gates_of(recordings, gates):
    by_place = {(each.tier, each.stage): each.gate for each in gates}
    return [by_place[stage.tier, stage.name] for stage in recordings.stages]


def recorded(folder, **more):
    runner = StageRunner(**more)
    try:
        return record(folder, [LabelledSample(each, "no") for each in samples()], runner, batch=7)
    finally:
        runner.close()


@pytest.mark.parametrize(("fog", "fog_sends"), [(False, False), (True, False), (True, True)])
def test_each_recorded_sample_goes_the_way_that_it_goes_when_it_is_asked(tmp_path, fog, fog_sends):
    gates = write_cascade(tmp_path, fog=fog, fog_sends=fog_sends)
    found = recorded(tmp_path)
    scored = score(found, gates_of(found, gates))
    stages = [(stage.tier, stage.name) for stage in found.stages]
    answered = set()
    with InMemoryCascade(tmp_path) as cascade:
        for index, image in enumerate(samples()):
            answer = cascade.ask(image, final=True)
            ran = [(step.tier, step.stage) for step in answer.trail if step.stage]
            assert [place for place, there in zip(stages, scored.reached[:, index], strict=True) if there] == ran
            assert stages[scored.answered_by[index]] == ran[-1]
            assert found.label_names[scored.said[index]] == answer.label
            bytes_up = sum(step.bytes_up for step in answer.trail if step.tier == "edge")
            assert abs(bytes_up - scored.device_bytes[index]) < 40 + 0.1 * bytes_up
            answered.add(ran[-1])
    assert answered >= {("edge", "exit1"), ("cloud", "whole"), ("cloud", "last" if fog_sends else "rest")}


def test_bytes_are_those_of_what_goes_on_each_link(tmp_path):
    write_cascade(tmp_path, fog_sends=True)
    found = recorded(tmp_path)
    first, second = found.crossings.link_bytes
    exit2 = next(stage for stage in found.stages if stage.name == "exit2")
    went = exit2.sent_bytes > 0
    assert 0 < went.sum() < len(went)
    assert np.all(first[went] < found.input_bytes[went])
    assert np.all(first[~went] == found.input_bytes[~went])
    assert np.all(second[went] < first[went])
    assert np.all(second[~went] == first[~went])


def test_the_top_that_takes_the_input_is_the_last_stage_and_is_what_others_are_compared_with(tmp_path):
    gates = write_cascade(tmp_path, fog=False)
    found = recorded(tmp_path)
    assert [stage.name for stage in found.stages] == ["exit1", "exit2", "rest", "whole"]
    climbed = score(found, [GateSpec("never"), GateSpec("never"), *gates_of(found, gates)[2:]])
    assert {found.stages[number].name for number in climbed.answered_by} == {"rest", "whole"}
    assert set(top_alone(climbed).answered_by) == {3}


def test_features_that_had_no_room_are_made_again(tmp_path):
    write_cascade(tmp_path, fog=False)
    plenty, hardly = recorded(tmp_path), recorded(tmp_path, hidden_bytes=2000)
    for one, other in zip(plenty.stages, hardly.stages, strict=True):
        assert np.array_equal(one.columns["scores"], other.columns["scores"])
        assert np.array_equal(one.sent_bytes, other.sent_bytes)


def test_where_the_segment_fails_the_input_goes_and_nothing_goes_on_from_it(tmp_path):
    write_cascade(tmp_path, fog=False, faults={"fail_on": float(np.float32(5 / 255))})
    found = recorded(tmp_path)
    exit2, going_on = found.stages[1], found.stages[2]
    failed = np.isnan(exit2.columns["scores"]).any(axis=1)
    assert 0 < failed.sum() < len(failed)
    assert not exit2.sent_bytes[failed].any()
    assert np.array_equal(going_on.ran, ~failed)
    assert found.crossings.comes[3][failed].all()


def test_what_crosses_survives_being_written_and_read(tmp_path):
    write_cascade(tmp_path / "release", fog_sends=True)
    found = recorded(tmp_path / "release")
    write_recordings(tmp_path / "r.npz", found)
    again = read_recordings(tmp_path / "r.npz")
    assert [stage.root for stage in again.stages] == [stage.root for stage in found.stages]
    assert again.notes[ENCODING] == "zlib"
    for one, other in zip(again.crossings.link_bytes, found.crossings.link_bytes, strict=True):
        assert np.array_equal(one, other)


def test_a_recording_of_the_first_format_is_read_as_one_in_which_inputs_go_up(tmp_path):
    write_cascade(tmp_path / "release", fog=False)
    path = tmp_path / "r.npz"
    write_recordings(path, recorded(tmp_path / "release"))
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith(("1.sent", "2.", "3."))}
    header = msgspec.json.decode(arrays["header"].tobytes())
    header |= {"format": 1, "stages": [{k: v for k, v in each.items() if k != "root"} for each in header["stages"][:2]]}
    arrays["header"] = np.frombuffer(msgspec.json.encode(header), np.uint8)
    np.savez(path, **arrays)
    old = read_recordings(path)
    assert old.crossings.comes == (None, None)
    assert old.crossings.ends == (False, True)


def test_a_size_that_no_message_has_is_refused(tmp_path):
    write_cascade(tmp_path / "release", fog=False)
    path = tmp_path / "r.npz"
    write_recordings(path, recorded(tmp_path / "release"))
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["1.sent_bytes"] = arrays["1.sent_bytes"] - 1
    np.savez(path, **arrays)
    with pytest.raises(BadRecording, match="sent bytes"):
        read_recordings(path)
