"""What goes up, and when: by value, so many at a time, within budgets, and not to a hop that doesn't answer."""

from __future__ import annotations

from heapq import heappop, heappush

from cascade.inference.alarms import SLACK, Alarms
from cascade.inference.audit import Dice
from cascade.inference.breaker import Breaker, Circuit
from cascade.inference.budget import Allowance, Budget
from cascade.inference.promptness import Promptness
from cascade.messages import HIGHEST_PRIORITY, Key, Word

OVERHEAD_BYTES = 120
"""What a question takes on the wire beside its payload, until the first have been measured."""

RETRIES_SAVED = 10.0
"""How many repeated asks a quiet link may make at once, before their share of the first asks bounds them."""


class UplinkSettings(Word, frozen=True, gc=False, kw_only=True):
    """How a hop treats the hop above."""

    in_flight: int = 256
    answer_within_s: float = 5.0
    """An ask that has no answer after this, or at its deadline, has failed."""
    ask_again_s: float = 2.0
    """A question that still wants its answer is asked again after this, then twice this, and so on."""
    ask_again_most_s: float = 300.0
    retry_share: float = 0.1
    """Repeated asks, as a share of first asks."""
    failures_to_open: int = 5
    cool_s: float = 1.0
    cool_most_s: float = 30.0
    reserve_ms: float = 20.0
    """Kept back from the time that the hop above is given, for the way back."""
    bytes: Allowance = Allowance()
    joules: Allowance = Allowance()
    joules_per_byte: float = 0.0


class Ask:
    """One question's dealings with the hop above."""

    __slots__ = ("asked_at", "estimate_bytes", "priority", "tries", "wanted")

    def __init__(self, priority: int, estimate_bytes: float) -> None:
        self.priority = priority
        self.estimate_bytes = estimate_bytes
        self.asked_at = 0.0
        self.tries = 0
        self.wanted = True


