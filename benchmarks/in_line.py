"""What the agent adds to a bare model call when it answers in line, through the same hop as everything else.

    python -m benchmarks.in_line [--rounds N] [--quick] [--out FILE.json]

All in one process, in turn, in blocks: the engine's session called directly; `EdgeAgent.ask` on the loop that owns the
agent; `BlockingEdgeAgent.ask` from another thread; and a hand-off to a loop in another thread and back that does
nothing. Both agents run with all that users get: trail, metrics, spool (a `batched` stream), journal.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime

from benchmarks.command import Subject, main
from benchmarks.models import TENSOR, inputs, write_cnn_release
from benchmarks.ours import LoopThread, OurTiers
from benchmarks.processes import Processes
from benchmarks.rounds import Effort, Tell, median_of_ratios, quartiles
from edge_agent import BlockingEdgeAgent, EdgeAgent

BARE, ASYNC, BLOCKING, HAND_OFF = "bare call", "EdgeAgent.ask", "BlockingEdgeAgent.ask", "hand-off alone"
CALLS = 1000
"""In one block."""
FORMATS = ("onnx", "tflite")
Block = Callable[[int], list[float]]


def measure(effort: Effort, tell: Tell) -> dict[str, Any]:
    return {form: _measure_format(form, effort, tell) for form in FORMATS}


def _measure_format(form: str, effort: Effort, tell: Tell) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cascade-bench-") as name:
        folder = Path(name)
        release = write_cnn_release(folder / "release", form)
        tiers = OurTiers(Processes(folder), release)
        image = inputs(1)[0]
        journals = [f'[journal]\npath = "{folder}/journal{number}"\n' for number in (1, 2)]
        blocking_file = tiers.edge_settings("blocking", more=journals[0])
        async_file = tiers.edge_settings("async", more=journals[1])
        loop, call = LoopThread(), bare_call(form, release / "edge" / f"model.{form}", image)
        with BlockingEdgeAgent(blocking_file) as blocking:
            agent = EdgeAgent.from_settings(async_file)
            loop.call(agent.start())
            try:
                blocks: dict[str, Block] = {
                    BARE: lambda count: _timed(call, count),
                    ASYNC: lambda count: loop.call(_asked(agent, image, count)),
                    BLOCKING: lambda count: _timed(lambda: blocking.ask({TENSOR: image}), count),
                    HAND_OFF: lambda count: _timed(lambda: loop.call(_nothing()), count),
                }
                return _interleaved(blocks, effort, lambda line: tell(f"  {form}, {line}"))
            finally:
                loop.call(agent.stop())
                loop.close()


def _interleaved(blocks: dict[str, Block], effort: Effort, tell: Tell) -> dict[str, Any]:
    count = effort.of(CALLS)
    taken: dict[str, list[list[float]]] = {name: [] for name in blocks}
    for block in blocks.values():
        block(max(10, count // 4))
    for number in range(effort.rounds):
        for name in blocks if number % 2 == 0 else reversed(blocks):
            taken[name].append(blocks[name](count))
        tell(
            f"round {number + 1}: "
            + ", ".join(f"{name} {median(each[-1]) * 1e6:.0f} µs" for name, each in taken.items())
        )
    return {
        "us": {name: _us([wait for block in each for wait in block]) for name, each in taken.items()},
        "added_us": {name: _added(taken[name], taken[BARE]) for name in (ASYNC, BLOCKING)},
        "times_a_bare_call": {name: median_of_ratios(taken[name], taken[BARE]) for name in (ASYNC, BLOCKING)},
        "blocking_less_hand_off_us": _added(taken[BLOCKING], taken[BARE]) - median(map(median, taken[HAND_OFF])) * 1e6,
    }


def _us(waits: list[float]) -> dict[str, float]:
    return {share: seconds * 1e6 for share, seconds in quartiles(waits).items()}


def _added(agent: list[list[float]], bare: list[list[float]]) -> float:
    """Of the rounds' own differences, in microseconds."""
    return median((median(a) - median(b)) * 1e6 for a, b in zip(agent, bare, strict=True))


def bare_call(form: str, path: Path, image: Any) -> Callable[[], Any]:
    """The engine as one calls it oneself, with the threads that ours uses."""
    if form == "onnx":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {TENSOR: image[None]})[0]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    into, out = (detail[0]["index"] for detail in (interpreter.get_input_details(), interpreter.get_output_details()))

    def call() -> Any:
        interpreter.set_tensor(into, image[None])
        interpreter.invoke()
        return interpreter.get_tensor(out)

    return call


def _timed(call: Callable[[], object], count: int) -> list[float]:
    waits = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        waits.append(time.perf_counter() - began)
    return waits


async def _asked(agent: EdgeAgent, image: Any, count: int) -> list[float]:
    waits = []
    for _ in range(count):
        began = time.perf_counter()
        answer = await agent.ask({TENSOR: image})
        waits.append(time.perf_counter() - began)
        assert answer.tier == "edge", answer
    return waits


async def _nothing() -> None:
    """What is handed over when only the hand-off is measured."""


def table(result: dict[str, Any]) -> str:
    lines = [f"  {'µs (p25 p50 p75)':>22}" + "".join(f" {form:>22}" for form in result)]
    for name in (BARE, ASYNC, BLOCKING, HAND_OFF):
        cells = [" ".join(f"{row['us'][name][q]:.1f}" for q in ("p25", "p50", "p75")) for row in result.values()]
        lines.append(f"  {name:>22}" + "".join(f" {cell:>22}" for cell in cells))
    for name in (ASYNC, BLOCKING):
        cells = [
            f"+{row['added_us'][name]:.1f} µs, {row['times_a_bare_call'][name]:.2f} times" for row in result.values()
        ]
        lines.append(f"  {name + ' adds':>22}" + "".join(f" {cell:>22}" for cell in cells))
    lines.append(
        f"  {'… less the hand-off':>22}"
        + "".join(f" {row['blocking_less_hand_off_us']:>+19.1f} µs" for row in result.values())
    )
    return "\n".join(lines)


SUBJECT = Subject("in_line", "In line: what the agent adds to a bare model call", measure, table, rounds=9)

if __name__ == "__main__":
    main(SUBJECT, __doc__)
