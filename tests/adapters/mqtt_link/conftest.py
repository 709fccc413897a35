"""Brokers that can be told to misbehave, devices and gateways at them, and certificates, made for the test."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cascade.adapters.transports.broker_wire import BrokerWire
from cascade.adapters.transports.embedded_broker import EmbeddedBroker
from cascade.adapters.transports.mqtt import MqttAbove, MqttBelow, MqttSettings
from cascade.adapters.transports.mqtt_packets import Publish
from cascade.inference.events import Event
from cascade.messages import Answer, ClassScores, Outcome, Question, Tensor, payload_digest

WITHIN_S = 10.0
Kind = TypeVar("Kind")


class Ear:
    """An inbox that remembers everything, and can be waited at."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._heard = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._heard.set()

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_for(self, kind: type[Kind], count: int = 1, within_s: float = WITHIN_S) -> list[Kind]:
        async with asyncio.timeout(within_s):
            while len(self.all(kind)) < count:
                self._heard.clear()
                await self._heard.wait()
        return self.all(kind)


class OddBroker(EmbeddedBroker):
    """An embedded broker that counts its guests, and does to a message what it is told to."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.connects: list[str] = []
        self.published: list[Publish] = []
        self.instead: Callable[[BrokerWire, Publish], bool] | None = None
        """Handles a message in its own way, and returns True if it did."""

    def connect(self, wire: BrokerWire, connect: Any) -> None:
        self.connects.append(connect.client_id)
        super().connect(wire, connect)

    def publish(self, wire: BrokerWire, publish: Publish) -> None:
        self.published.append(publish)
        if self.instead is None or not self.instead(wire, publish):
            super().publish(wire, publish)

    def wire_of(self, client_id: str) -> BrokerWire:
        wire = self._sessions[client_id].wire
        assert isinstance(wire, BrokerWire)
        return wire


async def until(true: Callable[[], Any], within_s: float = 5.0) -> None:
    """For what nobody tells: looks often, and gives up in time."""
    give_up_at = asyncio.get_running_loop().time() + within_s
    while not true():
        assert asyncio.get_running_loop().time() < give_up_at, f"not within {within_s:g} s"
        await asyncio.sleep(0.005)


class Place:
    """A broker with devices and gateways, all of which are closed after the test."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._made: list[MqttAbove | MqttBelow] = []

    def settings(self, client_id: str, **settings: Any) -> MqttSettings:
        quick: dict[str, Any] = {
            "probe_s": 0.2, "dead_after_s": 0.6, "connect_timeout_s": 1.0, "backoff_first_s": 0.02,
            "backoff_most_s": 0.1, "reconnects_a_minute": 1000,
        }  # fmt: skip
        return MqttSettings(port=self.port, client_id=client_id, **{**quick, **settings})

    def above(self, device: str = "barn.cam1", **settings: Any) -> MqttAbove:
        self._made.append(MqttAbove(self.settings(settings.pop("client_id", device), **settings), device))
        return self._made[-1]  # type: ignore[return-value]

    def below(self, name: str = "gw1", callbacks: dict[str, Any] | None = None, **settings: Any) -> MqttBelow:
        self._made.append(MqttBelow(self.settings(name, **settings), "barn", **(callbacks or {})))
        return self._made[-1]  # type: ignore[return-value]

    async def listening(self, ear: Ear, name: str = "gw1", **settings: Any) -> MqttBelow:
        """A gateway that is subscribed."""
        links: list[bool] = []
        callbacks = {**settings.pop("callbacks", {}), "on_link": lambda up, why: links.append(up)}
        below = self.below(name, callbacks, **settings)
        await below.open(ear)
        await until(lambda: links == [True])
        return below

    until = staticmethod(until)

    async def close(self) -> None:
        for made in self._made:
            await made.close()


class Words(NamedTuple):
    """What is said in these tests."""

    questions: Callable[..., list[Question]]
    answer: Callable[[Question], Answer]


def questions(
    count: int = 1, device: str = "barn.cam1", first: int = 0, size: int = 100, **more: Any
) -> list[Question]:
    made = []
    for number in range(first, first + count):
        payload = (Tensor("x", "uint8", (size,), number.to_bytes(4, "little") * (size // 4)),)
        made.append(
            Question(
                **{
                    "id": f"q{number}", "device": device, "stream": "s", "sequence": number, "task": "t",
                    "release": "r", "payload": payload, "ms_left": 30_000.0, "digest": payload_digest(payload), **more,
                }
            )
        )  # fmt: skip
    return made


def answer(question: Question) -> Answer:
    return Answer(
        id=question.id, device=question.device, digest=question.digest, stream=question.stream,
        sequence=question.sequence, task=question.task, release=question.release, outcome=Outcome.ANSWERED,
        reason="sure", prediction=ClassScores((0.25, 0.75)), label="yes", tier="fog",
    )  # fmt: skip


@pytest.fixture
def words() -> Words:
    return Words(questions, answer)


@pytest.fixture
def new_ear() -> type[Ear]:
    return Ear


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
async def broker() -> AsyncIterator[OddBroker]:
    made = OddBroker()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def new_broker() -> type[OddBroker]:
    return OddBroker


@pytest.fixture
async def place(broker: OddBroker) -> AsyncIterator[Place]:
    made = Place(broker.port)
    yield made
    await made.close()


@pytest.fixture
async def new_place() -> AsyncIterator[Callable[[int], Place]]:
    """Devices and gateways at another broker."""
    made: list[Place] = []

    def make(port: int) -> Place:
        made.append(Place(port))
        return made[-1]

    yield make
    for one in made:
        await one.close()


class Authority:
    """A certificate authority of the test's own. Elliptic keys: they are made at once."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(self._name, self._key.public_key(), ca=True)
        self.file = self._written(f"{name}.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, addresses: Sequence[str] = (), valid_s: float = 3600.0) -> tuple[Path, Path]:
        """The files of a certificate and its key. With addresses it is a server's."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key.public_key(), addresses=addresses, valid_s=valid_s)
        plain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return self._written(f"{name}.crt", pem), self._written(f"{name}.key", plain)

    def _signed(
        self, subject: x509.Name, key: Any, ca: bool = False, addresses: Sequence[str] = (), valid_s: float = 3600.0
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if addresses else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(seconds=valid_s))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if ca:
            builder = builder.add_extension(_CA_USAGE, critical=True)
        else:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if addresses:
            names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _written(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path


_CA_USAGE = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


@pytest.fixture
def authority(tmp_path: Path) -> Callable[[str], Authority]:
    return lambda name: Authority(tmp_path, name)
