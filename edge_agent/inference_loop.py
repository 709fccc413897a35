"""The ask flow of a device: questions from its programs and sensors in, answers out, the spool and the link beside it.

A question leaves the spool only when its final answer was handed over: never because a broker took it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import msgspec

from cascade.adapters.hop_shell import HopShell, ModelThread, Observer, StageEngine
from cascade.adapters.transports.transport import Above
from cascade.errors import BadInput
from cascade.inference.budget import Allowance, Budget
from cascade.inference.effects import Effect, Keep, Park, Reply
from cascade.inference.events import Asked, Durability, Event, Kept, LadderInstalled, LinkUp
from cascade.inference.hop import Hop
from cascade.messages import Answer, Payload, Question, payload_digest
from cascade.release.ladder import Ladder, StreamTiming
from cascade.wire.content import compressed
from edge_agent.printing import Printer
from edge_agent.settings import StreamTable
from edge_agent.spool import Spool
from edge_agent.spool_rows import Restored

Accepted = Callable[[str, bool], None]
"""Told a question's id, and whether what its stream promises about crashes holds."""

LOAD_MOST = 64
"""How many questions are taken back from the spool at a time."""

HandOver = Callable[[str, Answer], bool]
"""Gives an answer to `back`, the address that came with its question. False: it is not handed over yet."""


class Stream:
    """What the settings say of one source, and how many questions it has asked."""

    def __init__(self, table: StreamTable) -> None:
        self.table = table
        self.sequence = 0
        self.not_asked = 0
        """Samples that became no question."""
        if table.encoding != "none":
            compressed((), table.encoding)  # what is not installed is told now, not at the first question
        self.timing: StreamTiming | None = None
        if table.worth_asking is not None or table.provisional_at is not None:
            self.timing = StreamTiming(worth_asking=table.worth_asking, provisional_at=table.provisional_at)
        self._allowed = Budget(Allowance(table.max_per_s, max(1.0, table.max_per_s)))

    def has_room(self, now: float) -> bool:
        """Whether the stream may ask once more now."""
        if not self._allowed.has(1.0, now):
            return False
        self._allowed.spend(1.0)
        return True


