"""Whatever happens to a hop, in whatever order: it raises nothing, ends each question once, and keeps nothing back."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.inference.budget import Allowance
from cascade.inference.effects import AskAbove, FreeHidden, Keep, Park, Remember, Reply, RunStage
from cascade.inference.events import (
    Answered,
    Asked,
    BadSample,
    Durability,
    Evicted,
    Kept,
    LadderInstalled,
    LinkLost,
    LinkUp,
    Packed,
    Predicted,
    Remembered,
    RunFailed,
    Sent,
    Ticked,
    Unsendable,
)
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Answer, ClassScores, Key, Outcome, Question, Tensor
from cascade.release.ladder import Care, GateSpec, Ladder, LadderStage, Timing
from cascade.release.reference import Reference, Shape

HAPPENINGS = [
    "ask",
    "ask",
    "run",
    "run",
    "fail",
    "answer",
    "answer",
    "refuse",
    "provisional",
    "expire",
    "kept",
    "not_kept",
    "remembered",
    "up",
    "lost",
    "tick",
    "wait",
    "sent",
    "unsendable",
    "evict",
    "again",
    "install",
    "packed",
    "need_input",
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(HAPPENINGS),
        st.integers(0, 9),
        st.floats(0.0, 1.0),
    ),
    max_size=80,
)  # fmt: skip


class Life:
    """A shell that does what it is told, when the test feels like it."""

    def __init__(self, uplink: bool, max_open: int, first: int) -> None:
        link = UplinkSettings(failures_to_open=2, in_flight=3, bytes=Allowance(500.0, 800.0)) if uplink else None
        self.hop = Hop(HopSettings(node="s.d", tier="edge", max_open=max_open, audit_share=0.3, seed=b"s"), link)
        self.now = 1000.0
        self.asked: list[Question] = []
        self.durability: dict[str, Durability] = {}
        self.runs: list[RunStage] = []
        self.keeps: list[Keep] = []
        self.remembers: list[Remember] = []
        self.above: list[Question] = []
        self.parked: set[str] = set()
        self.final: Counter[str] = Counter()
        self.held: set[Key] = set()
        """Questions of which an engine holds hidden features."""
        self.happen(LadderInstalled(ladder(first)))

    def happen(self, event) -> None:
        for effect in self.hop.handle(event, self.now):
            match effect:
                case RunStage():
                    self.runs.append(effect)
                case AskAbove():
                    self.above.append(effect.question)
                case FreeHidden():
                    self.held.discard(effect.key)
                case Keep():
                    self.keeps.append(effect)
                case Remember():
                    self.remembers.append(effect)
                case Park():
                    self.parked.add(effect.key.id)
                case Reply() if not effect.answer.provisional:
                    self.final[effect.answer.id] += 1

    def step(self, what: str, which: int, share: float) -> None:  # noqa: C901 - a case for each thing that happens
        match what:
            case "ask":
                self.ask(which, share)
            case "run" if self.runs:
                self.predict(lambda: self.result(share))
            case "fail" if self.runs:
                self.happen(RunFailed(self.runs.pop(0).run, "broken"))
            case "packed" if self.above:
                self.happen(Packed(self.above[which % len(self.above)].key, 10, 20))
            case "answer" | "refuse" | "provisional" | "expire" | "need_input" if self.above:
                self.happen(Answered(self.answer(self.above[which % len(self.above)], what)))
            case "kept" | "not_kept" if self.keeps:
                self.happen(Kept(self.keeps.pop(0).question.key, what == "kept"))
            case "remembered" if self.remembers:
                self.happen(Remembered(self.remembers.pop(0).key))
            case "sent" if self.above:
                self.happen(Sent("above", int(share * 1000), (self.above[-1].key,)))
            case "unsendable" if self.above:
                self.happen(Unsendable(self.above[which % len(self.above)].key, "too_large"))
            case "evict" if self.asked:
                question = self.asked[which % len(self.asked)]
                if question.id in self.parked and not self.final[question.id]:
                    self.parked.discard(question.id)
                    self.happen(Evicted(question, "app", "spool_full"))
            case "again" if self.asked:
                question = self.asked[which % len(self.asked)]
                if not self.final[question.id] and question.id not in self.parked:
                    self.happen(Asked(question, "app", self.durability[question.id]))
            case "install":
                self.happen(LadderInstalled(ladder(which)))
            case "up":
                self.happen(LinkUp())
            case "lost":
                self.happen(LinkLost("cut"))
            case "tick":
                self.happen(Ticked())
            case "wait":
                self.now += share * 3.0
                self.happen(Ticked())

    def predict(self, result) -> None:
        run = self.runs.pop(0)
        if run.stage in KEEPING:
            self.held |= {question.key for question in run.questions}
        self.happen(Predicted(run.run, tuple(result() for _ in run.questions), ms=1.0))

    def ask(self, which: int, share: float) -> None:
        question = Question(
            id=f"q{len(self.asked)}", device="s.d", stream="x", sequence=1, task="t", release=f"r{which % 3}",
            payload=(Tensor("x", "uint8", (2,), b"ab"),), ms_left=share * 2000.0, priority=which,
            keep_ms=5000.0 * (which % 2), hidden=BELOW if which == 8 else b"",
        )  # fmt: skip
        self.asked.append(question)
        self.durability[question.id] = list(Durability)[which % 3]
        self.happen(Asked(question, "app", self.durability[question.id]))

    def result(self, share: float):
        if share > 0.95:
            return BadSample("shape")
        return ClassScores((share, 1.0 - share)) if share < 0.9 else ClassScores((float("nan"), 0.5))

    def answer(self, question: Question, how: str) -> Answer:
        kinds = {"refuse": Outcome.REFUSED, "need_input": Outcome.REFUSED, "expire": Outcome.EXPIRED}
        outcome = kinds.get(how, Outcome.ANSWERED)
        return Answer(
            id=question.id, device="s.d", digest=b"", stream="x", sequence=1, task="t", release="r1", outcome=outcome,
            reason={"refuse": "overloaded", "need_input": "need_input"}.get(how, "sure"),
            provisional=how == "provisional",
            prediction=ClassScores((0.0, 1.0)) if outcome is Outcome.ANSWERED else None,
            retry_ms=300.0 if how == "refuse" else None, tier="fog",
        )  # fmt: skip

    def settle_everything(self) -> None:
        """The disk and the models do what they owe, and time passes."""
        for _ in range(400):
            while self.keeps:
                self.happen(Kept(self.keeps.pop(0).question.key))
            while self.remembers:
                self.happen(Remembered(self.remembers.pop(0).key))
            while self.runs:
                self.predict(lambda: ClassScores((0.5, 0.5)))
            if self.hop.wakes_at is None and not (self.keeps or self.remembers or self.runs):
                return
            self.now = max(self.now + 0.05, self.hop.wakes_at or 0.0)
            self.happen(Ticked())
        raise AssertionError(f"it never settles: {len(self.hop.room)} open, wakes at {self.hop.wakes_at}")


REFERENCE = Reference(
    tier="edge", stage="s0", bundle="0" * 64, gate="confidence", confidence=Shape(edges=(0.9,), counts=(1, 99, 0)),
    agreement=0.9,
)  # fmt: skip


BELOW = b"b" * 16
KEEPING = ("segment0", "segment1")


def ladder(which: int) -> Ladder:
    """Some are watched, some give their guess early, and some are a model in segments, with one for those below."""
    if which in (3, 8):
        stages = segments()
        return Ladder(task="t", release=f"r{which % 3}", stages=stages)
    stages = tuple(
        LadderStage(
            name=f"s{n}", kind="classes", gate=GateSpec("confidence", 0.8), labels=("a", "b"), max_batch=3,
            reference=REFERENCE if which > 5 else None,
        )
        for n in range(which % 3)
    )  # fmt: skip
    timing = Timing(worth_asking=0.5, provisional_at=0.3 if which % 2 else 1.0)
    care = Care(step=1.0, seldom=100.0, calm=16)
    models = ("feedfacecafe",) if which > 3 else ()
    return Ladder(task="t", release=f"r{which % 3}", stages=stages, timing=timing, care=care, models_above=models)


def segments() -> tuple[LadderStage, ...]:
    def segment(name: str, **more) -> LadderStage:
        gate = GateSpec("confidence", 0.8)
        return LadderStage(name=name, kind="classes", gate=gate, labels=("a", "b"), max_batch=3, **more)

    first, second = segment("segment0"), segment("segment1", after="segment0", sends=True)
    return (first, second, segment("rest", continues=BELOW))


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, uplink=st.booleans(), max_open=st.integers(1, 6), first=st.sampled_from((1, 3)))
def test_each_question_ends_exactly_once_whatever_happens(steps, uplink, max_open, first):
    """And what an engine held for it is free."""
    life = Life(uplink, max_open, first)
    for step in steps:
        life.step(*step)
    life.settle_everything()
    assert len(life.hop.room) == 0
    assert not life.held
    for question in life.asked:
        if question.id not in life.parked:
            assert life.final[question.id] == 1, question.id
