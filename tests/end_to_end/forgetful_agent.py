"""A mutant: an agent whose spool forgets a question when the broker acknowledged it. The harness must find it out."""

from __future__ import annotations

from typing import Any

from cascade.adapters.transports.mqtt_above import MqttAbove
from edge_agent.__main__ import main
from edge_agent.inference_loop import InferenceLoop

loops: list[InferenceLoop] = []
open_loop = InferenceLoop.open
acknowledged = MqttAbove.acknowledged


async def open_and_remember(self: InferenceLoop, *ladders: Any) -> None:
    loops.append(self)
    await open_loop(self, *ladders)


def acknowledged_and_forgotten(self: MqttAbove, tag: Any, code: int) -> None:
    for key in getattr(tag, "keys", ()):
        for loop in loops:
            if loop.spool is not None:
                loop.spool.forget(key)
    acknowledged(self, tag, code)


InferenceLoop.open = open_and_remember  # type: ignore[method-assign]
MqttAbove.acknowledged = acknowledged_and_forgotten  # type: ignore[method-assign]
main()
