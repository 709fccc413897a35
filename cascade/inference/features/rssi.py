"""Signal strengths of access points as numbers from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import Rssi

NOTHING_HEARD = "no access point in it was heard"
NO_STRENGTH = "{:g} dBm is no signal strength: is that number what stands for not heard (`absent`)?"
Array = npt.NDArray[Any]


def rssi(batch: Array, feature: Rssi) -> Array:
    strengths = batch.astype(np.float64)
    heard = (strengths != feature.absent) & (strengths >= feature.least_dbm)
    shares = (strengths - feature.least_dbm) / (feature.strongest_dbm - feature.least_dbm)
    powered = np.clip(shares, 0.0, 1.0) ** feature.power
    return np.where(heard, powered, 0.0).astype(np.float32)


def flaws(batch: Array, feature: Rssi) -> dict[int, str]:
    """A fingerprint of nothing is no place: told, and not the place where nothing is heard. Nor is one by another
    convention, in which what was not heard would be the strongest of all."""
    rows = batch.reshape(len(batch), -1)
    there = rows != feature.absent
    heard = (there & (rows >= feature.least_dbm)).any(axis=1)
    found = dict.fromkeys(np.flatnonzero(~heard).tolist(), NOTHING_HEARD)
    beyond = there & (rows > max(0.0, feature.strongest_dbm))
    for row in np.flatnonzero(beyond.any(axis=1)).tolist():
        found[row] = NO_STRENGTH.format(float(rows[row][beyond[row]][0]))
    return found
