"""Compressing where it helps; decompressing exactly what was declared, or not at all."""

from __future__ import annotations

import importlib.util
import os
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import MissingDependency, PeerError, SettingsError
from cascade.messages import Tensor
from cascade.wire.codec import compressed, raw_data

HAS_ZSTD = importlib.util.find_spec("zstandard") is not None
needs_zstd = pytest.mark.skipif(not HAS_ZSTD, reason="zstandard is not installed")
ROOM = 2**20


def fault_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(PeerError) as caught:
        attempt()
    return caught.value.kind


def peak_bytes(attempt: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(PeerError):
            attempt()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def zstandard() -> Any:
    return importlib.import_module("zstandard")


@given(st.binary(max_size=2000))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    (tensor,) = compressed((Tensor("x", "uint8", (len(data),), data),), "zlib")
    assert raw_data(tensor, ROOM) == data


def test_what_does_not_get_smaller_stays_raw() -> None:
    payload = (Tensor("x", "uint8", (64,), os.urandom(64)),)
    assert compressed(payload, "zlib") == payload


def test_what_gets_smaller_is_compressed() -> None:
    (tensor,) = compressed((Tensor("x", "uint8", (3136,), bytes(3136)),))
    assert (tensor.encoding, len(tensor.data) < 100, tensor.raw_bytes) == ("zlib", True, 3136)


def test_what_is_compressed_already_is_left_alone() -> None:
    once = compressed((Tensor("x", "uint8", (3136,), bytes(3136)),))
    assert compressed(once) == once


def test_raw_asks_for_nothing() -> None:
    payload = (Tensor("x", "uint8", (3136,), bytes(3136)),)
    assert compressed(payload, "raw") is payload


def test_an_unknown_encoding_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="raw, zlib, zstd"):
        compressed((), "brotli")


def test_a_zlib_bomb_takes_no_more_than_was_declared() -> None:
    bomb = Tensor("x", "uint8", (1000,), zlib.compress(bytes(64 * 2**20), 9), "zlib")
    assert fault_of(lambda: raw_data(bomb, ROOM)) == "decompression"
    assert peak_bytes(lambda: raw_data(bomb, ROOM)) < ROOM


def test_a_huge_declared_size_is_refused_before_anything_is_decompressed() -> None:
    bomb = Tensor("x", "float64", (2**32 - 1,) * 8, zlib.compress(bytes(1000)), "zlib")
    assert fault_of(lambda: raw_data(bomb, ROOM)) == "size"
    assert peak_bytes(lambda: raw_data(bomb, ROOM)) < ROOM


@pytest.mark.parametrize("there", [0, 999, 1001, 5000])
def test_more_or_less_than_declared_is_refused(there: int) -> None:
    tensor = Tensor("x", "uint8", (1000,), zlib.compress(bytes(there)), "zlib")
    assert fault_of(lambda: raw_data(tensor, ROOM)) == "decompression"


@pytest.mark.parametrize("spoil", [lambda z: z[:-1], lambda z: z + b"x", lambda z: b"x" + z, lambda z: b""])
def test_a_spoilt_stream_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    tensor = Tensor("x", "uint8", (1000,), spoil(zlib.compress(bytes(1000))), "zlib")
    assert fault_of(lambda: raw_data(tensor, ROOM)) == "decompression"


def test_nothing_declared_and_nothing_there_is_nothing() -> None:
    assert raw_data(Tensor("x", "uint8", (0, 5), zlib.compress(b""), "zlib"), ROOM) == b""


def test_raw_bytes_of_the_wrong_length_are_refused() -> None:
    assert fault_of(lambda: raw_data(Tensor("x", "float32", (2,), b"1234567"), ROOM)) == "tensor"


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (Tensor("x", "complex64", (1,), b"12345678"), "tensor"),
        (Tensor("x", "uint8", (-1,), b""), "tensor"),
        (Tensor("x", "uint8", (1,), b"1", "lzma"), "encoding"),
    ],
)
def test_what_is_not_known_is_refused(tensor: Tensor, kind: str) -> None:
    assert fault_of(lambda: raw_data(tensor, ROOM)) == kind


@pytest.mark.skipif(HAS_ZSTD, reason="zstandard is installed")
def test_zstd_without_its_package_says_which_one() -> None:
    with pytest.raises(MissingDependency, match="zstandard"):
        compressed((Tensor("x", "uint8", (1000,), bytes(1000)),), "zstd")
    assert fault_of(lambda: raw_data(Tensor("x", "uint8", (1000,), b"abc", "zstd"), ROOM)) == "encoding"


@needs_zstd
def test_zstd_comes_back() -> None:
    (tensor,) = compressed((Tensor("x", "uint8", (3136,), bytes(3136)),), "zstd")
    assert (tensor.encoding, raw_data(tensor, ROOM)) == ("zstd", bytes(3136))


@needs_zstd
@pytest.mark.parametrize("says_its_size", [True, False])
def test_a_zstd_bomb_takes_no_more_than_was_declared(says_its_size: bool) -> None:
    zeros = bytes(64 * 2**20)
    data = zstandard().ZstdCompressor(write_content_size=says_its_size).compress(zeros)
    bomb = Tensor("x", "uint8", (1000,), data, "zstd")
    assert fault_of(lambda: raw_data(bomb, ROOM)) == "decompression"
    assert peak_bytes(lambda: raw_data(bomb, ROOM)) < ROOM


@needs_zstd
def test_a_zstd_frame_with_a_huge_window_is_refused() -> None:
    parameters = zstandard().ZstdCompressionParameters(window_log=27, write_content_size=0)
    stream = zstandard().ZstdCompressor(compression_params=parameters).compressobj()
    data = stream.compress(bytes(1000)) + stream.flush()
    assert fault_of(lambda: raw_data(Tensor("x", "uint8", (1000,), data, "zstd"), ROOM)) == "decompression"


@needs_zstd
@pytest.mark.parametrize(
    "spoil", [lambda z: z[:-20], lambda z: b"x" + z, lambda z: b"", lambda z: z[:500] + bytes((z[500] ^ 1,)) + z[501:]]
)
def test_a_spoilt_zstd_stream_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    data = spoil(zstandard().ZstdCompressor(write_checksum=True).compress(os.urandom(1000)))
    assert fault_of(lambda: raw_data(Tensor("x", "uint8", (1000,), data, "zstd"), ROOM)) == "decompression"
