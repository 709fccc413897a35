"""`never`: everything climbs, the prediction stays as a fallback. For a model that is only there for dead links."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cascade.messages import AnomalyScore, ClassScores, Detections, Estimate, Prediction


class Never:
    reads: tuple[type[Prediction], ...] = (ClassScores, Estimate, AnomalyScore, Detections)
    needs_threshold = False
    sure_of_all = False
    sure_below = False

    def of(self, prediction: Prediction) -> float:
        """As `always` does: it tells nothing but the trail."""
        return max(prediction.scores) if isinstance(prediction, ClassScores) else float("nan")

    def of_all(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(scores.max(axis=1))
