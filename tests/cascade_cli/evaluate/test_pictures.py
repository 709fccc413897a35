"""The pictures are drawn, are XML, and show what was found."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest


@pytest.fixture
def pictures(evaluate, folder):
    found = evaluate("--pictures", folder / "pictures")
    return found, {path.stem: path.read_text() for path in (folder / "pictures").iterdir()}


def test_there_are_three(pictures):
    found, drawn = pictures
    assert set(drawn) == {"trade-off", "reliability", "confidence"}
    assert len(found["pictures"]) == 3
    for svg in drawn.values():
        assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_thresholds_move_from_all_climbs_to_all_is_answered_below(pictures):
    found, drawn = pictures
    assert [each["tier"] for each in found["thresholds_moved"]] == ["edge", "fog"]
    points = found["thresholds_moved"][0]["points"]
    assert (points[0]["device_share"], points[-1]["device_share"], points[-1]["bytes_up"]) == (0.0, 1.0, 0.0)
    assert points[0]["bytes_up"] == found["systems"]["cloud only"]["bytes_up_per_question"]["value"]
    assert points[-1]["right"] == found["systems"]["device only"]["right"]["value"]
    assert "threshold of edge/edge-model moves" in drawn["trade-off"]


def test_each_stage_has_its_reliability_and_its_confidences(pictures):
    _, drawn = pictures
    for tier in ("edge", "fog", "cloud"):
        assert f"{tier}/{tier}-model" in drawn["reliability"]
        assert f"{tier}/{tier}-model" in drawn["confidence"]
    assert "threshold 0.9" in drawn["confidence"]
