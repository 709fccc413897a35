"""A cascade of one's own release in one process: the hops that run on devices, the real models, simulated links.

    with InMemoryCascade("release") as cascade:
        answer = cascade.ask(image)

Nothing waits: delays, deadlines and pauses pass on the world's own clock, so an hour of it takes no longer than its
questions do. What chance decides comes from the seed: the same questions get the same answers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from cascade.adapters.samples import Sample, TensorNames, payload_of
from cascade.adapters.world.fleet import USUAL_UPLINK, Fleet
from cascade.adapters.world.link import SimulatedLink, Weather
from cascade.adapters.world.models import ReleaseModels
from cascade.errors import BadInput, BundleRejected, IllegalTransition
from cascade.inference.careful import Standing
from cascade.inference.uplink import UplinkSettings
from cascade.messages import USUAL_PRIORITY, Answer, Question
from cascade.release.bundle import TIERS, Tier
from cascade.wire.content import compressed

NO_WEATHER = Weather(latency_s=0.0, notice_s=0.0)
"""A link that takes no time, and whose end is noticed at once."""
NOBODY = "nobody"


class Totals(NamedTuple):
    """What it all came to, since the beginning."""

    questions: int
    answered_by: dict[str, int]
    """Final answers by the tier whose prediction they carry; under "nobody" those without one."""
    bytes_up: dict[str, int]
    """By the tier that sent them: packed and compressed, as they travel."""
    bytes_down: dict[str, int]
    """By the tier that got them."""
    joules: dict[str, float]
    """By tier, estimated: a model's by what its bundle says it costs, a device's radio's by bytes."""


class Stood(NamedTuple):
    """How the guarantee of a device's thresholds stands: the words of `cascade.inference.careful`."""

    standing: str
    doubts: tuple[str, ...]
    caution: float


