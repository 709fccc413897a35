"""From bare model files to a release: what files say of themselves is read from them, the rest a person says.

Each model is loaded, in a process of its own first, and tried on noise: a release made here is one that runs. What was
guessed on the way is told, so that nobody has to find it out from strange answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf, prod
from pathlib import Path
from typing import Literal, cast

import msgspec

from cascade import __version__
from cascade.adapters.backends.first_load import FirstLoads
from cascade.adapters.bare_models import BareModel, Shape, activation_for, drawn, look_at, noise
from cascade.adapters.bundle_folder import open_release, write_bundle, write_release
from cascade.adapters.stage_runner import StageRunner
from cascade.adapters.whole_folder import is_empty, put, unfinished
from cascade.errors import BundleRejected
from cascade.inference.features import apply_features
from cascade.inference.gate import Gate
from cascade.messages import DTYPES
from cascade.release.bundle import (
    RELEASE_FILE,
    TIERS,
    BundleManifest,
    Costs,
    InputSpec,
    Lineage,
    Normalise,
    OutputSpec,
    Reshape,
    StageGate,
    StageSpec,
    Tier,
    Transpose,
)
from cascade.release.features import Feature
from cascade.release.ladder import Care, GateSpec
from cascade.release.preprocessing import Check

GUESSED_THRESHOLD = 0.8
"""Of a confidence, where nobody says one."""
Kind = Literal["classes", "estimate", "anomaly", "detections"]
Activation = Literal["none", "softmax", "sigmoid"]
Cue = Literal["mean", "deviation", "largest", "roughness"]
THRESHOLDS = {"confidence": (0.0, 1.0), "margin": (0.0, 1.0), "entropy": (0.0, 1.0), "spread": (0.0, inf)}
"""By gate: between which numbers a threshold makes sense. Beyond them all is answered, or nothing."""


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """One tier's model, and what its file doesn't say."""

    path: Path
    gate: str = ""
    """Empty: at the top `always`, elsewhere what fits the kind of prediction."""
    threshold: float | None = None
    activation: Activation | None = None
    """None: found out by trying."""
    subtract: float | tuple[float, ...] = 0.0
    """From each number of a sample; several are one each for its last axis, as colours."""
    divide: float | tuple[float, ...] = 1.0
    output: str = ""
    """Which output of the model counts. Empty: its only one."""
    multiply_adds: int = 0
    """Of one sample. 0: not known, and missing from the estimate of joules."""
    cues: tuple[Cue, ...] = ()
    """Cheap numbers of the sample that a learned gate may look at."""


class ReleasePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a release is to be made of."""

    name: str
    task: str
    models: Mapping[str, ModelFile]
    """By tier."""
    kind: Kind = "classes"
    labels: tuple[str, ...] = ()
    """Empty: of classes, their numbers."""
    drop: tuple[str, ...] = ()
    """Labels that mean "nothing here"."""
    tensor: str = "input"
    """How the sample is called in questions."""
    shape: Shape = ()
    """Of one sample. Empty: as the lowest model takes it."""
    dtype: str = ""
    """Of the numbers of a sample. Empty: as the lowest model takes them."""
    flat_is_fine: bool = False
    """A sample whose numbers are all the same is answered too. Else it is refused where samples are images, or sound: a
    lens that is covered is no question, and small models are often sure of what it shows."""
    clipped_share: float | None = None
    """Refuse a sample of which this share or more stands at the end of its range. None: however much."""
    care: Care = Care()


def make_release(folder: Path, plan: ReleasePlan) -> list[str]:
    """Write the release, whole or not at all; one that is there already is replaced. Returns what was guessed, in
    sentences. `BundleRejected` with the file, and what to say about it."""
    folder = folder.resolve()
    if not plan.models:
        raise BundleRejected("a release has a model for one tier at least")
    if folder.exists() and not (folder / RELEASE_FILE).exists() and not (folder.is_dir() and is_empty(folder)):
        raise BundleRejected(f"{folder}: is there, and is no release; it stays as it is")
    for word, named in (("name", plan.name), ("task", plan.task)):
        if as_name(named) != named:
            raise BundleRejected(f"{word}: found {named!r}, expected letters, digits, '_', '.' and '-', at most 64")
    with unfinished(folder) as made:
        try:
            notes = _Making(made, plan).all()
        except BundleRejected as error:
            raise type(error)(str(error).replace(f"{made}", f"{folder}")) from error
        put(made, folder)
    return notes


