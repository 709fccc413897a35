"""Every metric there is, one row each. Names and labels are promises: dashboards and alerts are written against them.

Prometheus' conventions: base units in the name, `_total` on what only grows. A label's values are either a closed set
(`CLOSED`), or come from settings and bundles; `cascade.series` bounds those. `docs/metrics.md` is made from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from cascade.inference.careful import DOUBTS, Standing
from cascade.messages import Energy, Outcome, Verdict
from cascade.release.bundle import TIERS
from cascade.wire.limits import FAULT_KINDS

OTHER, NONE = "other", "none"

LATENCY_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """One metric. There is one object of each, so that it is told apart, and hashed, as itself."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    """`tier` comes first in each. The gateway puts `device` before it on what devices sent."""
    buckets: tuple[float, ...] = ()
    """Upper bounds; the one of infinity is understood."""

    @property
    def lines(self) -> int:
        """How many time series one set of label values is to Prometheus."""
        return len(self.buckets) + 3 if self.buckets else 1


class Reading(NamedTuple):
    """What one series of a metric says now: the form in which metrics are shown, sent and compared."""

    row: Row
    labels: tuple[str, ...]
    value: float
    """Of a histogram: the sum of what was observed."""
    buckets: tuple[int, ...] = ()
    """Of a histogram: cumulative counts, the last one being all."""
    device: str = ""


def _counter(name: str, labels: str, meaning: str) -> Row:
    return Row(name, Kind.COUNTER, meaning, ("tier", *labels.split()))


def _gauge(name: str, labels: str, meaning: str) -> Row:
    return Row(name, Kind.GAUGE, meaning, ("tier", *labels.split()))


def _histogram(name: str, labels: str, buckets: tuple[float, ...], meaning: str) -> Row:
    return Row(name, Kind.HISTOGRAM, meaning, ("tier", *labels.split()), buckets)


# fmt: off
RUNTIME = _gauge("cascade_runtime_info", "version", "Always 1: which version of the runtime this is.")
RELEASE = _gauge("cascade_release_info", "task release", "Always 1: the present release of each task.")

ASKED = _counter("cascade_asked_total", "task origin",
    "Questions taken in or turned away, each once: new, restored from the spool, or an audit from below.")
QUESTIONS = _counter("cascade_questions_total", "task verdict reason",
    "What this hop decided, once per question; audits from below are left out.")
UNDECIDED = _counter("cascade_undecided_total", "task outcome reason",
    "Questions that ended here before this hop decided anything.")
ANSWERS = _counter("cascade_answers_total", "task outcome by given",
    "Answers given, by outcome, by the tier whose prediction it is, and whether provisional, final or a correction.")
UNANSWERED = _counter("cascade_unanswered_total", "task outcome reason",
    "Questions that ended without an answer, with the recorded reason why.")
REPEATS = _counter("cascade_repeated_answers_total", "task",
    "Answers given again to who asked again, or to a second asker of one question.")
LATENCY = _histogram("cascade_answer_latency_seconds", "task by given", LATENCY_BUCKETS_S,
    "From the question to its answer, at this hop.")
OPEN = _gauge("cascade_open_questions", "", "Questions taken in and not ended; those parked on disk are left out.")
PARKED = _counter("cascade_parked_total", "", "Questions that left memory for the disk; they come back as restored.")
NOT_ASKED = _counter("cascade_not_asked_total", "stream",
    "Samples of which a stream made no question: too many a second, too large, or no numbers.")
NOTHING_THERE = _counter("cascade_watch_dropped_total", "stream", "Windows in which a watch saw nothing to ask about.")
WATCH_ASKED = _counter("cascade_watch_asked_total", "stream", "Windows of which a watch made a question.")
WATCH_LOOKS = _counter("cascade_watch_looks_total", "stream", "Windows that a watch gave to a model to look at.")
WATCH_FAILED = _counter("cascade_watch_failed_looks_total", "stream",
    "Looks that failed or could not be read. They count as if something had been seen.")
WATCH_SKIPPED = _counter("cascade_watch_skipped_total", "stream",
    "Windows that passed unseen, because the model that looks was too slow.")
WATCH_BAD = _counter("cascade_watch_bad_samples_total", "stream kind",
    "Samples of a sensor that are not what they should be; `flat` ones are heard all the same.")
SENSOR_SECONDS = _counter("cascade_sensor_seconds_total", "stream state", "For how long a sensor was on, and off.")
SENSOR_JOULES = _counter("cascade_sensor_energy_joules_total", "stream state source",
    "Energy of a sensor in both states, from the watts in its settings; nothing where they are not set.")
SENSOR_SWITCHED = _counter("cascade_sensor_switched_on_total", "stream",
    "How often another stream switched a sensor on.")
NOT_TAKEN = _counter("cascade_answers_not_taken_total", "", "Final answers whose asker went away for good.")
UNTRACKED = _counter("cascade_untracked_questions_total", "",
    "Open questions that the metrics lost sight of, over the bound of what they remember.")

CONFIDENCE = _histogram("cascade_confidence_ratio", "task stage class", CONFIDENCE_BUCKETS,
    "Confidence of what was decided, by stage and predicted class.")
STAGE_TIME = _histogram("cascade_stage_seconds", "task stage", LATENCY_BUCKETS_S, "One run of a stage, on a batch.")
STAGE_BATCH = _histogram("cascade_stage_batch_size", "task stage", BATCH_BUCKETS, "Questions in one run of a stage.")
STAGE_FAILURES = _counter("cascade_stage_failures_total", "task stage reason", "Runs of a stage that failed.")
BAD_INPUTS = _counter("cascade_bad_inputs_total", "task stage", "Questions whose input did not fit the model.")
JOULES = _counter("cascade_energy_joules_total", "task stage source",
    "Energy of inference, by where the number comes from.")
RADIO = _counter("cascade_radio_energy_joules_total", "link source",
    "Energy of sending, by where the number comes from.")

LINK_BYTES = _counter("cascade_link_bytes_total", "link direction", "Bytes on a link.")
LINK_MESSAGES = _counter("cascade_link_messages_total", "link direction", "Messages on a link.")
LINK_QUESTIONS = _counter("cascade_link_questions_total", "link",
    "Questions in the messages that were sent, repeats and audits among them.")
LINK_UP = _gauge("cascade_link_up", "link", "1 while the link above is proved, else 0.")
LINK_LOSSES = _counter("cascade_link_losses_total", "reason", "How often the link above was lost.")
UNSENDABLE = _counter("cascade_unsendable_total", "reason", "Questions that the link above will never take.")
PEER_FAULTS = _counter("cascade_peer_faults_total", "fault", "What peers sent that they should not have.")

AUDITS = _counter("cascade_audits_total", "task verdict agreed",
    "Questions settled here that were to be asked above as well, to compare.")
AUDIT_WEIGHT = _counter("cascade_audit_weight_total", "task verdict agreed",
    "The same, each counted 1/probability times: how many questions it stands for.")
AGREEMENT = _gauge("cascade_agreement_ratio", "task bound",
    "Of what is settled here, the share on which the hop above says the same: as audits show it lately, and the limits "
    "between which it lies with 95 % confidence.")
AUDIT_COVERAGE = _gauge("cascade_audit_coverage_ratio", "task",
    "The share of those audits that could be compared.")
FEEDBACK = _counter("cascade_feedback_total", "task by right",
    "Labels that came for answers of this device, by the tier that answered; unknown: no such answer is kept.")
GUESSES = _counter("cascade_own_guesses_total", "task reason",
    "Answers that are a guess because a hop above could not be asked, or not in time; provisional ones too.")
STANDING = _gauge("cascade_guarantee_standing", "task standing",
    "1 for how the guarantee of the thresholds stands, 0 for how else it has stood.")
DOUBT = _gauge("cascade_guarantee_doubt", "task doubt", "1 while there is this doubt about it, 0 when it is over.")
CAUTION = _gauge("cascade_caution_ratio", "task",
    "How far thresholds are moved: 0 as the release says, 1 as careful as it allows.")
DISTANCE = _gauge("cascade_drift_index", "task quantity",
    "How far the last hundred or so questions are from what was recorded (population stability index): above 0.25 they "
    "are others.")

EVICTED = _counter("cascade_evicted_total", "task reason", "Questions that the spool gave up, over its bounds.")
NOT_DURABLE = _counter("cascade_not_durable_total", "", "Questions that should be on disk and could not be written.")
SPOOL_QUESTIONS = _gauge("cascade_spool_questions", "", "Questions in the spool.")
SPOOL_BYTES = _gauge("cascade_spool_bytes", "", "Bytes of the spool on disk.")
SPOOL_AGE = _gauge("cascade_spool_oldest_age_seconds", "", "Age of the oldest question in the spool.")
JOURNAL_LOST = _counter("cascade_journal_lost_events_total", "", "Events that the journal could not hold.")
JOURNAL_UP = _gauge("cascade_journal_up", "", "1 while the journal is written, 0 while its disk is full or failing.")

OVERFLOW = _counter("cascade_metric_overflow_total", "metric",
    "Counted under \"other\", because the metric had all the series that it may have.")
BROKEN = _counter("cascade_metric_failures_total", "metric", "Readings that could not be taken.")
DEVICES_ONLINE = _gauge("cascade_devices_online", "", "Devices of this gateway that say they are there.")
DEVICE_AGE = _gauge("cascade_device_metrics_age_seconds", "", "Time since a device last sent its metrics.")
DEVICE_REFUSED = _counter("cascade_device_metrics_refused_total", "fault",
    "What devices sent as metrics and was not taken.")
# fmt: on

ROWS: tuple[Row, ...] = tuple(row for row in list(globals().values()) if isinstance(row, Row))
BY_NAME: dict[str, Row] = {row.name: row for row in ROWS}

LINK_FAULTS = frozenset({"identity_taken"})
"""What a link finds out by itself: somebody else has our name."""

ASKER_FAULTS = frozenset(
    {
        "bad_input", "bad_request", "not_allowed", "replaced", "too_fast", "too_large", "too_many_clients", "too_slow",
        "unknown_stream", "unread",
    }
)  # fmt: skip
"""What programs do wrong at a device's ask socket."""

