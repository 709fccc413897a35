"""Ears, questions, certificates of a small authority, and gRPC ends that are closed after the test."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cascade.adapters.transports.grpc import GrpcAbove, GrpcAboveSettings, GrpcBelow, GrpcBelowSettings
from cascade.inference.events import Event
from cascade.messages import Answer, Outcome, Question, Tensor, payload_digest

WITHIN_S = 15.0
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


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Wait for what posts no event."""

    async def wait(true: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        async with asyncio.timeout(within_s):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def asked_by() -> Callable[..., list[Question]]:
    def make(device: str, count: int = 1, first: int = 0) -> list[Question]:
        payload = (Tensor("x", "uint8", (100,), bytes(100)),)
        return [
            Question(
                id=f"q{number}", device=device, stream="s", sequence=number, task="t", release="r", payload=payload,
                ms_left=30_000.0, digest=payload_digest(payload),
            )
            for number in range(first, first + count)
        ]  # fmt: skip

    return make


@pytest.fixture
def answer_to() -> Callable[[Question], Answer]:
    def make(question: Question) -> Answer:
        return Answer(
            id=question.id, device=question.device, digest=question.digest, stream=question.stream,
            sequence=question.sequence, task=question.task, release=question.release, outcome=Outcome.ANSWERED,
            reason="sure",
        )  # fmt: skip

    return make


@pytest.fixture
async def ends() -> AsyncIterator[Any]:
    """`await ends.below(...)` and `await ends.above(...)`: opened with an ear of their own, closed at the end."""

    class Ends:
        def __init__(self) -> None:
            self.made: list[GrpcAbove | GrpcBelow] = []

        async def below(self, **different: Any) -> tuple[GrpcBelow, Ear]:
            below, ear = GrpcBelow(GrpcBelowSettings(**{"port": 0, "health": False, **different})), Ear()
            self.made.append(below)
            await below.open(ear)
            return below, ear

        async def above(self, port: int, node: str = "barn.gw1", **different: Any) -> tuple[GrpcAbove, Ear]:
            quick = {
                "host": "127.0.0.1", "port": port, "node": node, "heartbeat_s": 0.1, "dead_after_s": 0.5,
                "retry_first_s": 0.05, "retry_most_s": 0.2,
            }  # fmt: skip
            above, ear = GrpcAbove(GrpcAboveSettings(**{**quick, **different})), Ear()
            self.made.append(above)
            await above.open(ear)
            return above, ear

    made = Ends()
    yield made
    for end in reversed(made.made):
        await end.close()


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self._serial = 0
        certificate = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.ca_file = self._write("ca.pem", certificate.sign(self._key, hashes.SHA256()))

    def issue(self, name: str, file: str = "") -> dict[str, Path]:
        """Settings for whoever has this name: `ca_file`, `cert_file`, `key_file`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        certificate = builder.add_extension(x509.SubjectAlternativeName(names), False)
        cert_file = self._write(f"{file or name}.pem", certificate.sign(self._key, hashes.SHA256()))
        key_file = self._folder / f"{file or name}.key"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return {"ca_file": self.ca_file, "cert_file": cert_file, "key_file": key_file}

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        self._serial += 1
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            self._name, name, key.public_key(), self._serial,
            now - datetime.timedelta(hours=1), now + datetime.timedelta(hours=1),
        )  # fmt: skip

    def _write(self, file: str, certificate: x509.Certificate) -> Path:
        path = self._folder / file
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def another_authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "another"
    folder.mkdir()
    return Authority(folder)
