"""How the model above was chosen, without asking about the stranger whom it is measured with.

    CASCADE_DATA=… python examples/spoken_digits/choose.py

For each pair of the four a model is trained on two, and asked about the two others: all their clips. For a stranger
count only models and clips in which the stranger is not: three of the twelve numbers. Told is their mean, per recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from statistics import mean

import numpy as np
import onnxruntime
from clips import CALIBRATE_BELOW, Array, Clips, read
from graph import SOUND, SPECTRUM
from keyword_ears import FINE
from train import KEYWORDS, OWN, SPEECH, STEPS, Made, ears, fsdd, heard, joined, taught

RECIPES: tuple[dict[str, float], ...] = (
    {OWN: 1.0},
    {KEYWORDS: 1.0},
    {SPEECH: 1.0},
    {OWN: 0.25, KEYWORDS: 1.0},
    {OWN: 0.5, KEYWORDS: 1.0},
    {OWN: 1.0, KEYWORDS: 1.0},
    *({OWN: 0.5, KEYWORDS: 1.0, SPEECH: share} for share in (0.25, 0.5, 1.0)),
)


def told(recipe: Mapping[str, float]) -> str:
    return next(iter(recipe)) if len(recipe) == 1 else ", ".join(f"{share:g} {name}" for name, share in recipe.items())


def scores(made: Made, words: Mapping[str, Array]) -> Array:
    session = onnxruntime.InferenceSession(made.model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {name: words[name] for name in made.inputs})[0])


def judged(clips: Clips, pair: tuple[int, ...], words: Mapping[str, Array]) -> dict[str, dict[int, float]]:
    """Per recipe, what is right of each who is not of the pair."""
    labels = int(clips.label.max()) + 1
    spoken = np.isin(clips.speaker, pair) & (clips.index >= CALIBRATE_BELOW)
    voices = taught(clips.rows(spoken), labels, STEPS, ears())
    others, found = [each for each in clips.names if each not in pair], {}
    for recipe in RECIPES:
        if recipe.keys() <= voices.keys():
            made = joined({name: voices[name] for name in recipe}, labels, recipe)
            right = scores(made, words).argmax(1) == clips.label
            found[told(recipe)] = {each: float(right[clips.speaker == each].mean()) for each in others}
    return found


def main() -> None:
    clips = read(fsdd())
    words = {SPECTRUM: heard(clips.sounds, FINE), SOUND: heard(clips.sounds)}
    found = {pair: judged(clips, pair, words) for pair in combinations(clips.names, 2)}
    print(f"| recipe | {' | '.join(f'without {name}' for name in clips.names.values())} | all |")
    print(f"|---|{'---|' * (len(clips.names) + 1)}")
    for recipe in next(iter(found.values())):
        numbers = [
            (pair, other, right) for pair, judgement in found.items() for other, right in judgement[recipe].items()
        ]
        without = [
            mean(right for pair, other, right in numbers if stranger not in (*pair, other)) for stranger in clips.names
        ]
        whole = mean(right for _, _, right in numbers)
        print(f"| {recipe} | {' | '.join(f'{each:.1%}' for each in (*without, whole))} |")


if __name__ == "__main__":
    main()
