"""The ask socket: any program on the device asks by a Unix socket, and gets its answers and their corrections there.

What it is promised. Each question is answered by a line `accepted` or `error`, in the order in which they were asked on
that stream. On a synced stream `accepted` is said when the question is on disk (`"durable": false` where it can't be).
Each accepted question gets one final answer, perhaps after provisional ones (`"provisional": true`), on the connection
that asked. An asker that goes away without a name loses its answers; they are counted. One that named itself in its
first line gets its final answers when it comes again under that name and user: at most `MAX_LETTERS` of them, and those
of synced streams also after a crash or reboot of the device. Without `acks` an answer is handed over when it is written
to a living connection, and a crash of the asker can lose it; with `acks` when the asker says so, until when it comes
again on each new connection, marked `repeated`.

Who may ask: the socket's mode is 0660, its group a setting, and the peer's user is known from the kernel. Who may ask
why: root and the agent's own user, because they are told about everybody's answers.
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import pwd
import secrets
import socket
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

import msgspec

from cascade.adapters.answer_json import answer_as_json
from cascade.errors import BadInput, CascadeError, LinkError, PeerError, SettingsError
from cascade.inference.accuracy import Label
from cascade.inference.events import Event, PeerFaulted
from cascade.inference.health import Health
from cascade.messages import Answer, Payload
from edge_agent.ask_client_end import ClientEnd
from edge_agent.ask_mailbox import Letter, Mailboxes
from edge_agent.ask_protocol import Ack, AskRequest, Fault, HealthAsked, Hello, Labelled, Why, accepted_line
from edge_agent.kept_answers import KeptAnswers
from edge_agent.settings import MOST_SOCKET_PATH_BYTES, AskSocketTable, socket_path_bytes

log = logging.getLogger(__name__)
REQUEST_WITHIN_S = 10.0
"""A request that has begun must have ended by then."""
SWEEP_S = 1.0
MOST_TOLD_BYTES = 512 * 1024
"""Of answers to one who asks why."""


class Asker(Protocol):
    """What takes the questions: the agent."""

    def submit(
        self,
        stream: str,
        payload: Payload,
        back: str,
        *,
        ms_left: float | None = None,
        priority: int | None = None,
        accepted: Callable[[str, bool], None],
    ) -> str:
        """The id of the question. Raises `BadInput`, `PeerError` or another `CascadeError` where it won't be asked.

        `accepted` is told the id, and whether what the stream promises about crashes holds: before any answer.
        """


class AskSocket:
    """Listens, checks who asks and how much, and finds the way back. Lives on the agent's loop."""

    def __init__(
        self,
        settings: AskSocketTable,
        streams: Collection[str],
        asker: Asker,
        post: Callable[[Event], None],
        taken: Callable[[str, Answer], None] = lambda back, answer: None,
        kept: KeptAnswers | None = None,
        labelled: Callable[[str, Label], bool | None] = lambda question_id, label: None,
        health: Callable[[], Health | None] = lambda: None,
    ) -> None:
        """`taken`: an answer that `deliver` could not hand over has been handed over now; the spool may forget it.
        `kept`: what can be said to those who ask why. `labelled` takes labels, `health` says how the agent is."""
        self.settings = settings
        self.dropped = 0
        """Final answers whose asker went away for good."""
        self._streams = frozenset(streams)
        self._asker = asker
        self._post = post
        self._taken = taken
        self._kept = kept if kept is not None else KeptAnswers(0)
        self._labelled, self._health = labelled, health
        self._ends: dict[str, ClientEnd] = {}
        self._boxes = Mailboxes()
        self._run = secrets.token_hex(4)
        """So that an answer of an earlier run doesn't reach somebody else."""
        self._count = 0
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._users: frozenset[int] = frozenset()

    async def open(self) -> None:
        """Raises `SettingsError` for a user or group that isn't there, `LinkError` where the socket can't be."""
        self._users = frozenset(_user(name) for name in self.settings.allowed_users)
        listening = listening_at(self.settings.path, self.settings.group)
        self._inode = self.settings.path.stat().st_ino
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: ClientEnd(self), sock=listening)
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    async def close(self) -> None:
        if self._server is None:
            return
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._server.close()
        for end in list(self._ends.values()):
            end.close()
        if _inode_at(self.settings.path) == self._inode:
            self.settings.path.unlink(missing_ok=True)
        self._server = None

    def deliver(self, back: str, answer: Answer) -> bool:
        """True when it was handed over. Otherwise `waits_for` says whether anybody may still come for it."""
        who, tag = _split(back)
        end = self._ends.get(who)
        if end is not None and end.send(_answer_line(answer, tag), final=not answer.provisional):
            if not (end.acks and not answer.provisional):
                return True
            self._boxes.put(who, Letter(back, answer, sent=True))
        elif not answer.provisional:
            if self.waits_for(back):
                self._boxes.put(who, Letter(back, answer, sent=False))
            else:
                self.dropped += 1
        return False

    def waits_for(self, back: str) -> bool:
        """Whether the one who asked has a name, under which it may come again."""
        return back.startswith("ask:u")

    @property
    def dropped_letters(self) -> int:
        return self.dropped + self._boxes.dropped

    def connected(self, end: ClientEnd) -> Fault | None:
        """Whether this client may stay; from now on its answers find it."""
        if len(self._ends) >= self.settings.max_clients:
            return Fault("too_many_clients", f"{self.settings.max_clients} are connected", fatal=True)
        if self._users and end.user not in self._users:
            return Fault("not_allowed", "this user may not ask", fatal=True)
        self._count += 1
        end.who = f"c{self._run}.{self._count}"
        self._ends[end.who] = end
        return None

    def disconnected(self, end: ClientEnd) -> None:
        if self._ends.get(end.who) is end:
            del self._ends[end.who]

    def faulted(self, end: ClientEnd, fault: Fault) -> None:
        self._post(PeerFaulted(f"user {end.user}", fault.kind, fault.detail))

    def asked(self, end: ClientEnd, request: AskRequest) -> Fault | None:
        if request.stream not in self._streams:
            return Fault("unknown_stream", f"known: {', '.join(sorted(self._streams))}", request.tag)
        back = f"ask:{end.who}:{request.tag}"
        try:
            with end.accepting():  # a local answer may come before `submit` returns
                self._asker.submit(
                    request.stream,
                    request.payload,
                    back,
                    ms_left=request.deadline_ms,
                    priority=request.priority,
                    accepted=lambda question_id, safe: end.accept(accepted_line(question_id, request.tag, safe)),
                )
                end.expect_answer()
        except PeerError as error:
            return Fault(error.kind, error.detail, request.tag)
        except CascadeError as error:
            return Fault("bad_input" if isinstance(error, BadInput) else "unavailable", str(error), request.tag)
        return None

    def named(self, end: ClientEnd, hello: Hello) -> None:
        """The last one to take a name has it: the one before is gone, or a mistake."""
        del self._ends[end.who]
        end.who, end.acks = f"u{end.user}.{hello.client}", hello.acks
        before = self._ends.pop(end.who, None)
        if before is not None:
            before.refuse(Fault("replaced", "another connection took this name", fatal=True))
        self._ends[end.who] = end
        for letter in self._boxes.of(end.who):
            self._hand_over(end, letter)

    def acknowledged(self, end: ClientEnd, ack: Ack) -> None:
        letter = self._boxes.take(end.who, ack.id)
        if letter is not None:
            self._taken(letter.back, letter.answer)

    def why(self, end: ClientEnd, why: Why) -> Fault | None:
        if end.user not in (0, os.geteuid()):
            return Fault("not_allowed", "only root and the agent's own user may ask why")
        questions = [self._kept.of(why.id)] if why.id else self._kept.last(why.last)
        end.send(_why_line(questions, self._kept), final=False)
        return None

    def labelled(self, end: ClientEnd, said: Labelled) -> Fault | None:
        try:
            right = self._labelled(said.id, said.label)
        except BadInput as error:
            return Fault("bad_input", str(error))
        end.send(msgspec.json.encode({"feedback": said.id, "right": right}) + b"\n", final=False)
        return None

    def health(self, end: ClientEnd, asked: HealthAsked) -> Fault | None:
        end.send(msgspec.json.encode({"health": self._health()}) + b"\n", final=False)
        return None

    def _hand_over(self, end: ClientEnd, letter: Letter) -> None:
        answer = msgspec.structs.replace(letter.answer, repeated=letter.sent or letter.answer.repeated)
        if not end.send(_answer_line(answer, _split(letter.back)[1]), final=False):
            return
        if end.acks:
            self._boxes.put(end.who, letter._replace(sent=True))
        else:
            self._boxes.take(end.who, answer.id)
            self._taken(letter.back, letter.answer)

    def _sweep(self) -> None:
        for end in list(self._ends.values()):
            end.expire(REQUEST_WITHIN_S)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)


