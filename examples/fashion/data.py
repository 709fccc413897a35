"""Fashion-MNIST and MNIST, split once and for all; and garments that a small generator draws, for tests without them.

    python examples/fashion/data.py     writes test.npz beside it, for `edge.toml` to replay

60,000 images come to learn from: 54,000 of them to train on, 6,000 to choose thresholds on. The 10,000 of the test set
are for the table alone.
"""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Kind(NamedTuple):
    """What there is to learn, and what may be told of where it comes from."""

    name: str
    title: str
    folder: str
    """In `CASCADE_DATA`."""
    labels: tuple[str, ...]
    made_from: str
    mirrored: bool
    """A garment and its mirror image are the same; a digit's is another one or none."""


FASHION = Kind(
    "fashion", "Fashion-MNIST", "fashion-mnist",
    ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"),
    "Fashion-MNIST, MIT licence", mirrored=True,
)  # fmt: skip
DIGITS = Kind(
    "mnist", "MNIST", "mnist", tuple("0123456789"), "MNIST, no licence stated: not to be committed", mirrored=False
)
KINDS = {kind.name: kind for kind in (FASHION, DIGITS)}
SIDE = 28
CHOSEN_ON = 6_000
SEED = 7


def home(kind: Kind) -> Path:
    """Where its settings are, and its releases."""
    here = Path(__file__).parent
    return here if kind is FASHION else here / kind.name


class Images(NamedTuple):
    """Grey, one byte each."""

    images: Array
    labels: Array

    def taken(self, rows: Array | slice) -> Images:
        return Images(self.images[rows], self.labels[rows])


class Split(NamedTuple):
    """What each part may be used for."""

    train: Images
    choose: Images
    test: Images


def save(path: Path, part: Images, kind: Kind = FASHION) -> None:
    """As programs and sensors of this project read it."""
    np.savez(path, image=part.images, labels=np.array(kind.labels)[part.labels])


def real(kind: Kind = FASHION) -> Split | None:
    """None where `CASCADE_DATA` doesn't say where it is."""
    folder = Path(os.environ.get("CASCADE_DATA", "")) / kind.folder
    if not os.environ.get("CASCADE_DATA") or not folder.is_dir():
        return None
    learn, test = (Images(_images(folder, part), _labels(folder, part)) for part in ("train", "t10k"))
    return _split(learn, test, CHOSEN_ON)


def drawn(samples: int = 1500) -> Split:
    """Ten kinds of shapes in noise: easy enough that a network of a few steps learns them, not so easy that all of them
    leave at the first exit."""
    chance = np.random.default_rng(SEED)
    labels = chance.integers(0, len(FASHION.labels), samples).astype(np.uint8)
    images = np.stack([_shape(int(label), chance) for label in labels])
    cut = samples * 3 // 5
    learn, test = Images(images[:cut], labels[:cut]), Images(images[cut:], labels[cut:])
    return _split(learn, test, cut // 3)


def _split(learn: Images, test: Images, chosen_on: int) -> Split:
    order = np.random.default_rng(SEED).permutation(len(learn.images))
    return Split(learn.taken(order[:-chosen_on]), learn.taken(order[-chosen_on:]), test)


def _shape(label: int, chance: np.random.Generator) -> Array:
    """Stripes across or along, of the label's width, in noise that differs from image to image. Mirrored they are the
    same, as garments are."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    width = (3.0, 4.5, 6.5, 9.0, 13.0)[label % 5]
    wave = np.sin((rows if label < 5 else columns) * 2 * np.pi / width + chance.uniform(0, 2 * np.pi))
    noise = chance.normal(0.0, chance.uniform(0.2, 2.5), (SIDE, SIDE))
    return np.clip(96 + 64 * wave + 64 * noise, 0, 255).astype(np.uint8)


def _images(folder: Path, part: str) -> Array:
    return _idx(folder / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, SIDE, SIDE)


def _labels(folder: Path, part: str) -> Array:
    return _idx(folder / f"{part}-labels-idx1-ubyte.gz", 8)


def _idx(path: Path, header: int) -> Array:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


if __name__ == "__main__":
    found = real()
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "test.npz"
    save(path, (found or drawn()).test)
    print(f"{path}: {'Fashion-MNIST' if found else 'drawn garments: CASCADE_DATA names no Fashion-MNIST'}")
