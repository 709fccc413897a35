"""What a device lived through, from its journal: the hop goes through it again, and decides what it decided then."""

from __future__ import annotations

from typing import NamedTuple

from cascade.adapters.journal import Ended, previous, read_journal, replayed
from cascade.errors import SettingsError, StorageError
from cascade.inference.effects import Effect, Reply, RunStage
from cascade.inference.events import Answered, Asked, BadSample, Event, LadderInstalled, Predicted
from cascade.messages import Answer, ClassScores, Energy, Key, Prediction
from cascade.release.ladder import Ladder
from cascade_cli.evaluate.replayed import Told
from cascade_cli.evaluate.settings import JournalOf
from cascade_cli.journal_hop import rebuilt


class Lived(NamedTuple):
    """All questions of one task and one life that have ended, in the order in which they were asked."""

    ladder: Ladder
    told: list[Told]
    said: dict[tuple[str, Key], ClassScores]
    """By stage and question."""
    spent: dict[tuple[str, Key], tuple[float, float, Energy]]
    """Milliseconds, joules, and where those come from."""
    above: dict[Key, Answer]
    entered: dict[Key, str]
    """The stage at which a question entered that did not come to the first: a watch had looked at it with that."""
    notes: tuple[str, ...]


class _Watcher:
    """Stands beside the hop as it goes through its journal again."""

    def __init__(self, task: str) -> None:
        self.ladders: dict[str, Ladder] = {}
        """The newest of each task."""
        self._task = task
        self.asked: dict[Key, float] = {}
        self.first: dict[Key, tuple[Answer, float]] = {}
        self.final: dict[Key, Answer] = {}
        self.said: dict[tuple[str, Key], ClassScores] = {}
        self.spent: dict[tuple[str, Key], tuple[float, float, Energy]] = {}
        self.above: dict[Key, Answer] = {}
        self.entered: dict[Key, str] = {}
        self._runs: dict[int, RunStage] = {}

    def saw(self, event: Event, effects: list[Effect], now: float) -> None:
        match event:
            case Asked() if not event.restored and not event.question.audit and event.question.task == self._task:
                self.asked.setdefault(event.question.key, now)
                if event.question.stage:
                    self.entered[event.question.key] = event.question.stage
            case LadderInstalled():
                self.ladders[event.ladder.task] = event.ladder
            case Predicted():
                self._predicted(event)
            case Answered() if event.answer.prediction is not None:
                self.above[event.answer.key] = event.answer
        for effect in effects:
            if type(effect) is RunStage:
                self._runs[effect.run] = effect
            elif type(effect) is Reply:
                self._replied(effect.answer, now)

    def _predicted(self, event: Predicted) -> None:
        run = self._runs.pop(event.run)
        each = len(event.results)
        for question, result in zip(run.questions, event.results, strict=True):
            place = (run.stage, question.key)
            self.spent[place] = (event.ms / each, event.joules / each, event.energy)
            if isinstance(result, ClassScores):
                self.said[place] = result
            elif run.task == self._task and not isinstance(result, BadSample):
                raise _only_classes(type(result))

    def _replied(self, answer: Answer, now: float) -> None:
        self.first.setdefault(answer.key, (answer, now))
        if not answer.provisional:
            self.final[answer.key] = answer


def _only_classes(kind: type[Prediction]) -> SettingsError:
    return SettingsError("data", [f"found a journal of {kind.__name__}, expected one of class scores"])


def live_again(table: JournalOf, task: str) -> Lived:
    """Of one task of the device. `StorageError` for what is no journal, or doesn't begin where the agent began."""
    if not (table.path.exists() or previous(table.path).exists()):
        raise SettingsError(str(table.path), ["found nothing, expected a journal: the [journal] path of an agent"])
    journal = read_journal(table.path)
    if not journal.whole:
        raise StorageError(
            f"{table.path}: its beginning was overwritten, so it can't be gone through again; "
            "journal.max_bytes in the agent's settings makes it keep more"
        )
    watcher = _Watcher(task)
    try:
        for now, event, effects in replayed(rebuilt(journal.header, table.path), journal):
            watcher.saw(event, effects, now)
    except (LookupError, ValueError) as error:
        written = journal.header.version
        raise StorageError(
            f"{table.path}: written by version {written}, can't be gone through again: {error!r}"
        ) from error
    notes = []
    if journal.ended is not Ended.COMPLETE:
        notes.append(f"the journal is read up to where it is {journal.ended.value}: what came after is not in here")
    ended = [key for key in watcher.asked if key in watcher.final]
    if len(ended) < len(watcher.asked):
        notes.append(f"{len(watcher.asked) - len(ended)} questions had no final answer yet: they are left out")
    if watcher.ladders and task not in watcher.ladders:
        there = ", ".join(sorted(watcher.ladders))
        raise SettingsError(str(table.path), [f"found the tasks {there}, expected {task}, which the release is for"])
    if not ended or not watcher.ladders:
        raise SettingsError(str(table.path), [f"found no question of task {task} that has ended, expected some"])
    return Lived(
        watcher.ladders[task],
        [_told(watcher, key) for key in ended],
        watcher.said,
        watcher.spent,
        watcher.above,
        watcher.entered,
        tuple(notes),
    )


def _told(watcher: _Watcher, key: Key) -> Told:
    first, at = watcher.first[key]
    return Told(first, (at - watcher.asked[key]) * 1000.0, watcher.final[key])
