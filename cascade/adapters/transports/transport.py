"""What a link owes to the two hops that it joins.

A link has two ends. `Above` is the end that asks: it looks at the hop above. `Below` is the end that answers: it looks
at the hops below. Both live on one asyncio loop; nothing here blocks, and nothing but `open` and `close` is awaited.

- `ask` and `reply` take as many words as there are and pack them into messages (at most `PACK_QUESTIONS` in one, and at
  most the link's largest message). They never wait: what the link can't send now it drops, and says so by `LinkLost`;
  the hop asks again. A question that the link can *never* send is posted back as `Unsendable`.
- Every message that left is posted as `Sent`, every one that came as `Received`, with its bytes on the wire.
- `LinkUp` follows a round trip, not a connect; `LinkLost` follows at the latest `dead_after_s` after the last proof of
  life, also when the other side is frozen and the socket still open. The two alternate, starting from "lost".
- What a peer sent wrongly is posted as `PeerFaulted` and harms nobody else.
- A link reconnects by itself, for ever, with full jitter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cascade.inference.events import Event
from cascade.messages import Answer, Question

PACK_QUESTIONS = 64
MAX_QUESTION_BYTES = 256 * 1024
"""The usual bound on one question on the wire: what is larger is reduced before, or refused."""

Post = Callable[[Event], None]
"""Puts an event into the inbox of the hop: called on the loop's thread, never blocks."""


class Above(Protocol):
    """The asking end.

    It posts `LinkUp`, `LinkLost`, `Answered`, `Sent("above")`, `Received("above")`, `Unsendable`, `PeerFaulted`.
    """

    async def open(self, post: Post) -> None:
        """Start connecting; returns at once, whether the hop above is there or not.

        Raises only for settings that can't work.
        """

    def ask(self, questions: Sequence[Question]) -> None: ...

    async def close(self) -> None:
        """Say goodbye and free everything.

        What was handed to `ask` before is sent first, if that is possible within a second.
        """


class Below(Protocol):
    """The answering end: posts `Asked`, `Sent("below")`, `Received("below")`, `PeerFaulted`."""

    async def open(self, post: Post) -> None:
        """Start serving. Raises `LinkError` where it can't (a port that is taken)."""

    def reply(self, back: str, answers: Sequence[Answer]) -> None:
        """Answer `back`, the address that came with `Asked`.

        Each question gets one reply at least, or its message stays unread.
        """

    async def close(self) -> None: ...
