"""Asks the same questions of real processes: a broker, the cloud, a gateway, and an agent for each system.

One question after the other: what comes out is what a question takes when none is in its way, on this machine, whose
links are loopback. The links and machines of the settings are not imitated here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cascade.adapters.answer_lines import answer_of
from cascade.errors import LinkError
from cascade.messages import Answer
from cascade_cli.evaluate.progress import Progress
from cascade_cli.evaluate.replayed import Told
from cascade_cli.evaluate.samples import DataSet
from cascade_cli.evaluate.settings import Evaluation
from cascade_cli.evaluate.stand_ins import write_system
from cascade_cli.evaluate.systems import CASCADE, System
from cascade_cli.local_processes import LocalProcesses, end_by_signal, free_port, short_folder
from edge_agent.ask_client import AskClient, AskRefused

WARM_UP = "warm-up"
"""A task whose questions all go to the top: when one is answered there, the links are up."""
UP_WITHIN_S = 30.0
AGAIN_AFTER_S = 0.1
AT_ONCE = 25
"""Questions that are asked in a row before it is seen whether all processes are there."""


async def ask_processes(
    release: Path, systems: Sequence[System], data: DataSet, settings: Evaluation, progress: Progress
) -> dict[str, list[Told]]:
    """Ends what it started, also when it is interrupted."""
    end_by_signal()
    with short_folder("cascade-evaluate-") as folder:
        crew = _Crew(Path(folder), release, systems, settings)
        try:
            await crew.start()
            return {
                system.name: await crew.ask_all(number, data, progress.doing(f"asking: {system.name}"))
                for number, system in enumerate(systems)
            }
        finally:
            await crew.stop()


class _Crew:
    """The processes, and where they are asked."""

    def __init__(self, folder: Path, release: Path, systems: Sequence[System], settings: Evaluation) -> None:
        self._folder, self._systems, self._settings = folder, systems, settings
        self._processes = LocalProcesses(folder)
        self._broker_port, self._cloud_port = free_port(), free_port()
        self._top = systems[-1].topmost
        alone = {system.topmost: system for system in systems if system.name != CASCADE}
        self._releases: dict[str, Path] = {}
        for number, system in enumerate(systems):
            if system.name == CASCADE and self._top == "cloud":
                self._releases[system.any_release.manifest.task] = release.resolve()
            else:
                self._releases[f"system-{number}"] = write_system(folder / f"r{number}", system, f"system-{number}")
        self._tasks = list(self._releases)
        self._releases[WARM_UP] = write_system(folder / WARM_UP, alone[self._top], WARM_UP)
        self._stopped = threading.Event()

    async def start(self) -> None:
        if self._top != "edge":
            await self._processes.broker(self._broker_port)
        if self._top == "cloud":
            await self._processes.daemon("cloud_service", "cloud", self._cloud())
            await self._processes.accepts("cloud", self._cloud_port)
        if self._top != "edge":
            await self._processes.daemon("fog_gateway", "site.gateway", self._gateway())
        for number in range(len(self._systems)):
            await self._processes.daemon("edge_agent", f"site.device{number}", self._agent(number))
        for number in range(len(self._systems)):
            await self._processes.until(f"site.device{number}", self._socket(number).exists)

    async def stop(self) -> None:
        self._stopped.set()
        await self._processes.stop()

    async def ask_all(self, number: int, data: DataSet, progress: Callable[[int, int], None]) -> list[Told]:
        told: list[Told] = []
        asker = await asyncio.to_thread(_Asker, self._socket(number), self._settings)
        try:
            await self._until_up(asker, data)
            for begin in range(0, len(data), AT_ONCE):
                rows = range(begin, min(begin + AT_ONCE, len(data)))
                told += await asyncio.to_thread(self._ask_some, asker, data, rows)
                self._processes.check()
                progress(len(told), len(data))
        finally:
            asker.close()
        return told

    def _ask_some(self, asker: _Asker, data: DataSet, rows: range) -> list[Told]:
        return [asker.ask("asked", data.read(index)) for index in rows if not self._stopped.is_set()]

    async def _until_up(self, asker: _Asker, data: DataSet) -> None:
        give_up_at = time.monotonic() + UP_WITHIN_S
        while (await asyncio.to_thread(asker.ask, WARM_UP, data.read(0))).final.tier != self._top:
            self._processes.check()
            if time.monotonic() > give_up_at:
                raise LinkError(f"the links to the {self._top} did not come up within {UP_WITHIN_S:g} s")
            await asyncio.sleep(AGAIN_AFTER_S)
        for _ in range(3):
            await asyncio.to_thread(asker.ask, "asked", data.read(0))

    def _socket(self, number: int) -> Path:
        return self._folder / f"{number}.sock"

    def _listed(self, tasks: Sequence[str], tier: str) -> str:
        return "\n".join(
            f'[[tasks]]\nname = "{task}"\nrelease = "{self._releases[task]}"'
            for task in tasks
            if (self._releases[task] / tier / "manifest.json").exists()
        )

    def _cloud(self) -> str:
        return f"""
