"""Letters of askers with a name: kept within bounds, and known by their ids when they are acknowledged late."""

from __future__ import annotations

from edge_agent.ask_mailbox import MAX_LETTERS, Letter, Mailboxes


def test_more_than_a_box_holds_can_be_acknowledged(question, answer):
    """Else what the application has acted on would stay in the spool, and come again after a restart."""
    boxes = Mailboxes()
    letters = [Letter("ask:u0.app:", answer(question(number)), sent=True) for number in range(3 * MAX_LETTERS)]
    for letter in letters:
        boxes.put("u0.app", letter)
    taken = [boxes.take("u0.app", letter.answer.id) for letter in letters]
    assert [each.answer.key for each in taken if each is not None] == [letter.answer.key for letter in letters]
    assert boxes.take("u0.app", letters[0].answer.id) is None
    assert boxes.dropped == 0


def test_what_nobody_was_sent_is_dropped_and_counted(question, answer):
    boxes = Mailboxes()
    for number in range(MAX_LETTERS + 3):
        boxes.put("u0.app", Letter("ask:u0.app:", answer(question(number)), sent=False))
    assert boxes.dropped == 3
    assert len(boxes.of("u0.app")) == MAX_LETTERS
