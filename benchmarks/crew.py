"""A few processes that hold many devices: told by lines of JSON when to run, and answering with how long each waited.

One process with a thousand devices would be measured instead of the gateway that they ask; a thousand processes don't
fit on the machine.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.processes import ROOT, Processes

READY = "ready"
Order = dict[str, Any]
Runner = Callable[[Order], Awaitable[list[float]]]


async def serve(runner: Runner) -> None:
    """The devices' side: say that all are connected, then run as told until standard input ends."""
    print(READY, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        waits = await runner(json.loads(line))
        print(json.dumps(waits), flush=True)


class Crew:
    """The benchmark's side."""

    def __init__(self, processes: Processes, name: str, members: list[list[str]]) -> None:
        """`members`: the program and arguments of each process."""
        self._processes, self._members = processes, []
        for number, arguments in enumerate(members):
            member = f"{name}-{number}"
            with (processes.folder / f"{member}.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=ROOT,
                )
            processes.running[member] = process
            self._members.append(member)
        for member in self._members:
            said = self._said(member)
            if said != READY:
                raise RuntimeError(f"{member}: {said or processes.log(member)[-2000:]}")

    @property
    def pids(self) -> list[int]:
        return self._processes.pids(*self._members)

    def run(self, order: Order) -> list[float]:
        """All at once; how long each question waited."""
        for member in self._members:
            pipe = self._processes.running[member].stdin
            assert pipe is not None
            pipe.write(json.dumps(order).encode() + b"\n")
            pipe.flush()
        waits: list[float] = []
        for member in self._members:
            said = self._said(member)
            if not said:
                raise RuntimeError(f"{member} ended:\n{self._processes.log(member)[-2000:]}")
            waits += json.loads(said)
        return waits

    def close(self) -> None:
        self._processes.stop(*self._members)

    def _said(self, member: str) -> str:
        pipe = self._processes.running[member].stdout
        assert pipe is not None
        return pipe.readline().decode().strip()
