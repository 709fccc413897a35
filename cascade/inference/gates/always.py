"""`always`: whatever can be read is answered. For the last model of a ladder, and to compare with."""

from __future__ import annotations

from cascade.messages import AnomalyScore, ClassScores, Detections, Estimate, Prediction


class Always:
    reads: tuple[type[Prediction], ...] = (ClassScores, Estimate, AnomalyScore, Detections)
    needs_threshold = False
    sure_below = False

    def of(self, prediction: Prediction) -> float:
        return 1.0
