"""Features as the rows come: each row of the output is computed once, however much the windows over it overlap.

The same to the last bit as the same features over the whole. That holds because each row of a feature that can be
streamed depends on a few neighbouring rows alone (`Preprocessing.rows`), and is computed by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.inference.features import FEATURES, apply_features
from cascade.release.features import Feature, shape_after
from cascade.release.preprocessing import Rows, Shape

Array = npt.NDArray[Any]


class Streaming:
    """Rows in, rows of features out. Holds back only what the next rows need."""

    def __init__(self, features: Sequence[Feature], row: Shape = ()) -> None:
        """`row` is the shape of one. `ValueError` for a feature that wants the whole sample."""
        self._links: list[_Link] = []
        for feature in features:
            rows = feature.rows((1, *row))
            if rows is None:
                raise ValueError(f"{type(feature).__struct_config__.tag} can't be computed as the rows come")
            row = feature.after((rows.span, *row))[1:]
            self._links.append(_Link(feature, rows))

    def push(self, rows: Array) -> Array:
        """The rows of features that these complete: often none."""
        for link in self._links:
            rows = link.push(rows)
        return rows

    def reset(self) -> None:
        """After a gap: rows from before it and after it have nothing to do with each other."""
        for link in self._links:
            link.held = None


class _Link:
    """One feature, and the rows that its next output row still needs."""

    def __init__(self, feature: Feature, rows: Rows) -> None:
        self.held: Array | None = None
        self._feature, self._rows = feature, rows
        self._shape: tuple[int, ...] | None = None

    def push(self, rows: Array) -> Array:
        if self.held is not None and len(self.held):
            rows = np.concatenate([self.held, rows])
        span, hop, per = self._rows
        made = self._rows.made_of(len(rows))
        self.held = rows[made // per * hop :]
        if made:
            return self._applied(rows[: span + (made // per - 1) * hop])
        return self._applied(np.zeros((span, *rows.shape[1:]), rows.dtype))[:0]

    def _applied(self, rows: Array) -> Array:
        made: Array = FEATURES[type(self._feature)](rows[None], self._feature)[0]
        return made


class WindowFeatures:
    """The features of overlapping windows of `window` rows, each `step` rows after the one before, from the first row
    on. What can be streamed is computed once; what needs the whole window (and what doesn't fit the step) each time."""

    def __init__(self, features: Sequence[Feature], window: int, step: int, row: Shape = ()) -> None:
        shape_after(features, (window, *row))
        streamed = _streamable(features, window, step, row)
        self.streamed = len(streamed)
        """How many of the features are computed as the rows come."""
        self._rest = tuple(features[len(streamed) :])
        self._streaming = Streaming(streamed, row)
        self._length = shape_after(streamed, (window, *row))[0]
        self._step = shape_after(streamed, (window + step, *row))[0] - self._length
        self._window, self._each = window, step
        self._kept: list[Array] = []
        self._due = 0
        self.reset()

    def push(self, rows: Array) -> None:
        self._due -= len(rows)
        made = self._streaming.push(rows)
        passed = min(self._skip, len(made))
        self._skip -= passed
        if len(made) > passed:
            self._kept.append(made[passed:])

    def next(self) -> Array | None:
        """The features of the next window, with a batch axis; None until its last row is there."""
        if self._due > 0:
            return None
        kept = self._kept[0] if len(self._kept) == 1 else np.concatenate(self._kept)
        self._kept = [kept[self._step :]]
        self._skip = max(0, self._step - len(kept))
        self._due += self._each
        return apply_features(np.ascontiguousarray(kept[None, : self._length]), self._rest)

    def reset(self) -> None:
        """The next row is the first of a window, and nothing from before it is used."""
        self._streaming.reset()
        self._kept, self._skip, self._due = [], 0, self._window


def _streamable(features: Sequence[Feature], window: int, step: int, row: Shape) -> Sequence[Feature]:
    """As many as can be computed as the rows come: each window must begin where a row of the feature begins."""
    shape = (window, *row)
    taken = 0
    for feature in features:
        rows = feature.rows(shape)
        if rows is None or step % rows.hop:
            break
        taken += 1
        step = step // rows.hop * rows.per
        shape = feature.after(shape)
    return features[:taken]
