"""How the model above was chosen, without asking about the stranger whom it is measured with.

    CASCADE_DATA=… python examples/spoken_digits/choose.py

For each pair of the four a model is trained on two, and asked about the two others: all their clips. For a stranger
count only models and clips in which the stranger is not: three of the twelve numbers. Told is their mean, per recipe.
"""

from __future__ import annotations

from itertools import combinations
from statistics import mean

import numpy as np
import onnxruntime
from clips import CALIBRATE_BELOW, Array, Clips, read
from graph import FED
from listener import EARS
from train import STEPS, ears, fsdd, heard, joined, taught

SHARES = (0.0, 0.25, 0.5, 1.0)
ALONE = "own network alone"


def scores(model: bytes, spectra: Array) -> Array:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {FED: spectra})[0])


def judged(clips: Clips, pair: tuple[int, ...], spectra: Array) -> dict[str, dict[int, float]]:
    """Per recipe, what is right of each who is not of the pair."""
    labels = int(clips.label.max()) + 1
    spoken = np.isin(clips.speaker, pair) & (clips.index >= CALIBRATE_BELOW)
    network, listener = taught(clips.rows(spoken), labels, STEPS, ears())
    models = {ALONE: joined(network, None)[0]}
    if listener is not None:
        models |= {f"listener, and {share:g} of it": joined(network, listener, share)[0] for share in SHARES}
    others = [each for each in clips.names if each not in pair]
    right = {name: scores(model, spectra).argmax(1) == clips.label for name, model in models.items()}
    return {name: {each: float(hit[clips.speaker == each].mean()) for each in others} for name, hit in right.items()}


def main() -> None:
    clips = read(fsdd())
    spectra = heard(clips.sounds, EARS)
    found = {pair: judged(clips, pair, spectra) for pair in combinations(clips.names, 2)}
    print(f"| recipe | {' | '.join(f'without {name}' for name in clips.names.values())} |")
    print(f"|---|{'---|' * len(clips.names)}")
    for recipe in next(iter(found.values())):
        without = [
            mean(
                right
                for pair, judgement in found.items()
                for other, right in judgement[recipe].items()
                if stranger not in (*pair, other)
            )
            for stranger in clips.names
        ]
        print(f"| {recipe} | {' | '.join(f'{each:.1%}' for each in without)} |")


if __name__ == "__main__":
    main()
