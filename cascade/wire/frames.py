"""The outermost layer of a message, walked by hand: version, words, greeting, heartbeat.

`Up` and `Down` have the same four fields, and each word in them is parsed alone. So the number and the size of words
are known before protobuf allocates for them (two bytes can ask it for a hundred), one bad word doesn't make the others
unreadable, and a sender knows the exact size of a message while it packs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cascade.errors import PeerError
from cascade.wire.limits import quoted

VERSION = 1
SPARE_FIELDS = 16
"""How many fields there may be that are not words: ours, and those of later versions."""

_VERSION_FIELD = bytes((1 << 3, VERSION))
_WORD_TAG = 2 << 3 | 2
_HELLO_TAG = 3 << 3 | 2
_PING_TAG = 4 << 3
HEARTBEAT_BYTES = 11
"""What a heartbeat takes at most."""
FRAME_BYTES = len(_VERSION_FIELD)
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class Frame(NamedTuple):
    """A message whose words have not been read yet."""

    words: list[bytes]
    greeting: str
    heartbeat: int


def framed_bytes(word: bytes) -> int:
    """How much longer a message gets by this word."""
    size = len(word)
    return size + 2 if size < 128 else size + 1 + (size.bit_length() + 6) // 7


def write_frame(words: Sequence[bytes], greeting: str = "", heartbeat: int = 0) -> bytes:
    parts = [_VERSION_FIELD]
    for word in words:
        parts.append(head(_WORD_TAG, len(word)))
        parts.append(word)
    if greeting:
        encoded = greeting.encode()
        parts += (head(_HELLO_TAG, len(encoded)), encoded)
    if heartbeat:
        parts.append(heartbeat_field(heartbeat))
    return b"".join(parts)


def heartbeat_field(number: int) -> bytes:
    """To be appended to a message that is written already: protobuf takes fields in any order."""
    return head(_PING_TAG, number)


def head(tag: int, number: int) -> bytes:
    """A one-byte tag and a number, which may be the length of what follows."""
    if number < 0x80:
        return bytes((tag, number))
    if number < 0x4000:
        return bytes((tag, number & 0x7F | 0x80, number >> 7))
    return bytes((tag,)) + varint(number)


def varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def read_frame(data: bytes, max_bytes: int, max_words: int, max_word_bytes: int) -> Frame:
    if len(data) > max_bytes:
        raise PeerError("size", f"a message of {len(data)} bytes, at most {max_bytes} are taken")
    try:
        return _walked(data, max_words, max_word_bytes)
    except IndexError:
        raise PeerError("unparseable", "a message that ends too early") from None


def _walked(data: bytes, max_words: int, max_word_bytes: int) -> Frame:
    words: list[bytes] = []
    version, greeting, heartbeat, others, at, end = 0, b"", 0, 0, 0, len(data)
    while at < end:
        if data[at] == _WORD_TAG:
            if len(words) == max_words:
                raise PeerError("count", f"more than {max_words} words in one message")
            size, at = _varint(data, at + 1)
            if size > max_word_bytes or size > end - at:
                raise PeerError("size", f"a word of {size} bytes, {end - at} are there and {max_word_bytes} are taken")
            words.append(data[at : at + size])
            at += size
            continue
        tag, at = _varint(data, at)
        others += 1
        if others > SPARE_FIELDS:
            raise PeerError("count", f"more than {SPARE_FIELDS} fields beside the words")
        if tag == _VERSION_FIELD[0]:
            version, at = _varint(data, at)
        elif tag == _HELLO_TAG:
            greeting, at = _piece(data, at)
        elif tag == _PING_TAG:
            heartbeat, at = _varint(data, at)
        else:
            at = _skipped(data, tag, at)
    if version != VERSION:
        raise PeerError("version", f"version {version}, spoken here: {VERSION}")
    return Frame(words, _text(greeting), heartbeat)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    second = data[at + 1]
    if second < 0x80:
        return byte & 0x7F | second << 7, at + 2
    value, shift = byte & 0x7F, 7
    while shift < 64:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
        shift += 7
    raise PeerError("unparseable", "a number of more than ten bytes")


def _piece(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _varint(data, at)
    if size > len(data) - at:
        raise PeerError("unparseable", f"{size} bytes announced, {len(data) - at} there")
    return data[at : at + size], at + size


def _skipped(data: bytes, tag: int, at: int) -> int:
    """A field of a later version. Groups are not skipped: nobody writes them since proto3."""
    kind = tag & 7
    if not 8 <= tag < 1 << 32 or kind not in (_VARINT, _FIXED64, _LENGTH, _FIXED32):
        raise PeerError("unparseable", f"tag {tag}")
    if kind == _VARINT:
        return _varint(data, at)[1]
    if kind == _LENGTH:
        return _piece(data, at)[1]
    at += 8 if kind == _FIXED64 else 4
    if at > len(data):
        raise PeerError("unparseable", "a message that ends too early")
    return at


def _text(encoded: bytes) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        raise PeerError("unparseable", f"not UTF-8: {quoted(encoded[:20])}") from None
