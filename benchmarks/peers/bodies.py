"""What is said to each kind of peer, made once per image; and the scores in what it says back."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.models import CLASSES, SIDE, inputs

MODEL, METHOD_V2, METHOD_PLAIN = "digits", "/inference.GRPCInferenceService/ModelInfer", "/Plain/Predict"


class Http(NamedTuple):
    """POST of a body, over connections that are kept."""

    content_type: str
    path: str = "/predict"


RAW, JSON = "application/octet-stream", "application/json"


def raw(image: Any) -> bytes:
    return bytes(image.tobytes())


def litserve(image: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(image.tobytes()).decode()}).encode()


def bentoml(image: Any) -> bytes:
    return json.dumps({"images": [base64.b64encode(image.tobytes()).decode()]}).encode()


def v2(image: Any) -> bytes:
    """`ModelInferRequest` of the Open Inference Protocol, written by hand: its stubs and ours can't share a process."""
    shape = b"".join(_varint(size) for size in (1, SIDE, SIDE))
    tensor = _field(1, b"image") + _field(2, b"FP32") + _field(3, shape)
    return _field(1, MODEL.encode()) + _field(5, tensor) + _field(7, image.tobytes())


def scores_raw(said: bytes) -> list[float]:
    return list(struct.unpack(f"<{CLASSES}f", said))


def scores_litserve(said: bytes) -> list[float]:
    return [float(score) for score in json.loads(said)["scores"]]


def scores_bentoml(said: bytes) -> list[float]:
    return [float(score) for score in json.loads(said)[0]]


def scores_v2(said: bytes) -> list[float]:
    """Of `ModelInferResponse`: in the first output's contents, or raw beside it."""
    for number, value in _fields(said):
        if number == 6:
            return scores_raw(value)
        if number == 5:
            for inner, content in _fields(value):
                if inner == 5 and content:
                    return [score for field, part in _fields(content) if field == 6 for score in scores_raw(part)]
    return []


def images() -> list[Any]:
    return inputs(16)


def _varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low]) if value < 0x80 else bytes([low | 0x80]) + _varint(value >> 7)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Those with a length; the others are passed over."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 == 2:
            size, at = _read_varint(message, at)
            yield key >> 3, message[at : at + size]
            at += size
        elif key & 7 == 0:
            _, at = _read_varint(message, at)
        else:
            at += {1: 8, 5: 4}[key & 7]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not message[at - 1] & 0x80:
            return value, at
