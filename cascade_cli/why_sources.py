"""Where `cascade why` finds answers: a running agent, a journal, or the lines of JSON that agents print."""

from __future__ import annotations

import sys
from collections import OrderedDict
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import msgspec

from cascade.adapters.answer_lines import answer_of, answers_in
from cascade.adapters.journal import Ended, Journal, previous, read_journal, replayed
from cascade.errors import CascadeError, LinkError, PeerError, StorageError
from cascade.inference.effects import Effect
from cascade.inference.events import Event
from cascade.inference.midway import Midway, link_was_up
from cascade.inference.witness import Witness
from cascade.machine import Machine
from cascade.messages import Answer
from cascade_cli.journal_hop import rebuilt
from edge_agent.ask_client import AskClient, AskRefused

ANSWER_WITHIN_S = 10.0
MOST_DOUBTFUL = 1000
"""So many more answers are gathered than are wanted, because some may not be told."""


class Found(NamedTuple):
    """What was given to each question, the newest last; and what to say where that is not enough."""

    questions: list[list[Answer]]
    kept: str
    """How far back this source goes, and how to make it go further."""
    moments: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    """What this source could not tell."""


def from_agent(path: Path, question_id: str, last: int) -> Found:
    """From the agent that listens at this socket. `LinkError` where none does, or doesn't want to say."""
    try:
        with AskClient(path, timeout_s=ANSWER_WITHIN_S) as client:
            told = client.why(question_id, last=last)
    except AskRefused as refused:
        raise LinkError(_refusal(path, refused)) from None
    except (OSError, ValueError) as error:
        raise LinkError(_unreached(path, error)) from None
    answers = [answer_of(msgspec.json.encode(each)) for each in told["answers"]]
    kept = (
        f"the agent keeps its last {told['keeps']} answers, and has {told['kept']} now; "
        "limits.answers_explained in its settings makes it keep more"
    )
    left_out = told["left_out"]
    return Found(_by_question(answers), kept, limits=(f"{left_out} more did not fit into a message",) * bool(left_out))


def _refusal(path: Path, refused: AskRefused) -> str:
    if refused.kind == "not_allowed":
        return f"{path}: {refused.detail}; try again as that user, or with sudo"
    if refused.kind == "bad_request":
        return f"{path}: the agent doesn't know this request; is it older than this command? ({refused.detail})"
    return f"{path}: {refused}"


def _unreached(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"no agent listens at {path}: there is no such socket. Is edge-agent running?"
    if isinstance(error, ConnectionRefusedError) and not path.is_socket():
        return f"{path} is no socket; `ask_socket.path` in the agent's settings names it"
    if isinstance(error, ConnectionRefusedError):
        return f"no agent listens at {path}: the one that made this socket has ended"
    if isinstance(error, PermissionError):
        return f"{path} may not be opened by this user: try again as the agent's user, or with sudo"
    if isinstance(error, TimeoutError):
        return f"the agent at {path} did not answer within {ANSWER_WITHIN_S:g} s"
    return f"{path}: {error}"


def from_lines(path: str, question_id: str, last: int) -> Found:
    """From a file of answers, a line of JSON each; `-` is standard input."""
    recent: OrderedDict[str, list[Answer]] = OrderedDict()
    read = 0
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
            for answer in answers_in(file, path):
                read += 1
                if question_id and answer.id != question_id:
                    continue
                recent.setdefault(answer.id, []).append(answer)
                recent.move_to_end(answer.id)
                if len(recent) > last:
                    recent.popitem(last=False)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from None
    except PeerError as error:
        raise StorageError(error.detail) from None
    return Found(list(recent.values()), f"{path} has {read} answers")


def from_demo(folder: Path, question_id: str, last: int) -> Found:
    """Of one question its agent's journal tells more than its answers do."""
    from cascade_cli.demo.afterwards import ANSWERS, journal_of

    found = from_lines(str(folder / ANSWERS), question_id, last)
    journal = journal_of(folder, found.questions[0][-1].device) if question_id and found.questions else None
    return from_journal(journal, question_id, last) if journal is not None else found


def from_journal(path: Path, question_id: str, last: int) -> Found:
    """By letting the hop go through its journal again. An earlier life's, where this one knows nothing of it."""
    if not path.exists() and not previous(path).exists():
        raise StorageError(f"{path}: no journal is there; an agent with a table [journal] writes one within seconds")
    found = _from_life(path, question_id, last)
    if found.questions or found.moments or not question_id or not previous(path).exists():
        return found
    earlier = _from_life(previous(path), question_id, last)
    return earlier if earlier.questions or earlier.moments else found


def _from_life(path: Path, question_id: str, last: int) -> Found:
    journal = read_journal(path)
    if journal.whole:
        witness = Witness(hop := rebuilt(journal.header, path), question_id, last)
        _replay(hop, journal, witness, path)
        if journal.ended is not Ended.GAP:
            kept = f"{path} holds all that happened in its life of the agent"
            return Found(list(witness.answers.values()), kept, tuple(witness.moments), tuple(_limits(journal)))
    return _from_the_middle(path, question_id, last)


def _from_the_middle(path: Path, question_id: str, last: int) -> Found:
    """Where the beginning was overwritten, or events are missing: what can be told without a doubt."""
    journal = read_journal(path, past_gaps=True)
    midway = Midway(hop := rebuilt(journal.header, path), up=link_was_up(journal))
    witness = Witness(hop, question_id, last + MOST_DOUBTFUL)
    _replay(midway, journal, witness, path)
    questions = [given for given in witness.answers.values() if given[-1].key not in midway.doubtful]
    moments = () if any(key.id == question_id for key in midway.doubtful) else tuple(witness.moments)
    kept = f"{path} has no beginning any more, or gaps; journal.max_bytes in the agent's settings makes it keep more"
    return Found(questions[-last:], kept, moments, tuple(_limits(journal)))


def _replay(machine: Machine[Event, Effect], journal: Journal, witness: Witness, path: Path) -> None:
    try:
        for now, event, effects in replayed(machine, journal):
            witness.saw(event, effects, now)
    except (LookupError, ValueError, CascadeError) as error:
        if isinstance(error, StorageError):
            raise
        # Another version decides otherwise, and can't go on where its own questions would not be open.
        written = journal.header.version
        raise StorageError(f"{path}: written by version {written}, can't be gone through again: {error!r}") from error


def _limits(journal: Journal) -> list[str]:
    said = []
    if not journal.whole:
        said.append("the journal's beginning is gone: what breaker and budgets were before is not known")
    if journal.lost:
        said.append(f"{journal.lost} events are missing from the journal: the disk was full, or slower than they came")
    if journal.ended is Ended.TORN:
        said.append(f"the journal ends within a record: {journal.left_bytes} bytes could not be read")
    return said


def _by_question(answers: list[Answer]) -> list[list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.id, []).append(answer)
    return list(found.values())
