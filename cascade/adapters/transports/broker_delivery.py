"""Where the embedded broker's messages go: to subscribers, to one member of each shared group, into the retained."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.broker_rights import Rights
from cascade.adapters.transports.broker_routes import SHARED, BadFilter, Routes, Share, matches
from cascade.adapters.transports.broker_session import Bounds, Delivery, Session
from cascade.adapters.transports.mqtt_packets import Message, Wanted


class Subscription(NamedTuple):
    """Who wants what."""

    session: Session
    wanted: Wanted

    @property
    def connected(self) -> bool:
        return self.session.wire is not None


class Deliveries:
    """Routes and retained messages. Rights to read are asked message by message."""

    def __init__(self, rights: Rights, bounds: Bounds, now: Callable[[], float]) -> None:
        self._rights, self._bounds, self._now = rights, bounds, now
        self._routes: Routes[Subscription] = Routes()
        self._retained: dict[str, Message] = {}
        self._retained_bytes = 0

    def spread(self, message: Message, expiry_s: int | None, sender: Session | None) -> int:
        """Deliver a message that a client published; the code for its PUBACK."""
        if expiry_s is not None:
            message = message._replace(expires_at=self._now() + expiry_s)
        if message.retain and not self._retain(message):
            return packets.QUOTA
        plain, shares = self._routes.reached(message.topic)
        reached = self._to_plain(plain, message, sender) if plain else False
        for share in shares:
            reached = self._to_one(share, message) or reached
        return packets.SUCCESS if reached else packets.NO_SUBSCRIBERS

    def _to_plain(self, plain: list[Subscription], message: Message, sender: Session | None) -> bool:
        """Once to each client, at its best subscription. A client whose queue is full was there all the same."""
        best: dict[str, Subscription] = {}
        for subscription in plain:
            session, wanted = subscription
            if wanted.no_local and session is sender:
                continue
            if not self._rights.may_read(session.user, message.topic):
                continue
            other = best.get(session.client_id)
            if other is None or wanted.qos > other.wanted.qos:
                best[session.client_id] = subscription
        for session, wanted in best.values():
            retain = message.retain and wanted.as_published
            session.offer(Delivery(message, min(message.qos, wanted.qos), retain), self._now())
        return bool(best)

    def _to_one(
        self, share: Share[Subscription], message: Message, but: Session | None = None, again: bool = False
    ) -> bool:
        """In turns, to whoever is connected; else it waits with one who will come back."""
        may_read, topic = self._rights.may_read, message.topic
        members = [one for one in share.in_turn() if one.session is not but and may_read(one.session.user, topic)]
        members.sort(key=lambda one: not one.connected)
        for session, wanted in members:
            delivery = Delivery(message, min(message.qos, wanted.qos), False, wanted.filter, again)
            if session.offer(delivery, self._now()):
                return True
        return bool(members)

    def pass_on(self, session: Session) -> None:
        """What a client that left has not acknowledged of shared subscriptions goes to members that are connected."""
        for delivery in session.give_up_shared():
            share = self._routes.share(delivery.share)
            others = share is not None and any(
                one.connected for one in share.members.values() if one.session is not session
            )
            if share is not None and others:
                self._to_one(share, delivery.message, but=session, again=True)
            elif session.expiry_s:
                session.offer(delivery, self._now())

    def subscribe(self, session: Session, wanted: Wanted) -> int:
        """The code for its SUBACK. Rights are not looked at: mosquitto grants, and delivers nothing."""
        known = wanted.filter in session.subscriptions
        if not self.fits(wanted.filter):
            return packets.FILTER_INVALID
        if not known and len(session.subscriptions) >= self._bounds.subscriptions:
            return packets.QUOTA
        try:
            self._routes.add(session.client_id, wanted.filter, Subscription(session, wanted))
        except BadFilter:
            return packets.FILTER_INVALID
        session.subscriptions[wanted.filter] = wanted
        if not wanted.filter.startswith(SHARED) and (
            wanted.retain_handling == 0 or (wanted.retain_handling == 1 and not known)
        ):
            self._send_retained(session, wanted)
        return wanted.qos

    def fits(self, name: str) -> bool:
        """Whether a filter or a topic is one to remember: it is a key of tables, and walked level by level."""
        return len(name) <= self._bounds.filter_bytes and name.count("/") < self._bounds.filter_levels

    def unsubscribe(self, session: Session, name: str) -> int:
        if session.subscriptions.pop(name, None) is None:
            return packets.NO_SUBSCRIPTION
        self._routes.remove(session.client_id, name)
        return packets.SUCCESS

    def forget(self, session: Session) -> None:
        for name in list(session.subscriptions):
            self.unsubscribe(session, name)

    def _send_retained(self, session: Session, wanted: Wanted) -> None:
        now = self._now()
        for topic, message in list(self._retained.items()):
            if message.expires_at is not None and message.expires_at <= now:
                self._forget_retained(topic)
            elif matches(wanted.filter, topic) and self._rights.may_read(session.user, topic):
                session.offer(Delivery(message, min(message.qos, wanted.qos), True), now)

    def _retain(self, message: Message) -> bool:
        """An empty message forgets. False where there is no room."""
        self._forget_retained(message.topic)
        if not message.payload:
            return True
        bytes_then = self._retained_bytes + message.size
        if len(self._retained) >= self._bounds.retained_messages or bytes_then > self._bounds.retained_bytes:
            return False
        self._retained[message.topic] = message
        self._retained_bytes = bytes_then
        return True

    def _forget_retained(self, topic: str) -> None:
        old = self._retained.pop(topic, None)
        self._retained_bytes -= old.size if old else 0
