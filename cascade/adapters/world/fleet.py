"""A fleet in a simulated world: devices under gateways under a cloud, the application that asks, and the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

import msgspec

from cascade.adapters.world.clock import WorldClock
from cascade.adapters.world.link import SimulatedLink, Weather
from cascade.adapters.world.node import Engine, HiddenEngine, SimulatedNode, Takes, as_it_says
from cascade.inference.effects import Reply
from cascade.inference.events import Asked, Durability
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import USUAL_PRIORITY, Answer, Payload, Question, Tensor, payload_digest
from cascade.release.bundle import Tier
from cascade.release.ladder import Ladder

FAIR = Weather()
USUAL_UPLINK = UplinkSettings()
SMALL_PAYLOAD: Payload = (Tensor("x", "uint8", (4,), b"\0\1\2\3"),)


class Application:
    """Who asks, and what it was told of each question."""

    def __init__(self) -> None:
        self.accepted: dict[str, Question] = {}
        self.told: dict[str, list[tuple[float, Answer]]] = {}
        self._open: dict[str, None] = {}
        self.hear: Callable[[Answer], None] = lambda answer: None
        """Told of each answer as it comes."""

    def accept(self, question: Question) -> None:
        self.accepted[question.id] = question
        self._open[question.id] = None

    def disown(self, question_id: str) -> None:
        """It turned out that the question was never accepted."""
        del self.accepted[question_id]
        self._open.pop(question_id, None)

    def tell(self, now: float, answer: Answer) -> None:
        self.told.setdefault(answer.id, []).append((now, answer))
        if not answer.provisional:
            self._open.pop(answer.id, None)
        self.hear(answer)

    def forget(self, question_id: str) -> None:
        """It has ended and was heard: who asks for long doesn't want to hold it all."""
        del self.accepted[question_id]
        self.told.pop(question_id, None)

    def finals(self, question_id: str) -> list[Answer]:
        """Those not marked as perhaps handed over before."""
        return [answer for _, answer in self.told.get(question_id, []) if not (answer.provisional or answer.repeated)]

    @property
    def open(self) -> list[str]:
        return list(self._open)

    def outcomes(self) -> Counter[str]:
        """How the accepted ones ended; with those still open this is all of them, or something was lost."""
        ended = Counter(
            next(answer.outcome.value for _, answer in self.told[question_id] if not answer.provisional)
            for question_id in self.accepted
            if question_id not in self._open
        )
        ended["open"] = len(self._open)
        return ended

    def answered_twice(self) -> list[str]:
        return [question_id for question_id in self.accepted if len(self.finals(question_id)) > 1]


class Fleet:
    """One site: its devices, its gateway, and the cloud above. Everything that chance decides comes from the seed.

    Where `topmost` is "fog" the gateway has nobody above it, where it is "edge" each device is alone. A hop without a
    ladder passes on what it is asked. `gateway_uplink`: where the gateway's is another than the devices'.
    """

    def __init__(
        self,
        *,
        seed: int,
        devices: int,
        engine: Engine,
        ladders: Mapping[str, tuple[Ladder, ...]],
        weather_below: Weather = FAIR,
        weather_above: Weather = FAIR,
        uplink: UplinkSettings = USUAL_UPLINK,
        gateway_uplink: UplinkSettings | None = None,
        device_settings: Mapping[str, object] | None = None,
        gateway_settings: Mapping[str, object] | None = None,
        cloud_settings: Mapping[str, object] | None = None,
        topmost: Tier = "cloud",
        takes_s: Takes = as_it_says,
        prepare: Callable[[Question], Question] | None = None,
        hidden: HiddenEngine | None = None,
    ) -> None:
        self.clock = WorldClock()
        self.topmost = topmost
        self.application = Application()
        self._chance = Random(seed)
        self._asked = 0
        secret = seed.to_bytes(16, "big", signed=True)
        self.cloud = SimulatedNode(
            self.clock,
            _settings("cloud", "cloud", secret, cloud_settings),
            None,
            ladders.get("cloud", ()),
            engine,
            takes_s=takes_s,
            hidden=hidden,
        )
        self.cloud_link = SimulatedLink(self.clock, weather_above, Random(self._chance.random()), "gateway")
        self.gateway = SimulatedNode(
            self.clock,
            _settings("site.gateway", "fog", secret, gateway_settings),
            (gateway_uplink or uplink) if topmost == "cloud" else None,
            ladders.get("fog", ()),
            engine,
            above=self.cloud_link if topmost == "cloud" else None,
            takes_s=takes_s,
            hidden=hidden,
        )
        self.links: list[SimulatedLink] = []
        self.devices: list[SimulatedNode] = []
        for number in range(devices):
            link = SimulatedLink(self.clock, weather_below, Random(self._chance.random()), f"site.device{number}")
            settings = _settings(link.name, "edge", secret, device_settings)
            alone = topmost == "edge"
            device = SimulatedNode(
                self.clock,
                settings,
                None if alone else uplink,
                ladders.get("edge", ()),
                engine,
                above=None if alone else link,
                takes_s=takes_s,
                prepare=prepare,
                hidden=hidden,
            )
            self.devices.append(device)
            self.links.append(link)
        self._join()

    def start(self) -> None:
        above = {"cloud": (self.cloud, self.gateway), "fog": (self.gateway,), "edge": ()}[self.topmost]
        for node in (*above, *self.devices):
            node.start()

    def ask(
        self,
        device: int,
        *,
        deadline_s: float = 1.0,
        keep_s: float = 0.0,
        durability: Durability = Durability.MEMORY,
        task: str = "task",
        release: str = "release",
        priority: int = USUAL_PRIORITY,
        payload: Payload = SMALL_PAYLOAD,
    ) -> str:
        """The application asks this device now. A device that is down can't be asked: then there is no question."""
        node = self.devices[device]
        self._asked += 1
        question = Question(
            id=f"q{self._asked}",
            device=node.settings.node,
            stream="stream",
            sequence=self._asked,
            task=task,
            release=release,
            payload=payload,
            digest=payload_digest(payload),
            ms_left=deadline_s * 1000.0,
            keep_ms=keep_s * 1000.0,
            priority=priority,
        )
        if node.hop is None:
            return ""
        self.application.accept(question)
        node.post(Asked(question, "application", durability))
        return question.id

    def _join(self) -> None:
        by_name = {link.name: link for link in self.links}
        self.cloud_link.above = self._into(self.cloud)
        self.cloud.reply = lambda reply: self.cloud_link.reply([reply.answer])
        self.gateway.reply = lambda reply: by_name[reply.back].reply([reply.answer])
        for link, device in zip(self.links, self.devices, strict=True):
            link.above = self._into(self.gateway)
            device.reply = self._tell

    @staticmethod
    def _into(node: SimulatedNode) -> Callable[..., None]:
        return lambda event: node.post(event)

    def _tell(self, reply: Reply) -> None:
        self.application.tell(self.clock.now, reply.answer)


def _settings(node: str, tier: str, seed: bytes, changes: Mapping[str, object] | None) -> HopSettings:
    return msgspec.structs.replace(HopSettings(node=node, tier=tier, seed=seed), **dict(changes or {}))
