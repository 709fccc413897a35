"""How a hop is, for those who ask: whether the guarantee of its thresholds stands, and what that rests on."""

from __future__ import annotations

from collections.abc import Callable

from cascade.inference.agreement import Agreed
from cascade.inference.careful import Standing
from cascade.inference.hop import Hop
from cascade.inference.shares import Estimated
from cascade.messages import Word


class TaskHealth(Word, frozen=True, gc=False, kw_only=True):
    """Of one task."""

    release: str
    standing: str
    """`unguarded`, `unknown`, `steady`, `careful`, `easing`: see docs/careful.md."""
    doubts: tuple[str, ...] = ()
    caution: float = 0.0
    """How far thresholds are moved: 0 as the release says, 1 as careful as it allows."""
    agreement: Agreed | None = None
    """With the hop above, by audits. None: nothing was audited yet."""
    distances: dict[str, float] = {}  # noqa: RUF012  # msgspec copies an empty one
    """Of the last hundred or so questions from what was recorded; above 0.25 they are others."""
    accuracy: dict[str, Estimated] = {}  # noqa: RUF012
    """By the tier that answered, where labels came."""


class Health(Word, frozen=True, gc=False, kw_only=True):
    """Of a hop."""

    node: str
    tasks: dict[str, TaskHealth]
    link_up: bool = False
    breaker: str = ""
    answers_take_s: float | None = None
    """Half of the answers from above come within this. None: too few have come."""

    @property
    def fine(self) -> bool:
        """No task's guarantee is in doubt."""
        return all(task.standing != Standing.CAREFUL for task in self.tasks.values())


def health_of(hop: Hop, accuracy: Callable[[str], dict[str, Estimated]] = lambda task: {}) -> Health:
    """On the thread that calls the hop."""
    uplink = hop.uplink
    return Health(
        node=hop.settings.node,
        tasks={task: _of_task(hop, task, release, accuracy(task)) for task, release in hop.ladders.present.items()},
        link_up=uplink is not None and uplink.up,
        breaker=uplink.breaker.circuit.value if uplink is not None else "",
        answers_take_s=uplink.promptness.usual_s() if uplink is not None else None,
    )


def _of_task(hop: Hop, task: str, release: str, accuracy: dict[str, Estimated]) -> TaskHealth:
    vigil = hop.vigils.by_task.get(task)
    return TaskHealth(
        release=release,
        standing=(vigil.standing if vigil is not None else Standing.UNGUARDED).value,
        doubts=tuple(vigil.doubts) if vigil is not None else (),
        caution=vigil.caution if vigil is not None else 0.0,
        agreement=hop.audits.agreements.said().get(task),
        distances=vigil.distances() if vigil is not None else {},
        accuracy=accuracy,
    )
