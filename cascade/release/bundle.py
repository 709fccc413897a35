"""The manifests of bundles and releases: what is delivered, as it is described on disk.

A bundle is one folder: `manifest.json` and the files that it names, each with its size and SHA-256.
A release is one folder: `release.json` and one bundle per tier, each named with the digest of its manifest.
The digest of a manifest is the SHA-256 of its bytes, so a release digest fixes every byte below it.
"""

from __future__ import annotations

from hashlib import sha256
from math import isfinite, prod
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeVar

import msgspec

from cascade.errors import BundleRejected
from cascade.messages import DTYPES
from cascade.release.calibrated import Calibration, calibration_mistakes
from cascade.release.features import Feature, shape_after
from cascade.release.ladder import Care, GateSpec, Timing
from cascade.release.preprocessing import Normalise as Normalise
from cascade.release.preprocessing import Reshape as Reshape
from cascade.release.preprocessing import Transpose as Transpose
from cascade.release.promise import Promise, promise_mistakes
from cascade.release.reference import Reference, reference_mistakes
from cascade.release.segments import SentSpec as SentSpec
from cascade.release.segments import before, segment_mistakes
from cascade.release.words import TIERS as TIERS
from cascade.release.words import Count as Count
from cascade.release.words import Described as Described
from cascade.release.words import Name as Name
from cascade.release.words import Sha256 as Sha256
from cascade.release.words import Tier as Tier

FORMAT = 1
MANIFEST_FILE, RELEASE_FILE = "manifest.json", "release.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_PATH = 200
"""Of a file in a bundle: no file system that we know refuses it, wherever the bundle lies."""


class FileEntry(Described, frozen=True):
    """A file of the bundle, beside its manifest."""

    sha256: Sha256
    bytes: Count


class InputSpec(Described, frozen=True):
    """One input of the model: which tensor of the question feeds it, and what is done to it first."""

    tensor: str
    shape: tuple[Annotated[int, msgspec.Meta(ge=1)], ...]
    """Of one sample, without the batch."""
    dtype: str = "float32"
    """Of the tensor in the question. What the model itself wants is read from the model."""
    model_input: str = ""
    """Empty: the model's only input."""
    features: tuple[Feature, ...] = ()
    value: float | None = None
    """Not in the question: always this number, in every place of the shape. With no axis it has no batch either: a
    sample rate, say."""
    carried: str = ""
    """Not in the question: what this output of the model was for the sample before, in the same stream. Zeros for the
    first, and for every question: only a watch remembers."""
    batch_axis: Count = 0
    """Which axis of the model's input is the batch. Recurrent states often have it second."""

    segment: str = ""
    """Not in the question: output `tensor` of this earlier stage of the bundle, for the same sample. A segment of a
    model goes on from there, and nothing is computed twice."""
    continues: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    """In the question in place of the input: hidden features that a segment of the tier below sent. Its
    `stage_digest`."""

    @property
    def asked(self) -> bool:
        """It is read from the question."""
        return self.value is None and not self.carried and not self.segment

    @property
    def fed_shape(self) -> tuple[int, ...]:
        """Of one sample, as the model gets it. Of a manifest that was read: before, `ValueError` where it can't be."""
        return shape_after(self.features, self.shape)

    @property
    def shape_beside_first(self) -> tuple[int, ...]:
        """Of what the model gets for one sample, without the first axis, which is the batch unless `batch_axis` says
        otherwise."""
        whole = list(self.fed_shape)
        whole.insert(self.batch_axis, 1)
        return tuple(whole[1:])


class OutputSpec(Described, frozen=True):
    """How the model's output becomes a prediction."""

    kind: Literal["classes", "estimate", "anomaly", "detections"]
    tensor: str = ""
    """Empty: the model's only output. Not for detections, which have three."""
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    spread_tensor: str = ""
    """Of an estimate: the output that holds the spreads; empty: the second half of the values."""
    limit: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    """Of an anomaly score: from here on it is one. Of detections: a thing less sure than this isn't reported."""
    boxes_tensor: str = "boxes"
    scores_tensor: str = "scores"
    labels_tensor: str = "labels"
    box_order: Literal["left top right bottom", "top left bottom right"] = "left top right bottom"
    """Of the four numbers of a box, as shares of width and height. TensorFlow's detectors begin with the top."""


class Costs(Described, frozen=True):
    """What one sample costs, from which joules are estimated where nothing measures them."""

    multiply_adds: Count = 0
    """Of the model."""
    bits: Literal[8, 16, 32] = 32
    bytes_moved: Count = 0
    """By the model: weights, and what is between its layers."""
    at_elements: Count = 0
    """How many numbers the model was fed when its multiply-adds were counted: where it is fed fewer, it costs less in
    proportion. 0: it always costs the same."""
    preparing_multiply_adds: Count = 0
    """Of what is done before the model, beyond `features`, whose share is worked out: `cascade.release.costs`."""


