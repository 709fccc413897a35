"""The handwritten digits that scikit-learn carries, split once: to train on, to choose thresholds on, to test on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.errors import MissingDependency, how_to_install

SEED = 7


class Split(NamedTuple):
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def splits() -> tuple[Split, Split, Split]:
    """60 % to train on, 15 % to choose on, 25 % that is only ever tested on: the demo replays those."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise MissingDependency(f"the digits come with scikit-learn: {how_to_install('demo')}") from None
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target
    train_x, rest_x, train_y, rest_y = _cut(train_test_split, images, labels, 0.4)
    choose_x, test_x, choose_y, test_y = _cut(train_test_split, rest_x, rest_y, 0.625)
    return Split(train_x, train_y), Split(choose_x, choose_y), Split(test_x, test_y)


def _cut(train_test_split: Any, images: Any, labels: Any, test_size: float) -> Any:
    return train_test_split(images, labels, test_size=test_size, random_state=SEED, stratify=labels)