GUESSED = frozenset({"link_down", "breaker_open", "no_budget", "no_time", "hedged", "deadline", "gave_up", "spared"})
"""Reasons of answers that are a guess, or would have been asked about."""

CLOSED: dict[str, frozenset[str]] = {
    "tier": frozenset(TIERS),
    "origin": frozenset({"new", "restored", "audit"}),
    "verdict": frozenset(verdict.value for verdict in Verdict),
    "outcome": frozenset(outcome.value for outcome in Outcome),
    "by": frozenset({*TIERS, NONE}),
    "given": frozenset({"final", "provisional", "correction", "audit"}),
    "source": frozenset(energy.value for energy in Energy),
    "link": frozenset({"above", "below"}),
    "kind": frozenset({"bad_input", "flat", "misfit", "not_finite"}),
    "state": frozenset({"off", "on"}),
    "direction": frozenset({"sent", "received"}),
    "agreed": frozenset({"yes", "no", "unknown"}),
    "bound": frozenset({"estimate", "low", "high"}),
    "right": frozenset({"yes", "no", "unknown"}),
    "standing": frozenset(standing.value for standing in Standing),
    "doubt": frozenset(DOUBTS),
    "fault": FAULT_KINDS | LINK_FAULTS | ASKER_FAULTS | {"metric", "labels", "buckets", "series", "devices", "flood"},
    "metric": frozenset(BY_NAME),
}
"""Labels with a closed set of values. Anything else that somebody says there becomes `other`."""


