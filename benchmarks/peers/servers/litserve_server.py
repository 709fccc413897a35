"""LitServe: a `LitAPI` behind its fast queue (ZeroMQ), one worker. A body is JSON or a form: so base64 in JSON.

python litserve_server.py PORT
"""

# mypy: ignore-errors
# What it imports is in its peer's environment, not in ours.
from __future__ import annotations

import base64
import sys
from typing import Any

import litserve
from model import image_of, new_session  # beside this file


class Digits(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.session = new_session()

    def decode_request(self, request: dict[str, str]) -> Any:
        return image_of(base64.b64decode(request["image"]))

    def predict(self, image: Any) -> Any:
        return self.session.run(None, {"image": image})[0][0]

    def encode_response(self, output: Any) -> dict[str, list[float]]:
        return {"scores": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
