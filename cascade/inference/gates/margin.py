"""`margin`: sure when the best class is far enough ahead of the second."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cascade.messages import ClassScores, Prediction


class Margin:
    reads: tuple[type[Prediction], ...] = (ClassScores,)
    needs_threshold = True
    sure_of_all = False
    sure_below = False

    def of(self, prediction: Prediction) -> float:
        if not isinstance(prediction, ClassScores):
            return float("nan")
        if len(prediction.scores) == 1:
            return abs(2.0 * prediction.scores[0] - 1.0)  # one score stands for yes and no
        second, best = sorted(prediction.scores)[-2:]
        return best - second

    def of_all(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if scores.shape[1] == 1:
            return np.asarray(np.abs(2.0 * scores[:, 0] - 1.0))
        ordered = np.sort(scores, axis=1)
        return np.asarray(ordered[:, -1] - ordered[:, -2])
