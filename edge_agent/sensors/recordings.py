"""Samples in files, as the replay sensor reads them: .npz, .wav, folders of images."""

from __future__ import annotations

import re
import wave
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from cascade.errors import MissingDependency, SettingsError, how_to_install
from edge_agent.sensors.sensor import Array, Sample
from edge_agent.sensors.sensor_settings import ReplayTable

MAX_IMAGE_BYTES = 256 * 1024 * 1024
BY_HAND = (".pgm", ".ppm")
BY_PILLOW = (".png", ".jpg", ".jpeg")
_NETPBM = re.compile(rb"P([56])" + rb"(?:\s+(?:#[^\n]*\n\s*)*)(\d{1,7})" * 3 + rb"\s")


class Recording(NamedTuple):
    """So many samples, each read when it is wanted."""

    samples: int
    read: Callable[[int], Sample]
    slow: bool = False
    """Reading one takes a disk's time: not to be done on the loop."""


def open_recording(settings: ReplayTable) -> Recording:
    """`SettingsError` for what is not there or can't be read, `MissingDependency` for images that want Pillow."""
    path = settings.path
    try:
        if path.is_dir():
            return _images(path, settings.tensor)
        if path.suffix == ".npz":
            return _arrays(path, settings)
        if path.suffix == ".wav":
            return _sound(path, settings)
    except (OSError, EOFError, ValueError, wave.Error, zipfile.BadZipFile) as error:
        raise _wrong(path, f"can't be read: {error}") from error
    if not path.exists():
        raise _wrong(path, "found nothing, expected an .npz or .wav file, or a folder of images")
    raise _wrong(path, f'found "{path.suffix}", expected an .npz or .wav file, or a folder of images')


def samples_in(path: Path | str, settings: ReplayTable | None = None) -> Iterator[Sample]:
    """One after the other, as the replay sensor would give them: for programs that ask, or train, by the same files."""
    table = settings or ReplayTable(path=Path(path))
    recording = open_recording(msgspec.structs.replace(table, path=Path(path)))
    return map(recording.read, range(recording.samples))


def _wrong(path: Path, mistake: str) -> SettingsError:
    return SettingsError(str(path), [mistake])


def _arrays(path: Path, settings: ReplayTable) -> Recording:
    with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
        names = settings.tensors or tuple(name for name in file.files if name != settings.labels)
        missing = [name for name in names if name not in file.files]
        if missing or not names:
            raise _wrong(path, f"found the arrays {', '.join(file.files)}; expected {', '.join(missing) or 'one'}")
        arrays = {name: file[name] for name in names}
        labels = file[settings.labels] if settings.labels in file.files else None
    counts = {array.shape[0] if array.ndim else -1 for array in arrays.values()}
    if labels is not None:
        counts.add(labels.shape[0] if labels.ndim else -1)
    if len(counts) != 1 or min(counts) < 1:
        raise _wrong(path, f"found arrays with {sorted(counts)} samples, expected as many in each, and one at least")

    def read(index: int) -> Sample:
        label = str(labels[index]) if labels is not None else ""
        return Sample({name: array[index] for name, array in arrays.items()}, label, f"{path.name}[{index}]")

    return Recording(counts.pop(), read)


def _sound(path: Path, settings: ReplayTable) -> Recording:
    """Whole numbers as they were recorded: what a model makes of them is in its preprocessing."""
    with wave.open(str(path), "rb") as file:
        width, channels, frames = file.getsampwidth(), file.getnchannels(), file.getnframes()
        if width not in (1, 2, 4):
            raise _wrong(path, f"found samples of {8 * width} bits, expected 8, 16 or 32")
        raw = file.readframes(frames)
    sound = np.frombuffer(raw, np.dtype({1: "u1", 2: "<i2", 4: "<i4"}[width]))
    sound = sound[: len(sound) // channels * channels]
    sound = sound if channels == 1 else sound.reshape(-1, channels)
    if len(sound) < settings.window:
        raise _wrong(path, f"found {len(sound)} frames, expected {settings.window} (window) or more")

    def read(index: int) -> Sample:
        begin = index * settings.step
        return Sample({settings.tensor: sound[begin : begin + settings.window]}, "", f"{path.name}@{begin}")

    return Recording((len(sound) - settings.window) // settings.step + 1, read)


def _images(folder: Path, tensor: str) -> Recording:
    """In the order of their names; the name of the subfolder that an image lies in is its label."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in BY_HAND + BY_PILLOW)
    if not paths:
        raise _wrong(folder, f"found no image, expected {', '.join(BY_HAND + BY_PILLOW)}")
    if any(path.suffix.lower() in BY_PILLOW for path in paths):
        _pillow()

    def read(index: int) -> Sample:
        path = paths[index]
        label = path.parent.name if path.parent != folder else ""
        return Sample({tensor: read_image(path)}, label, str(path.relative_to(folder)))

    return Recording(len(paths), read, slow=True)


def read_image(path: Path) -> Array:
    """Height, width and, of colours, three channels. `SettingsError` where it is no image."""
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise _wrong(path, f"found more than {MAX_IMAGE_BYTES} bytes, expected a smaller image")
    if path.suffix.lower() in BY_HAND:
        return _netpbm(path)
    image = _pillow()
    try:
        with image.open(path) as opened:
            return np.asarray(opened if opened.mode in ("L", "RGB") else opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise _wrong(path, f"is no image: {error}") from error


def _netpbm(path: Path) -> Array:
    raw = path.read_bytes()
    header = _NETPBM.match(raw)
    if header is None:
        raise _wrong(path, "is no image: expected a PGM or PPM file with raw pixels (P5 or P6)")
    width, height, largest = (int(header[index]) for index in (2, 3, 4))
    shape = (height, width) if header[1] == b"5" else (height, width, 3)
    dtype = np.dtype("u1") if largest < 256 else np.dtype(">u2")
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    body = memoryview(raw)[header.end() : header.end() + wanted]
    if len(body) < wanted or not wanted:
        raise _wrong(path, f"is no image: found {len(body)} bytes of pixels, expected {wanted}")
    pixels = np.frombuffer(body, dtype).reshape(shape)
    return pixels if dtype.itemsize == 1 else pixels.astype(np.uint16)


def _pillow() -> Any:
    try:
        return import_module("PIL.Image")
    except ImportError as error:
        raise MissingDependency(
            f"PNG and JPEG images want Pillow ({how_to_install('images')}); PGM and PPM are read without"
        ) from error
