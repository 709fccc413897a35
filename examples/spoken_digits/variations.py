"""Words as others might have said them: each batch anew, at other paces, by other throats, in other rooms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from clips import Array
from convolution import BATCH, evened

COLOUR, BAND_NOISE, PLACE_NOISE, NOISY_SHARE = 0.75, 0.5, 0.35, 0.7
"""In nats of magnitude: of microphones, and of noise per band and per place."""


class Variations:
    """`spectra`: of the same words, once per pace."""

    def __init__(self, spectra: Sequence[Array], label: Array, seed: int = 1) -> None:
        self._spectra, self._label = spectra, label
        self._dice = np.random.default_rng(seed)

    def __call__(self) -> tuple[Array, Array]:
        rows = self._dice.integers(len(self._label), size=BATCH)
        paces = self._dice.integers(len(self._spectra), size=BATCH)
        spectra = np.stack([self._moved(self._spectra[pace][row]) for pace, row in zip(paces, rows, strict=True)])
        return self._masked(evened(self._in_a_room(spectra))), self._label[rows]

    def _moved(self, spectrum: Array) -> Array:
        """In time by up to 6 frames, and its bands along the axis: a longer or shorter throat."""
        frames, bands = spectrum.shape
        at = np.arange(frames) - int(self._dice.integers(-6, 7))
        moved = np.where(((at >= 0) & (at < frames))[:, None], spectrum[np.clip(at, 0, frames - 1)], spectrum.min())
        from_band = np.arange(bands) * self._dice.uniform(0.85, 1.18) + self._dice.uniform(-1.2, 1.2)
        from_band = np.clip(from_band, 0, bands - 1)
        low = np.minimum(from_band.astype(int), bands - 2)
        share = (from_band - low).astype(np.float32)
        return np.asarray(moved[:, low] * (1 - share) + moved[:, low + 1] * share)

    def _in_a_room(self, spectra: Array) -> Array:
        """Through another microphone, which colours it, and over noise."""
        count, _, bands = spectra.shape
        knots, at = self._dice.normal(size=(count, 5)) * COLOUR, np.linspace(0, 4, bands)
        colour = np.stack([np.interp(at, range(5), each) for each in knots])
        coloured = spectra + colour[:, None].astype(np.float32)
        noise = coloured.max((1, 2), keepdims=True) - self._dice.uniform(1.5, 6, (count, 1, 1))
        noise = noise + BAND_NOISE * self._dice.normal(size=(count, 1, bands))
        noise = noise + PLACE_NOISE * self._dice.normal(size=spectra.shape)
        noisy = self._dice.random((count, 1, 1)) < NOISY_SHARE
        return np.where(noisy, np.logaddexp(coloured, noise), coloured)

    def _masked(self, fed: Array) -> Array:
        """Some frames and some bands are missing, so that no one place is trusted alone."""
        for each in fed:
            for axis, most in ((0, 6), (1, 7)):
                begin = int(self._dice.integers(0, each.shape[axis] - most))
                gone = slice(begin, begin + int(self._dice.integers(0, most)))
                each[gone if axis == 0 else slice(None), gone if axis == 1 else slice(None)] = 0.0
        return fed
