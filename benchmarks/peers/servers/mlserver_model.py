"""MLServer: a custom runtime, asked over V2 gRPC with raw tensor contents, in the server's own process.

mlserver start FOLDER, with settings.json and model-settings.json in it
"""

# mypy: ignore-errors
# What it imports is in its peer's environment, not in ours.
from __future__ import annotations

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from model import SIDE, new_session  # beside this file


class Digits(MLModel):
    async def load(self) -> bool:
        self.session = new_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0]).reshape(-1, SIDE, SIDE).astype(np.float32, copy=False)
        scores = self.session.run(None, {"image": images})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
