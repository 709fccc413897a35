"""One model of an installed release: how questions go in, and predictions and hidden features come out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from cascade.adapters.backends.backend import Array, Model
from cascade.adapters.hidden_store import HiddenStore, Rows, rows_of, stacked_rows
from cascade.adapters.stage_inputs import InputReader, Stacked, check_carried, left_out, part_of, stacked
from cascade.errors import BadInput, ModelRejected
from cascade.inference.calibration import calibrator
from cascade.inference.cues import cues_of
from cascade.inference.events import BadSample
from cascade.inference.features import apply_features
from cascade.inference.outputs import UnreadableOutput, read_outputs
from cascade.messages import Key, Payload, Prediction, Question, Tensor
from cascade.release.bundle import Costs, StageSpec
from cascade.release.costs import whole_costs, with_share_of

logger = logging.getLogger(__name__)

Result = Prediction | BadSample


class LoadedStage:
    """A stage by itself; `join` makes it a segment of a model."""

    def __init__(self, spec: StageSpec, model: Model) -> None:
        self.spec = spec
        self._model = model
        self._one_at_a_time = threading.Lock()
        self._told = False
        self.readers = tuple(
            InputReader(each, each.model_input or _only_input(spec.name, model)) for each in spec.inputs
        )
        self._whole_costs = whole_costs(spec)
        self._calibrate = calibrator(spec.calibration) if spec.calibration else None
        self.before: LoadedStage | None = None
        self.digest = b""
        self._hands_on: tuple[str, ...] = ()
        self._store = HiddenStore(0)
        self._again = 0.0
        """Of the last batch: the share for which the segments before had to run again."""

    def __str__(self) -> str:
        return self.spec.name

    def join(
        self, before: LoadedStage | None, hands_on: Mapping[str, tuple[int, ...]], digest: bytes, store: HiddenStore
    ) -> None:
        """Make it a segment: behind another, or with outputs that go on. `ModelRejected` where these don't fit."""
        self.before, self.digest, self._store = before, digest, store
        self._hands_on = tuple(hands_on)
        outputs = self.warm_up()
        for name, shape in hands_on.items():
            if name not in outputs or outputs[name].shape != (1, *shape):
                found = f"of shape {outputs[name].shape}" if name in outputs else f"among {', '.join(outputs)}"
                raise ModelRejected(f"stage {self.spec.name}: hands on output {name} as {shape}: found it {found}")
        if self.spec.sends:
            self.packed(rows_of(outputs, self._hands_on, 1)[0])

    @property
    def costs(self) -> Costs:
        """Of one sample of the last batch, as an average: with the segments that had to run again."""
        if not self._again or self.before is None:
            return self._whole_costs
        return with_share_of(self._whole_costs, self.before.costs, self._again)

    def warm_up(self) -> Mapping[str, Array]:
        """Run it once on zeros, all the way to a prediction: a manifest that doesn't fit its model shows here, not at
        the first question, which doesn't pay for first allocations either. `ModelRejected` if it fails."""
        try:
            _, outputs = self.run_once({reader.model_input: reader.zeros() for reader in self.readers})
            check_carried(self.readers, outputs)
        except (BadInput, UnreadableOutput) as error:
            raise ModelRejected(f"stage {self.spec.name}: the model doesn't fit its manifest: {error}") from error
        except Exception as error:  # an engine may raise anything, and the release is refused all the same
            raise ModelRejected(f"stage {self.spec.name}: fails on zeros: {error}") from error
        return outputs

    def predict(self, questions: Sequence[Question]) -> tuple[Result, ...]:
        """One result per question, in order. What it raises is the failure of the whole batch."""
        batch = self._inputs(questions)
        keys = [questions[index].key for index in batch.kept] if self._hands_on or self.before is not None else ()
        predictions = self._predict_all(batch.arrays, len(batch.kept), keys)
        if not batch.bad:
            return tuple(predictions)
        if not self._told:
            self._told = True
            reason = next(iter(batch.bad.values()))
            logger.warning("stage %s: bad input: %s (told once, counted always)", self.spec.name, reason)
        results: dict[int, Result] = {index: BadSample(reason) for index, reason in batch.bad.items()}
        results.update(zip(batch.kept, predictions, strict=True))
        return tuple(results[index] for index in range(len(questions)))

    def packed(self, rows: Rows) -> Payload:
        """What it sends of one sample's hidden features. `BadInput` where a number in them is none."""
        tensors = []
        for each in self.spec.sends:
            array = apply_features(rows[each.output][None], each.features)[0]
            tensors.append(Tensor(each.output, array.dtype.name, array.shape, array.tobytes()))
        return tuple(tensors)

    def _inputs(self, questions: Sequence[Question]) -> Stacked:
        batch = stacked(self.readers, questions)
        if self.before is None or not batch.kept:
            return batch
        rows, bad, self._again = self.before._hidden([questions[index] for index in batch.kept])
        batch = left_out(self.readers, batch, bad)
        fed = {
            reader.model_input: reader.placed(stacked_rows(rows, reader.spec.tensor))
            for reader in self.readers
            if reader.spec.segment and rows
        }
        return batch._replace(arrays={**batch.arrays, **fed})

    def _hidden(self, questions: Sequence[Question]) -> tuple[list[Rows], dict[int, str], float]:
        """The features of all questions; which have none, and why; and for which share they were computed again."""
        found: dict[int, Rows] = {}
        missing: list[int] = []
        for index, question in enumerate(questions):
            rows = self._store.get(question.key, self)
            if rows is None:
                missing.append(index)
            else:
                found[index] = rows
        bad: dict[int, str] = {}
        if missing:
            batch = self._inputs([questions[index] for index in missing])
            found |= {missing[at]: rows for at, rows in zip(batch.kept, self._rows(batch), strict=True)}
            bad = {missing[at]: reason for at, reason in batch.bad.items()}
        return [found[index] for index in sorted(found)], bad, len(missing) / len(questions)

    def _rows(self, batch: Stacked) -> list[Rows]:
        limit, rows = self.spec.max_batch, []
        for at in range(0, len(batch.kept), limit):
            with self._one_at_a_time:
                outputs = self._model.run(part_of(self.readers, batch.arrays, at, limit))
            rows += rows_of(outputs, self._hands_on, min(limit, len(batch.kept) - at))
        return rows

    def _predict_all(self, arrays: Mapping[str, Array], samples: int, keys: Sequence[Key]) -> Sequence[Result]:
        limit = self.spec.max_batch
        if samples <= limit:
            return self._predict_batch(arrays, samples, keys) if samples else ()
        parts = range(0, samples, limit)
        return [
            result
            for at in parts
            for result in self._predict_batch(
                part_of(self.readers, arrays, at, limit), min(limit, samples - at), keys[at : at + limit]
            )
        ]

    def _predict_batch(self, arrays: Mapping[str, Array], samples: int, keys: Sequence[Key]) -> Sequence[Result]:
        """A batch that fails, fails whole: the hop tries its questions one by one."""
        try:
            return self._run(arrays, samples, keys)
        except BadInput as error:
            if samples > 1:
                raise
            return [BadSample(str(error))]

    def _run(self, arrays: Mapping[str, Array], samples: int, keys: Sequence[Key]) -> list[Prediction]:
        with self._one_at_a_time:  # a watch looks on the loop's thread while batches run in the models' thread
            outputs = self._model.run(arrays)
        predictions = self._read(arrays, outputs, samples)
        if keys:
            self._hand_on(outputs, keys)
        return predictions

    def _hand_on(self, outputs: Mapping[str, Array], keys: Sequence[Key]) -> None:
        if self._hands_on:
            for key, rows in zip(keys, rows_of(outputs, self._hands_on, len(keys)), strict=True):
                self._store.put(key, self, rows)
        if self.before is not None and not self.before.spec.sends:
            for key in keys:
                self._store.drop(key, self.before)

    def _read(self, arrays: Mapping[str, Array], outputs: Mapping[str, Array], samples: int) -> list[Prediction]:
        cues = cues_of(arrays[self.readers[0].model_input], self.spec.cues) if self.spec.cues else None
        return read_outputs(outputs, self.spec.output, len(self.spec.labels), samples, self._calibrate, cues)

    def run_once(self, inputs: Mapping[str, Array]) -> tuple[Prediction, Mapping[str, Array]]:
        """For a watch, which looks at one window after the other: the prediction, and all outputs."""
        with self._one_at_a_time:
            outputs = self._model.run(inputs)
        return self._read(inputs, outputs, 1)[0], outputs

    def close(self) -> None:
        self._model.close()


def _only_input(stage: str, model: Model) -> str:
    if len(model.inputs) != 1:
        raise ModelRejected(
            f"stage {stage}: inputs {[spec.name for spec in model.inputs]}, and the manifest names none"
        )
    return model.inputs[0].name
