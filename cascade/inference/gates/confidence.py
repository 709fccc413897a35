"""`confidence`: sure when the most likely reading is likely enough."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cascade.messages import AnomalyScore, ClassScores, Detections, Prediction


class Confidence:
    reads: tuple[type[Prediction], ...] = (ClassScores, AnomalyScore, Detections)
    needs_threshold = True
    sure_of_all = False
    sure_below = False

    def of(self, prediction: Prediction) -> float:
        if isinstance(prediction, ClassScores):
            return max(prediction.scores)
        if isinstance(prediction, AnomalyScore):
            return _distance_from_limit(prediction)
        if isinstance(prediction, Detections):
            # Surest only if each thing found is sure and nothing else can be there: a missed one climbs.
            return min([prediction.nothing, *(one.score for one in prediction.found)])
        return float("nan")

    def of_all(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(scores.max(axis=1))


def _distance_from_limit(prediction: AnomalyScore) -> float:
    """0 on the limit, 1 at the far end of its side."""
    if prediction.anomalous:
        return (prediction.score - prediction.limit) / (1.0 - prediction.limit)
    return (prediction.limit - prediction.score) / prediction.limit
