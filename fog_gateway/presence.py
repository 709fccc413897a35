"""Which devices of the site are there, as their retained presence and their wills say."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Presences:
    """Bounded: a site with more devices than the setting allows loses sight of the newest, and says so once."""

    def __init__(self, max_devices: int) -> None:
        self._max_devices = max_devices
        self._online: dict[str, bool] = {}
        self._full = False

    def note(self, device: str, online: bool, retained: bool) -> None:
        if device not in self._online and len(self._online) >= self._max_devices:
            if not self._full:
                self._full = True
                log.warning("more than %d devices: the presence of the others is not followed", self._max_devices)
            return
        if not retained and self._online.get(device) is not online:
            log.info("device %s is %s", device, "there" if online else "gone")
        self._online[device] = online

    def online(self) -> float:
        return float(sum(self._online.values()))
