"""Makes the two releases of this example, `floor` and `position`, and the samples to calibrate and to measure on.

    CASCADE_DATA=… python examples/indoor_location/train.py [--out examples/indoor_location/releases]
    python examples/indoor_location/train.py --made-up

The device gets a small network for each; the cloud has a map of all fingerprints and asks the nearest ones. The
phone of the test was in nobody's hands before.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fingerprints import Fingerprints, Site, data_file, made_up, surveyed
from graphs import floor_map, floor_network, position_map, position_network
from network import Array, Network, cross_entropy, normal_likelihood, trained

from cascade.adapters.bundle_folder import open_bundle, write_bundle, write_release
from cascade.adapters.installing import stage_runner
from cascade.adapters.recording import LabelledSample, record
from cascade.adapters.settings_tables import EngineTable
from cascade.inference.features import apply_features
from cascade.inference.recordings import Recordings
from cascade.inference.references import references_of
from cascade.release.bundle import BundleManifest, Costs, InputSpec, Lineage, OutputSpec, StageGate, StageSpec, Tier
from cascade.release.ladder import Care, GateSpec
from cascade.release.preprocessing import Rssi

HERE = Path(__file__).parent
FEATURE = Rssi(least_dbm=-105.0, power=2.0)
HIDDEN, EPOCHS = 64, 40
UNIT_M = 100.0
WORSE_M = 1.0
"""The cascade's mean error may be so much worse than the map's, on the phones for choosing."""
UNTIL_CALIBRATED = 0.9
CARE = Care(most=1.5)
"""When in doubt. Ten times less doubt, as usual for confidences, is a tenth of the spread: nothing is that sure."""
Models = dict[Tier, tuple[bytes, int]]
"""Of each tier: the file, and its multiply-adds."""


def heard(prints: Fingerprints) -> Array:
    return apply_features(prints.rssi, [FEATURE])


def another_phone(batch: Array, dice: np.random.Generator) -> Array:
    """It hears everything louder or softer, and some access points not at all."""
    louder = 1 + 0.15 * dice.standard_normal((len(batch), 1), dtype=np.float32)
    made: Array = (batch * louder * (dice.random(batch.shape, dtype=np.float32) > 0.2)).astype(np.float32)
    return made


def floor_models(site: Site, floors: list[str]) -> Models:
    inputs, known = heard(site.learn), np.array([floors.index(each) for each in site.learn.floors])
    network = Network((inputs.shape[1], HIDDEN, len(floors)), 0)
    targets = np.eye(len(floors), dtype=np.float32)[known]
    trained(network, inputs, targets, cross_entropy, epochs=EPOCHS, harder=another_phone, rate=4e-3)
    return {
        "edge": (floor_network(network), network.multiply_adds),
        "cloud": (floor_map(inputs, known, len(floors)), inputs.size),
    }


def position_models(site: Site, wider: dict[Tier, float], network: Network) -> Models:
    inputs = heard(site.learn)
    middle = site.learn.metres.mean(0)
    return {
        "edge": (position_network(network, middle, UNIT_M, wider["edge"]), network.multiply_adds),
        "cloud": (position_map(inputs, site.learn.metres, wider["cloud"]), inputs.size),
    }


def position_student(site: Site) -> Network:
    inputs = heard(site.learn)
    targets = ((site.learn.metres - site.learn.metres.mean(0)) / UNIT_M).astype(np.float32)
    network = Network((inputs.shape[1], HIDDEN, 4), 1)
    return trained(network, inputs, targets, normal_likelihood, epochs=EPOCHS, harder=another_phone, rate=4e-3)


def bundle(task: str, tier: Tier, stage: StageSpec) -> BundleManifest:
    lineage = Lineage(made_by="examples/indoor_location/train.py", made_from=("UJIIndoorLoc",))
    return BundleManifest(
        format=1, name=f"{task}-{tier}", task=task, tier=tier, stages=(stage,), files={}, lineage=lineage
    )


def write(folder: Path, task: str, models: Models, output: OutputSpec, labels: list[str], gate: GateSpec) -> None:
    gates = []
    for tier, (model, multiply_adds) in models.items():
        name = "student" if tier == "edge" else "map"
        stage = StageSpec(
            name=name,
            file="model.onnx",
            format="onnx",
            inputs=(InputSpec(tensor="rssi", shape=_shape(model), dtype="int8", features=(FEATURE,)),),
            output=output,
            labels=tuple(labels),
            costs=Costs(multiply_adds=multiply_adds, bits=32, bytes_moved=multiply_adds * (1 if tier == "edge" else 4)),
            cues=("mean", "deviation") if output.kind == "classes" and tier == "edge" else (),
        )
        write_bundle(folder / tier, bundle(task, tier, stage), {"model.onnx": model})
        gates.append(StageGate(tier=tier, stage=name, gate=gate if tier == "edge" else GateSpec("always")))
    write_release(folder, task, task, gates)


def _shape(model: bytes) -> tuple[int, ...]:
    import onnx

    shape = onnx.load_model_from_string(model).graph.input[0].type.tensor_type.shape
    return (shape.dim[1].dim_value,)


def recorded(release: Path, samples: Fingerprints) -> Recordings:
    with tempfile.TemporaryDirectory() as folder:
        runner = stage_runner(Path(folder), EngineTable())
        try:
            return record(release, (LabelledSample({"rssi": row}) for row in samples.rssi), runner)
        finally:
            runner.close()


def too_narrow(recordings: Recordings, metres: Array) -> dict[Tier, float]:
    """By how much each tier's spreads are smaller than what they miss by: at 1 two thirds lie within one spread."""
    found: dict[Any, float] = {}
    for stage in recordings.stages:
        off = np.abs(stage.columns["values"] - metres) / stage.columns["spreads"]
        found[stage.tier] = float(np.quantile(off, 0.683))
    return found