class Uplink:
    """Waiting to be asked → in flight → answered; or failed, and after a while waiting again."""

    def __init__(self, settings: UplinkSettings, dice: Dice) -> None:
        self.settings = settings
        self.up = False
        self.breaker = Breaker(settings.failures_to_open, settings.cool_s, settings.cool_most_s)
        self._dice = dice
        self._bytes = Budget(settings.bytes)
        self._joules = Budget(settings.joules)
        self._asks: dict[Key, Ask] = {}
        self._in_flight: dict[Key, Ask] = {}
        self._queue: list[tuple[int, int, Key]] = []
        self._queued = 0
        self._timeouts = Alarms()
        self._pauses = Alarms()
        self._retries = RETRIES_SAVED
        self._probe: Key | None = None
        """The one that is asked to see whether the breaker may close: those asked before it was open prove nothing."""
        self._overhead_bytes = float(OVERHEAD_BYTES)
        self.promptness = Promptness()

    def blocked(self, now: float) -> str:
        """Why nothing would be asked now, as a reason; empty where it would."""
        if not self.up:
            return "link_down"
        self.breaker.cool(now)
        circuit = self.breaker.circuit
        if circuit is Circuit.OPEN or (circuit is Circuit.PROBING and self._in_flight):
            return "breaker_open"
        if self._bytes.empty(now) or self._joules.empty(now):
            return "no_budget"
        return ""

    def want(self, key: Key, priority: int, payload_bytes: int) -> None:
        ask = self._asks[key] = Ask(priority, payload_bytes + self._overhead_bytes)
        self._enqueue(key, ask)

    @property
    def has_asks(self) -> bool:
        """Whether there is anything to look at, for who looks after each event."""
        return bool(self._asks and (self._queue or self._pauses))

    def next_asks(self, now: float) -> list[Key]:
        """Who may be asked now. What comes of each is told by `sent`, then `succeeded` or a timeout."""
        for key in self._pauses.due(now):
            if key in self._asks:
                self._enqueue(key, self._asks[key])
        chosen: list[Key] = []
        # In this order: while anybody waits, a breaker that has cooled must be noticed, or it would be woken for again.
        while self._queue and not self.blocked(now) and len(self._in_flight) < self.settings.in_flight:
            _, _, key = heappop(self._queue)
            ask = self._asks.get(key)
            if ask is None or not ask.wanted or key in self._in_flight:
                continue
            if ask.tries and not self._may_retry(key, ask, now):
                continue
            ask.asked_at = now
            self._begin(key, ask)
            chosen.append(key)
        return chosen

    def give_up_at(self, key: Key, at: float) -> None:
        self._timeouts.set(key, at)

    def sent(self, keys: tuple[Key, ...], message_bytes: int) -> None:
        """Settle the guess with what the message really took."""
        guessed = 0.0
        for key in keys:
            ask = self._asks.get(key)
            if ask is not None:
                guessed += ask.estimate_bytes
        self._spend(message_bytes - guessed)
        each = message_bytes / max(1, len(keys)) - guessed / max(1, len(keys))
        self._overhead_bytes = max(0.0, self._overhead_bytes + 0.1 * each)

    def answered(self, key: Key, now: float) -> None:
        """It took so long. Not of those that a deadline hurried: they say how long was left."""
        ask = self._in_flight.get(key)
        if ask is not None:
            self.promptness.answered(now - ask.asked_at, now)

    def succeeded(self, key: Key) -> None:
        """The hop above said something of this question: it lives."""
        self.breaker.succeeded()
        ask = self._in_flight.get(key)
        if ask is not None and ask.tries > 1:
            self._retries = min(RETRIES_SAVED, self._retries + 1.0)  # one that was worth its while
        self._land(key)

    def done(self, key: Key) -> None:
        """Nothing more is wanted for this question."""
        if key in self._asks:
            self._land(key)
            del self._asks[key]
            self._pauses.cancel(key)

    def promised(self, key: Key, now: float) -> None:
        """The hop above has it and goes on. That hop may die while another keeps the link alive, so it is asked again:
        seldom, and ever more so, because all it costs is for nothing where that hop lives."""
        self.breaker.succeeded()
        ask = self._asks.get(key)
        if ask is not None:
            longest_s = self.settings.ask_again_most_s * 2.0 ** min(max(0, ask.tries - 1), 10)
            self.pause(key, now + self._spread_s(key, f"promised {ask.tries}", longest_s))

    def pause(self, key: Key, until: float) -> None:
        """Ask again then, and not before."""
        self._land(key)
        ask = self._asks.get(key)
        if ask is not None:
            ask.wanted = False
            self._pauses.set(key, until)

    def refused(self, key: Key, now: float) -> None:
        """The hop above has no room: to keep asking would make it worse."""
        self._land(key)
        self.breaker.failed(now)

    def overdue(self, now: float) -> list[Key]:
        """Asks that failed because no answer came. Those still wanted are asked again after a pause."""
        failed = [key for key in self._timeouts.due(now) if key in self._in_flight]
        for key in failed:
            if self.breaker.circuit is not Circuit.PROBING or key == self._probe:
                self.breaker.failed(now)
            self.promptness.unanswered(now - self._asks[key].asked_at, now)
            self.pause(key, now + self._pause_s(key, self._asks[key].tries))
        return failed

    def link_up(self) -> None:
        """What was on its way when the link went is asked again at once: that is no retry, the way was gone."""
        self.up = True
        self.promptness.link_up()
        self.breaker.succeeded()
        for key, ask in self._asks.items():
            ask.tries = 0
            if not ask.wanted:
                self._pauses.cancel(key)
                self._enqueue(key, ask)

    def link_lost(self) -> list[Key]:
        """Those who had hoped for an answer."""
        self.up = False
        for key, ask in list(self._in_flight.items()):
            self._land(key)
            self._enqueue(key, ask)
        return list(self._asks)

    def budgets_left(self, now: float) -> tuple[float | None, float | None]:
        """Bytes and joules that may be spent now; None: without limit. For those who ask why."""
        return self._bytes.left(now), self._joules.left(now)

    def scarce(self, now: float) -> bool:
        """More than half of a budget's burst is spent: what is left is for those who need it most."""
        return any(
            budget.limited and (budget.left(now) or 0.0) < 0.5 * budget.burst for budget in (self._bytes, self._joules)
        )

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def wakes_at(self, now: float) -> float | None:
        times = [self._timeouts.next_at, self._pauses.next_at]
        if self._asks and self._queue and self.up:
            if self.breaker.circuit is Circuit.OPEN:
                times.append(self.breaker.cools_at)
            else:
                times += [budget.refills_at(now) for budget in (self._bytes, self._joules) if budget.empty(now)]
        return min((time for time in times if time is not None), default=None)

    def _enqueue(self, key: Key, ask: Ask) -> None:
        ask.wanted = True
        self._queued += 1
        heappush(self._queue, (HIGHEST_PRIORITY - ask.priority, self._queued, key))
        if len(self._queue) > 2 * len(self._asks) + SLACK:
            # Those who ended while they waited are thrown out, or a dead link would fill the memory.
            newest = {entry[2]: entry for entry in sorted(self._queue) if entry[2] in self._asks}
            self._queue = sorted(newest.values())

    def _begin(self, key: Key, ask: Ask) -> None:
        ask.tries += 1
        if ask.tries == 1:
            self._retries = min(RETRIES_SAVED, self._retries + self.settings.retry_share)
        if self.breaker.circuit is Circuit.PROBING:
            self._probe = key
        self._in_flight[key] = ask
        self._spend(ask.estimate_bytes)

    def _land(self, key: Key) -> None:
        if self._in_flight.pop(key, None) is not None:
            self._timeouts.cancel(key)

    def _may_retry(self, key: Key, ask: Ask, now: float) -> bool:
        """Within their share; and one at a time where nothing else is on its way, or a hop that was silent for a while
        would never be asked again by who asks nothing new."""
        if self._retries >= 1.0:
            self._retries -= 1.0
            return True
        if not self._in_flight:
            return True
        self.pause(key, now + self._pause_s(key, ask.tries))
        return False

    def _pause_s(self, key: Key, tries: int) -> float:
        """Doubles with each try."""
        longest_s = min(self.settings.ask_again_s * 2.0 ** min(tries - 1, 30), self.settings.ask_again_most_s)
        return self._spread_s(key, f"pause {tries}", longest_s)

    def _spread_s(self, key: Key, purpose: str, longest_s: float) -> float:
        """Chance cuts it to between half and all, so that who failed together spread out."""
        return longest_s * (0.5 + 0.5 * self._dice.roll(purpose, key.id))

    def _spend(self, amount_bytes: float) -> None:
        self._bytes.spend(amount_bytes)
        self._joules.spend(amount_bytes * self.settings.joules_per_byte)
