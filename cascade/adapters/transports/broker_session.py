"""What the embedded broker keeps of one client: subscriptions, what waits for it, and what it has not acknowledged.

Bounded in every direction: a client that reads slowly, or not at all, loses messages of its own and costs nobody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.mqtt_packets import Connect, Message, Wanted

MOST_IN_FLIGHT = 1024
"""However much a client says that it can receive."""


class Bounds(NamedTuple):
    """What the broker grants. The usual ones hold a demo fleet; they are not meant for production."""

    clients: int = 2048
    subscriptions: int = 64
    filter_bytes: int = 1024
    filter_levels: int = 64
    """Of a filter and of a topic; `filter_bytes` bounds both, too."""
    name_bytes: int = 256
    """Of a client's id and of a user's name."""
    will_bytes: int = 64 * 1024
    queued_messages: int = 1000
    queued_bytes: int = 16 * 2**20
    """What one client has not acknowledged, and what waits for it."""
    kept_bytes: int = 256 * 2**20
    """The same, of all clients together."""
    packet_bytes: int = 1024 * 1024
    receive_maximum: int = 256
    retained_messages: int = 4096
    retained_bytes: int = 32 * 2**20
    keepalive_s: int = 3600
    session_expiry_s: int = 86_400
    connect_timeout_s: float = 10.0


class Wire(Protocol):
    """The connection that a session sends on."""

    writable: bool

    def send(self, data: bytes) -> None: ...


class Delivery(NamedTuple):
    """A message for one client. `share` names the shared subscription that it came by: another member could take it."""

    message: Message
    qos: int
    retain: bool
    share: str = ""
    again: bool = False


class Room:
    """What all sessions of a broker keep together."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.kept_bytes = most_bytes, 0

    def has(self, size: int) -> bool:
        return self.kept_bytes + size <= self.most_bytes


class Session:
    """One client's state; it outlives its connection by `expiry_s`."""

    def __init__(self, client_id: str, bounds: Bounds, room: Room) -> None:
        self.client_id = client_id
        self.user = ""
        self.subscriptions: dict[str, Wanted] = {}
        self.expiry_s = 0
        self.wire: Wire | None = None
        self.dropped = 0
        self._bounds, self._room = bounds, room
        self._queue: deque[Delivery] = deque()
        self._kept_bytes = 0
        self._in_flight: dict[int, Delivery] = {}
        self._window = MOST_IN_FLIGHT
        self._largest = bounds.packet_bytes
        self._last_mid = 0

    def attach(self, wire: Wire, connect: Connect) -> None:
        """A connection takes the session over. What was sent and not acknowledged goes first, as a duplicate."""
        self.wire, self.user = wire, connect.username or ""
        self.expiry_s = min(connect.session_expiry_s, self._bounds.session_expiry_s)
        self._window = min(connect.receive_maximum, MOST_IN_FLIGHT)
        self._largest = connect.max_packet_bytes
        again = [delivery._replace(again=True) for delivery in self._in_flight.values()]
        self._in_flight.clear()
        self._queue.extendleft(reversed(again))

    def offer(self, delivery: Delivery, now: float) -> bool:
        """Send, or queue; False where there is no room. What has QoS 0 does not wait for a client that is away."""
        if self.wire is None and not delivery.qos:
            return False
        size = delivery.message.size
        full = len(self._queue) >= self._bounds.queued_messages
        if full or self._kept_bytes + size > self._bounds.queued_bytes or not self._room.has(size):
            self.dropped += 1
            return False
        self._queue.append(delivery)
        self._keep(size)
        self.pump(now)
        return True

    def _keep(self, size: int) -> None:
        self._kept_bytes += size
        self._room.kept_bytes += size

    def pump(self, now: float) -> None:
        """Send what the client's window and its socket have room for."""
        while self._queue and self.wire is not None and self.wire.writable:
            if self._queue[0].qos and len(self._in_flight) >= self._window:
                return
            delivery = self._queue.popleft()
            expires_at = delivery.message.expires_at
            expired = expires_at is not None and now >= expires_at
            if expired or not self._send(self.wire, delivery, now):
                self._keep(-delivery.message.size)

    def _send(self, wire: Wire, delivery: Delivery, now: float) -> bool:
        """Whether it is in flight now, and has to be kept."""
        mid = self._free_mid() if delivery.qos else 0
        data = packets.publish(delivery.message, delivery.retain, delivery.again, mid, now)
        if len(data) > self._largest:
            self.dropped += 1
            return False
        if mid:
            self._in_flight[mid] = delivery
        wire.send(data)
        return bool(mid)

    def _free_mid(self) -> int:
        """There is always one: no more than `MOST_IN_FLIGHT` of 65,535 are taken."""
        while True:
            self._last_mid = self._last_mid % 65535 + 1
            if self._last_mid not in self._in_flight:
                return self._last_mid

    def acknowledged(self, mid: int, now: float) -> None:
        delivery = self._in_flight.pop(mid, None)
        if delivery is not None:
            self._keep(-delivery.message.size)
        self.pump(now)

    def detach(self) -> None:
        """The connection is gone; what had QoS 0 goes with it."""
        self.wire = None
        self._refill(delivery for delivery in self._queue if delivery.qos)

    def give_up_shared(self) -> list[Delivery]:
        """Take out what came by shared subscriptions and was not acknowledged, for other members."""
        waiting = [*self._in_flight.values(), *self._queue]
        self._in_flight = {mid: delivery for mid, delivery in self._in_flight.items() if not delivery.share}
        self._refill(delivery for delivery in self._queue if not delivery.share)
        return [delivery for delivery in waiting if delivery.share]

    def forget(self) -> None:
        """The session has ended: nothing waits for it any more."""
        self._in_flight.clear()
        self._refill(())

    def _refill(self, deliveries: Iterable[Delivery]) -> None:
        self._queue = deque(deliveries)
        kept = [*self._in_flight.values(), *self._queue]
        self._keep(sum(delivery.message.size for delivery in kept) - self._kept_bytes)
