"""What a broken sensor gives: the same number everywhere, or a range that is overrun. Told sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import Check

FLAT = "every number in it is the same: is the sensor muted, covered or broken?"
Array = npt.NDArray[Any]


def check(batch: Array, feature: Check) -> Array:
    """Changes nothing: what is refused never gets here."""
    return batch


def flaws(batch: Array, feature: Check) -> dict[int, str]:
    """Which samples are refused, and why. A sample of one number can't be told from a broken one."""
    found: dict[int, str] = {}
    rows = batch.reshape(len(batch), -1)
    if rows.shape[1] < 2 or not (feature.varies or feature.clipped_share is not None):
        return found
    least, most = rows.min(axis=1), rows.max(axis=1)
    if feature.clipped_share is not None:
        low, high = _range(feature, batch.dtype)
        touched = np.flatnonzero((least <= low) | (most >= high))
        for index in touched.tolist():
            share = float(np.mean((rows[index] <= low) | (rows[index] >= high)))
            if share >= feature.clipped_share:
                found[index] = f"{share:.0%} of it is clipped, from {feature.clipped_share:.0%} on it is refused"
    if feature.varies:
        found.update(dict.fromkeys(np.flatnonzero(least == most).tolist(), FLAT))
    return found


def _range(feature: Check, dtype: np.dtype[Any]) -> tuple[float, float]:
    whole = np.iinfo(dtype) if dtype.kind in "iu" else None
    low = feature.lowest if feature.lowest is not None else float(whole.min) if whole else -1.0
    high = feature.highest if feature.highest is not None else float(whole.max) if whole else 1.0
    return low, high