class InferenceLoop:
    """Owns the device's hop. All but `open` and `close` is called on the loop's thread."""

    def __init__(
        self,
        device: str,
        hop: Hop,
        engine: StageEngine,
        streams: tuple[StreamTable, ...],
        hand_over: HandOver,
        *,
        above: Above | None = None,
        spool: Callable[[Callable[[Event], None]], Spool] | None = None,
        observers: tuple[Observer, ...] = (),
        model_thread: ModelThread = "auto",
        max_question_bytes: int = 256 * 1024,
        printer: Printer | None = None,
    ) -> None:
        """Where answers pile up on the `printer`, sensors are held back."""
        self.device = device
        self.streams = {table.name: Stream(table) for table in streams}
        self.max_question_bytes = max_question_bytes
        self._hand_over = hand_over
        self._printer = printer
        self._releases: dict[str, str] = {}
        self._life = secrets.token_hex(5)
        """Ids must differ from those of every earlier life: a device has no clock to tell them apart by."""
        self._asked = 0
        self._accepting: dict[str, Accepted] = {}
        self._asker: object = None
        self._loading = False
        self._parked = False
        """Since the spool was last asked for what memory doesn't have: its readings may not tell yet."""
        self._idle: asyncio.Future[None] | None = None
        self._roomy = asyncio.Event()
        self.shell = HopShell(
            hop,
            engine,
            reply=self._reply,
            above=above,
            prepare=self._compressed,
            keep=self._keep,
            remember=lambda effect: self._on_disk.remember(effect.key, effect.answer),
            park=self._park,
            observers=(*observers, self),
            model_thread=model_thread,
        )
        self.spool = spool(self.shell.post_from_thread) if spool is not None else None

    @property
    def _on_disk(self) -> Spool:
        assert self.spool is not None, "a durable question on a device without a spool"
        return self.spool

    async def open(self, ladders: list[Ladder]) -> None:
        for ladder in ladders:
            self._releases[ladder.task] = ladder.release
            self.shell.post(LadderInstalled(ladder))
        if self.spool is not None:
            self.spool.open()
        await self.shell.start()
        self._take_from_spool()

    async def close(self, hand_over_the_rest: Callable[[], None] = lambda: None) -> None:
        """The spool is closed last: what is handed over meanwhile it can still forget."""
        await self.shell.stop()
        await asyncio.to_thread(hand_over_the_rest)
        if self.spool is not None:
            self.spool.close()

    def submit(
        self,
        stream: str,
        payload: Payload,
        back: str,
        *,
        ms_left: float | None = None,
        keep_ms: float | None = None,
        priority: int | None = None,
        accepted: Accepted | None = None,
        stage: str = "",
    ) -> str:
        """Ask about one sample; the question's id. `BadInput` for what could never be asked.

        `accepted` is told before any answer comes; on a synced stream when the question is on disk. `stage` is where
        it enters the ladder; empty: at the first.
        """
        question = self.question(stream, payload, ms_left=ms_left, keep_ms=keep_ms, priority=priority, stage=stage)
        durability = self._durability(question)
        if accepted is not None:
            self._accepting[question.id] = accepted
            if durability is not Durability.SYNCED:
                self._accept(question.id, True)
        self.shell.post(Asked(question, back, durability, timing=self.streams[stream].timing))
        return question.id

    def question(
        self,
        stream: str,
        payload: Payload,
        *,
        ms_left: float | None = None,
        keep_ms: float | None = None,
        priority: int | None = None,
        stage: str = "",
    ) -> Question:
        """A question about one sample, to be asked at once. `BadInput` for what could never be."""
        known = self._stream(stream)
        table = known.table
        self._check(known, payload)
        known.sequence += 1
        self._asked += 1
        return Question(
            id=f"{self._life}-{self._asked}",
            device=self.device,
            stream=stream,
            sequence=known.sequence,
            task=table.task,
            release=self._releases.get(table.task, ""),
            stage=stage,
            payload=payload,
            digest=payload_digest(payload),
            ms_left=table.deadline_ms if ms_left is None else ms_left,
            keep_ms=table.keep_asking_s * 1000.0 if keep_ms is None else keep_ms,
            priority=table.priority if priority is None else priority,
        )

    def ask(self, question: Question, back: str, asker: object) -> None:
        """In line where nothing else is going on: an answer of this device has been given when this returns. With
        others under way it waits for the turn that it shares with them: batches cost less than haste gains."""
        drive = self.shell.drive
        durability = self._durability(question)
        timing = self.streams[question.stream].timing
        if drive.quiet and len(self.shell.hop.room) == 0 and self._is_only(asker):
            drive.handle_in_line(Asked(question, back, durability, alone=True, timing=timing))
        else:
            drive.post(Asked(question, back, durability, timing=timing))

    def _is_only(self, asker: object) -> bool:
        """Whether nobody else has asked since the loop's last turn."""
        if self._asker is None:
            self._asker = asker
            asyncio.get_running_loop().call_soon(self._forget_asker)
        return self._asker is asker

    def _forget_asker(self) -> None:
        self._asker = None

    def _durability(self, question: Question) -> Durability:
        return self.streams[question.stream].table.durability if self.spool is not None else Durability.MEMORY

    def _check(self, stream: Stream, payload: Payload) -> None:
        """Before it is a question: afterwards it has an id, and is in the books."""
        size, table = sum([len(tensor.data) for tensor in payload]), stream.table
        if size > self.max_question_bytes:
            stream.not_asked += 1
            raise BadInput(f"{size} bytes in one question; at most {self.max_question_bytes}")
        if not stream.has_room(self.shell.drive.clock()):
            stream.not_asked += 1
            raise BadInput(f"stream {table.name} may ask {table.max_per_s:g} times a second")

    def _accept(self, question_id: str, safe: bool) -> None:
        accepted = self._accepting.pop(question_id, None)
        if accepted is not None:
            accepted(question_id, safe)

    def task_of(self, stream: str) -> str:
        return self._stream(stream).table.task

    def _stream(self, name: str) -> Stream:
        try:
            return self.streams[name]
        except KeyError:
            raise BadInput(f"no stream {name!r}; there are {', '.join(sorted(self.streams))}") from None

    def observe(self, event: Event, effects: list[Effect], now: float) -> None:
        """What the hop was told is told on: a question is on disk, a link is back, memory has room."""
        if type(event) is Kept:
            self._accept(event.key.id, event.durable)
        elif type(event) is LinkUp:
            self._take_from_spool()
        if self._idle is not None or not self._roomy.is_set():
            self._note_room()

    def _reply(self, effect: Reply) -> None:
        self._accept(effect.answer.id, False)  # an answer that came before the disk did
        if self._hand_over(effect.back, effect.answer) and not effect.answer.provisional:
            self.handed_over(effect.answer)
        if not effect.answer.provisional:
            self._take_more()

    def handed_over(self, answer: Answer) -> None:
        """The application has its final answer: only now may the spool forget the question."""
        if self.spool is None:
            return
        if answer.repeated or self._may_be_on_disk(answer):
            self.spool.forget(answer.key)

    async def room(self) -> None:
        """Wait while too many have had no answer yet: what holds a sensor back that can wait. Those that have had one,
        and hope for a better, hold nobody back: a link may be dead for days."""
        while self._crowded():
            self._roomy.clear()
            await self._roomy.wait()

    def _crowded(self) -> bool:
        unread = self._printer is not None and self._printer.crowded
        return unread or self.shell.hop.room.crowded(self.shell.drive.behind)

    def printed(self, answer: Answer) -> None:
        """As `handed_over`, from any thread."""
        if self.spool is not None and not answer.provisional and (answer.repeated or self._may_be_on_disk(answer)):
            self.spool.forget(answer.key)
        if not self._roomy.is_set() or self._idle is not None:
            self.shell.call_from_thread(self._note_room)

    def _note_room(self) -> None:
        if not self._roomy.is_set() and not self._crowded():
            self._roomy.set()
        if self._idle is not None:
            self._note_idle()

    async def idle(self) -> None:
        """Wait until nothing is open. Bounded by the deadlines and patience of what is."""
        self._idle = asyncio.get_running_loop().create_future()
        self._note_idle()
        await self._idle

    def _note_idle(self) -> None:
        unread = self._printer is not None and not self._printer.finished
        quiet = (
            not unread and len(self.shell.hop.room) == 0 and (self.spool is None or self.spool.readings.waiting == 0)
        )
        if self._idle is not None and not self._idle.done() and quiet:
            self._idle.set_result(None)

    def _may_be_on_disk(self, answer: Answer) -> bool:
        stream = self.streams.get(answer.stream)
        return stream is None or stream.table.durability is not Durability.MEMORY

    def _keep(self, effect: Keep) -> None:
        self._on_disk.keep(self._compressed(effect.question), effect.back, effect.sync)

    def _park(self, effect: Park) -> None:
        self._on_disk.park(effect.key)
        self._parked = True

    def _compressed(self, question: Question) -> Question:
        stream = self.streams.get(question.stream)
        encoding = stream.table.encoding if stream is not None else "none"
        if encoding == "none":
            return question
        return msgspec.structs.replace(question, payload=compressed(question.payload, encoding))

    def _take_more(self) -> None:
        """A question has ended, so there may be room for one that waits on disk."""
        if self.spool is not None and (self._parked or self.spool.readings.waiting):
            self._take_from_spool()

    def _take_from_spool(self) -> None:
        """The most valuable that are on disk alone, while memory is less than half full."""
        room = self.shell.hop.room
        if self.spool is None or self._loading or 2 * len(room) >= room.max_open:
            return
        self._loading, self._parked = True, False
        self.spool.load(max(1, min(LOAD_MOST, room.max_open // 2)), self._loaded)

    def _loaded(self, rows: list[Restored]) -> None:
        """On the spool's thread."""
        for row in rows:
            self.shell.post_from_thread(row.asked())
        self.shell.call_from_thread(lambda: self._loading_done(bool(rows)))

    def _loading_done(self, more: bool) -> None:
        self._loading = False
        if more or self._parked:
            self._take_from_spool()
