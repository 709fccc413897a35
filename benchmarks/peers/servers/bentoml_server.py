"""BentoML: a service with adaptive batching, one worker. A body is JSON: so base64 in JSON, which parses fastest.

bentoml serve bentoml_server:Digits --port PORT
"""

# mypy: ignore-errors
# What it imports is in its peer's environment, not in ours.
from __future__ import annotations

import base64

import bentoml
import numpy as np
from model import image_of, new_session  # beside this file


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Digits:
    def __init__(self) -> None:
        self.session = new_session()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, images: list[str]) -> list[list[float]]:
        batch = np.concatenate([image_of(base64.b64decode(image)) for image in images])
        return self.session.run(None, {"image": batch})[0].tolist()
