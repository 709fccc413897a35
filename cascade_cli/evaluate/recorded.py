"""What every stage says of every sample: run once, kept by stage and data, run again where one of the two changed.

A file of the cache is a recording (`cascade.adapters.recording_file`) of one stage on some consecutive samples. Its
name is made of the digests of both, so whatever is found under a name is right: a model that was trained again, or
other preprocessing, is another stage; thresholds and calibrations are not in it, since recordings are made before
those. Work that is interrupted goes on where it was.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cascade import __version__
from cascade.adapters.bundle_folder import LoadedRelease, open_release, tiers_of
from cascade.adapters.installing import stage_runner
from cascade.adapters.recording import LabelledSample, record
from cascade.adapters.recording_file import read_recordings, write_recordings
from cascade.adapters.settings_tables import EngineTable
from cascade.adapters.stage_runner import StageRunner
from cascade.errors import BundleRejected, StorageError
from cascade.inference.recordings import BadRecording, Recordings, StageRecord
from cascade.release.assembled import asked_stages
from cascade.release.bundle import TIERS, StageSpec, Tier, stage_digest
from cascade.release.segments import before, continues
from cascade_cli.evaluate.samples import DataSet

CHUNK = 1000
"""Samples of one file: what an interruption can take."""
ALONE = 1
"""Stages are recorded one sample at a time, as a device runs them: so their milliseconds are those of a question."""
CACHE_BYTES = 2 << 30
"""Beyond this, what was used longest ago goes."""

Place = tuple[Tier, str]


class Recorded(NamedTuple):
    """All stages of a release on a data set, and how much of that had to be run for it."""

    releases: Mapping[Tier, LoadedRelease]
    stages: Mapping[Place, StageRecord]
    """Before calibration. Without those that go on from a segment that is not here: nobody brings its features."""
    ran: Mapping[Place, int]
    """Samples that were not in the cache."""


def usual_cache() -> Path:
    """Where a user's programs keep what can be made again: by the XDG's rule."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cascade" / "evaluate"


def opened(folder: Path) -> dict[Tier, LoadedRelease]:
    """The tiers whose bundles are here, from the device up; `BundleRejected` where there is none."""
    releases = {tier: open_release(folder, tier) for tier in tiers_of(folder)}
    if not releases:
        raise BundleRejected(f"{folder}: no bundle of any tier is here")
    return releases


def record_release(
    folder: Path,
    data: DataSet,
    cache: Path,
    engine: EngineTable,
    progress: Callable[[int, int], None] = lambda done, of: None,
    *,
    encoding: str = "zlib",
) -> Recorded:
    """`BundleRejected` for a release that can't be run here. `encoding`: of what goes up."""
    releases = opened(folder)
    with tempfile.TemporaryDirectory() as state:
        runner = stage_runner(Path(state), engine)
        try:
            found = _Recorder(folder, releases, data, cache, engine, runner, encoding).recorded(progress)
        finally:
            runner.close()
    prune(cache, CACHE_BYTES)
    return found


