"""`always`: whatever can be read is answered. For the last model of a ladder, and to compare with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cascade.messages import AnomalyScore, ClassScores, Detections, Estimate, Prediction


class Always:
    reads: tuple[type[Prediction], ...] = (ClassScores, Estimate, AnomalyScore, Detections)
    needs_threshold = False
    sure_of_all = True
    sure_below = False

    def of(self, prediction: Prediction) -> float:
        """Not asked for the verdict: for the trail, which says how sure the last model was too. NaN: nobody knows."""
        return max(prediction.scores) if isinstance(prediction, ClassScores) else float("nan")

    def of_all(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(scores.max(axis=1))
