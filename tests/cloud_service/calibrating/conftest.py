"""Synthetic ladders whose truth is known: a device that is unsure about what is hard, and a cloud that knows better."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import guarantee_problems


@pytest.fixture(scope="session")
def problems():
    return guarantee_problems


@pytest.fixture(scope="session")
def plain(problems):
    """A draw of the two-tier problem: `plain(samples, seed)`."""
    return lambda samples, seed=0: problems.drawn(problems.PROBLEMS[0], samples, seed)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
