"""Signal strengths of access points as numbers from 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import Rssi

NOTHING_HEARD = "no access point in it was heard"
Array = npt.NDArray[Any]


def rssi(batch: Array, feature: Rssi) -> Array:
    strengths = batch.astype(np.float64)
    heard = (strengths != feature.absent) & (strengths >= feature.least_dbm)
    shares = (strengths - feature.least_dbm) / (feature.strongest_dbm - feature.least_dbm)
    powered = np.clip(shares, 0.0, 1.0) ** feature.power
    return np.where(heard, powered, 0.0).astype(np.float32)


def flaws(batch: Array, feature: Rssi) -> dict[int, str]:
    """A fingerprint of nothing is no place: told, and not the place where nothing is heard."""
    heard = ((batch != feature.absent) & (batch >= feature.least_dbm)).reshape(len(batch), -1).any(axis=1)
    return dict.fromkeys(np.flatnonzero(~heard).tolist(), NOTHING_HEARD)
