"""The whole cascade with certificates on both links: who speaks is known, and nobody speaks for another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_agent.ask_client import ask

pytestmark = pytest.mark.needs_services
SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)
ACL = [
    "pattern write cascade/v1/+/%u/up/#",
    "pattern read cascade/v1/+/%u/down/#",
    "user barn.gw1",
    "topic read cascade/v1/barn/+/up/#",
    "topic write cascade/v1/barn/+/down/#",
]


class Authority:
    """Makes certificates that are good for this test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("test authority")
        self.ca_file = self._write("ca", self._certificate(self._name, self._key, is_ca=True), None)[0]

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, self._certificate(_named(name), key), key)

    def lines(self, name: str) -> str:
        """The settings of a link that is secured by a certificate of this name."""
        certificate, key = self.issue(name)
        return f'ca_file = "{self.ca_file}"\ncert_file = "{certificate}"\nkey_file = "{key}"'

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, is_ca: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None
    ) -> tuple[Path, Path]:
        places = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        places[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if key is not None:
            plain = serialization.NoEncryption()
            form = serialization.PrivateFormat.PKCS8
            places[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        return places


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.fixture
def secured(make_site, mosquitto, authority, until):
    """A broker, a cloud and a gateway that know each other by their certificates."""
    broker = mosquitto(acl=ACL, tls=(authority.ca_file, *authority.issue("broker")))
    site = make_site(broker.port)
    site.cloud_security = authority.lines("cloud")
    site.gateway_security = (authority.lines("barn.gw1"), authority.lines("barn.gw1"))
    site.cloud_daemon = site.cloud()
    site.gateway_daemon = site.gateway()
    until(site.gateway_daemon.has_link, why="gateway to cloud")
    return site


def test_a_question_climbs_over_encrypted_links_and_comes_back(secured, authority, make_sample, until):
    secured.agent_security = authority.lines("barn.cam1")
    agent = secured.agent()
    until(agent.has_link, why="agent to gateway")
    answer = ask(secured.socket_of(agent), "cam", {"x": make_sample(UNSURE, UNSURE, SURE)}, final=True)
    assert (answer["tier"], answer["label"]) == ("cloud", "yes")


def test_a_device_with_anothers_certificate_is_alone_and_is_told_why(secured, authority, make_sample, until):
    secured.agent_security = authority.lines("barn.cam1")
    thief = secured.agent("barn.cam2")
    path = secured.socket_of(thief)
    assert ask(path, "cam", {"x": make_sample(UNSURE, SURE)})["tier"] == "edge"
    until(lambda: "does not let this device ask" in thief.log, why="the log says why")
    assert not thief.has_link()
    assert secured.gateway_daemon.metric("cascade_asked_total") == 0


def test_a_gateway_with_anothers_certificate_is_refused_by_the_cloud(secured, authority, until):
    secured.gateway_security = (authority.lines("barn.gw1"), authority.lines("field.gw9"))
    impostor = secured.gateway("barn.gw2")
    faults = lambda: secured.cloud_daemon.metric("cascade_peer_faults_total", fault="identity")  # noqa: E731
    until(lambda: faults() > 0, why="the cloud counts a wrong identity")
    assert not impostor.has_link()
    assert secured.gateway_daemon.has_link()


def test_a_broker_of_another_authority_is_not_spoken_to(secured, tmp_path, make_sample, until):
    secured.agent_security = Authority(tmp_path / "another").lines("barn.cam1")
    agent = secured.agent()
    assert ask(secured.socket_of(agent), "cam", {"x": make_sample(UNSURE, SURE)})["tier"] == "edge"
    until(lambda: "certificate" in agent.log.lower(), why="the log names the certificate")
    assert not agent.has_link()