class InMemoryCascade:
    """Devices, their gateway and the cloud, as far as the release has models for them. For one thread at a time."""

    def __init__(
        self,
        release: Path | str,
        *,
        devices: int = 1,
        weather: Mapping[str, Weather] | None = None,
        model_ms: Mapping[str, float] | None = None,
        uplink: UplinkSettings = USUAL_UPLINK,
        joules_per_byte: float = 0.0,
        seed: int = 0,
    ) -> None:
        """`weather` and `model_ms` are by tier: the link that leads up to it ("fog", "cloud"), and how long one call of
        its models takes on the world's clock. Absent, neither takes any time."""
        self._models = ReleaseModels(Path(release), model_ms)
        try:
            topmost = _topmost(self._models, str(release))
            above = _checked(weather or {}, topmost)
        except BaseException:
            self._models.close()
            raise
        self._release = self._models.releases["edge"]
        self._names = TensorNames([self._release]).of(self._release.manifest.task)
        self._joules_per_byte = joules_per_byte
        self._fleet = Fleet(
            seed=seed,
            devices=devices,
            engine=self._models,
            ladders=self._models.ladders,
            weather_below=above.get("fog", NO_WEATHER),
            weather_above=above.get("cloud", NO_WEATHER),
            uplink=uplink,
            topmost=topmost,
            takes_s=self._models.takes_s,
            prepare=_compressed,
            hidden=self._models,
        )
        self._links = _links(self._fleet)
        self._questions = 0
        self._answered_by: Counter[str] = Counter()
        self._awaited: tuple[str, bool] = ("", False)
        self._came: Answer | None = None
        self._unheard: list[Answer] = []
        self._fleet.application.hear = self._hear
        self._fleet.start()
        self._let_links_come_up()

    def __enter__(self) -> InMemoryCascade:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the models."""
        self._models.close()

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Those that have a model, from the device up."""
        return tuple(self._models.releases)

    @property
    def now_s(self) -> float:
        """The world's time: it began at 0."""
        return self._fleet.clock.now

    def ask(
        self,
        sample: Sample,
        *,
        device: int = 0,
        deadline_ms: float = 1000.0,
        keep_asking_s: float = 0.0,
        priority: int = USUAL_PRIORITY,
        final: bool = False,
    ) -> Answer:
        """As `EdgeAgent.ask`: the answer to one sample, by its deadline; perhaps provisional, unless `final` is asked
        for. A sample is an array, or a mapping of tensor names to arrays."""
        if not (0.0 < deadline_ms < math.inf and 0.0 <= keep_asking_s < math.inf):
            raise BadInput(f"a deadline of {deadline_ms} ms, and {keep_asking_s} s to go on after it")
        payload = payload_of(sample, self._names)
        self._questions += 1
        self._came = None
        self._awaited = (f"q{self._questions}", final)
        self._fleet.ask(
            device,
            deadline_s=deadline_ms / 1000.0,
            keep_s=keep_asking_s,
            task=self._release.manifest.task,
            release=self._release.id,
            priority=priority,
            payload=payload,
        )
        self._fleet.clock.run_while(lambda: self._came is None, deadline_ms / 1000.0 + keep_asking_s + 1.0)
        if self._came is None:
            raise IllegalTransition(f"question {self._awaited[0]} has no answer by its deadline")
        return self._came

    def wait(self, seconds: float) -> list[Answer]:
        """Let time pass in the world. Returns the answers that came since the last `wait` and that `ask` did not
        return: corrections of provisional ones."""
        self._fleet.clock.run_until(self.now_s + seconds)
        unheard, self._unheard = self._unheard, []
        return unheard

    def cut(self, tier: str) -> None:
        """Nothing passes to this tier or back. Who is below notices after the `notice_s` of the link's weather."""
        for link in self._links_to(tier):
            if link.whole:
                link.cut()
        self._fleet.clock.run_until(self.now_s)

    def mend(self, tier: str) -> None:
        """Whole again, and those below know it."""
        for link in self._links_to(tier):
            if not link.whole:
                link.heal()
        self._let_links_come_up()

    def stood(self, device: int = 0) -> Stood:
        """Whether a device trusts its thresholds now."""
        hop = self._fleet.devices[device].hop
        vigil = hop.vigils.by_task.get(self._release.manifest.task) if hop is not None else None
        if vigil is None:
            return Stood(Standing.UNGUARDED, (), 0.0)
        return Stood(vigil.standing, tuple(vigil.doubts), vigil.caution)

    def totals(self) -> Totals:
        up = {below: sum(link.bytes_up for link in links) for below, links in self._links_from()}
        down = {below: sum(link.bytes_down for link in links) for below, links in self._links_from()}
        joules: dict[str, float] = {tier: self._models.joules[tier] for tier in self.tiers}
        joules["edge"] += up.get("edge", 0) * self._joules_per_byte
        return Totals(self._questions, dict(self._answered_by), up, down, joules)

    def _hear(self, answer: Answer) -> None:
        question, final = self._awaited
        if answer.id == question and self._came is None and not (final and answer.provisional):
            self._came = answer
        else:
            self._unheard.append(answer)
        if not answer.provisional:
            self._answered_by[answer.tier or NOBODY] += 1
            self._fleet.application.forget(answer.id)

    def _links_to(self, tier: str) -> list[SimulatedLink]:
        if tier not in self._links:
            raise ValueError(f"no link leads up to {tier!r}; there are links to {', '.join(self._links) or 'nobody'}")
        return self._links[tier]

    def _links_from(self) -> list[tuple[str, list[SimulatedLink]]]:
        return [(TIERS[TIERS.index(tier) - 1], links) for tier, links in self._links.items()]

    def _let_links_come_up(self) -> None:
        """A link counts as up when a message has gone there and back."""
        trips = [2.0 * link.weather.latency_s for links in self._links.values() for link in links]
        self._fleet.clock.run_until(self.now_s + max(trips, default=0.0))


def _topmost(models: ReleaseModels, where: str) -> Tier:
    if "edge" not in models.releases:
        raise BundleRejected(f"{where}: no bundle for tier edge, where every question begins")
    return list(models.releases)[-1]


def _checked(weather: Mapping[str, Weather], topmost: Tier) -> Mapping[str, Weather]:
    leads_to = TIERS[1 : TIERS.index(topmost) + 1]
    unknown = sorted(set(weather) - set(leads_to))
    if unknown:
        raise ValueError(
            f"weather: no link leads up to {', '.join(unknown)}; there are {', '.join(leads_to) or 'none'}"
        )
    return weather


def _links(fleet: Fleet) -> dict[str, list[SimulatedLink]]:
    """By the tier that they lead up to."""
    links = {"fog": fleet.links, "cloud": [fleet.cloud_link]}
    return {tier: links[tier] for tier in TIERS[1 : TIERS.index(fleet.topmost) + 1]}


def _compressed(question: Question) -> Question:
    """As an agent does, where its settings don't say otherwise."""
    return msgspec.structs.replace(question, payload=compressed(question.payload))
