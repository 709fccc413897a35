"""Bundles and releases on disk: read with care, verified down to the last byte before use, and written whole.

A flipped bit in a model file changes answers silently (294 of 2,000 flips did, and none crashed): so every file's size
and SHA-256 are compared before a bundle counts as open. A device carries only its own tier's bundle of a release.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from cascade.adapters.whole_file import write_whole
from cascade.errors import BundleRejected
from cascade.release.assembled import check_continuations, check_together, ladder_of, release_id
from cascade.release.bundle import (
    FORMAT,
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    RELEASE_FILE,
    TIERS,
    BundleManifest,
    BundleRef,
    FileEntry,
    ReleaseManifest,
    StageGate,
    Tier,
    digest_of,
    read_bundle_manifest,
    read_release_manifest,
    write_manifest,
)
from cascade.release.calibrated import Calibration
from cascade.release.ladder import Care, Ladder, Timing
from cascade.release.promise import Promise
from cascade.release.reference import Reference

MAX_BUNDLE_BYTES = 4 << 30
MAX_FILES = 1000
_CHUNK = 1 << 20


class LoadedBundle(NamedTuple):
    """A bundle, each file of which is what its manifest says. The digest is that of the manifest."""

    manifest: BundleManifest
    folder: Path
    digest: str


class LoadedRelease(NamedTuple):
    """A release, and the bundle of the tier that runs it here."""

    manifest: ReleaseManifest
    digest: str
    bundle: LoadedBundle

    @property
    def id(self) -> str:
        """What questions carry as their release."""
        return release_id(self.manifest, self.digest)

    @property
    def ladder(self) -> Ladder:
        return ladder_of(self.manifest, self.digest, self.bundle.manifest)


def open_bundle(folder: Path, max_bytes: int = MAX_BUNDLE_BYTES) -> LoadedBundle:
    """The bundle in `folder`, verified; `BundleRejected` with the file and what was expected of it."""
    folder = folder.resolve()
    raw = _manifest_bytes(folder, MANIFEST_FILE)
    manifest = read_bundle_manifest(raw, str(folder / MANIFEST_FILE))
    total = sum(entry.bytes for entry in manifest.files.values())
    if total > max_bytes or len(manifest.files) > MAX_FILES:
        raise BundleRejected(
            f"{folder}: {len(manifest.files)} files of {total} bytes; at most {MAX_FILES} of {max_bytes} are taken"
        )
    for path, entry in manifest.files.items():
        _verify(folder, path, entry)
    return LoadedBundle(manifest, folder, digest_of(raw))


def names_tier(folder: Path, tier: Tier) -> bool:
    """Whether a release has a bundle for this tier, here or elsewhere."""
    return tier in _release_manifest(folder.resolve()).bundles


def tiers_of(folder: Path) -> tuple[Tier, ...]:
    """Those of a release whose bundles are here, from the device up: a device carries only its own."""
    folder = folder.resolve()
    manifest = _release_manifest(folder)
    return tuple(
        cast(Tier, tier)
        for tier in TIERS
        if (reference := manifest.bundles.get(cast(Tier, tier))) is not None
        and os.path.lexists(folder / reference.folder / MANIFEST_FILE)
    )


def open_release(folder: Path, tier: Tier, max_bytes: int = MAX_BUNDLE_BYTES) -> LoadedRelease:
    """The release in `folder` with the bundle of `tier`; `BundleRejected` where a part of it doesn't fit the others."""
    folder = folder.resolve()
    raw = _manifest_bytes(folder, RELEASE_FILE)
    manifest = read_release_manifest(raw, str(folder / RELEASE_FILE))
    if tier not in manifest.bundles:
        raise BundleRejected(
            f"{folder / RELEASE_FILE}: no bundle for tier {tier}; it has {', '.join(manifest.bundles)}"
        )
    for other, reference in manifest.bundles.items():
        if other != tier and os.path.lexists(folder / reference.folder / MANIFEST_FILE):
            _check_part(folder, manifest, other)
    _check_part(folder, manifest, tier)
    bundle = open_bundle(folder / manifest.bundles[tier].folder, max_bytes)
    if bundle.digest != manifest.bundles[tier].digest:
        raise BundleRejected(f"{bundle.folder}: changed while it was opened")
    return LoadedRelease(manifest, digest_of(raw), bundle)


def _check_part(folder: Path, release: ReleaseManifest, tier: Tier) -> None:
    """That one bundle's manifest is the one that the release names, and has the gates that it needs."""
    reference = release.bundles[tier]
    part = folder / reference.folder
    if not _inside(part, folder):
        raise BundleRejected(f"{part}: a link to outside the release")
    raw = _manifest_bytes(part, MANIFEST_FILE)
    digest = digest_of(raw)
    if digest != reference.digest:
        raise BundleRejected(f"{part / MANIFEST_FILE}: SHA-256 {digest}, where the release names {reference.digest}")
    where = str(part / MANIFEST_FILE)
    check_together(release, tier, read_bundle_manifest(raw, where), where)


