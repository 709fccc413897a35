"""What a model file does to the engine at its first load, it does in another process; and the verdict is remembered."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from cascade.adapters.backends import engine, first_load
from cascade.adapters.backends.backend import Engine, EngineSettings
from cascade.adapters.backends.first_load import STATE_FILE, FirstLoads, TrialLimits
from cascade.adapters.backends.scripted import ScriptedEngine
from cascade.errors import ModelRejected

SETTINGS = EngineSettings()


class Bench:
    """A folder with a state file, and models to check."""

    def __init__(self, folder: Path, files: ModuleType) -> None:
        self.folder, self.files = folder, files
        self.state = folder / STATE_FILE

    def check(self, model: Any, name: str = "m.json", runs: Engine | None = None, **limits: Any) -> None:
        path = self.files.write(self.folder / name, model)
        FirstLoads(self.folder, TrialLimits(**limits)).check(runs or engine("scripted"), [path], SETTINGS)

    def remembered(self) -> dict[str, str]:
        return json.loads(self.state.read_bytes()) if self.state.exists() else {}


@pytest.fixture
def bench(tmp_path: Path, files: ModuleType) -> Bench:
    return Bench(tmp_path, files)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(first_load.subprocess, "Popen", refuse)


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, shell: str) -> None:
    """In place of the trial: a shell script."""
    script = folder / "pretender"
    script.write_text(f"#!/bin/sh\n{shell}\n")
    script.chmod(0o755)
    monkeypatch.setattr(first_load.sys, "executable", str(script))


def test_a_good_model_passes_and_the_next_start_does_not_ask_again(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    bench.check(bench.files.script())
    assert list(bench.remembered().values()) == [""]
    request.getfixturevalue("no_process")
    bench.check(bench.files.script())


@pytest.mark.parametrize(("name", "kind"), [("m.onnx", "onnx"), ("m.tflite", "tflite")])
def test_real_engines_pass_good_models(bench: Bench, name: str, kind: str) -> None:
    model = bench.files.linear_onnx() if kind == "onnx" else bench.files.linear_tflite(quantised=True)
    bench.check(model, name, engine(kind))
    assert engine(kind).version() in next(iter(bench.remembered()))


def test_a_model_that_kills_the_engine_is_rejected_and_this_process_lives_on(bench: Bench) -> None:
    with pytest.raises(ModelRejected, match=r"^m\.json: its first load died with signal 11"):
        bench.check(bench.files.script(crash=True))


def test_a_model_that_hangs_is_rejected_in_time(bench: Bench) -> None:
    started_s = time.monotonic()
    with pytest.raises(ModelRejected, match=r"took longer than 0\.8 s"):
        bench.check(bench.files.script(hang=True), wait_s=0.8)
    assert time.monotonic() - started_s < 5.0


def test_a_crash_or_a_hang_is_not_remembered_since_a_starved_machine_may_have_caused_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, bench.folder, "kill -9 $$")
    with pytest.raises(ModelRejected, match="died with signal 9"):
        bench.check(bench.files.script())
    monkeypatch.undo()
    bench.check(bench.files.script())


def test_a_model_that_the_engine_refuses_stays_refused_without_another_try(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    bad = bench.files.script(at=2)
    with pytest.raises(ModelRejected, match="outputs want 3 numbers"):
        bench.check(bad)
    request.getfixturevalue("no_process")
    with pytest.raises(ModelRejected, match="outputs want 3 numbers"):
        bench.check(bad)


@pytest.mark.slow
def test_an_endless_loop_ends_with_the_process(bench: Bench) -> None:
    with pytest.raises(ModelRejected, match=r"m\.onnx: its first load (took longer|used up)"):
        bench.check(bench.files.endless_onnx(), "m.onnx", engine("onnx"), wait_s=4.0)


@pytest.mark.slow
def test_a_model_that_wants_all_memory_is_rejected_and_the_machine_keeps_its_own(bench: Bench) -> None:
    with pytest.raises(ModelRejected, match=r"m\.onnx: ") as caught:
        bench.check(bench.files.huge_onnx(1 << 32), "m.onnx", engine("onnx"))
    assert "its first" in str(caught.value) or "does not load it" in str(caught.value)


class Newer(ScriptedEngine):
    def version(self) -> str:
        return "2"


def test_other_bytes_or_another_version_of_the_engine_are_checked_anew(bench: Bench) -> None:
    bench.check(bench.files.script())
    bench.check(bench.files.script(at=0))
    bench.check(bench.files.script(), runs=Newer())
    assert len(bench.remembered()) == 3


@pytest.mark.parametrize("state", [b"", b"{", b'{"a": 1}', b"[]", b"\xff" * 99, b"[" * 100_000, b" " * (5 << 20)])
def test_a_torn_state_file_is_ignored_and_written_anew(bench: Bench, state: bytes) -> None:
    bench.state.write_bytes(state)
    assert FirstLoads(bench.folder)._verdicts == {}


def test_after_a_torn_state_file_verdicts_are_remembered_again(bench: Bench) -> None:
    bench.state.write_bytes(b'{"cut o')
    bench.check(bench.files.script())
    assert len(bench.remembered()) == 1


def test_a_state_folder_that_takes_nothing_costs_only_the_memory_of_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    path = bench.files.write(bench.folder / "m.json", bench.files.script())
    loads = FirstLoads(bench.folder / "none")
    loads.check(engine("scripted"), [path], SETTINGS)
    assert "verdicts on models are not kept" in caplog.text


def test_without_a_state_folder_a_verdict_lasts_as_long_as_the_process(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    path = bench.files.write(bench.folder / "m.json", bench.files.script())
    loads = FirstLoads(None)
    loads.check(engine("scripted"), [path], SETTINGS)
    request.getfixturevalue("no_process")
    loads.check(engine("scripted"), [path], SETTINGS)


def test_the_state_file_stays_small(bench: Bench) -> None:
    old = {str(number): "" for number in range(first_load.MAX_REMEMBERED + 50)}
    bench.state.write_bytes(msgspec.json.encode(old))
    bench.check(bench.files.script())
    assert len(bench.remembered()) == first_load.MAX_REMEMBERED
    assert "0" not in bench.remembered()


@pytest.mark.parametrize(
    ("shell", "why"),
    [
        ("exit 3", "ended with status 3"),
        ("kill -11 $$", "died with signal 11"),
        ("kill -40 $$", "died with signal 40"),
        ("echo rubbish", "reported nothing that can be read"),
        ("true", "reported nothing that can be read"),
        ("yes", "took longer"),
        ("exec 1>&-; sleep 60", "took longer"),
        ("sleep 60 & echo '{}'", "took longer"),
    ],
)
def test_whatever_the_process_does_instead_of_reporting_is_a_rejection(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, shell: str, why: str
) -> None:
    pretend(monkeypatch, bench.folder, shell)
    with pytest.raises(ModelRejected, match=why):
        bench.check(bench.files.script(), wait_s=0.3 if why == "took longer" else 15.0)


@pytest.mark.slow
@pytest.mark.parametrize("then", ["wait", "exit"])
def test_nothing_is_left_of_the_process_but_its_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    child = bench.folder / "child"
    pretend(monkeypatch, bench.folder, f"sleep 60 & echo $! > {child}; {then}")
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ModelRejected, match="took longer"):
        bench.check(bench.files.script(), wait_s=1.0)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert _gone(int(child.read_text()))


def _gone(process: int) -> bool:
    """Ended, though whoever inherits it may not have asked how yet."""
    give_up_at = time.monotonic() + 5.0
    while time.monotonic() < give_up_at:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_the_process_gets_no_secrets_from_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = bench.folder / "seen"
    monkeypatch.setenv("BROKER_PASSWORD", "secret")
    pretend(monkeypatch, bench.folder, f"env > {seen}; echo '{{}}'")
    bench.check(bench.files.script())
    assert "PYTHONPATH" in seen.read_text()
    assert "secret" not in seen.read_text()


def test_a_gateway_with_more_than_1024_open_files_can_still_check_a_model(bench: Bench) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1500:
        pytest.skip("this machine allows no more than 1,024 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1500), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        bench.check(bench.files.script())
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_flipped_bits_never_kill_an_engine_once_the_file_was_looked_at(bench: Bench) -> None:
    """In a process of its own all the same. What loads is run, too: it may answer wrongly, and nothing else."""
    for name, model in (
        ("m.onnx", bench.files.linear_onnx(activation="Softmax")),
        ("m.tflite", bench.files.linear_tflite(quantised=True)),
    ):
        bench.files.write(bench.folder / name, model)
    done = subprocess.run(
        [sys.executable, "-c", _FLIPPER, str(bench.folder)], check=False, capture_output=True, timeout=50
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert int(done.stdout) > 50


_FLIPPER = """
import random, sys
from pathlib import Path
import numpy as np
from cascade.adapters.backends import engine
from cascade.adapters.backends.backend import EngineSettings
from cascade.errors import ModelRejected

dice, loaded = random.Random(5), 0
for name in ("m.onnx", "m.tflite"):
    whole = (Path(sys.argv[1]) / name).read_bytes()
    path = Path(sys.argv[1]) / ("flipped-" + name)
    runs = engine(name[2:])
    for _ in range(150):
        flipped = bytearray(whole)
        flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        path.write_bytes(flipped)
        try:
            runs.inspect(path, EngineSettings())
            model = runs.load(path, EngineSettings())
        except ModelRejected:
            continue
        loaded += 1
        try:
            model.run({spec.name: np.ones([size or 2 for size in spec.shape], spec.dtype) for spec in model.inputs})
        except Exception:
            pass
print(loaded)
"""
