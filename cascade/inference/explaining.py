"""Why an answer is as it is, in sentences made from its trail: what each hop saw, how sure it was, what it cost.

Pure: answers in, text out. What the trail does not hold (times, budgets, the state of the link) a journal does:
`witness.py` reads it from there, as the moments of a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from textwrap import wrap

from cascade.inference.hidden import SENT, SENT_BOTH
from cascade.inference.reasons import in_words
from cascade.messages import Answer, Decision, Detections, Energy, Estimate, Outcome, Step, Verdict, Word

WIDTH = 100
LEAST_WIDTH = 40
"""Narrower than this nothing is wrapped: a word would stand on each line."""
UNIT = " ms"
MODEL_SHOWN = 12
"""Characters of a model's digest that are shown."""
ANSWERS_ALL = "the last gate answers whatever can be read"
SHOWN = 4
"""Values of an estimate that are shown."""


class Explanation(Word, frozen=True, gc=False, kw_only=True):
    """One question's answer, explained. `str()` of it is a page to read; its parts are for programs."""

    id: str
    heading: str
    hops: tuple[str, ...]
    """A sentence or two for each stage that saw it, from the edge up."""
    ending: tuple[str, ...]
    """How the answer came about."""
    costs: str
    moments: tuple[str, ...] = ()
    """When what happened, as `12.5 ms what`: known where a journal was read."""

    def __str__(self) -> str:
        return self.page()

    def page(self, width: int = WIDTH) -> str:
        lines = [*_wrapped("", self.heading, width), ""]
        for number, hop in enumerate(self.hops, 1):
            lines += _wrapped(f"{number}. ", hop, width)
        lines += [""] * bool(self.hops)
        for sentence in (*self.ending, self.costs):
            lines += _wrapped("", sentence, width)
        if self.moments:
            lines += ["", "When:"]
        for moment in self.moments:
            at, _, what = moment.partition(UNIT)
            lines += _wrapped(f"{at:>10}{UNIT} ", what.strip(), width)
        return "\n".join(lines)


def _wrapped(head: str, text: str, width: int) -> list[str]:
    return wrap(text, max(width, LEAST_WIDTH), initial_indent=head, subsequent_indent=" " * len(head))


def explain(given: Sequence[Answer], moments: Sequence[str] = ()) -> Explanation:
    """Explain what was given to one question, in the order in which it was given: the last is what stands."""
    if not given:
        raise ValueError("nothing was given that could be explained")
    last = given[-1]
    return Explanation(
        id=last.id,
        heading=f"Question {last.id}: {last.device}, stream {last.stream}, number {last.sequence}, "
        f"task {last.task}, release {last.release or 'unknown'}.",
        hops=tuple(_hop(step) for step in last.trail),
        ending=(_ending(last), *_before(given), *_marks(last)),
        costs=_costs(last.trail),
        moments=tuple(moments),
    )


def unanswered(question_id: str, moments: Sequence[str]) -> Explanation:
    """What is known of a question to which nothing was given, as far as its journal goes."""
    return Explanation(
        id=question_id,
        heading=f"Question {question_id}.",
        hops=(),
        ending=("It has no answer as far as the journal goes: it was open then.",),
        costs="",
        moments=tuple(moments),
    )


def in_a_line(given: Sequence[Answer]) -> str:
    """The last answer to one question in a line, for a list of many."""
    last = given[-1]
    state = "provisional" if last.provisional else "correction" if last.correction else last.outcome.value
    who = f"{said(last)} by {last.tier}" if last.prediction is not None else "no answer"
    path = " → ".join(_in_short(step) for step in last.trail) or "no stage saw it"
    reason = "the last word" if _whatever_it_was(last) else last.reason
    return f"{last.id}  {last.stream} {last.sequence}  {state}: {who}, {reason}  ({path})"


def said(answer: Answer) -> str:
    """What was answered, as short as it goes."""
    match answer.prediction:
        case Estimate(values):
            shown = ", ".join(f"{value:.4g}" for value in values[:SHOWN])
            return f"an estimate of {shown}{' …' if len(values) > SHOWN else ''}"
        case Detections(found):
            return f"{len(found)} thing{'' if len(found) == 1 else 's'} found"
    return f'"{answer.label}"' if answer.label else "a prediction without a label"


# One stage


def _hop(step: Step) -> str:
    guess = f'its guess was "{step.guess}"; ' if step.guess else ""
    return f"{_place(step)} {guess}{_seen(step)} {_cost_of(step)}".rstrip()


def _place(step: Step) -> str:
    if not step.stage:
        return f"{step.tier}, {step.node}:"
    model = f" (model {step.model[:MODEL_SHOWN]})" if step.model else ""
    return f"{step.tier}, {step.node}, stage {step.stage}{model}:"


def _seen(step: Step) -> str:
    if step.reason == "unsure" and step.threshold is None:
        return f"{_best(step)}its gate lets every question climb; its guess is kept for want of a better one."
    if step.reason == "sure" and step.threshold is None:
        return f"{_best(step)}its gate answers whatever can be read, so it answered."
    return f"{_measured(step)}{in_words(step.reason)}{_so(step)}."


def _best(step: Step) -> str:
    """Of a gate without a threshold: it only tells, and decides nothing."""
    return "" if step.confidence is None else f"its best score was {step.confidence:.2f}; "


def _measured(step: Step) -> str:
    if step.threshold is None:
        return ""
    if step.confidence is None:
        return f"how sure it was can't be said, its gate wants {_number(step.threshold)}: "
    measured, wanted = apart(step.confidence, step.threshold)
    bound = "at most" if _small_is_sure(step) else "at least"
    return f"its gate measured {measured} and wants {bound} {wanted}: "