[service]
state_dir = "cloud"
[below]
port = {self._cloud_port}
insecure_ok = true
require_client_cert = false
{self._listed(list(self._releases), "cloud")}
"""

    def _gateway(self) -> str:
        above = f'[above]\nhost = "127.0.0.1"\nport = {self._cloud_port}\ninsecure_ok = true'
        return f"""
[gateway]
name = "site.gateway"
site = "site"
state_dir = "gateway"
[below]
host = "127.0.0.1"
port = {self._broker_port}
{above if self._top == "cloud" else ""}
{self._tasks_of_gateway()}
"""

    def _tasks_of_gateway(self) -> str:
        """With somebody above, it passes on what it has no model for."""
        if self._top == "fog":
            return self._listed(list(self._releases), "fog")
        return "\n".join(f'[[tasks]]\nname = "{task}"\nrelease = "{path}"' for task, path in self._releases.items())

    def _agent(self, number: int) -> str:
        questions, task = self._settings.questions, self._tasks[number]
        encoding = "none" if questions.encoding == "raw" else questions.encoding
        streams = "\n".join(
            f'[[streams]]\nname = "{stream}"\ntask = "{of}"\nanswers = "asker"\ndurability = "memory"\n'
            f'encoding = "{encoding}"\ndeadline_ms = {questions.deadline_ms}\nkeep_asking_s = {questions.keep_asking_s}'
            for stream, of in (("asked", task), (WARM_UP, WARM_UP))
        )
        above = f'[above]\nhost = "127.0.0.1"\nport = {self._broker_port}\n{self._budget()}'
        return f"""
[device]
name = "site.device{number}"
state_dir = "device{number}"
[ask_socket]
path = "{self._socket(number)}"
max_per_s = 0
max_bytes = {64 << 20}
{above if self._top != "edge" else ""}
{self._listed([task, WARM_UP], "edge")}
{streams}
"""

    def _budget(self) -> str:
        budget: Mapping[str, Any] = msgspec.structs.asdict(self._settings.above.budget)
        asking: Mapping[str, Any] = msgspec.structs.asdict(self._settings.above.asking)
        lines = ["[above.asking]", *(f"{key} = {value}" for key, value in asking.items())]
        return "\n".join([*lines, "[above.budget]", *(f"{key} = {value}" for key, value in budget.items())])


class _Asker:
    """A program that asks one agent, and looks at the clock."""

    def __init__(self, path: Path, settings: Evaluation) -> None:
        patience_s = settings.questions.deadline_ms / 1000.0 + settings.questions.keep_asking_s + 30.0
        self._client = AskClient(path, timeout_s=patience_s)

    def ask(self, stream: str, arrays: Mapping[str, Any]) -> Told:
        asked_at = time.perf_counter()
        try:
            self._client.submit(stream, arrays)
            first = self._answer()
            ms = (time.perf_counter() - asked_at) * 1000.0
            final = first
            while final.provisional:
                final = self._answer()
        except (AskRefused, OSError) as error:
            raise LinkError(f"an agent did not answer: {error}") from error
        return Told(first, ms, final)

    def _answer(self) -> Answer:
        return answer_of(msgspec.json.encode(self._client.next_answer()))

    def close(self) -> None:
        self._client.close()
