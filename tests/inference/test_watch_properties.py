"""Whatever a sensor gives and a model says, a watch goes on: no crash, no odd question, no endless memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cascade.inference.gate import Gate
from cascade.inference.triggers import Trigger
from cascade.inference.triggers.spec import Activity, AnyTrigger, Change, Motion, SoundLevel, Voice
from cascade.inference.watch import MOST_BEHIND, Watch
from cascade.inference.watch_thread import Looks
from cascade.inference.watch_words import Ask, Interrupted, Look, Looked, Sampled, WatchSettings, WatchTicked
from cascade.messages import AnomalyScore, ClassScores
from cascade.release.ladder import GateSpec, LadderStage

SPECS: list[AnyTrigger | None] = [
    None, SoundLevel(), Voice(rate_hz=8000), Motion(), Activity(on_at=0.1), Activity(on_at=0.1, one_sensor=True),
    Change(memory=6, learn=3), SoundLevel(tensor="b"),
]  # fmt: skip
ARRAYS = arrays.arrays(
    st.sampled_from([np.dtype("f4"), np.dtype("f8"), np.dtype("i2"), np.dtype("u1"), np.dtype("?"), np.dtype("U3")]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20),
)
SAMPLES = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b"]), ARRAYS, max_size=2),
    st.builds(lambda rows, level: {"a": np.linspace(-level, level, rows)}, st.integers(0, 30), st.floats(0, 2)),
)
SAID = st.one_of(
    st.none(),
    st.just(AnomalyScore(0.9)),
    st.builds(lambda share: ClassScores((1 - share, share)), st.floats(0, 1) | st.just(float("nan"))),
)
EVENTS = st.one_of(
    SAMPLES.map(Sampled),
    st.builds(Looked, SAID, st.just({}), st.booleans()),
    st.just(Interrupted()),
    st.just(WatchTicked()),
)
SETTINGS = st.builds(
    WatchSettings,
    by=st.sampled_from(["row", "sample"]),
    window=st.integers(1, 12),
    step=st.integers(1, 15),
    hold=st.none() | st.integers(0, 9),
    patience=st.integers(1, 3),
    smooth=st.integers(1, 3),
    cool_down_s=st.sampled_from([0.0, 2.0]),
    once=st.booleans(),
    pre_roll=st.integers(0, 9),
    post_roll=st.integers(0, 9),
    wakes=st.sampled_from(["", "camera"]),
)


@given(SETTINGS, st.sampled_from(SPECS), st.booleans(), st.lists(EVENTS, max_size=40))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_a_watch_goes_on(set_: WatchSettings, spec: Any, model: bool, events: list[Any]) -> None:
    stage = LadderStage(name="s", kind="classes", gate=GateSpec("confidence", 0.8, ("no",)), labels=("no", "yes"))
    watch = Watch(set_, Trigger(spec) if spec else None, Looks(Gate(stage)) if model else None)
    whole = set_.pre_roll + set_.window + set_.post_roll
    for now, event in enumerate(events):
        with np.errstate(all="ignore"):
            effects = watch.handle(event, float(now))
        for effect in effects:
            if isinstance(effect, Ask | Look) and set_.by == "row":
                wanted = whole if isinstance(effect, Ask) else set_.window
                assert {len(array) for array in effect.window.values()} <= {wanted}
        assert watch.looking <= model
        samples = sum(end - begin for begin, end, _ in watch._memory._parts)
        assert samples <= 2 * (MOST_BEHIND + 2) * set_.step + 2 * whole + 60
    total = watch.counts
    assert total.asked == 0 or total.asked <= len(events) * 30
