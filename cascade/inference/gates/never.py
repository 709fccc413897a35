"""`never`: everything climbs, the prediction stays as a fallback. For a model that is only there for dead links."""

from __future__ import annotations

from cascade.messages import AnomalyScore, ClassScores, Detections, Estimate, Prediction


class Never:
    reads: tuple[type[Prediction], ...] = (ClassScores, Estimate, AnomalyScore, Detections)
    needs_threshold = False
    sure_below = False

    def of(self, prediction: Prediction) -> float:
        return 0.0
