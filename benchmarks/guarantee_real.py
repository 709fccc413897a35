"""Real recordings for the guarantee's benchmark: small models of images, trained here, on what they never saw.

Made for splits, not for accuracy: 40,000 images to train on, the other 30,000 recorded. Kept in `build/` once made.
"""

from __future__ import annotations

import gzip
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.adapters.recording_file import read_recordings, write_recordings
from cascade.inference.recordings import Recordings, StageRecord

Array = npt.NDArray[Any]

TRAINED_ON = 40_000
HIDDEN = {"edge": (12,), "fog": (48,), "cloud": (384, 192)}
EPOCHS = {"edge": 8, "fog": 8, "cloud": 12}
LABELS = tuple("0123456789")


def data_folder() -> Path | None:
    """Where the images are; None where nobody says so."""
    named = os.environ.get("CASCADE_DATA")
    return Path(named) if named and (Path(named) / "mnist").is_dir() else None


def recordings_of(name: str, tiers: tuple[str, ...], cache: Path) -> Recordings:
    """Of the images that no model was trained on."""
    path = cache / f"guarantee-{name}-{'-'.join(tiers)}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        write_recordings(path, _recorded(name, tiers))
    return read_recordings(path)


def _recorded(name: str, tiers: tuple[str, ...]) -> Recordings:
    images, labels = _images(name)
    order = np.random.default_rng(0).permutation(len(images))
    train, rest = order[:TRAINED_ON], order[TRAINED_ON:]
    sizes = np.array([len(zlib.compress(images[row].tobytes(), 1)) for row in rest])
    return Recordings(
        task=name,
        stages=tuple(_stage(tier, number, images, labels, train, rest) for number, tier in enumerate(tiers)),
        label_names=LABELS,
        label=labels[rest].astype(int),
        input_bytes=sizes,
        max_input_bytes=1024,
        source=name,
    )


def _stage(tier: str, number: int, images: Array, labels: Array, train: Array, rest: Array) -> StageRecord:
    from sklearn.neural_network import MLPClassifier

    inputs = images.reshape(len(images), -1).astype(np.float32) / 255.0
    model = MLPClassifier(
        HIDDEN[tier], max_iter=EPOCHS[tier], batch_size=128, random_state=0, tol=0.0, n_iter_no_change=EPOCHS[tier]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few epochs don't converge, and need not
        model.fit(inputs[train], labels[train])
    scores = model.predict_proba(inputs[rest]).astype(np.float32)
    return StageRecord(
        tier=tier,
        name=f"{tier}-mlp",
        kind="classes",
        labels=LABELS,
        model=tier,
        stage_digest=f"{number}" * 64,
        columns={"scores": np.minimum(scores, 1.0)},
        ran=np.ones(len(rest), bool),
        ms=np.zeros(len(rest)),
        joules=np.zeros(len(rest)),
    )


def _images(name: str) -> tuple[Array, Array]:
    folder = data_folder()
    assert folder is not None
    parts = [_idx(folder / name / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for part in ("train", "t10k")]
    labels = [_idx(folder / name / f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]
    return np.concatenate(parts), np.concatenate(labels)


def _idx(path: Path, header: int) -> Array:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)
