"""The gRPC link between gateways and the cloud: both ends and their settings.

`grpc_above.py` asks, `grpc_below.py` answers, `grpc_security.py` says who may. gRPC has threads of its own: a process
that imports this may spawn others, and must never fork.
"""

from __future__ import annotations

from cascade.adapters.transports.grpc_above import GrpcAbove
from cascade.adapters.transports.grpc_below import GrpcBelow, GrpcBelowSettings
from cascade.adapters.transports.grpc_channel import GrpcAboveSettings

__all__ = ["GrpcAbove", "GrpcAboveSettings", "GrpcBelow", "GrpcBelowSettings"]
