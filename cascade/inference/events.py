"""What can happen to a hop, in the past tense. A journal of these, with their times, replays a hop bit for bit."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

from cascade.messages import Answer, Energy, Key, Prediction, Question
from cascade.release.ladder import Ladder, StreamTiming


class Happened(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An event."""


class Durability(StrEnum):
    """What a crash can take of a stream's questions."""

    MEMORY = "memory"
    """All that are open."""
    BATCHED = "batched"
    """Those of the last commit window: what climbs is written, in batches that spare an SD card."""
    SYNCED = "synced"
    """None: a question is on disk before anything is done about it."""


class Asked(Happened, frozen=True, gc=False):
    """A question arrived. `back` is where its answers go, in the words of the shell that posted it."""

    question: Question
    back: str
    durability: Durability = Durability.MEMORY
    restored: bool = False
    """It was read from the spool after a restart: it is on disk, and a provisional answer may have been given."""
    earlier: Answer | None = None
    """The final answer that was given to the same question before."""
    alone: bool = False
    """Nothing else waits to be handled: its stage may run at once, with no others to share a batch with."""
    timing: StreamTiming | None = None
    """What its stream says of its time, in place of what the ladder says."""


class Kept(Happened, frozen=True, gc=False):
    """A question is on disk, or will not be (`durable` false: the disk is full or failing)."""

    key: Key
    durable: bool = True


class Remembered(Happened, frozen=True, gc=False):
    """A final answer is recorded (or cannot be: then it is given all the same)."""

    key: Key


class Evicted(Happened, frozen=True, gc=False):
    """The spool was over its bounds and gave this question up. It comes without its payload, which is gone."""

    question: Question
    back: str
    reason: str


class BadSample(msgspec.Struct, frozen=True, gc=False, tag="bad_sample"):
    """In place of a prediction: the input does not fit the model. The asker's error, not the model's."""

    reason: str


class Predicted(Happened, frozen=True, gc=False):
    """A stage ran on a batch; `results` stand in the order of the batch."""

    run: int
    results: tuple[Prediction | BadSample, ...]
    ms: float = 0.0
    joules: float = 0.0
    energy: Energy = Energy.UNKNOWN


class RunFailed(Happened, frozen=True, gc=False):
    """A stage could not run a batch."""

    run: int
    reason: str


class Answered(Happened, frozen=True, gc=False):
    """The hop above answered, perhaps provisionally, perhaps with a refusal."""

    answer: Answer


class Sent(Happened, frozen=True, gc=False):
    """One message left on a link: `questions` of them went up in it, or none (answers going down)."""

    link: str
    bytes: int
    questions: tuple[Key, ...] = ()


class Received(Happened, frozen=True, gc=False):
    """One message came in on a link."""

    link: str
    bytes: int


class Packed(Happened, frozen=True, gc=False):
    """Hidden features of a question go up in place of its input: they are smaller."""

    key: Key
    bytes: int
    input_bytes: int


class Unsendable(Happened, frozen=True, gc=False):
    """The link above will never take this question (too large for it, or refused for good)."""

    key: Key
    reason: str


class LinkUp(Happened, frozen=True, gc=False):
    """The link above was proved by a round trip."""


class LinkLost(Happened, frozen=True, gc=False):
    """The link above is gone, or no longer proves that it lives."""

    reason: str


class PeerFaulted(Happened, frozen=True, gc=False):
    """A peer sent what it should not have: counted, and nothing else."""

    peer: str
    kind: str
    detail: str = ""


class LadderInstalled(Happened, frozen=True, gc=False):
    """A release is ready to run here. The one before stays, for questions that still name it."""

    ladder: Ladder


class Ticked(Happened, frozen=True, gc=False):
    """Time passed, and nothing else waits to be handled."""


Event: TypeAlias = (
    Asked | Kept | Remembered | Evicted | Predicted | RunFailed | Answered | Sent | Packed | Received | Unsendable
    | LinkUp | LinkLost | PeerFaulted | LadderInstalled | Ticked
)  # fmt: skip
