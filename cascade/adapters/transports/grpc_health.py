"""What others may ask of the server: is it serving (load balancers), and what can be called here (people)."""

from __future__ import annotations

import importlib
from typing import Any

from cascade.errors import MissingDependency, how_to_install


class HealthDoor:
    """gRPC's own health protocol: for the whole server ("") and for our service."""

    def __init__(self, server: Any, service: str) -> None:
        health, pb, stubs = (_module(name) for name in ("health", "health_pb2", "health_pb2_grpc"))
        self._status = pb.HealthCheckResponse
        self._services = ("", service)
        self._servicer = health.aio.HealthServicer()
        stubs.add_HealthServicer_to_server(self._servicer, server)

    async def serving(self) -> None:
        for service in self._services:
            await self._servicer.set(service, self._status.SERVING)

    async def leaving(self) -> None:
        """Says NOT_SERVING, and nothing else ever again."""
        await self._servicer.enter_graceful_shutdown()


def add_reflection(server: Any, service: str, with_health: bool) -> None:
    reflection = _imported("grpc_reflection.v1alpha.reflection", "grpcio-reflection")
    importlib.import_module("cascade.wire.v1.cascade_pb2")
    names = [service, reflection.SERVICE_NAME, *(["grpc.health.v1.Health"] if with_health else [])]
    reflection.enable_server_reflection(names, server)


def _module(name: str) -> Any:
    return _imported(f"grpc_health.v1.{name}", "grpcio-health-checking")


def _imported(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingDependency(f"{package} is missing: {how_to_install('cloud')}") from None