class Expression(NamedTuple):
    """A number that takes more than one series, in PromQL. Dashboards and alerts are made of these."""

    name: str
    meaning: str
    promql: str


_COMPARED = 'sum by (tier, task) (rate(cascade_audit_weight_total{agreed=~"yes|no"}[1h]))'
EXPRESSIONS: tuple[Expression, ...] = (
    Expression(
        "escalation rate",
        "The share of what a hop decided that climbs.",
        'sum by (tier, task) (rate(cascade_questions_total{verdict="climb"}[5m]))'
        " / sum by (tier, task) (rate(cascade_questions_total[5m]))",
    ),
    Expression(
        "agreement with the hop above",
        "Of what was settled here, the share on which the hop above says the same: estimated from audits, each "
        "weighted by 1/probability, over those that could be compared. It is agreement, not accuracy.",
        f'sum by (tier, task) (rate(cascade_audit_weight_total{{agreed="yes"}}[1h])) / {_COMPARED}',
    ),
    Expression(
        "coverage of the audits",
        "The share of audits that could be compared. Where it is low (outages, budgets), agreement says little.",
        f"{_COMPARED} / sum by (tier, task) (rate(cascade_audit_weight_total[1h]))",
    ),
    Expression(
        "accuracy",
        "Of the answers for which labels came, the share that was right.",
        'sum by (task, by) (rate(cascade_feedback_total{right="yes"}[1h]))'
        ' / sum by (task, by) (rate(cascade_feedback_total{right=~"yes|no"}[1h]))',
    ),
    Expression(
        "answer latency, 99 of 100",
        "By hop and task, provisional answers among them.",
        "histogram_quantile(0.99, sum by (tier, task, le) (rate(cascade_answer_latency_seconds_bucket[5m])))",
    ),
    Expression(
        "bytes up per question",
        "What a decided question costs the link above, those that stayed here counted too.",
        'sum by (tier) (rate(cascade_link_bytes_total{link="above", direction="sent"}[5m]))'
        " / sum by (tier) (rate(cascade_questions_total[5m]))",
    ),
    Expression(
        "joules per question",
        "Of inference, by where the number comes from.",
        "sum by (tier, task, source) (rate(cascade_energy_joules_total[5m]))"
        " / on (tier, task) group_left sum by (tier, task) (rate(cascade_questions_total[5m]))",
    ),
)
