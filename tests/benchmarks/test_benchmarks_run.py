"""Each benchmark runs, in its quick form, and writes what its readers look for. Of its figures nothing is said here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS, NODELAY, PLAIN = "cascade", "handwritten, TCP_NODELAY", "handwritten, as paho comes"
FIGURES = {"per_s", "cpu_s_per_1000", "p50_ms", "p99_ms"}

pytestmark = [pytest.mark.slow, pytest.mark.needs_services, pytest.mark.timeout(300)]


def report_of(subject: str, folder: Path) -> tuple[dict[str, Any], str]:
    out = folder / f"{subject}.json"
    command = [sys.executable, "-m", f"benchmarks.{subject}", "--quick", "--out", str(out)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(out.read_text()), ran.stdout


def test_against_handwritten_compares_one_busy_agent_each_tier_and_a_fleet(tmp_path):
    report, table = report_of("against_handwritten", tmp_path)
    result = report["result"]
    assert set(result["in_flight"]) == {"1", "32"}
    for row in result["in_flight"].values():
        assert set(row["medians"]) == {OURS, NODELAY, PLAIN}
        assert set(row["medians"][OURS]) == FIGURES
        assert row["ours_beside"][NODELAY]["times_as_many_per_s"] > 0
    assert set(result["latency"]) == {"edge", "fog", "cloud"}
    assert result["fleet"]["ours_beside"][NODELAY]["times_as_many_per_s"] > 0
    assert "16 agents with one question each" in table


def test_in_line_tells_what_the_agent_adds_and_what_the_hand_off_takes(tmp_path):
    report, _ = report_of("in_line", tmp_path)
    for form in ("onnx", "tflite"):
        row = report["result"][form]
        assert set(row["us"]) == {"bare call", "EdgeAgent.ask", "BlockingEdgeAgent.ask", "hand-off alone"}
        assert set(row["added_us"]) == set(row["times_a_bare_call"]) == {"EdgeAgent.ask", "BlockingEdgeAgent.ask"}
        assert row["us"]["bare call"]["p25"] > 0


def test_footprint_tells_memory_start_and_idling_with_each_engine(tmp_path):
    report, _ = report_of("footprint", tmp_path)
    assert set(report["result"]) == {"scripted", "onnx", "tflite"}
    for row in report["result"].values():
        assert set(row["after_questions_mib"]) == {"rss", "pss", "private"}
        assert row["after_questions_mib"]["rss"] > row["bare"]["rss"] > 0
        assert row["start_s"] > 0
        assert row["idle_cpu_share"] >= 0


def test_tiers_stand_beside_bare_links(tmp_path):
    report, _ = report_of("tiers", tmp_path)
    assert set(report["result"]["gateway"]["1"]["medians"]) == {"our gateway", "bare broker, paho"}
    cloud = report["result"]["cloud"]["32"]["medians"]
    assert set(cloud) == {"our cloud", "bare gRPC, one stream", "bare gRPC, unary"}


def test_growth_is_measured_and_drawn(tmp_path):
    report, _ = report_of("growth", tmp_path)
    for row in report["result"].values():
        assert row["asks again at once"]["per_s"] > 0
        assert row["asks once a second"]["p99_ms"] > 0
        assert row["gateway_mib"]["rss"] > 0
    assert (tmp_path / "growth.svg").read_text().startswith("<svg")


def test_every_report_says_what_it_was_measured_on_and_what_else_ran(tmp_path):
    report, table = report_of("in_line", tmp_path)
    assert report["quick"] is True
    assert {"cores", "cpu", "python", "packages"} <= set(report["measured_on"])
    assert {"others_cores", "stolen_cores", "too_busy"} <= set(report["meanwhile"])
    assert "its figures mean nothing" in table
