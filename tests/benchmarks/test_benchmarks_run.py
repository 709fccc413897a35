"""Each benchmark runs, in its quick form, and writes what its readers look for. Of its figures nothing is said here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS, NODELAY, PLAIN = "cascade", "handwritten, TCP_NODELAY", "handwritten, as paho comes"
FIGURES = {"per_s", "cpu_s_per_1000", "p50_ms", "p99_ms"}

pytestmark = [pytest.mark.slow, pytest.mark.needs_services, pytest.mark.timeout(300)]


class Report(NamedTuple):
    said: dict[str, Any]
    table: str
    picture: str


@pytest.fixture(scope="module")
def report_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Report]:
    """What a subject wrote and printed; each is run once."""
    folder = tmp_path_factory.mktemp("benchmarks")
    return cache(lambda subject: run(subject, folder / f"{subject}.json"))


def run(subject: str, out: Path) -> Report:
    command = [sys.executable, "-m", f"benchmarks.{subject}", "--quick", "--out", str(out)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    picture = out.with_suffix(".svg")
    return Report(json.loads(out.read_text()), ran.stdout, picture.read_text() if picture.exists() else "")


def test_against_handwritten_compares_one_busy_agent_each_tier_and_a_fleet(report_of):
    report, table, _ = report_of("against_handwritten")
    result = report["result"]
    assert set(result["in_flight"]) == {"1", "32"}
    for row in result["in_flight"].values():
        assert set(row["medians"]) == {OURS, NODELAY, PLAIN}
        assert set(row["medians"][OURS]) == FIGURES
        assert row["ours_beside"][NODELAY]["times_as_many_per_s"] > 0
    assert set(result["latency"]) == {"edge", "fog", "cloud"}
    assert result["fleet"]["ours_beside"][NODELAY]["times_as_many_per_s"] > 0
    assert "16 agents with one question each" in table


def test_in_line_tells_what_the_agent_adds_and_what_the_hand_off_takes(report_of):
    report, _, _ = report_of("in_line")
    for form in ("onnx", "tflite"):
        row = report["result"][form]
        assert set(row["us"]) == {"bare call", "EdgeAgent.ask", "BlockingEdgeAgent.ask", "hand-off alone"}
        assert set(row["added_us"]) == set(row["times_a_bare_call"]) == {"EdgeAgent.ask", "BlockingEdgeAgent.ask"}
        assert row["us"]["bare call"]["p25"] > 0


def test_footprint_tells_memory_start_and_idling_with_each_engine(report_of):
    report, _, _ = report_of("footprint")
    assert set(report["result"]) == {"scripted", "onnx", "tflite"}
    for row in report["result"].values():
        assert set(row["after_questions_mib"]) == {"rss", "pss", "private"}
        assert row["after_questions_mib"]["rss"] > row["bare"]["rss"] > 0
        assert row["start_s"] > 0
        assert row["idle_cpu_share"] >= 0


def test_tiers_stand_beside_bare_links(report_of):
    report, _, _ = report_of("tiers")
    assert set(report["result"]["gateway"]["1"]["medians"]) == {"our gateway", "bare broker, paho"}
    cloud = report["result"]["cloud"]["32"]["medians"]
    assert set(cloud) == {"our cloud", "bare gRPC, one stream", "bare gRPC, unary"}


def test_growth_is_measured_and_drawn(report_of):
    report, _, picture = report_of("growth")
    for row in report["result"].values():
        assert row["asks again at once"]["per_s"] > 0
        assert row["asks once a second"]["p99_ms"] > 0
        assert row["gateway_mib"]["rss"] > 0
    assert picture.startswith("<svg")


def test_every_report_says_what_it_was_measured_on_and_what_else_ran(report_of):
    report, table, _ = report_of("in_line")
    assert report["quick"] is True
    assert {"cores", "cpu", "python", "packages"} <= set(report["measured_on"])
    assert {"others_cores", "stolen_cores", "too_busy"} <= set(report["meanwhile"])
    assert "its figures mean nothing" in table


def test_gate_and_hop_are_told_beside_each_model(report_of):
    report, table, _ = report_of("gate_and_hop")
    assert {"digits of the demo", "CNN of 100k, onnx", "CNN of 100k, tflite"} <= set(report["result"])
    for row in report["result"].values():
        assert row["share"] > 0
    assert "gate and hop, µs" in table


def test_features_are_told_beside_a_model_s_call(report_of):
    report, table, _ = report_of("features")
    assert report["result"]["model_ms"] > 0
    assert all(ms > 0 for ms in report["result"]["ms"].values())
    assert "for a second of sound" in table


@pytest.mark.skipif(not os.environ.get("CASCADE_DATA"), reason="CASCADE_DATA doesn't say where the data is")
def test_wake_words_are_counted_on_streams_composed_of_what_is_there():
    command = [sys.executable, "-m", "benchmarks.wake_word", "--minutes", "2"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, "missed" in ran.stdout) == (0, True), ran.stderr[-3000:]
