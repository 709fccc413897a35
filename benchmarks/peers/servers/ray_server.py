"""Ray Serve: one replica, batches by `serve.batch`, the raw floats as the body; its switch for throughput is on.

RAY_SERVE_THROUGHPUT_OPTIMIZED=1 python ray_server.py PORT
"""

# mypy: ignore-errors
# What it imports is in its peer's environment, not in ours.
from __future__ import annotations

import signal
import sys
from typing import Any

import numpy as np
import ray
from model import image_of, new_session  # beside this file
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=1, max_ongoing_requests=200, ray_actor_options={"num_cpus": 1})
class Digits:
    def __init__(self) -> None:
        self.session = new_session()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.0)
    async def predict(self, images: list[Any]) -> list[bytes]:
        scores = self.session.run(None, {"image": np.concatenate(images)})[0]
        return [each.tobytes() for each in scores]

    async def __call__(self, request: Request) -> Response:
        return Response(await self.predict(image_of(await request.body())), media_type="application/octet-stream")


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Digits.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