class StageSpec(Described, frozen=True):
    """One model of the bundle."""

    name: Name
    file: str
    format: Name
    """A backend's name: onnx, tflite, scripted."""
    inputs: Annotated[tuple[InputSpec, ...], msgspec.Meta(min_length=1)]
    output: OutputSpec
    labels: tuple[str, ...] = ()
    max_batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    costs: Costs = Costs()
    calibration: Calibration | None = None
    """Of class scores. Fitted on this stage and no other: `stage_digest` says which."""
    cues: tuple[Literal["mean", "deviation", "largest", "roughness"], ...] = ()
    """Cheap numbers of the input that a learned gate looks at: `cascade.inference.cues`."""
    sends: tuple[SentSpec, ...] = ()
    """Of a segment: the hidden features that may go up in place of the input, where they are smaller."""

    @property
    def asks_for(self) -> dict[str, int]:
        """The tensors of a question that it reads, each once though several inputs be made of it, with their bytes
        before these are compressed."""
        return {spec.tensor: prod(spec.shape) * DTYPES[spec.dtype] for spec in self.inputs if spec.asked}


class Requirements(Described, frozen=True):
    """What a machine must have to run the bundle."""

    memory_bytes: Count = 0
    runtime: str = ""
    """Least version of this package, as `0.1`."""


class Lineage(Described, frozen=True):
    """Where a bundle comes from."""

    made_by: str = ""
    made_from: tuple[str, ...] = ()
    note: str = ""


class BundleManifest(Described, frozen=True):
    """One tier's artefact for one task."""

    format: int
    name: Name
    task: Name
    tier: Tier
    stages: Annotated[tuple[StageSpec, ...], msgspec.Meta(min_length=1)]
    files: dict[str, FileEntry]
    requirements: Requirements = Requirements()
    lineage: Lineage = Lineage()


class BundleRef(Described, frozen=True):
    """A bundle, by its folder inside the release and the digest of its manifest."""

    folder: str
    digest: Sha256


class StageGate(Described, frozen=True):
    """The gate of one stage of one tier."""

    tier: Tier
    stage: Name
    gate: GateSpec


class ReleaseManifest(Described, frozen=True):
    """One bundle per tier for a task, and the gates of the whole ladder, computed together."""

    format: int
    name: Name
    task: Name
    bundles: dict[Tier, BundleRef]
    gates: tuple[StageGate, ...]
    promise: Promise | None = None
    """What the thresholds guarantee. None: nobody has computed it, and nothing is guaranteed."""
    references: tuple[Reference, ...] = ()
    """What stages' numbers looked like where the thresholds were found: hops compare with it."""
    care: Care = Care()
    timings: dict[Tier, Timing] = msgspec.field(default_factory=dict)


Manifest = TypeVar("Manifest", BundleManifest, ReleaseManifest)


def digest_of(manifest: bytes) -> str:
    return sha256(manifest).hexdigest()


def read_bundle_manifest(raw: bytes, where: str) -> BundleManifest:
    """The manifest of a bundle, or `BundleRejected` with the place and what was expected there."""
    manifest = _decoded(raw, where, _bundle_decoder)
    names = [stage.name for stage in manifest.stages]
    if len(set(names)) != len(names):
        raise BundleRejected(f"{where}: two stages have one name")
    for mistake in segment_mistakes(manifest.stages):
        raise BundleRejected(f"{where}: {mistake}")
    for stage in manifest.stages:
        if stage.file not in manifest.files:
            raise BundleRejected(f"{where}: stage {stage.name} wants {stage.file!r}, which is not among the files")
        _check_stage(stage, where)
        _check_calibration(stage, manifest, where)
    for path in manifest.files:
        _check_inside(path, where)
    if MANIFEST_FILE in manifest.files:
        raise BundleRejected(f"{where}: a manifest can't name its own digest")
    return manifest


def read_release_manifest(raw: bytes, where: str) -> ReleaseManifest:
    """The manifest of a release, or `BundleRejected`."""
    manifest = _decoded(raw, where, _release_decoder)
    for reference in manifest.bundles.values():
        _check_inside(reference.folder, where)
    gated = [(entry.tier, entry.stage) for entry in manifest.gates]
    if len(set(gated)) != len(gated):
        raise BundleRejected(f"{where}: a stage has two gates")
    digests = {tier: reference.digest for tier, reference in manifest.bundles.items()}
    mistakes = reference_mistakes(manifest.references, digests, manifest.gates)
    if manifest.promise is not None:
        mistakes += promise_mistakes(manifest.promise, digests, manifest.gates)
    if mistakes:
        raise BundleRejected(f"{where}: {'; '.join(mistakes)}")
    return manifest