class _Recorder:
    """Chunk by chunk, so that no more is lost than one."""

    def __init__(
        self,
        folder: Path,
        releases: Mapping[Tier, LoadedRelease],
        data: DataSet,
        cache: Path,
        engine: EngineTable,
        runner: StageRunner,
        encoding: str,
    ) -> None:
        self._folder, self._releases, self._data, self._cache = folder, releases, data, cache
        self._runner, self._engine, self._encoding = runner, engine, encoding
        manifests = [release.bundle.manifest for release in releases.values()]
        self._specs: dict[Place, tuple[StageSpec, str]] = {
            (manifest.tier, spec.name): (spec, stage_digest(spec, manifest))
            for manifest, specs in zip(manifests, asked_stages(manifests), strict=True)
            for spec in specs
        }
        self._first_inputs = next(iter(releases.values())).bundle.manifest.stages[0].inputs

    def recorded(self, progress: Callable[[int, int], None]) -> Recorded:
        parts: dict[Place, list[StageRecord]] = {place: [] for place in self._specs}
        ran = dict.fromkeys(self._specs, 0)
        for begin in range(0, len(self._data), CHUNK):
            end = min(begin + CHUNK, len(self._data))
            known = {place: self._kept(place, begin, end) for place in self._specs}
            missing = self._with_segments({place for place, record in known.items() if record is None})
            fresh = self._run(missing, begin, end, progress) if missing else {}
            for place in self._specs:
                kept = known[place]
                parts[place].append(fresh[place] if place in fresh or kept is None else kept)
                ran[place] += (end - begin) if place in fresh else 0
            progress(end, len(self._data))
        return Recorded(self._releases, {place: joined(each) for place, each in parts.items()}, ran)

    def _with_segments(self, missing: set[Place]) -> set[Place]:
        """A segment goes on from what the one before it left: of such a bundle all stages are run, or none. So are
        those below from which a stage goes on."""
        tiers: set[str] = {tier for tier, _ in missing}
        going_on = [TIERS.index(place[0]) for place in missing if continues(self._specs[place][0])]
        tiers |= set(TIERS[: max(going_on, default=0)])
        joined_up = {tier for (tier, _), (spec, _) in self._specs.items() if before(spec) or spec.sends}
        return missing | {place for place in self._specs if place[0] in tiers & joined_up}

    def _path(self, place: Place, begin: int, end: int) -> Path:
        spec, digest = self._specs[place]
        data, engine = self._data.digest(begin, end), repr(self._engine)
        parts: tuple[object, ...] = (digest, data, __version__, engine, spec.costs, spec.cues)
        if spec.sends:  # whether it goes up is also a matter of who else of this tier sends
            senders = [each for (tier, _), (other, each) in self._specs.items() if tier == place[0] and other.sends]
            parts += (self._encoding, senders)
        return self._cache / f"{blake2b(repr(parts).encode(), digest_size=20).hexdigest()}.npz"

    def _kept(self, place: Place, begin: int, end: int) -> StageRecord | None:
        path = self._path(place, begin, end)
        try:
            (stage,) = read_recordings(path).stages
        except BadRecording:  # not there, torn, or of an older format: it is made again
            return None
        if stage.samples != end - begin or stage.stage_digest != self._specs[place][1]:
            return None
        os.utime(path)
        tier, name = place
        return replace(stage, tier=tier, name=name)

    def _run(
        self, missing: set[Place], begin: int, end: int, progress: Callable[[int, int], None]
    ) -> dict[Place, StageRecord]:
        recordings = record(
            self._folder,
            self._samples(begin, end),
            self._runner,
            batch=ALONE,
            encoding=self._encoding,
            source=self._data.source,
            progress=lambda done: progress(begin + done, len(self._data)),
            wanted=lambda tier, spec: (tier, spec.name) in missing,
        )
        fresh = {(stage.tier, stage.name): stage for stage in recordings.stages}
        found: dict[Place, StageRecord] = {}
        for place in missing:
            # As it will be read: what is found in the cache must not differ by a bit from what was run.
            found[place] = replace(fresh[place], ms=fresh[place].ms.astype(np.float32))
            self._keep(self._path(place, begin, end), replace(recordings, stages=(found[place],)))
        return found

    def _keep(self, path: Path, recordings: Recordings) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path.parent}: {error.strerror}; --cache FOLDER keeps predictions elsewhere") from None
        write_recordings(path, recordings)

    def _samples(self, begin: int, end: int) -> Iterator[LabelledSample]:
        for index in range(begin, end):
            yield LabelledSample(self._data.read(index), self._data.labels[index])


def joined(parts: Sequence[StageRecord]) -> StageRecord:
    """One after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    cues = None if any(each.cues is None for each in parts) else np.concatenate([_array(each.cues) for each in parts])
    sent = None if first.sent_bytes is None else np.concatenate([_array(each.sent_bytes) for each in parts])
    energies = {each.energy for each in parts}
    return replace(
        first,
        columns={name: np.concatenate([each.columns[name] for each in parts]) for name in first.columns},
        cues=cues,
        ran=np.concatenate([each.ran for each in parts]),
        ms=np.concatenate([each.ms for each in parts]),
        joules=np.concatenate([each.joules for each in parts]),
        energy=first.energy if len(energies) == 1 else "unknown",
        sent_bytes=sent,
    )


def _array(column: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(column)


def prune(cache: Path, most_bytes: int) -> None:
    """Let go of what was used longest ago. Somebody else may do the same at the same time."""
    files = []
    for path in cache.glob("*.npz"):
        try:
            stat = path.stat()
        except OSError:
            continue
        files.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= most_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size
