"""The peers: what is installed for each, how its server is started and asked, and which of its settings were chosen.

The settings are those that a peer's own documentation names for many small requests. Each has one process, or one
worker, for its model, as our cloud has. Where batches made one slower here (MLServer, LitServe), it runs without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import bodies

SERVERS = Path(__file__).parent / "servers"
ENVIRONMENTS = Path("build/peers")
ENGINE = ("onnxruntime==1.31.1", "numpy==2.4.6")


class Peer(NamedTuple):
    """`command` runs in the folder of the server programs; `{python}`, `{bin}`, `{port}`, `{folder}` are filled in."""

    name: str
    package: str
    """What its environment is called, and whose version is told."""
    requirements: tuple[str, ...]
    command: tuple[str, ...]
    settings: str
    asked_by: str
    """`grpc` or `http`."""
    where: str
    """A method, or a content type."""
    body: Callable[[Any], bytes]
    scores: Callable[[bytes], list[float]]
    environment: Mapping[str, str] = {}
    starts_within_s: float = 60.0


PEERS = (
    Peer(
        "grpc.aio", "grpcio", ("grpcio==1.85.1",), ("{python}", "grpc_server.py", "{port}"),
        "one loop, a unary call each, the model in line", "grpc", bodies.METHOD_PLAIN, bodies.raw, bodies.scores_raw,
    ),
    Peer(
        "FastAPI", "fastapi", ("fastapi==0.165.0", "uvicorn[standard]==0.54.0"),
        ("{python}", "fastapi_server.py", "{port}"),
        "uvicorn with uvloop and httptools, an async endpoint, no access log", "http", bodies.RAW, bodies.raw,
        bodies.scores_raw,
    ),
    Peer(
        "MLServer", "mlserver", ("mlserver==1.7.1",), ("{bin}/mlserver", "start", "{folder}"),
        "V2 gRPC with raw contents, parallel_workers 0, debug off, no adaptive batching", "grpc", bodies.METHOD_V2,
        bodies.v2, bodies.scores_v2,
    ),
    Peer(
        "LitServe", "litserve", ("litserve==0.2.19",), ("{python}", "litserve_server.py", "{port}"),
        "fast_queue, one worker, no batches", "http", bodies.JSON, bodies.litserve,
        bodies.scores_litserve,
    ),
    Peer(
        "BentoML", "bentoml", ("bentoml==1.4.39",),
        ("{bin}/bentoml", "serve", "bentoml_server:Digits", "--host", "127.0.0.1", "--port", "{port}"),
        "adaptive batching, one worker, no metrics, no access log", "http", bodies.JSON, bodies.bentoml,
        bodies.scores_bentoml, {"BENTOML_DO_NOT_TRACK": "true"},
    ),
    Peer(
        "Ray Serve", "ray", ("ray[serve]==2.60.0",), ("{python}", "ray_server.py", "{port}"),
        "RAY_SERVE_THROUGHPUT_OPTIMIZED, serve.batch of 32 without a wait, one replica", "http", bodies.RAW, bodies.raw,
        bodies.scores_raw, {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0"}, 120.0,
    ),
)  # fmt: skip


def mlserver_settings(port: int, http_port: int) -> dict[str, dict[str, Any]]:
    """Its two files, by name."""
    return {
        "settings.json": {
            "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "grpc_port": port, "http_port": http_port,
            "metrics_endpoint": None,
        },
        "model-settings.json": {
            "name": bodies.MODEL, "implementation": "mlserver_model.Digits",
        },
    }  # fmt: skip