def _small_is_sure(step: Step) -> bool:
    """Gates of entropy and spread. The trail doesn't name the gate, but on which side it was sure tells."""
    if step.confidence is None or step.threshold is None or step.confidence == step.threshold:
        return False
    return (step.confidence < step.threshold) == (step.reason in ("sure", "nothing_here", "spared"))


def _so(step: Step) -> str:
    if step.verdict is Verdict.CLIMB:
        return ", so the question went on to the next who may know"
    return ", so it was dropped" if step.verdict is Verdict.DROP else ", so it answered"


def _in_short(step: Step) -> str:
    return " ".join([step.tier, *([f'"{step.guess}"'] if step.guess else []), _measured_in_short(step)])


def _measured_in_short(step: Step) -> str:
    if step.confidence is None:
        return step.reason
    if step.threshold is None:
        return f"{step.confidence:.2f} {step.verdict.value if step.reason in ('sure', 'unsure') else step.reason}"
    return f"{'/'.join(apart(step.confidence, step.threshold))} {step.reason}"


def apart(measured: float, wanted: float) -> tuple[str, str]:
    """Both with as many digits as it takes to see that they differ: 0.8996 is not 0.90."""
    for digits in (2, 3, 4, 6):
        shown = f"{measured:.{digits}f}", f"{wanted:.{digits}f}"
        if shown[0] != shown[1] or measured == wanted:
            return shown
    return repr(measured), repr(wanted)


# The answer as a whole


def _ending(answer: Answer) -> str:
    because = why(answer)
    if answer.outcome is Outcome.ANSWERED:
        kind = "So far the answer is" if answer.provisional else "The answer is"
        return f"{kind} {said(answer)}, by the {answer.tier or 'unknown'} tier, because {because}."
    if answer.outcome is Outcome.DROPPED:
        return f"It was dropped, because {because}."
    best = f" The best guess was {said(answer)}, by the {answer.tier} tier." if answer.prediction is not None else ""
    verb = "It got no answer" if answer.outcome is Outcome.EXPIRED else "It was refused"
    return f"{verb}{' so far' if answer.provisional else ''}, because {because}.{best}"


def why(answer: Answer) -> str:
    """Its reason in words. Who answers whatever can be read is not said to have been sure."""
    return ANSWERS_ALL if _whatever_it_was(answer) else in_words(answer.reason)


def why_decided(decision: Decision) -> str:
    """As `why`, of what a gate said."""
    return ANSWERS_ALL if decision.reason == "sure" and decision.threshold is None else in_words(decision.reason)


def _whatever_it_was(answer: Answer) -> bool:
    last = answer.trail[-1] if answer.trail else None
    return last is not None and answer.reason == last.reason == "sure" and last.threshold is None


def _before(given: Sequence[Answer]) -> list[str]:
    """What had been given before, and was replaced."""
    replaced = [earlier for earlier, later in pairwise(given) if earlier.provisional and not _same(earlier, later)]
    return [
        f"Before that it was told {_whose(earlier)}, provisionally, because {why(earlier)}."
        + _agreement(earlier, given[-1])
        for earlier in replaced
    ]


def _whose(answer: Answer) -> str:
    return f"{said(answer)} by the {answer.tier} tier" if answer.prediction is not None else "that there is no answer"


def _same(one: Answer, other: Answer) -> bool:
    return (one.reason, one.tier, one.prediction, one.provisional) == (
        other.reason, other.tier, other.prediction, other.provisional,
    )  # fmt: skip


def _agreement(earlier: Answer, last: Answer) -> str:
    if earlier.prediction is None or last.prediction is None:
        return ""
    return " Both agree." if earlier.prediction.agrees(last.prediction) else " The later answer differs."


def _marks(answer: Answer) -> list[str]:
    sentences = []
    if answer.provisional:
        sentences.append("It is provisional: another may come, as a correction.")
    elif answer.correction:
        sentences.append("It is a correction: it takes the place of a provisional answer.")
    if answer.repeated:
        sentences.append("It is marked as repeated: before a crash or a restart it may have been handed over already.")
    if answer.retry_ms is not None:
        sentences.append(f"It may be asked again after {_number(answer.retry_ms)} ms.")
    return sentences


# What it cost


def _cost_of(step: Step) -> str:
    if not step.stage and not step.bytes_up:
        return ""
    parts = [f"{_number(step.ms)} ms"] if step.stage else []
    if step.stage:
        parts.append(joules_in_words(step.joules, step.energy))
    if step.bytes_up:
        parts.append(f"{step.bytes_up:,} bytes up{_sent(step)}")
    return f"It took {', '.join(parts)}."


def _sent(step: Step) -> str:
    """Where it was not the input alone."""
    said = {SENT: " (hidden features)", SENT_BOTH: " (hidden features, then the input)"}
    return said.get(step.sent, f" ({step.sent})" if step.sent else "")


def _costs(trail: Sequence[Step]) -> str:
    if not any(step.stage for step in trail):
        return "No model ran for it, as far as its trail tells."
    sources = {step.energy for step in trail if step.stage}
    source = next(energy for energy in reversed(Energy) if energy in sources)
    joules = joules_in_words(sum(step.joules for step in trail), source)
    ms, up = sum(step.ms for step in trail), sum(step.bytes_up for step in trail)
    return f"In all: {_number(ms)} ms in models, {joules}, {up:,} bytes up."


def joules_in_words(joules: float, source: Energy) -> str:
    """Never without where the number is from. Of several sources, the least certain."""
    if source is Energy.UNKNOWN and not joules:
        return "joules unknown"
    for unit, scale in (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)):
        if joules >= scale:
            return f"{joules / scale:.3g} {unit} ({source.value})"
    return f"{joules / 1e-9:.3g} nJ ({source.value})"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
