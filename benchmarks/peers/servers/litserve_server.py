"""LitServe: `LitAPI` with batches, its fast queue (ZeroMQ), one worker. A body is JSON or a form: so base64 in JSON.

python litserve_server.py PORT
"""

# mypy: ignore-errors
# What it imports is in its peer's environment, not in ours.
from __future__ import annotations

import base64
import sys
from typing import Any

import litserve
import numpy as np
from model import image_of, new_session  # beside this file

MAX_BATCH, BATCH_TIMEOUT_S = 16, 0.001


class Digits(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.session = new_session()

    def decode_request(self, request: dict[str, str]) -> Any:
        return image_of(base64.b64decode(request["image"]))[0]

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, images: Any) -> Any:
        return self.session.run(None, {"image": images})[0]

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, list[float]]:
        return {"scores": output.tolist()}


if __name__ == "__main__":
    api = Digits(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
