"""`always`: whatever can be read is answered. For the last model of a ladder, and to compare with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cascade.messages import AnomalyScore, ClassScores, Detections, Estimate, Prediction


class Always:
    reads: tuple[type[Prediction], ...] = (ClassScores, Estimate, AnomalyScore, Detections)
    needs_threshold = False
    sure_below = False

    def of(self, prediction: Prediction) -> float:
        return 1.0

    def of_all(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.ones(len(scores))