def stage_digest(stage: StageSpec, manifest: BundleManifest) -> str:
    """Of all that shapes a stage's scores: its model, whatever files lie beside it, preprocessing, output and labels,
    and those of the segments before it. Files of other stages are not its own; one that no stage names may hold its
    weights."""
    others = {each.file for each in manifest.stages if each.file != stage.file}
    files = [(path, entry.sha256) for path, entry in sorted(manifest.files.items()) if path not in others]
    parts: tuple[object, ...] = (stage.format, stage.file, files, stage.inputs, stage.output, stage.labels)
    earlier = [stage_digest(each, manifest) for each in manifest.stages if each.name == before(stage)]
    if earlier or stage.sends:
        parts += (earlier, stage.sends)
    return sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def write_manifest(manifest: BundleManifest | ReleaseManifest) -> bytes:
    """The bytes of a manifest: the same for the same manifest, and readable by people."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"


def _check_stage(stage: StageSpec, where: str) -> None:
    """What types alone can't say."""
    mistakes = [f"no tensor has numbers of type {spec.dtype!r}" for spec in stage.inputs if spec.dtype not in DTYPES]
    fed = [spec.model_input for spec in stage.inputs]
    if len(set(fed)) != len(fed):
        mistakes.append("two inputs feed one input of the model; of several, each names its own as `model_input`")
    mistakes += [mistake for spec in stage.inputs for mistake in _input_mistakes(spec)]
    if not any(spec.asked or spec.segment for spec in stage.inputs):
        mistakes.append("none of its inputs is in the question")
    if stage.output.activation not in _ACTIVATIONS[stage.output.kind]:
        mistakes.append(f"no {stage.output.activation} makes an output of kind {stage.output.kind}")
    if mistakes:
        raise BundleRejected(f"{where}: stage {stage.name}: {'; '.join(mistakes)}")


def _input_mistakes(spec: InputSpec) -> list[str]:
    if not (spec.asked or spec.segment) and (spec.features or (spec.carried and spec.value is not None)):
        return [f"input {spec.tensor}: a value or a carried state is taken as it is, and is only one of both"]
    if spec.value is not None and not isfinite(spec.value):
        return [f"input {spec.tensor}: a value of {spec.value}"]
    if spec.batch_axis > len(spec.shape):
        return [f"input {spec.tensor}: a batch on axis {spec.batch_axis} of {len(spec.shape) + 1}"]
    try:
        shape_after(spec.features, spec.shape)
    except ValueError as error:
        return [f"input {spec.tensor}: {error}"]
    return []


def _check_calibration(stage: StageSpec, manifest: BundleManifest, where: str) -> None:
    calibration = stage.calibration
    if calibration is None:
        return
    mistakes = calibration_mistakes(calibration, len(stage.labels))
    if stage.output.kind != "classes" or len(stage.labels) < 2:
        mistakes.append("only scores of two or more labels can be calibrated")
    if stage.output.activation == "sigmoid" and calibration.method in ("temperature", "vector"):
        mistakes.append(f"a {calibration.method} calibration is for scores that sum to 1, not for a sigmoid's")
    if calibration.stage_digest != stage_digest(stage, manifest):
        mistakes.append("its calibration was fitted on other bytes than these: fit it again")
    if mistakes:
        raise BundleRejected(f"{where}: stage {stage.name}: {'; '.join(mistakes)}")


_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "classes": ("none", "softmax", "sigmoid"),
    "estimate": ("none",),
    "anomaly": ("none", "sigmoid"),
    "detections": ("none", "sigmoid"),
}

_bundle_decoder = msgspec.json.Decoder(BundleManifest)
_release_decoder = msgspec.json.Decoder(ReleaseManifest)


def _decoded(raw: bytes, where: str, decoder: msgspec.json.Decoder[Manifest]) -> Manifest:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BundleRejected(f"{where}: {len(raw)} bytes, more than {MAX_MANIFEST_BYTES}")
    try:
        manifest = decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleRejected(f"{where}: {error}") from error
    if manifest.format != FORMAT:
        raise BundleRejected(f"{where}: format {manifest.format}; this version reads format {FORMAT}")
    return manifest


def _check_inside(path: str, where: str) -> None:
    """A manifest names files beside itself, each by one name only, and nothing else on this machine."""
    shown = repr(path)[:80]
    if len(path) > MAX_PATH or not path.isprintable():
        raise BundleRejected(f"{where}: {shown}: a path is at most {MAX_PATH} printable characters")
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\\" in path or str(pure) != path:
        raise BundleRejected(f"{where}: {shown} is not a path inside the bundle, written plainly")
