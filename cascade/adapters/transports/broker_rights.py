"""Who may connect to the embedded broker, write and read: what mosquitto keeps in its password and ACL files."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import NamedTuple

from cascade.adapters.transports.broker_routes import matches

DEVICE_WRITES = ("cascade/v1/+/%u/up/#",)
DEVICE_READS = ("cascade/v1/+/%u/down/#",)


class User(NamedTuple):
    """Filters, in which `%u` stands for the user's own name. A device's are the usual ones."""

    password: str
    writes: tuple[str, ...] = DEVICE_WRITES
    reads: tuple[str, ...] = DEVICE_READS


def gateway_of(site: str, password: str) -> User:
    """A gateway speaks to every device of its site, and hears all of them."""
    return User(password, writes=(f"cascade/v1/{site}/+/down/#",), reads=(f"cascade/v1/{site}/+/up/#",))


class Rights:
    """Without users everybody may do everything, as mosquitto does with `allow_anonymous true` and no ACL."""

    MOST_REMEMBERED = 4096

    def __init__(self, users: Mapping[str, User] | None) -> None:
        self._users = users
        self._remembered: dict[tuple[str, str, bool], bool] = {}

    def lets_in(self, name: str | None, password: bytes | None) -> bool:
        if self._users is None:
            return True
        user = self._users.get(name or "")
        known = (user.password if user else "").encode()
        return hmac.compare_digest(known, password or b"") and user is not None

    def may_write(self, name: str, topic: str) -> bool:
        return self._users is None or self._may(name, topic, True)

    def may_read(self, name: str, topic: str) -> bool:
        """Asked when a message is delivered, as mosquitto does: a filter may be wider than what comes through it."""
        return self._users is None or self._may(name, topic, False)

    def _may(self, name: str, topic: str, write: bool) -> bool:
        question = (name, topic, write)
        if (known := self._remembered.get(question)) is None:
            if len(self._remembered) >= self.MOST_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[question] = self._allowed(name, topic, write)
        return known

    def _allowed(self, name: str, topic: str, write: bool) -> bool:
        user = (self._users or {}).get(name)
        if user is None or "+" in name or "#" in name or "/" in name:
            return False
        return any(matches(pattern.replace("%u", name), topic) for pattern in (user.writes if write else user.reads))
