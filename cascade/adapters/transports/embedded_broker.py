"""An MQTT 5 broker in this process: for the demo and for tests. Production is mosquitto, EMQX, HiveMQ.

It speaks what this runtime uses: QoS 0 and 1, retained messages, wills, shared subscriptions, session and message
expiry, flow control, users and rights. It keeps everything in memory, has one thread, and knows no bridge, no QoS 2,
no MQTT 3, no topic aliases, no subscription identifiers.
It passes the same probes as mosquitto (`tests/contracts/test_brokers.py`), and what a client can make it keep is
bounded (`Bounds`): a hostile one loses its own messages and its own connection.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import secrets
import ssl
from collections.abc import Mapping

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.broker_delivery import Deliveries
from cascade.adapters.transports.broker_rights import Rights, User
from cascade.adapters.transports.broker_session import Bounds, Room, Session
from cascade.adapters.transports.broker_wire import BrokerWire
from cascade.adapters.transports.mqtt_packets import Connect, Malformed, Message, Publish, Wanted
from cascade.errors import LinkError

SWEEP_S = 0.25
"""How often silent clients are looked for."""
MOST_STRANGERS = 256
"""Connections that have not said yet who they are."""

log = logging.getLogger(__name__)


class EmbeddedBroker:
    """`await start()`, `.port`, `await stop()`. All of it lives on the loop that started it."""

    def __init__(
        self,
        bind: str = "127.0.0.1",
        port: int = 0,
        users: Mapping[str, User] | None = None,
        tls: ssl.SSLContext | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.bind, self.port, self.bounds = bind, port, bounds or Bounds()
        self.frozen = False
        self._tls = tls
        self._rights = Rights(users)
        self._wires: set[BrokerWire] = set()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._forget_all()

    def _forget_all(self) -> None:
        self._deliveries = Deliveries(self._rights, self.bounds, self.now)
        self._room = Room(self.bounds.kept_bytes)
        self._sessions: dict[str, Session] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}
        self._late_wills: dict[str, tuple[asyncio.TimerHandle, BrokerWire]] = {}

    def now(self) -> float:
        return self.loop.time()

    async def start(self) -> None:
        """Raises `LinkError` where the port is taken. After a `stop`, it starts again on the port that it had."""
        self.loop = asyncio.get_running_loop()
        try:
            self._server = await self.loop.create_server(lambda: BrokerWire(self), self.bind, self.port, ssl=self._tls)
        except OSError as error:
            raise LinkError(f"no broker on {self.bind}:{self.port}: {_why(error)}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweep = self.loop.call_later(SWEEP_S, self._look_for_silence)

    async def stop(self) -> None:
        """Hang up on everybody and forget everything. Without wills: the broker goes, not its clients."""
        self.frozen = False
        if self._server is not None:
            self._server.close()
        for wire in list(self._wires):
            wire.will = None
            wire.refuse(packets.SHUTTING_DOWN)
        timers = [*self._ends.values(), *(timer for timer, _ in self._late_wills.values()), self._sweep]
        for timer in timers:
            if timer is not None:
                timer.cancel()
        self._forget_all()
        await asyncio.sleep(0)

    def freeze(self) -> None:
        """For tests: keep all sockets open and do nothing more, like a process that is stopped."""
        self.frozen = True
        for wire in self._wires:
            wire.freeze()

    def thaw(self) -> None:
        self.frozen = False
        for wire in list(self._wires):
            wire.thaw()

    def joined(self, wire: BrokerWire) -> None:
        self._wires.add(wire)
        if len(self._wires) > self.bounds.clients + MOST_STRANGERS:
            wire.abort()
        elif self.frozen:
            wire.freeze()

    def left(self, wire: BrokerWire) -> None:
        """A connection ended, however. Comes twice for one that the broker closed."""
        self._wires.discard(wire)
        session, wire.session = wire.session, None
        if session is None:
            return
        session.detach()
        delay_s = min(wire.will.delay_s, session.expiry_s) if wire.will else 0
        if delay_s:
            timer = self.loop.call_later(delay_s, self._publish_late_will, session.client_id)
            self._late_wills[session.client_id] = (timer, wire)
        else:
            self._publish_will(wire)
        if session.expiry_s:
            self._deliveries.pass_on(session)
            self._ends[session.client_id] = self.loop.call_later(session.expiry_s, self._end, session)
        else:
            self._end(session)

    def _end(self, session: Session) -> None:
        self._ends.pop(session.client_id, None)
        self._sessions.pop(session.client_id, None)
        self._deliveries.forget(session)
        session.expiry_s = 0
        self._deliveries.pass_on(session)
        session.forget()

    def connect(self, wire: BrokerWire, connect: Connect) -> None:
        if not self._rights.lets_in(connect.username, connect.password):
            raise Malformed(packets.BAD_PASSWORD, "bad user name or password")
        client_id = connect.client_id or f"auto-{secrets.token_hex(8)}"
        if max(len(client_id), len(connect.username or "")) > self.bounds.name_bytes:
            raise Malformed(packets.BAD_CLIENT_ID, f"a name of more than {self.bounds.name_bytes} characters")
        if connect.will and not self._takes_will(connect.will.message):
            raise Malformed(packets.QUOTA, "a will of that size")
        if client_id not in self._sessions and len(self._sessions) >= self.bounds.clients:
            raise Malformed(packets.SERVER_BUSY, "as many clients as this broker takes")
        session, present = self._session_for(client_id, connect)
        wire.session, wire.user, wire.will = session, connect.username or "", connect.will
        wire.keepalive_s = min(connect.keepalive_s or self.bounds.keepalive_s, self.bounds.keepalive_s)
        session.attach(wire, connect)
        wire.send(packets.connack(packets.SUCCESS, present, self._terms(connect, client_id)))
        session.pump(self.now())

    def _session_for(self, client_id: str, connect: Connect) -> tuple[Session, bool]:
        """The client's session, and whether it was there. A second connection of the same name ends the first."""
        known = self._sessions.get(client_id)
        if known is not None and isinstance(known.wire, BrokerWire):
            known.wire.refuse(packets.TAKEN_OVER)
        self._settle_will(client_id, publish=connect.clean_start)
        if timer := self._ends.pop(client_id, None):
            timer.cancel()
        known = self._sessions.get(client_id)
        if known is not None and connect.clean_start:
            self._end(known)
            known = None
        session = self._sessions[client_id] = known or Session(client_id, self.bounds, self._room)
        return session, known is not None

    def _takes_will(self, message: Message) -> bool:
        return message.size <= self.bounds.will_bytes and self._deliveries.fits(message.topic)

    def _terms(self, connect: Connect, client_id: str) -> Properties:
        terms = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]
        terms.ReceiveMaximum = self.bounds.receive_maximum
        terms.MaximumPacketSize = self.bounds.packet_bytes
        terms.MaximumQoS = 1
        terms.SubscriptionIdentifierAvailable = 0
        if not connect.client_id:
            terms.AssignedClientIdentifier = client_id
        if connect.session_expiry_s > self.bounds.session_expiry_s:
            terms.SessionExpiryInterval = self.bounds.session_expiry_s
        if connect.keepalive_s == 0 or connect.keepalive_s > self.bounds.keepalive_s:
            terms.ServerKeepAlive = self.bounds.keepalive_s
        return terms

    def publish(self, wire: BrokerWire, publish: Publish) -> None:
        if not self._deliveries.fits(publish.message.topic):
            raise Malformed(packets.TOPIC_INVALID, "a topic of that length")
        code = packets.NOT_AUTHORIZED
        if self._rights.may_write(wire.user, publish.message.topic):
            code = self._deliveries.spread(publish.message, publish.expiry_s, wire.session)
        if publish.mid:
            wire.send(packets.acknowledged(packets.PUBACK, publish.mid, code))

    def subscribe(self, wire: BrokerWire, session: Session, mid: int, wanted: list[Wanted]) -> None:
        wire.send(packets.granted(packets.SUBACK, mid, [self._deliveries.subscribe(session, one) for one in wanted]))

    def unsubscribe(self, wire: BrokerWire, session: Session, mid: int, filters: list[str]) -> None:
        wire.send(
            packets.granted(packets.UNSUBACK, mid, [self._deliveries.unsubscribe(session, one) for one in filters])
        )

    def _publish_will(self, wire: BrokerWire) -> None:
        will, wire.will = wire.will, None
        if will is not None and self._rights.may_write(wire.user, will.message.topic):
            self._deliveries.spread(will.message, will.expiry_s, None)

    def _publish_late_will(self, client_id: str) -> None:
        self._publish_will(self._late_wills.pop(client_id)[1])

    def _settle_will(self, client_id: str, publish: bool) -> None:
        """The client is back before its late will was read: that is taken back, unless its session is ended by this."""
        timer, wire = self._late_wills.pop(client_id, (None, None))
        if timer is not None and wire is not None:
            timer.cancel()
            if publish:
                self._publish_will(wire)

    def _look_for_silence(self) -> None:
        """A client is given one and a half times its keepalive, and a new connection a while to say who it is."""
        now = self.now()
        for wire in () if self.frozen else tuple(self._wires):
            if wire.session is None:
                if now - wire.opened_at > self.bounds.connect_timeout_s:
                    wire.abort()
            elif now - wire.last_heard > 1.5 * wire.keepalive_s:
                wire.refuse(packets.KEEPALIVE_TIMEOUT)
        self._sweep = self.loop.call_later(SWEEP_S, self._look_for_silence)


def _why(error: OSError) -> str:
    """asyncio's own sentence has the address once more."""
    if error.errno == errno.EADDRINUSE:
        return "another program listens there, a broker perhaps: stop it, or choose another port (--port)"
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)


def main() -> None:
    """`python -m cascade.adapters.transports.embedded_broker --port 1883`"""
    parser = argparse.ArgumentParser(description="An MQTT 5 broker for demos and tests. Not for production.")
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        asyncio.run(_serve(EmbeddedBroker(arguments.bind, arguments.port)))
    except LinkError as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        log.info("stopped")


async def _serve(broker: EmbeddedBroker) -> None:
    await broker.start()
    log.warning("embedded broker on %s:%d, for demos and tests: everybody may do everything", broker.bind, broker.port)
    try:
        await asyncio.Event().wait()
    finally:
        await broker.stop()


if __name__ == "__main__":
    main()
