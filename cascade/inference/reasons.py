"""Every reason that stands in an answer or a trail, in words: a clause that follows "because".

The reasons themselves are a closed set (docs/flows.md): they are metric labels, and programs compare them. The words
are for people, and may be changed. What a link or a newer hop says beyond the set is shown as it was said.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    # What a gate, or the ladder around it, decided of one stage's output.
    "sure": "it was sure enough",
    "unsure": "it was not sure enough",
    "careful": "it would usually be sure enough, but the guarantee of its threshold is in doubt",
    "spared": "it was sure enough as usual, and little was left of the budget to be more careful with",
    "unreadable": "what the model gave out could not be read (no number, a score outside 0 to 1, or another shape)",
    "nothing_here": "it was sure that there is nothing here worth an answer",
    "nobody_above": "it was not sure enough, but there is no hop above to ask",
    "no_stage_here": "no model for this task runs here",
    "stage_failed": "the model failed on this question",
    # Why the hop above was not asked, or did not answer in time.
    "link_down": "the link to the hop above was down",
    "breaker_open": "the hop above had failed too often in a row, and was not asked for a while (the breaker was open)",
    "no_budget": "the budget of bytes or joules for asking above was spent",
    "no_time": "an answer from above would hardly have come in time",
    "hedged": "a part of its time was over, and the answer from above may still come",
    "deadline": "no answer had come from above by the deadline",
    "gave_up": "no better answer had come from above when the time for corrections was over, or its place was needed",
    "not_kept_longer": "the hop keeps questions open for less long than was wanted: it has to be asked again",
    # Why a hop would not take the question at all.
    "overloaded": "too many questions were open, and it was worth no more than they",
    "draining": "the hop was being stopped, and takes nothing new",
    "too_late": "it had no time left when it arrived",
    "need_input": "what goes on from its hidden features is not here: the input itself is needed",
    "unknown_task": "nothing here answers this task",
    "bad_input": "the input does not fit the model",
    "wrong_identity": "its sender may not ask in the name of this device",
    "malformed": "it could not be read",
    # Why it could not travel, or not wait on disk.
    "too_large": "it is larger than a message may be",
    "unwritable": "it holds something that can't be written into a message",
    "spool_full": "the spool was full, and it was worth least",
    "too_old": "it was older than the spool keeps questions",
}

FROM_ABOVE = "above_"
"""How a reason begins that the hop above gave for its refusal."""


def in_words(reason: str) -> str:
    """The clause for a reason; of one that is not in the set, the reason itself."""
    if reason.startswith(FROM_ABOVE):
        return f"the hop above refused, because {in_words(reason[len(FROM_ABOVE) :])}"
    known = WORDS.get(reason)
    return known if known is not None else f'the reason given is "{reason}"'
