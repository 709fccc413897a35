"""`spread`: sure when an estimate's widest standard deviation is small enough."""

from __future__ import annotations

from cascade.messages import Estimate, Prediction


class Spread:
    reads: tuple[type[Prediction], ...] = (Estimate,)
    needs_threshold = True
    sure_of_all = False
    sure_below = True

    def of(self, prediction: Prediction) -> float:
        return max(prediction.spreads) if isinstance(prediction, Estimate) else float("nan")