def write_bundle(folder: Path, manifest: BundleManifest, sources: Mapping[str, Path | bytes]) -> LoadedBundle:
    """Write a bundle of these files, by their path in it, and open it. The manifest's sizes and digests are set."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {path: _entry(source) for path, source in sorted(sources.items())}
    raw = write_manifest(msgspec.structs.replace(manifest, format=FORMAT, files=files))
    read_bundle_manifest(raw, str(folder / MANIFEST_FILE))
    for path, source in sources.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / path, source if isinstance(source, bytes) else _chunks_of(source))
    write_whole(folder / MANIFEST_FILE, raw)
    return open_bundle(folder)


def write_calibrations(folder: Path, calibrations: Mapping[str, Calibration]) -> LoadedBundle:
    """Give stages of the bundle in `folder` these calibrations. Its digest is another one then: until its release is
    written anew that release is refused, and nobody runs thresholds that are for other scores."""
    manifest = open_bundle(folder).manifest
    stages = tuple(
        msgspec.structs.replace(stage, calibration=calibrations.get(stage.name, stage.calibration))
        for stage in manifest.stages
    )
    raw = write_manifest(msgspec.structs.replace(manifest, stages=stages))
    read_bundle_manifest(raw, str(folder / MANIFEST_FILE))
    write_whole(folder / MANIFEST_FILE, raw)
    return open_bundle(folder)


def write_release(
    folder: Path,
    name: str,
    task: str,
    gates: Sequence[StageGate],
    promise: Promise | None = None,
    *,
    references: Sequence[Reference] = (),
    care: Care = Care(),  # noqa: B008  # a frozen struct can't be changed
    timings: Mapping[Tier, Timing] | None = None,
) -> str:
    """Write the manifest of a release whose bundles lie in `folder/edge`, `folder/fog` and `folder/cloud`, or some of
    these. Returns its digest. A promise, or a reference, that is for other bundles or gates is refused."""
    bundles: dict[Tier, BundleRef] = {}
    opened: dict[Tier, BundleManifest] = {}
    for tier in TIERS:
        if (folder / tier / MANIFEST_FILE).exists():
            bundle = open_bundle(folder / tier)
            bundles[cast(Tier, tier)] = BundleRef(folder=tier, digest=bundle.digest)
            opened[cast(Tier, tier)] = bundle.manifest
    if not bundles:
        raise BundleRejected(f"{folder}: no bundle in any of {', '.join(TIERS)}")
    raw = write_manifest(
        ReleaseManifest(
            format=FORMAT,
            name=name,
            task=task,
            bundles=bundles,
            gates=tuple(gates),
            promise=promise,
            references=tuple(references),
            care=care,
            timings=dict(timings or {}),
        )
    )
    manifest = read_release_manifest(raw, str(folder / RELEASE_FILE))
    for tier_there in bundles:
        _check_part(folder.resolve(), manifest, tier_there)
    check_continuations(opened, str(folder))
    write_whole(folder / RELEASE_FILE, raw)
    return digest_of(raw)


def _release_manifest(folder: Path) -> ReleaseManifest:
    return read_release_manifest(_manifest_bytes(folder, RELEASE_FILE), str(folder / RELEASE_FILE))


def _manifest_bytes(folder: Path, name: str) -> bytes:
    if name == RELEASE_FILE and not os.path.lexists(folder / name):
        raise BundleRejected(
            f"{folder / name}: No such file or directory; `cascade release FOLDER --edge FILE ...` makes a release of "
            "model files"
        )
    path = folder / name
    with _opened(path) as file:
        return file.read(MAX_MANIFEST_BYTES + 1)


def _verify(folder: Path, name: str, entry: FileEntry) -> None:
    path = folder / name
    if not _inside(path, folder):
        raise BundleRejected(f"{path}: a link to outside the bundle")
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size != entry.bytes:
            raise BundleRejected(f"{path}: {size} bytes, where the manifest says {entry.bytes}")
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != entry.sha256:
        raise BundleRejected(f"{path}: SHA-256 {digest}, where the manifest says {entry.sha256}")


def _inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError is how Python 3.11 and 3.12 say that links go in circles
        raise BundleRejected(f"{path}: {error}") from error


def _opened(path: Path) -> BufferedReader:
    """A regular file, open. Not blocking: a pipe by that name must not stop the start."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BundleRejected(f"{path}: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BundleRejected(f"{path}: not a regular file")
    return os.fdopen(descriptor, "rb")


def _entry(source: Path | bytes) -> FileEntry:
    if isinstance(source, bytes):
        return FileEntry(sha256=hashlib.sha256(source).hexdigest(), bytes=len(source))
    with open(source, "rb") as file:
        return FileEntry(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=source.stat().st_size)


def _chunks_of(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
