"""What a reader accepts at most, and how it calls what it refuses.

Everything here is checked before memory is taken for it. A fault has a kind of a closed set, because it becomes a
metric label; its detail may quote the peer, but only a little of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cascade.errors import PeerError

FAULT_KINDS = frozenset({
    "size",           # a message, question or answer takes more bytes than agreed
    "unparseable",    # not protobuf, or not in the form that it must have
    "version",        # a version of the wire that is not spoken here
    "count",          # more parts than agreed, or counts that contradict each other
    "text",           # a name that is too long, empty, not printable, or with a character that names can't have
    "number",         # not finite, negative, out of its range
    "word",           # an enumeration's value that is not known here
    "tensor",         # dtype, rank, shape, or bytes that don't match them
    "encoding",       # a content encoding that can't be read here
    "decompression",  # compressed bytes that don't give exactly what was declared
    "topic",          # not a topic of this runtime
    "identity",       # speaking for somebody else
    "protocol",       # a message where it doesn't belong: no greeting, a second one, …
})  # fmt: skip
"""All the words that `PeerError.kind` can be."""

QUOTED = 60


class Limits(NamedTuple):
    """Bounds of one reader. Both sides of a link can have their own; the smaller ones rule."""

    max_message_bytes: int = 4 * 2**20
    max_questions: int = 64
    max_question_bytes: int = 256 * 1024
    max_tensors: int = 16
    max_rank: int = 8
    max_elements: int = 2**22
    """In one tensor."""
    max_raw_bytes: int = 16 * 2**20
    """Of all tensors of one question together, decompressed."""
    max_answers: int = 256
    max_answer_bytes: int = 2**20 + 2**18
    max_values: int = 65536
    """Of one prediction: scores, values, or things found."""
    max_steps: int = 64
    max_text: int = 256
    max_digest_bytes: int = 64
    max_samples: int = 4096
    """Of one message of metrics; each has at most `max_labels` labels and `max_buckets` buckets."""
    max_labels: int = 16
    max_buckets: int = 64


USUAL = Limits()


def quoted(text: object) -> str:
    """A little of what a peer wrote, harmless in a log."""
    return repr(text)[:QUOTED]


def check_text(what: str, text: str, max_text: int) -> str:
    """Text for people: reasons, labels, versions. Printable, bounded, perhaps empty."""
    if len(text) > max_text or not text.isprintable():
        raise PeerError("text", f"{what}: {len(text)} characters, {quoted(text)}")
    return text


def check_name(what: str, text: str, max_text: int) -> str:
    """What may become a part of a topic, a label or a key: as text, and without the characters that MQTT reserves."""
    if len(text) > max_text or not text.isprintable() or "/" in text or "+" in text or "#" in text:
        raise PeerError("text", f"{what}: {len(text)} characters, {quoted(text)}")
    return text


def check_given(what: str, text: str, max_text: int) -> str:
    """A name that can't be left out."""
    if not text:
        raise PeerError("text", f"{what}: empty")
    return check_name(what, text, max_text)


def check_amount(what: str, number: float) -> float:
    """A time, an energy: finite, and not negative."""
    if not 0.0 <= number < math.inf:
        raise PeerError("number", f"{what}: {number!r}")
    return number
