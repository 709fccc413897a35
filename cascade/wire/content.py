"""The bytes inside a tensor: compressed to travel, and decompressed with a bound that what was declared sets."""

from __future__ import annotations

import importlib
import math
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from cascade.errors import MissingDependency, PeerError, SettingsError
from cascade.messages import DTYPES, Payload, Tensor
from cascade.wire.limits import quoted

ENCODINGS = ("raw", "zlib", "zstd")
ZLIB_LEVEL = 1
ZSTD_LEVEL = 3
MAX_ZSTD_WINDOW = 8 * 2**20
"""What a frame may ask for as its window; ours ask for two megabytes at most. The library alone would grant 128."""


def compressed(payload: Payload, encoding: str = "zlib") -> Payload:
    """Each tensor compressed, where that makes it smaller. What is compressed already stays as it is."""
    shrink = _compressor(encoding)
    return payload if shrink is None else tuple(_smaller(tensor, encoding, shrink) for tensor in payload)


def raw_data(tensor: Tensor, max_raw_bytes: int) -> bytes:
    """A tensor's numbers as raw bytes, exactly as many as its dtype and shape say; `PeerError` otherwise.

    Nothing is decompressed where more than `max_raw_bytes` are declared, and never more than was declared.
    """
    declared = declared_bytes(tensor.dtype, tensor.shape)
    if declared > max_raw_bytes:
        raise PeerError("size", f"a tensor of {declared} bytes, at most {max_raw_bytes} are taken")
    if tensor.encoding == "raw":
        data, fault = tensor.data, "tensor"
    elif tensor.encoding == "zlib":
        data, fault = _from_zlib(tensor.data, declared), "decompression"
    elif tensor.encoding == "zstd":
        data, fault = _from_zstd(tensor.data, declared), "decompression"
    else:
        raise PeerError("encoding", quoted(tensor.encoding))
    if len(data) != declared:
        raise PeerError(fault, f"{declared} bytes declared, {'more' if len(data) > declared else len(data)} there")
    return data


def declared_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    size = DTYPES.get(dtype)
    if size is None or any(length < 0 for length in shape):
        raise PeerError("tensor", f"{quoted(dtype)} {quoted(shape)}")
    return size * math.prod(shape)


def _compressor(encoding: str) -> Callable[[bytes], bytes] | None:
    if encoding == "raw":
        return None
    if encoding == "zlib":
        return lambda data: zlib.compress(data, ZLIB_LEVEL)
    if encoding == "zstd":
        compress: Callable[[bytes], bytes] = _zstandard().ZstdCompressor(level=ZSTD_LEVEL).compress
        return compress
    raise SettingsError("encoding", [f"{quoted(encoding)}: expected one of {', '.join(ENCODINGS)}"])


def _smaller(tensor: Tensor, encoding: str, shrink: Callable[[bytes], bytes]) -> Tensor:
    if tensor.encoding != "raw":
        return tensor
    data = shrink(tensor.data)
    if len(data) >= len(tensor.data):
        return tensor
    return msgspec.structs.replace(tensor, data=data, encoding=encoding)


def _from_zlib(data: bytes, declared: int) -> bytes:
    """One byte more than declared is room enough to see that there is more."""
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(data, declared + 1)
    except zlib.error as error:
        raise PeerError("decompression", f"zlib: {error}") from None
    if len(out) <= declared and not stream.eof:
        raise PeerError("decompression", f"zlib: ends after {len(out)} of {declared} bytes, unfinished")
    if stream.unused_data:
        raise PeerError("decompression", f"zlib: {len(stream.unused_data)} bytes after its end")
    return out


def _from_zstd(data: bytes, declared: int) -> bytes:
    """Streamed with a cap: the one-call API believes the size that the frame declares, whatever the maximum."""
    try:
        zstandard = _zstandard()
    except MissingDependency as error:
        raise PeerError("encoding", str(error)) from None
    try:
        size = zstandard.frame_content_size(data)
        if size not in (-1, declared):
            raise PeerError("decompression", f"zstd: the frame says {size} bytes, the tensor {declared}")
        reader = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW).stream_reader(data)
        out: bytes = reader.read(declared + 1)
    except zstandard.ZstdError as error:
        raise PeerError("decompression", f"zstd: {error}") from None
    return out


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        raise MissingDependency("the encoding zstd needs the package zstandard: pip install zstandard") from None
