"""The edge tier: a device that answers what it can, and asks about the rest. `EdgeAgent` is its library form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_agent.agent import EdgeAgent
    from edge_agent.blocking import BlockingEdgeAgent

__all__ = ["BlockingEdgeAgent", "EdgeAgent"]

_WHERE = {"EdgeAgent": "edge_agent.agent", "BlockingEdgeAgent": "edge_agent.blocking"}


def __getattr__(name: str) -> Any:
    """Loaded when it is used: the asking programs' client lives in this package too, and needs none of it."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)
