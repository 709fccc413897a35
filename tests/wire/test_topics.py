"""Topics are built and read in one place, and a device speaks only in its own site."""

from __future__ import annotations

import pytest

from cascade.errors import PeerError
from cascade.wire import topics


def test_each_topic_is_where_the_contract_says() -> None:
    assert topics.ask_topic("barn.cam1") == "cascade/v1/barn/barn.cam1/up/ask"
    assert topics.answers_topic("barn.cam1") == "cascade/v1/barn/barn.cam1/up/answers"
    assert topics.presence_topic("barn.cam1") == "cascade/v1/barn/barn.cam1/up/presence"
    assert topics.metrics_topic("barn.cam1") == "cascade/v1/barn/barn.cam1/up/metrics"
    assert topics.answer_topic("barn.cam1") == "cascade/v1/barn/barn.cam1/down/answer"


def test_each_filter_is_where_the_contract_says() -> None:
    assert topics.shared_ask_filter("barn") == "$share/gateways/cascade/v1/barn/+/up/ask"
    assert topics.shared_ask_filter("barn", "b") == "$share/b/cascade/v1/barn/+/up/ask"
    assert topics.presence_filter("barn") == "cascade/v1/barn/+/up/presence"
    assert topics.metrics_filter("barn") == "cascade/v1/barn/+/up/metrics"
    assert topics.down_filter("barn.cam1") == "cascade/v1/barn/barn.cam1/down/#"


def test_what_was_built_is_read() -> None:
    assert topics.parse_topic(topics.ask_topic("barn.cam.1")) == ("barn", "barn.cam.1", "up", "ask")
    assert topics.parse_topic(topics.down_topic("a.b", "update/state")) == ("a", "a.b", "down", "update/state")


@pytest.mark.parametrize("topic", ["cascade/v1/yard/barn.cam1/up/ask", "cascade/v1/bar/barn.cam1/up/ask"])
def test_a_device_in_another_site_is_an_impostor(topic: str) -> None:
    with pytest.raises(PeerError) as caught:
        topics.parse_topic(topic)
    assert caught.value.kind == "identity"


@pytest.mark.parametrize(
    "topic",
    [
        "", "cascade", "cascade/v2/barn/barn.cam1/up/ask", "cascade/v1/barn/barn.cam1/sideways/ask",
        "cascade/v1/barn/barn.cam1/up", "cascade/v1/barn/barn.cam1/up/", "cascade/v1/barn/barn.cam1/up/a+k",
        "cascade/v1/barn/barn.cam1/up/ask/#", "x/cascade/v1/barn/barn.cam1/up/ask", "cascade/v1/barn/barn.cam1/up//ask",
        "cascade/v1/barn/barn.cam1/up/" + "a" * 1000,
    ],
)  # fmt: skip
def test_what_is_no_topic_of_ours_is_refused(topic: str) -> None:
    with pytest.raises(PeerError) as caught:
        topics.parse_topic(topic)
    assert caught.value.kind == "topic"


@pytest.mark.parametrize(
    "name", ["", "cam1", ".cam1", "barn.", "barn/cam.1", "barn.c+m", "bä.cam", "barn.cam\n", "a." + "b" * 200, "#.a"]
)
def test_a_name_without_site_or_with_wildcards_is_no_device(name: str) -> None:
    with pytest.raises(PeerError) as caught:
        topics.check_device_name(name)
    assert caught.value.kind == "identity"


@pytest.mark.parametrize("site", ["", "a.b", "+", "a/b", "#", "a" * 64])
def test_a_wildcard_is_no_site(site: str) -> None:
    with pytest.raises(PeerError):
        topics.presence_filter(site)


def test_a_group_with_a_slash_is_no_group() -> None:
    with pytest.raises(PeerError):
        topics.shared_ask_filter("barn", "a/b")
