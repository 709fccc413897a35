"""One line in the log when the guarantee of a task's thresholds begins to be in doubt, and one when it stands again."""

from __future__ import annotations

import logging

from cascade.inference.careful import Standing
from cascade.inference.effects import RecordStanding

log = logging.getLogger(__name__)

IN_WORDS = {
    "confidence_drift": "the model's confidences are others than where its thresholds were found",
    "input_drift": "the inputs are others than where the thresholds were found",
    "disagreement": "the hop above agrees less than was recorded",
    "other_model_above": "the hop above runs another model than the thresholds were made for",
}


class StandingLog:
    """Told of every step; says what is new."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, tuple[str, ...]]] = {}

    def __call__(self, effect: RecordStanding) -> None:
        before = self._told.get(effect.task, ("", ()))
        now = effect.standing, effect.doubts
        self._told[effect.task] = now
        if before == now:
            return
        new = [doubt for doubt in effect.doubts if doubt not in before[1]]
        if new:
            why = "; ".join(IN_WORDS.get(doubt, doubt) for doubt in new)
            log.warning("task %s: careful, it asks above more often: %s", effect.task, why)
        elif effect.standing == Standing.STEADY and before[0] == Standing.EASING:
            log.info("task %s: no doubt is left, thresholds are those of the release again", effect.task)