class _Making:
    """One release on its way."""

    def __init__(self, folder: Path, plan: ReleasePlan) -> None:
        self._folder, self._plan = folder, plan
        self._tiers = [cast(Tier, tier) for tier in TIERS if tier in plan.models]
        self._shape, self._dtype = plan.shape, plan.dtype
        self._labels = plan.labels
        self._notes: list[str] = []
        if plan.dtype and plan.dtype not in DTYPES:
            raise BundleRejected(f"no numbers are of type {plan.dtype!r}; there are {', '.join(DTYPES)}")

    def all(self) -> list[str]:
        loads = FirstLoads(None)
        gates = []
        for tier in self._tiers:
            bare = look_at(self._plan.models[tier].path, self._shape, loads)
            try:
                stage = self._stage(tier, bare)
                gates.append(StageGate(tier=tier, stage=stage.name, gate=self._gate(tier)))
                self._write(tier, stage, bare)
            finally:
                bare.model.close()
        write_release(self._folder, self._plan.name, self._plan.task, gates, care=self._plan.care)
        self._try()
        return self._notes

    def _stage(self, tier: Tier, bare: BareModel) -> StageSpec:
        wanted = self._plan.models[tier]
        self._settle_sample(bare)
        features = (*self._check(), *self._features(wanted, bare))
        output = self._output(tier, wanted, bare, features)
        return StageSpec(
            name=as_name(wanted.path.stem),
            file=wanted.path.name,
            format=bare.format,
            inputs=(InputSpec(tensor=self._plan.tensor, shape=self._shape, dtype=self._dtype, features=features),),
            output=output,
            labels=self._labels,
            costs=Costs(multiply_adds=wanted.multiply_adds, bytes_moved=bare.bytes),
            cues=wanted.cues,
        )

    def _settle_sample(self, bare: BareModel) -> None:
        """What one sample is: as it was said, or as the lowest model takes it."""
        if not self._shape:
            if any(size is None for size in bare.takes):
                raise BundleRejected(
                    f"{bare.path}: takes samples of {drawn(bare.takes)}, any size where it says so: "
                    "say the shape of yours (--shape 96,96,3)"
                )
            self._shape = cast(Shape, bare.takes)
            self._notes.append(f"one sample is {drawn(self._shape)}, as {bare.path.name} takes it")
        if not self._dtype:
            self._dtype = bare.input.dtype.name
            self._notes.append(f"its numbers are {self._dtype}, as {bare.path.name} takes them")

    def _check(self) -> tuple[Check, ...]:
        """Of what was sensed, before anything is done to it. Numbers along one axis may stand still, as those of a pump
        at rest do; sound, which is what can be clipped, may not."""
        clipped = self._plan.clipped_share
        varies = (sum(size > 1 for size in self._shape) > 1 or clipped is not None) and not self._plan.flat_is_fine
        if not varies and clipped is None:
            return ()
        told = "a sample whose numbers are all the same is refused (--flat-is-fine: it is not)"
        if varies and told not in self._notes:
            self._notes.append(told)
        return (Check(varies=varies, clipped_share=clipped),)

    def _features(self, wanted: ModelFile, bare: BareModel) -> tuple[Feature, ...]:
        features: list[Feature] = []
        if wanted.subtract != 0.0 or wanted.divide != 1.0:
            features.append(Normalise(subtract=wanted.subtract, divide=wanted.divide))
        if _fits(self._shape, bare.takes):
            return tuple(features)
        turned = _turned(self._shape, bare.takes)
        if turned is None:
            raise BundleRejected(
                f"{bare.path}: takes samples of {drawn(bare.takes)}, and a sample here is {drawn(self._shape)}: "
                "all models of a release read the same sample"
            )
        self._notes.append(f"{bare.path.name} takes {drawn(bare.takes)}: each sample of {drawn(self._shape)} is turned")
        return (*features, turned)

    def _output(self, tier: Tier, wanted: ModelFile, bare: BareModel, features: tuple[Feature, ...]) -> OutputSpec:
        kind = self._plan.kind
        if kind == "detections":
            return OutputSpec(kind=kind, activation=wanted.activation or "none")
        name = bare.output_named(wanted.output)
        scores = bare.scores(apply_features(noise(self._shape, self._dtype), features), name)
        if kind == "classes":
            self._settle_labels(bare, scores.shape[1])
        elif kind == "anomaly" and scores.shape[1] != 1:
            raise BundleRejected(f"{bare.path}: gives {scores.shape[1]} numbers, where an anomaly score is one")
        activation = wanted.activation or ("none" if kind == "estimate" else activation_for(scores))
        if activation != (wanted.activation or "none"):
            self._notes.append(f"{bare.path.name} gives no probabilities: a {activation} makes them some")
        return OutputSpec(kind=kind, tensor=wanted.output, activation=activation)

    def _settle_labels(self, bare: BareModel, columns: int) -> None:
        classes = max(2, columns)
        if not self._labels:
            self._labels = tuple(str(number) for number in range(classes))
            self._notes.append(f"labels are the numbers 0 to {classes - 1}: say yours (--labels labels.txt)")
        if len(self._labels) != classes:
            raise BundleRejected(f"{bare.path}: gives {columns} scores, and there are {len(self._labels)} labels")

    def _gate(self, tier: Tier) -> GateSpec:
        wanted = self._plan.models[tier]
        name = wanted.gate
        if not name and tier == self._tiers[-1] and wanted.threshold is None:
            return GateSpec("always", drop=self._plan.drop)
        name = name or ("spread" if self._plan.kind == "estimate" else "confidence")
        threshold = wanted.threshold
        if threshold is not None:
            _check_threshold(tier, name, threshold)
        if threshold is None and name == "confidence":
            threshold = GUESSED_THRESHOLD
            self._notes.append(f"{tier} answers from a confidence of {threshold} on, which is a guess: say yours")
        return GateSpec(name, threshold, self._plan.drop)

    def _write(self, tier: Tier, stage: StageSpec, bare: BareModel) -> None:
        above = bare.files[0].parent
        manifest = BundleManifest(
            format=1,
            name=as_name(f"{self._plan.name}-{tier}"),
            task=self._plan.task,
            tier=tier,
            stages=(stage,),
            files={},
            lineage=Lineage(made_by=f"cascade release {__version__}", made_from=(bare.path.name,)),
        )
        write_bundle(self._folder / tier, manifest, {str(file.relative_to(above)): file for file in bare.files})

    def _try(self) -> None:
        """As every tier does at its start, gates and all."""
        for tier in self._tiers:
            runner = StageRunner()
            try:
                ladder = runner.install(open_release(self._folder, tier))
            finally:
                runner.close()
            for stage in ladder.stages:
                Gate(stage)


