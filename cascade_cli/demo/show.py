"""The course of the demo: questions for some seconds with a cut in the middle, then the same images three ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cascade_cli.demo.asking import Application, Given, Score
from cascade_cli.demo.digits import Split
from cascade_cli.demo.fleet import AGENTS, CASCADE, CLOUD_ONLY, DEVICE_ONLY, Fleet
from cascade_cli.demo.view import LEGEND, View, line, page, told
from cascade_cli.local_processes import ProcessEnded

SHOWN_FOR_S = 18.0
CUT_AT, MENDED_AT = 1 / 3, 2 / 3
RATE_HZ = 12.0
"""Of each agent."""
DRAWN_EVERY_S = 0.2
SAID_EVERY_S = 2.0
TOLD_OF_MANY = 36
"""In a pipe one answer in so many is told, if nothing is special about it: about one in a second."""
CORRECTED_WITHIN_S = 30.0
ANSWERED_WITHIN_S = 30.0
WARM_UP = 3
CUT, COMING_BACK = "CUT", "whole again, the gateway is reconnecting"
MEASURED = {"device only": DEVICE_ONLY, "cloud only": CLOUD_ONLY, "cascade": CASCADE}


class Show:
    """Three applications, one screen."""

    def __init__(
        self,
        fleet: Fleet,
        images: Split,
        view: View,
        seconds: float = SHOWN_FOR_S,
        note: Callable[[Given], None] = lambda given: None,
    ) -> None:
        """`note` is told each answer while they are shown: what comes then has a story, what is measured later none."""
        self._note = note
        self._fleet, self._images, self._view, self._seconds = fleet, images, view, seconds
        self.score = Score()
        self._applications = [Application(name, fleet.socket(name), images, self._heard) for name in AGENTS]
        self._link = "whole"
        self._began = self._mended_at = 0.0
        self._showing = False
        self._usual = 0

    async def run(self) -> dict[str, Score]:
        for application in self._applications:
            await application.open()
        try:
            await self._until_the_cloud_answers()
            await self._live()
            rows = {f"cascade, link cut for {self._seconds / 3:.0f} s": self.score}
            for name, stream in MEASURED.items():
                self._view.say(f"{len(self._images.labels)} images, {name} …")
                rows[name] = await self._measure(stream)
            return dict(reversed(rows.items()))
        except ProcessEnded:
            self._fleet.check()  # whoever has ended says more of it in its log
            raise
        finally:
            for application in self._applications:
                await application.close()

    async def _until_the_cloud_answers(self) -> None:
        """Links take a moment to come up: wait for the first answers that have gone all the way."""
        give_up_at = time.monotonic() + ANSWERED_WITHIN_S
        warm_up = Score()
        while any(warm_up.tiers[tier] for tier in ("", "edge", "fog")) or warm_up.tiers["cloud"] < len(AGENTS):
            reasons = sorted({given.answer["reason"] for given in warm_up.last})
            if "bad_input" in reasons:
                raise ProcessEnded("the models of this release take other samples than images of 8 by 8, as `image`")
            if time.monotonic() > give_up_at:
                raise ProcessEnded(f"no answer by the cloud within {ANSWERED_WITHIN_S:g} s: {', '.join(reasons)}")
            warm_up.tiers.clear()
            for application in self._applications:
                await self._answered(application, await application.ask(CLOUD_ONLY, 0, warm_up))
        for _ in range(WARM_UP):
            for application in self._applications:
                await self._answered(application, await application.ask(CASCADE, 0, Score()))

    async def _live(self) -> None:
        self._began, self._showing = time.monotonic(), True
        asking = [asyncio.create_task(self._ask_steadily(each, at)) for at, each in enumerate(self._applications)]
        faults = asyncio.create_task(self._cut_and_mend())
        drawing = asyncio.create_task(self._draw())
        try:
            await asyncio.gather(*asking, faults)
            await self._all_final()
        finally:
            self._showing = False
            for task in (*asking, faults, drawing):
                task.cancel()
        if self._view.live:
            self._view.draw(self._page())
        self._view.say("")

    async def _all_final(self) -> None:
        give_up_at = time.monotonic() + CORRECTED_WITHIN_S
        while self._waiting():
            self._check(*self._applications)
            if time.monotonic() > give_up_at:
                raise ProcessEnded(f"{self._waiting()} questions have no final answer within {CORRECTED_WITHIN_S:g} s")
            await asyncio.sleep(DRAWN_EVERY_S)

    async def _ask_steadily(self, application: Application, at: int) -> None:
        for number in range(int(self._seconds * RATE_HZ)):
            await asyncio.sleep(max(0.0, self._began + number / RATE_HZ - time.monotonic()))
            self._check(application)
            await application.ask(CASCADE, number * len(AGENTS) + at, self.score)

    async def _cut_and_mend(self) -> None:
        await asyncio.sleep(self._seconds * CUT_AT)
        self._fleet.line.cut()
        self._change(CUT)
        await asyncio.sleep(self._seconds * (MENDED_AT - CUT_AT))
        self._fleet.line.mend()
        self._mended_at = time.monotonic()
        self._change(COMING_BACK)

    def _change(self, link: str) -> None:
        self._link = link
        if not self._view.live:
            self._view.say(f"--- the link between gateway and cloud is {link} ---")

    async def _draw(self) -> None:
        if not self._view.live:
            self._view.say(LEGEND)
            await asyncio.sleep(SAID_EVERY_S)
        while True:
            if self._view.live:
                self._view.draw(self._page())
            else:
                link = "reconnecting" if self._link == COMING_BACK else self._link.partition(",")[0]
                self._view.say(line(time.monotonic() - self._began, link, self.score))
            await asyncio.sleep(DRAWN_EVERY_S if self._view.live else SAID_EVERY_S)

    def _page(self) -> list[str]:
        return page(time.monotonic() - self._began, self._link, self.score, self._waiting())

    async def _measure(self, stream: str) -> Score:
        """Each image once, one after the other at each agent: what a question takes when none is in its way."""
        score = Score()
        share = [range(at, len(self._images.labels), len(AGENTS)) for at in range(len(AGENTS))]

        async def ask_all(application: Application, indices: range) -> None:
            for index in indices:
                await self._answered(application, await application.ask(stream, index, score))

        work = [ask_all(each, indices) for each, indices in zip(self._applications, share, strict=True)]
        await asyncio.gather(*work)
        return score

    async def _answered(self, application: Application, first: asyncio.Future[None]) -> None:
        done = (first, application.listening)
        await asyncio.wait(done, timeout=ANSWERED_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        self._check(application)
        if not first.done():
            raise ProcessEnded(f"{application.agent} gave no answer within {ANSWERED_WITHIN_S:g} s")

    def _check(self, *applications: Application) -> None:
        self._fleet.check()
        for application in applications:
            application.check()

    def _waiting(self) -> int:
        return sum(application.open_questions for application in self._applications)

    def _heard(self, given: Given) -> None:
        """In a pipe those answers are told that tell something: provisional ones, their corrections, and one of many
        others."""
        if self._showing:
            self._note(given)
        if self._link == COMING_BACK and given.answer.get("tier") == "cloud":
            self._change(f"whole again, and in use after {time.monotonic() - self._mended_at:.1f} s")
        if self._showing and not self._view.live and self._is_told(given):
            self._view.say(told(given))

    def _is_told(self, given: Given) -> bool:
        if given.answer["correction"] or given.answer["provisional"]:
            return True
        self._usual += 1
        return self._usual % TOLD_OF_MANY == 1
