"""Networks that others made, larger than those of the other tests: alone and in batches they say the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cascade.adapters.backends import engine
from cascade.adapters.backends.backend import EngineSettings, Model
from cascade.adapters.backends.first_load import FirstLoads

DATA = os.environ.get("CASCADE_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DATA is None, reason="CASCADE_DATA does not say where the real data lie"),
]
SETTINGS = EngineSettings()


def loaded(kind: str, *where: str) -> Model:
    """As an agent does it: looked at, tried in another process, loaded."""
    runs, path = engine(kind), Path(str(DATA)).joinpath(*where)
    files = runs.inspect(path, SETTINGS)
    FirstLoads(None).check(runs, files, SETTINGS)
    return runs.load(path, SETTINGS)


@pytest.mark.parametrize("file", ["pretrainedResnet.tflite", "pretrainedResnet_quant.tflite"])
def test_a_resnet_gives_probabilities_and_the_same_in_batches(file: str) -> None:
    model = loaded("tflite", "mlperf-tiny", "models", file)
    spec, result = model.inputs[0], model.outputs[0].name
    x = np.random.default_rng(3).uniform(0, 255, (9, *(size or 1 for size in spec.shape[1:]))).astype(spec.dtype)
    together = model.run({spec.name: x})[result]
    alone = np.concatenate([model.run({spec.name: x[i : i + 1]})[result] for i in range(9)])
    np.testing.assert_allclose(together, alone, atol=0.005)
    np.testing.assert_allclose(together.sum(axis=1), 1.0, atol=0.02)
