"""MQTT topics: built and read here and nowhere else.

`cascade/v1/<site>/<site>.<name>/up/…` and `…/down/…`: one ACL pattern on the user's name keeps a device to its own
topics, and as its name begins with the site, a topic of another site gives it away (the pattern alone lets it pass).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from cascade.errors import PeerError
from cascade.messages import site_of
from cascade.wire.limits import quoted

ROOT = "cascade/v1"
MAX_DEVICE_NAME = 128
UP, DOWN = "up", "down"
ASK, ANSWERS, PRESENCE, METRICS, ANSWER = "ask", "answers", "presence", "metrics", "answer"

_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\.[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_SUBJECT = re.compile(r"[a-z][a-z0-9_-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*", re.ASCII)
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_MAX_TOPIC = 512


class Topic(NamedTuple):
    """A topic, read and found to be in order."""

    site: str
    device: str
    direction: str
    subject: str
    """What follows `up/` or `down/`."""


@lru_cache(maxsize=4096)
def check_device_name(name: str) -> str:
    """`<site>.<name>`: letters, digits, `_` and `-`, in the second part also dots. A site has up to 63 characters."""
    if len(name) > MAX_DEVICE_NAME or not _DEVICE.fullmatch(name):
        raise PeerError("identity", f"not a device's name (<site>.<name>): {quoted(name)}")
    return name


def check_site(site: str) -> str:
    if not _SITE.fullmatch(site):
        raise PeerError("identity", f"not a site's name: {quoted(site)}")
    return site


def up_topic(device: str, subject: str) -> str:
    """For subjects of other flows (updates, reports), which speak under the same roof."""
    return f"{_home(device)}/{UP}/{subject}"


def down_topic(device: str, subject: str) -> str:
    return f"{_home(device)}/{DOWN}/{subject}"


def ask_topic(device: str) -> str:
    """Where a device asks."""
    return up_topic(device, ASK)


def published_bytes(topic: str, payload_bytes: int, *, expires: bool) -> int:
    """Of the whole packet that carries a message, within two."""
    return len(topic) + payload_bytes + 9 + (5 if expires else 0)


def answer_topic(device: str) -> str:
    """Where a device hears the answers."""
    return down_topic(device, ANSWER)


def answers_topic(device: str) -> str:
    """Where a device publishes its answers for applications, if it is told to."""
    return up_topic(device, ANSWERS)


def presence_topic(device: str) -> str:
    return up_topic(device, PRESENCE)


def metrics_topic(device: str) -> str:
    return up_topic(device, METRICS)


def shared_ask_filter(site: str, group: str = "gateways") -> str:
    """Each question of a site goes to one of the gateways that subscribe with this."""
    if not _GROUP.fullmatch(group):
        raise PeerError("topic", f"not a name of a group: {quoted(group)}")
    return f"$share/{group}/{up_filter(site, ASK)}"


def presence_filter(site: str) -> str:
    return up_filter(site, PRESENCE)


def metrics_filter(site: str) -> str:
    return up_filter(site, METRICS)


def up_filter(site: str, subject: str) -> str:
    """All devices of a site, one subject."""
    return f"{ROOT}/{check_site(site)}/+/{UP}/{subject}"


def down_filter(device: str) -> str:
    """All that is sent to one device."""
    return down_topic(device, "#")


def parse_topic(topic: str) -> Topic:
    """What a message's topic says. `PeerError` of kind `topic`, or `identity` where the device is of another site."""
    parts = topic.split("/", 5) if len(topic) <= _MAX_TOPIC else []
    if len(parts) != 6 or parts[0] != "cascade" or parts[1] != "v1" or parts[4] not in (UP, DOWN):
        raise PeerError("topic", f"not a topic of this runtime: {quoted(topic)}")
    site, device, direction, subject = parts[2:]
    if not _SUBJECT.fullmatch(subject):
        raise PeerError("topic", f"not a subject: {quoted(subject)}")
    if site_of(check_device_name(device)) != site:
        raise PeerError("identity", f"{quoted(device)} speaks in the site {quoted(site)}")
    return Topic(site, device, direction, subject)


def _home(device: str) -> str:
    return f"{ROOT}/{site_of(check_device_name(device))}/{device}"
