"""What was run once is not run again; what was kept badly is."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cascade_cli.evaluate import recorded as room
from cascade_cli.evaluate.recorded import prune, record_release
from cascade_cli.evaluate.samples import open_data


@pytest.fixture
def record(settings, monkeypatch):
    monkeypatch.setattr(room, "CHUNK", 40)

    def run(progress=lambda done, of: None):
        return record_release(settings.release, open_data(settings.data), settings.cache, settings.engine, progress)

    return run


def ran(found):
    return [count for _, count in sorted(found.ran.items())]


def test_chunks_together_are_the_whole(record, folder):
    x = np.load(folder / "samples.npz")["x"]
    found = record()
    for place, columns in ((("edge", "edge-model"), x[:, :2]), (("cloud", "cloud-model"), x[:, 4:])):
        np.testing.assert_array_equal(found.stages[place].columns["scores"], columns)


def test_work_that_was_interrupted_goes_on_where_it_was(record):
    def interrupt(done, of):
        if done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(interrupt)
    assert ran(record()) == [80, 80, 80]


def test_of_more_samples_only_the_new_are_run(record, folder, samples):
    x = samples(folder / "samples.npz")
    record()
    np.savez(folder / "samples.npz", x=np.concatenate([x, x[:50] * 0.99]), labels=np.array(["no", "yes"] * 105))
    assert ran(record()) == [50, 50, 50]


def test_mended_labels_cost_no_run(record, folder, samples):
    samples(folder / "samples.npz")
    record()
    samples(folder / "samples.npz", labels=np.array(["no", "yes"] * 80))
    assert ran(record()) == [0, 0, 0]


@pytest.mark.parametrize("harm", [b"", b"rubbish", None])
def test_what_was_kept_badly_is_made_again(record, settings, harm):
    record()
    path = max(settings.cache.glob("*.npz"), key=lambda each: each.stat().st_mtime_ns)  # of those that are used
    path.write_bytes(path.read_bytes()[:-40] if harm is None else harm)
    assert sum(ran(record())) == 40
    assert sum(ran(record())) == 0


def test_the_cache_is_bounded_and_what_was_used_longest_ago_goes(tmp_path):
    for age, name in ((30, "old"), (20, "middle"), (10, "new")):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(b"x" * 100)
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    prune(tmp_path, 250)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["middle", "new"]