def listening_at(path: Path, group: str) -> socket.socket:
    """A socket that appears at `path` with its rights already set; one that somebody listens on is left alone."""
    gid = _group(group) if group else -1
    if socket_path_bytes(path) > MOST_SOCKET_PATH_BYTES:
        raise LinkError(
            f"no socket at {path}: this path is too long, a Unix socket's has {MOST_SOCKET_PATH_BYTES} bytes"
        )
    unfinished = path.with_name(f".{path.name[:8]}.{os.getpid()}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_way(path)
        unfinished.unlink(missing_ok=True)
        listening.bind(str(unfinished))
        os.chown(unfinished, -1, gid)
        os.chmod(unfinished, 0o660)
        listening.listen(100)
        os.replace(unfinished, path)
    except OSError as error:
        listening.close()
        unfinished.unlink(missing_ok=True)
        raise LinkError(f"no socket at {path}: {error.strerror or error}") from error
    except LinkError:
        listening.close()
        raise
    return listening


def _make_way(path: Path) -> None:
    """A socket file outlives a process that was killed. Whether somebody lives behind it is found out by connecting."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise LinkError(f"no socket at {path}: something else is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except OSError as error:
            log.info("probing %s: %s", path, error)
    raise LinkError(f"no socket at {path}: another process listens there")


def _inode_at(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _user(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise SettingsError("ask_socket.allowed_users", [f"found {name!r}, expected a user of this machine"]) from None


def _group(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise SettingsError("ask_socket.group", [f"found {name!r}, expected a group of this machine"]) from None


def _split(back: str) -> tuple[str, str]:
    """`ask:<who>:<tag>`"""
    _, _, rest = back.partition(":")
    who, _, tag = rest.partition(":")
    return who, tag


def _answer_line(answer: Answer, tag: str) -> bytes:
    said = answer_as_json(answer)
    if tag:
        said["tag"] = tag
    return msgspec.json.encode(said) + b"\n"


def _why_line(questions: list[list[Answer]], kept: KeptAnswers) -> bytes:
    """Of too many, the oldest are left out."""
    told: list[list[msgspec.Raw]] = []
    size = 0
    for given in reversed(questions):
        lines = [msgspec.json.encode(answer_as_json(answer)) for answer in given]
        size += sum(map(len, lines))
        if told and size > MOST_TOLD_BYTES:
            break
        told.append([msgspec.Raw(line) for line in lines])
    answers = [line for given in reversed(told) for line in given]
    left_out = len(questions) - len(told)
    said = {"answers": answers, "left_out": left_out, "kept": len(kept), "keeps": kept.most}
    return msgspec.json.encode({"why": said}) + b"\n"