def _check_threshold(tier: Tier, gate: str, threshold: float) -> None:
    if gate in ("always", "never"):
        raise BundleRejected(f"{tier}: the gate {gate} reads no threshold, and one of {threshold:g} was given")
    low, high = THRESHOLDS.get(gate, (-inf, inf))
    if not low <= threshold <= high:
        between = f"from {low:g} to {high:g}" if high < inf else f"from {low:g} on"
        raise BundleRejected(f"{tier}: found a threshold of {threshold:g}, expected one {between} for the gate {gate}")


def _fits(sample: Shape, takes: tuple[int | None, ...]) -> bool:
    return len(sample) == len(takes) and all(taken in (None, size) for size, taken in zip(sample, takes, strict=True))


def _turned(sample: Shape, takes: tuple[int | None, ...]) -> Feature | None:
    """What makes one of the other: channels to the other end, axes of one place added or left out, all in one row."""
    for order in ((2, 0, 1), (1, 2, 0)):
        if len(sample) == 3 and _fits(tuple(sample[axis] for axis in order), takes):
            return Transpose(order=order)
    known = tuple(size for size in takes if size is not None)
    if len(known) < len(takes) or prod(known) != prod(sample):
        return None
    same = [size for size in known if size > 1] == [size for size in sample if size > 1]
    return Reshape(shape=known) if same or 1 in (len(known), len(sample)) else None


def as_name(text: str) -> str:
    """What a manifest takes as a name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip("_.-")[:64] or "model"
