"""The fingerprints: those of UJIIndoorLoc where they are, or a small made-up site, and how both are split by phone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FILE = "uji-indoorloc/ujiindoorloc_train.npz"
NOT_HEARD = 100
CHOOSING, TESTING = (6, 8), (13,)
"""Phones. The last was carried by one person, through all three buildings; nobody else carried it."""
ONE_IN = 8
"""Of floors where the phones for choosing never were, every so many-th fingerprint of a known phone is for choosing:
without a sample of each floor no threshold can be promised for it. They are easier than another phone's would be."""


class Fingerprints(NamedTuple):
    """Signal strengths in dBm, and where they were heard."""

    rssi: Array
    floors: Array
    """Words: `b0f3` is the third floor of building 0."""
    metres: Array
    """East and north of the site's origin."""

    def taken(self, rows: Array) -> Fingerprints:
        return Fingerprints(*[each[rows] for each in self])


class Site(NamedTuple):
    """Sets of fingerprints that have nothing in common; the test's phone is in no other."""

    learn: Fingerprints
    choose: Fingerprints
    test: Fingerprints


def data_file() -> Path:
    folder = os.environ.get("CASCADE_DATA")
    if not folder:
        raise SystemExit(f"CASCADE_DATA is not set: the folder with {FILE}; or --made-up")
    return Path(folder) / FILE


def surveyed(path: Path) -> Site:
    with np.load(path, allow_pickle=False) as file:
        rssi, phone, place = file["rssi"], file["phone"], file["lonlat"]
        floors = np.array([f"b{a}f{b}" for a, b in zip(file["building"], file["floor"], strict=True)])
    heard = ((rssi != NOT_HEARD) & (rssi >= -105)).any(axis=1)  # of nothing heard the runtime says so itself
    return split(Fingerprints(rssi, floors, place - np.floor(place.min(0))), np.where(heard, phone, -1))


def split(all_: Fingerprints, phone: Array) -> Site:
    choose, test = np.isin(phone, CHOOSING), np.isin(phone, TESTING)
    visited = np.isin(all_.floors, np.unique(all_.floors[choose]))
    choose |= (phone >= 0) & ~test & ~visited & (np.arange(len(phone)) % ONE_IN == 0)
    learn = (phone >= 0) & ~choose & ~test
    return Site(*[all_.taken(np.flatnonzero(rows)) for rows in (learn, choose, test)])


def made_up(access_points: int = 60, per_phone: int = 250, seed: int = 0) -> Site:
    """Two floors of a hall of 60 by 30 m. A phone hears everything some dB louder or softer than the next one."""
    dice = np.random.default_rng(seed)
    where = np.c_[dice.uniform(0, (60, 30), (access_points, 2)), dice.integers(0, 2, access_points) * 4.0]
    phones = np.repeat([1, 2, 3, *CHOOSING, *TESTING], per_phone)
    metres, floor = dice.uniform(0, (60, 30), (len(phones), 2)), dice.integers(0, 2, len(phones))
    here = np.c_[metres, floor * 4.0]
    apart = np.linalg.norm(here[:, None] - where, axis=2)
    walls = 15.0 * (here[:, None, 2] != where[:, 2])
    louder = np.where(phones == TESTING[0], -6.0, phones % 3 - 1.0)[:, None]
    dbm = -35.0 - 25.0 * np.log10(np.maximum(apart, 1.0)) - walls + louder + dice.normal(0, 3, apart.shape)
    rssi = np.where(dbm > -90, np.round(dbm), NOT_HEARD).astype(np.int8)
    return split(Fingerprints(rssi, np.array([f"b0f{each}" for each in floor]), metres), phones)
