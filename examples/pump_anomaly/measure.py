"""The tables of the README: runs of the pump that nothing here has learned from.

    CASCADE_DATA=… python examples/pump_anomaly/measure.py [--made-up] [--json FILE]

Of the pump: the device alone, the cloud alone, and the cascade in memory; beside them what it costs to send every row.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import nab
import numpy as np
from msgspec.structs import replace
from recordings import SKAB_FILE, STEP, Array, Count, Run, Runs, counted, folder, made_up, test_bed
from train import main as train

from cascade.adapters.bundle_folder import open_release, write_release
from cascade.adapters.samples import payload_of
from cascade.adapters.world import InMemoryCascade
from cascade.messages import AnomalyScore, Question
from cascade.release.ladder import GateSpec
from cascade.wire.codec import encode_questions
from cascade.wire.content import compressed

JOULES_PER_BYTE = 5e-6
"""Assumed, of Wi-Fi."""
SYSTEMS = {"device only": "always", "cloud only": "never", "cascade": ""}


class Row(NamedTuple):
    system: str
    count: Count
    on_device: float
    bytes_per_day: float
    joules_per_day: float


def with_gate(release: Path, gate: str) -> None:
    """The same bundles, with another gate on the device."""
    manifest = open_release(release, "edge").manifest
    gates = [replace(each, gate=GateSpec(gate)) if each.tier == "edge" else each for each in manifest.gates]
    write_release(release, manifest.name, manifest.task, gates)


def asked(release: Path, runs: list[Run], system: str) -> Row:
    said: list[Array] = []
    with InMemoryCascade(release, joules_per_byte=JOULES_PER_BYTE) as cascade:
        for run in runs:
            answers = [cascade.ask(window, final=True).prediction for window in run.windows]
            said.append(np.array([each.anomalous for each in answers if isinstance(each, AnomalyScore)]))
        totals = cascade.totals()
    a_day = 86_400.0 / (STEP * totals.questions)
    return Row(
        system, counted(runs, said), totals.answered_by.get("edge", 0) / totals.questions,
        totals.bytes_up.get("edge", 0) * a_day, totals.joules["edge"] * a_day,
    )  # fmt: skip


def every_row(runs: list[Run]) -> float:
    """Bytes a day of sending each row once, `STEP` of them in a message, compressed as questions are."""
    sizes = []
    for run in runs:
        for end in run.ends:
            payload = compressed(payload_of({"rows": run.rows[end - STEP : end]}, ("rows",)), "zlib")
            question = Question(
                id="0" * 20, device="site.pump1", stream="pump", sequence=end, task="pump", release="pump@000000000000",
                payload=payload, digest=b"0" * 16, ms_left=1000.0,
            )  # fmt: skip
            sizes.append(len(encode_questions([question])))
    return float(np.mean(sizes)) * 86_400.0 / STEP


def measure(release: Path, runs: Runs) -> tuple[list[Row], float]:
    train(release, runs)
    wanted = open_release(release, "edge").manifest
    rows = []
    for system, gate in SYSTEMS.items():
        if gate:
            with_gate(release, gate)
        else:
            write_release(release, wanted.name, wanted.task, wanted.gates)
        rows.append(asked(release, runs.test, system))
    return rows, every_row(runs.test)


def shown(rows: list[Row], every: float) -> str:
    columns = ["", "F1", "false alarm rate", "missing rate", "false alarms a day", "missed faults", "after"]
    columns += ["on the device", "bytes up a day", "device joules a day"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        count = row.count
        lines.append(
            f"| {row.system} | {count.f1:.3f} | {count.false_alarm_rate:.1%} | {count.missing_rate:.1%} "
            f"| {count.false_alarms_per_day:.0f} | {count.missed} of {count.faults} | {count.delay_s:.0f} s "
            f"| {row.on_device:.1%} | {row.bytes_per_day / 1000:,.0f} kB | {row.joules_per_day:.3g} |"
        )
    lines.append(f"| every row sent once | | | | | | | | {every / 1000:,.0f} kB | {every * JOULES_PER_BYTE:.3g} |")
    return "\n".join(lines)


def as_json(rows: list[Row], every: float) -> str:
    told = [{**row._asdict(), "count": row.count._asdict()} for row in rows]
    return json.dumps({"rows": told, "every_row_bytes_per_day": every}, indent=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--made-up", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not options.made_up and "CASCADE_DATA" not in os.environ:
        print("pump_anomaly: CASCADE_DATA is not set, nothing was measured")
        return
    runs = made_up() if options.made_up else test_bed(folder() / SKAB_FILE)
    with tempfile.TemporaryDirectory() as temporary:
        rows, every = measure(Path(temporary), runs)
    print(shown(rows, every))
    if not options.made_up:
        print()
        nab.main()
    if options.json is not None:
        options.json.write_text(as_json(rows, every))


if __name__ == "__main__":
    main()
