"""How much memory an agent takes, how soon it answers, and what it takes while it does nothing, with each engine.

    python -m benchmarks.footprint [--rounds N] [--quick] [--out FILE.json]

Real processes: `edge-agent` with ask socket, spool, journal, metrics page and a link to a gateway through mosquitto.
Beside it a process that only loads the engine and the model and answers once: what no agent can be smaller than.
Ready is when the first question is answered, from the start of the process on. The first start of a model is longer: it
is tried in a process of its own. PSS is lower than on a device, as other processes here map the same files: RSS is what
a device gives, `private` what it would get back.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command import Subject, main
from benchmarks.machine import free_port, wait_for
from benchmarks.models import TENSOR, inputs, write_cnn_release
from benchmarks.ours import STREAM, OurTiers
from benchmarks.processes import Processes, cpu_s, memory_mib
from benchmarks.rounds import Effort, Tell
from edge_agent.ask_client import ask

ENGINES = ("scripted", "onnx", "tflite")
QUESTIONS = 200
"""Asked before the memory is read: it has settled by then."""
IDLE_S = 20.0
BARE = {
    "scripted": "pass",
    "onnx": "import onnxruntime as o; s = o.SessionOptions(); s.intra_op_num_threads = 1\n"
    "m = o.InferenceSession(path, s, providers=['CPUExecutionProvider']); m.run(None, {'image': x})",
    "tflite": "from ai_edge_litert.interpreter import Interpreter\n"
    "m = Interpreter(model_path=path, num_threads=1); m.allocate_tensors()\n"
    "m.set_tensor(m.get_input_details()[0]['index'], x); m.invoke()",
}
"""Python with numpy, and the engine with the model."""


def measure(effort: Effort, tell: Tell) -> dict[str, Any]:
    return {engine: _engine(engine, effort, tell) for engine in ENGINES}


def _engine(engine: str, effort: Effort, tell: Tell) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cascade-bench-") as name:
        folder = Path(name)
        release = write_cnn_release(folder / "release", engine)
        processes = Processes(folder)
        try:
            tiers = OurTiers(processes, release)
            tiers.start_gateway(processes.mosquitto(), asks_the_cloud=False)
            agent = _Agent(processes, tiers)
            agent.start()  # so that there is bytecode, as pip leaves it
            agent.stop()
            agent.forget()
            first = agent.start()
            agent.stop()
            starts = []
            for _ in range(effort.rounds):
                starts.append(agent.start())
                if len(starts) < effort.rounds:
                    agent.stop()
            result = {"first_start_s": first, "start_s": median(starts), **agent.at_work(effort)}
            bare = [_bare(engine, processes, release) for _ in range(effort.rounds + 1)][1:]
        finally:
            processes.stop()
    result["bare"] = {key: median(each[key] for each in bare) for key in bare[0]}
    result["times_bare_rss"] = result["after_questions_mib"]["rss"] / result["bare"]["rss"]
    tell(f"  {engine}: {result['after_questions_mib']['rss']:.1f} MiB, ready in {result['start_s']:.2f} s")
    return result


class _Agent:
    def __init__(self, processes: Processes, tiers: OurTiers) -> None:
        self._processes, self._socket = processes, processes.folder / "ask"
        self._settings = tiers.edge_settings(
            "device",
            stream='answers = "asker"\n',
            more=f'[ask_socket]\npath = "{self._socket}"\nmax_per_s = 0\n[metrics]\nport = {free_port()}\n'
            f'[journal]\npath = "{processes.folder}/journal"\n',
        )
        self._sample = {TENSOR: inputs(1)[0]}

    def start(self) -> float:
        """Seconds until it has answered once."""
        began = time.perf_counter()
        command = (sys.executable, "-m", "edge_agent", "--config", str(self._settings))
        self._processes.start("agent", *command, environment=_bytecode(self._processes))
        wait_for(self._answers, "the agent's first answer", step_s=0.005)
        return time.perf_counter() - began

    def stop(self) -> None:
        self._processes.stop("agent")

    def forget(self) -> None:
        """Its models, and all that it kept."""
        shutil.rmtree(self._processes.folder / "device")

    def at_work(self, effort: Effort) -> dict[str, Any]:
        pid = self._processes.running["agent"].pid
        result: dict[str, Any] = {"when_ready_mib": memory_mib(pid)}
        for _ in range(effort.of(QUESTIONS)):
            self._answers()
        result["after_questions_mib"] = memory_mib(pid)
        seconds = effort.seconds(IDLE_S)
        before, began = cpu_s([pid]), time.perf_counter()
        time.sleep(seconds)
        result["idle_cpu_share"] = (cpu_s([pid]) - before) / (time.perf_counter() - began)
        result["idle_for_s"] = seconds
        return result

    def _answers(self) -> bool:
        self._processes.must_live("agent")
        with contextlib.suppress(OSError):
            return bool(ask(self._socket, STREAM, self._sample)["tier"] == "edge")
        return False


def _bare(engine: str, processes: Processes, release: Path) -> dict[str, float]:
    """Until it has answered once, it prints so, and waits to be ended."""
    path = str(release / "edge" / f"model.{engine}")
    program = (
        f"import sys, time, numpy as np\npath, x = {path!r}, np.ones((1, 28, 28), np.float32)\n{BARE[engine]}\n"
        "print('answered', flush=True)\ntime.sleep(1000)"
    )
    began = time.perf_counter()
    pid = processes.start("bare", sys.executable, "-c", program, environment=_bytecode(processes))
    wait_for(_said(processes, "bare", "answered"), "the bare engine", step_s=0.005)
    took_s = time.perf_counter() - began
    memory = memory_mib(pid)
    processes.stop("bare")
    return {**memory, "start_s": took_s}


def _bytecode(processes: Processes) -> dict[str, str]:
    """Kept beside, also where this benchmark is told not to write any: a device compiles nothing when it starts."""
    return {"PYTHONPYCACHEPREFIX": str(processes.folder / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}


def _said(processes: Processes, name: str, word: str) -> Callable[[], bool]:
    return lambda: processes.must_live(name) and word in processes.log(name)


def table(result: dict[str, Any]) -> str:
    lines = [
        f"  {'MiB after 200 questions':>24} {'RSS':>7} {'PSS':>7} {'private':>8} {'bare RSS':>9} {'times':>6}"
        f" {'ready s':>8} {'first start s':>14} {'bare s':>7} {'idle, of a core':>16}"
    ]
    for engine, row in result.items():
        memory, bare = row["after_questions_mib"], row["bare"]
        lines.append(
            f"  {engine:>24} {memory['rss']:7.1f} {memory['pss']:7.1f} {memory['private']:8.1f} {bare['rss']:9.1f} "
            f"{row['times_bare_rss']:6.2f} {row['start_s']:8.2f} {row['first_start_s']:14.2f} {bare['start_s']:7.2f} "
            f"{row['idle_cpu_share']:16.2%}"
        )
    return "\n".join(lines)


SUBJECT = Subject("footprint", "Footprint of an agent", measure, table, rounds=3)

if __name__ == "__main__":
    main(SUBJECT, __doc__)
