"""Labels that come later: what was true of a question, said by whoever knows, and counted against what was answered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from cascade.inference.accuracy import Accuracies, Label, is_right
from cascade.metrics import FEEDBACK, NONE, Row
from cascade.release.ladder import Ladder
from edge_agent.kept_answers import KeptAnswers

TIER = "edge"
Count = Callable[[Row, tuple[str, ...]], None]


class Feedback:
    """Compares with the last answer that was given. One label a question: the first."""

    def __init__(self, kept: KeptAnswers, count: Count, words: Mapping[str, Collection[str]] | None = None) -> None:
        """`words`: of each task, what the models of this device can say. Those above may know more, and of their
        answers no word is thought impossible."""
        self._kept = kept
        self._count = count
        self._words = words or {}
        self._judged: dict[str, bool] = {}
        self.accuracies = Accuracies()

    def note(self, question_id: str, label: Label) -> bool | None:
        """Whether the answer was right; None: no answer to such a question is kept. `BadInput` for a label that can't
        be compared with this kind of answer: it is not counted, and another may come."""
        before = self._judged.get(question_id)
        if before is not None:
            return before
        given = self._kept.of(question_id)
        if not given:
            self._count(FEEDBACK, (NONE, NONE, "unknown"))
            return None
        answer = given[-1]
        right = is_right(answer, label, self._words.get(answer.task, ()) if answer.tier == TIER else ())
        self._remember(question_id, right)
        self.accuracies.note(answer, right)
        self._count(FEEDBACK, (answer.task, answer.tier or NONE, "yes" if right else "no"))
        return right

    def _remember(self, question_id: str, right: bool) -> None:
        """As many as answers are kept: of the others nothing is known any more anyway."""
        self._judged[question_id] = right
        while len(self._judged) > max(1, self._kept.most):
            del self._judged[next(iter(self._judged))]


def words_of_tasks(ladders: Iterable[Ladder]) -> dict[str, frozenset[str]]:
    """What the stages of each ladder can say, all together."""
    return {ladder.task: frozenset(word for stage in ladder.stages for word in stage.labels) for ladder in ladders}