def widest_spread(recordings: Recordings, metres: Array) -> float:
    """Of what the device may answer: as many as can be without missing by more than is allowed, in the mean."""
    here, above = (np.linalg.norm(stage.columns["values"] - metres, axis=1) for stage in recordings.stages)
    spread = recordings.stages[0].columns["spreads"].max(axis=1)
    order = np.argsort(spread)
    worse = np.cumsum(here[order] - above[order]) / len(order)
    allowed = np.flatnonzero(worse <= WORSE_M)
    return float(spread[order[allowed[-1]]]) if len(allowed) else float(spread.min()) * 0.5


def write_position(folder: Path, site: Site) -> float:
    output = OutputSpec(kind="estimate", tensor="metres", spread_tensor="spreads")
    student = position_student(site)
    write(
        folder, "position", position_models(site, {"edge": 1.0, "cloud": 1.0}, student), output, [], GateSpec("never")
    )
    wider = too_narrow(recorded(folder, site.choose), site.choose.metres)
    models = position_models(site, wider, student)
    write(folder, "position", models, output, [], GateSpec("never"))
    said = recorded(folder, site.choose)
    gates = [GateSpec("spread", round(widest_spread(said, site.choose.metres), 2)), GateSpec("always")]
    digests = {tier: open_bundle(folder / tier).digest for tier in ("edge", "cloud")}
    entries = [
        StageGate(tier="edge", stage="student", gate=gates[0]),
        StageGate(tier="cloud", stage="map", gate=gates[1]),
    ]
    write_release(folder, "position", "position", entries, references=references_of(said, gates, digests), care=CARE)
    return gates[0].threshold or 0.0


def write_samples(folder: Path, name: str, samples: Fingerprints) -> None:
    places = np.array([f"{east:.2f} {north:.2f}" for east, north in samples.metres])
    np.savez_compressed(folder / f"floor_{name}.npz", rssi=samples.rssi, labels=samples.floors)
    np.savez_compressed(folder / f"position_{name}.npz", rssi=samples.rssi, labels=places)


def main(out: Path, site: Site) -> None:
    floors = sorted(set(site.learn.floors.tolist()))
    output = OutputSpec(kind="classes", tensor="scores")
    write(out / "floor", "floor", floor_models(site, floors), output, floors, GateSpec("confidence", UNTIL_CALIBRATED))
    spread = write_position(out / "position", site)
    for name in ("choose", "test"):
        write_samples(out, name, getattr(site, name))
    sizes = [(out / task / "edge/model.onnx").stat().st_size for task in ("floor", "position")]
    learn, choose, test = (len(part.rssi) for part in site)
    print(f"learned from {learn:,} fingerprints; for choosing {choose:,}, test {test:,}")
    print(f"on the device {sum(sizes):,} bytes of models; position is answered there up to a spread of {spread:.1f} m")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "releases")
    parser.add_argument("--made-up", action="store_true", help="a small site that is made up, without CASCADE_DATA")
    wanted = parser.parse_args()
    main(wanted.out, made_up() if wanted.made_up else surveyed(data_file()))
