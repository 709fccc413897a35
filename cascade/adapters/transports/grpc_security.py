"""Certificates of the gRPC link: who is let in, who may go without, and under which name one speaks."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc

from cascade.errors import PeerError, SettingsError
from cascade.wire.limits import quoted
from cascade.wire.topics import check_device_name

MAX_CERTIFICATE_BYTES = 1 << 20

log = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def may_be_plain(where: str, host: str, insecure_ok: bool) -> None:
    """Without TLS anybody on the way can read and answer everything."""
    if not insecure_ok and not is_loopback(host):
        expected = "expected ca_file, cert_file and key_file, or insecure_ok = true"
        raise SettingsError(where, [f"{host}: not this machine, and no TLS; {expected}"])


def channel_credentials(
    where: str, ca_file: Path, cert_file: Path | None, key_file: Path | None
) -> grpc.ChannelCredentials:
    _both_or_neither(where, cert_file, key_file)
    pem = _contents(where, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
    return grpc.ssl_channel_credentials(pem.get("ca_file"), pem.get("key_file"), pem.get("cert_file"))


def server_credentials(
    where: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None, require_client_cert: bool
) -> grpc.ServerCredentials:
    """Read again at every handshake: certificates are short-lived, and replaced while the server runs.

    grpc asks for the client's certificate only where it also requires it.
    """
    if cert_file is None or key_file is None:
        raise SettingsError(where, ["cert_file, key_file: expected both"])
    if require_client_cert and ca_file is None:
        raise SettingsError(where, ["ca_file: is missing, expected a file beside require_client_cert = true"])

    def read() -> grpc.ServerCertificateConfiguration:
        pem = _contents(where, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        return grpc.ssl_server_certificate_configuration([(pem["key_file"], pem["cert_file"])], pem.get("ca_file"))

    def read_again() -> Any:
        """None keeps what is in use; the stubs don't know that."""
        try:
            return read()
        except SettingsError as error:
            log.error("the certificates in use are kept: %s", error)
            return None

    return grpc.dynamic_ssl_server_credentials(read(), read_again, require_client_authentication=require_client_cert)


def peer_names(auth_context: Mapping[str, Iterable[bytes]]) -> frozenset[str]:
    """The names that the peer's certificate gives it; none where it showed none."""
    named: list[bytes] = []
    for field in ("x509_common_name", "x509_subject_alternative_name"):
        named += auth_context.get(field, ())
    return frozenset(name.decode("utf-8", "replace") for name in named)


def check_hello(hello: str, names: frozenset[str], must_be_proven: bool) -> str:
    """A gateway's name, which its certificate has to bear out."""
    check_device_name(hello)
    if hello not in names and (names or must_be_proven):
        raise PeerError("identity", f"says it is {quoted(hello)}, its certificate says {quoted(sorted(names))}")
    return hello


def _both_or_neither(where: str, cert_file: Path | None, key_file: Path | None) -> None:
    if (cert_file is None) != (key_file is None):
        raise SettingsError(where, ["cert_file, key_file: expected both or neither"])


def _contents(where: str, **files: Path | None) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    mistakes: list[str] = []
    for name, path in files.items():
        try:
            if path is not None:
                contents[name] = _pem(Path(path))
        except OSError as error:
            mistakes.append(f"{name}: {path}: {error.strerror}")
        except ValueError as error:
            mistakes.append(f"{name}: {path}: {error}")
    if mistakes:
        raise SettingsError(where, mistakes)
    return contents


def _pem(path: Path) -> bytes:
    """grpc takes anything here and then fails every handshake; so look at least whether it is PEM."""
    with path.open("rb") as file:
        content = file.read(MAX_CERTIFICATE_BYTES)
    if b"-----BEGIN" not in content:
        raise ValueError("expected PEM")
    return content
