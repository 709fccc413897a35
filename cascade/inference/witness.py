"""What a hop's journal tells of one question beyond its trail: when what happened, and how the way up stood then.

A witness stands beside a hop that goes through its journal again, and only looks: it changes nothing, so what the hop
decides is what it decided then. Given no question's id it only gathers the answers, for a list of the last ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from cascade.inference.effects import AskAbove, Effect, Keep, Park, RecordDecision, Remember, Reply, RunStage
from cascade.inference.events import (
    Answered,
    Asked,
    Event,
    Evicted,
    Kept,
    LinkLost,
    LinkUp,
    Packed,
    Predicted,
    RunFailed,
    Sent,
    Unsendable,
)
from cascade.inference.explaining import said, why, why_decided
from cascade.inference.hop import Hop
from cascade.inference.reasons import in_words
from cascade.inference.uplink import Uplink
from cascade.messages import Answer, Outcome

WAY_UP = ("link_down", "breaker_open", "no_budget", "deadline", "gave_up")
"""Reasons that are about the hop above: with them it is told how the way up stood."""


class Witness:
    """Sees each event with its effects, in order."""

    def __init__(self, hop: Hop, question_id: str = "", most: int = 1000) -> None:
        self.answers: OrderedDict[str, list[Answer]] = OrderedDict()
        """What was given, by question: the one answered last stands last. At most so many questions."""
        self.moments: list[str] = []
        self._hop = hop
        self._id = question_id
        self._most = most
        self._began: float | None = None
        self._deadline_ms = 0.0
        self._over = True
        self._passed_on = False
        """What is given now is what the hop above said: its reason is about another way up than ours."""
        self._runs: dict[int, RunStage] = {}

    def saw(self, event: Event, effects: list[Effect], now: float) -> None:
        self._passed_on = isinstance(event, Answered)
        if self._id:
            self._note_event(event, now)
        for effect in effects:
            if type(effect) is Reply and (not self._id or effect.answer.id == self._id):
                self._gather(effect.answer)
            if self._id:
                self._note_effect(effect, now)

    def _gather(self, answer: Answer) -> None:
        given = self.answers.setdefault(answer.id, [])
        if not given or given[-1] != answer:
            given.append(answer)
        self.answers.move_to_end(answer.id)
        if len(self.answers) > self._most:
            self.answers.popitem(last=False)

    def _note_event(self, event: Event, now: float) -> None:
        if isinstance(event, Asked) and event.question.id == self._id:
            self._asked(event, now)
        elif self._began is None:
            return
        elif isinstance(event, Predicted | RunFailed):
            self._ran(event, now)
        elif isinstance(event, LinkUp | LinkLost):
            if not self._over:
                self._say(now, _link_in_words(event))
        elif type(event) in _EVENT_WORDS and self._is_about(event):
            self._say(now, _EVENT_WORDS[type(event)](event))

    def _is_about(self, event: Any) -> bool:
        if isinstance(event, Sent):
            return any(key.id == self._id for key in event.questions)
        if isinstance(event, Answered):
            return event.answer.id == self._id
        key = event.question.key if isinstance(event, Evicted) else event.key
        return bool(key.id == self._id)

    def _asked(self, event: Asked, now: float) -> None:
        question = event.question
        if self._began is None:
            self._began, self._deadline_ms = now, question.ms_left
            wait = f", and for {question.keep_ms / 1000.0:.3g} s after it a better answer is welcome"
            self._say(
                now,
                f"asked with {question.ms_left:.4g} ms to its deadline{wait if question.keep_ms else ''}; "
                f"{question.payload_bytes:,} bytes, priority {question.priority}, "
                f"durability {event.durability.value}{self._way_up(now)}",
            )
        else:
            self._say(now, "read again from the spool" if event.restored else "asked again, under the same id")
        self._over = False

    def _ran(self, event: Predicted | RunFailed, now: float) -> None:
        run = self._runs.pop(event.run, None)
        if run is None:
            return
        many = len(run.questions)
        beside = f" in a batch of {many}" if many > 1 else ""
        if isinstance(event, RunFailed):
            self._say(now, f"stage {run.stage} failed{beside}: {event.reason}")
        else:
            self._say(now, f"stage {run.stage} ran{beside}, in {event.ms:.3g} ms")

    def _note_effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, RunStage):
            if any(question.id == self._id for question in effect.questions):
                self._runs[effect.run] = effect
        elif self._id_of(effect) == self._id and self._began is not None:
            self._tell_effect(effect, now)

    def _id_of(self, effect: Effect) -> str:
        if isinstance(effect, AskAbove | Keep | RecordDecision):
            return effect.question.id
        if isinstance(effect, Remember | Park):
            return effect.key.id
        return effect.answer.id if isinstance(effect, Reply) else ""

    def _tell_effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, AskAbove):
            left = f"with {effect.question.ms_left:.4g} ms for it" if effect.question.ms_left else "for a correction"
            audit = ", as an audit of what was answered here" if effect.question.audit else ""
            self._say(now, f"asked above {left}{audit}{self._way_up(now)}")
        elif isinstance(effect, RecordDecision):
            decision, guess = effect.decision, f'; the guess here is "{effect.label}"' if effect.label else ""
            self._say(now, f"decided to {decision.verdict.value}, because {why_decided(decision)}{guess}")
        elif isinstance(effect, Keep):
            self._say(now, "given to the spool" + (", and waited for" if effect.sync else ""))
        elif isinstance(effect, Remember):
            self._say(now, "its answer is recorded before it is given")
        elif isinstance(effect, Park):
            self._say(now, "left memory: it waits in the spool until there is room")
        elif isinstance(effect, Reply):
            self._given(effect.answer, now)

    def _given(self, answer: Answer, now: float) -> None:
        self._over = not answer.provisional
        kind = "a provisional answer" if answer.provisional else "a correction" if answer.correction else "an answer"
        what = said(answer) if answer.outcome is Outcome.ANSWERED else answer.outcome.value
        state = self._way_up(now) if answer.reason in WAY_UP and not self._passed_on else ""
        self._say(now, f"given {kind}: {what}, because {why(answer)}; {self._left(now)}{state}")

    def _left(self, now: float) -> str:
        assert self._began is not None
        left_ms = self._deadline_ms - (now - self._began) * 1000.0
        return f"{left_ms:.4g} ms before its deadline" if left_ms >= 0 else f"{-left_ms:.4g} ms after its deadline"

    def _say(self, now: float, what: str) -> None:
        if self._began is not None:
            self.moments.append(f"{(now - self._began) * 1000.0:+.2f} ms {what}")

    def _way_up(self, now: float) -> str:
        return f". {way_up_in_words(self._hop.uplink, now)}"


def way_up_in_words(uplink: Uplink | None, now: float) -> str:
    if uplink is None:
        return "There is no hop above."
    words = [f"link {'up' if uplink.up else 'down'}", f"breaker {uplink.breaker.circuit.value}"]
    words.append(f"{uplink.in_flight} of {uplink.settings.in_flight} in flight")
    usual_s = uplink.promptness.usual_s()
    if usual_s is not None:
        words.append(f"half of its answers within {usual_s * 1000.0:.3g} ms")
    left_bytes, left_joules = uplink.budgets_left(now)
    if left_bytes is not None:
        words.append(f"{left_bytes:,.0f} bytes of budget left")
    if left_joules is not None:
        words.append(f"{left_joules:.3g} J of budget left")
    return f"The way up: {', '.join(words)}."


def _link_in_words(event: LinkUp | LinkLost) -> str:
    return "the link above came up" if isinstance(event, LinkUp) else f"the link above was lost: {event.reason}"


def _beside(questions: int) -> str:
    return f", with {questions - 1} other{'s' if questions > 2 else ''}" if questions > 1 else ""


def _answered(event: Answered) -> str:
    answer = event.answer
    kind = "provisionally " if answer.provisional else ""
    what = f"{said(answer)} by {answer.tier}" if answer.prediction is not None else answer.outcome.value
    return f"the hop above said {kind}{what}, because {why(answer)}"


_EVENT_WORDS: Mapping[type, Callable[[Any], str]] = {
    Answered: _answered,
    Sent: lambda event: f"went up in a message of {event.bytes:,} bytes{_beside(len(event.questions))}",
    Packed: lambda event: (
        f"its hidden features go up: {event.bytes:,} bytes in place of the {event.input_bytes:,} of the input"
    ),
    Kept: lambda event: "is on disk" if event.durable else "could not be written to disk, and goes on in memory",
    Unsendable: lambda event: f"can't be sent up, because {in_words(event.reason)}",
    Evicted: lambda event: f"was given up by the spool, because {in_words(event.reason)}",
}
