"""How to reach a broker, and what is kept ready for it: settings, and the files that they name."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec

from cascade.adapters.transports.transport import MAX_QUESTION_BYTES
from cascade.errors import LinkError, SettingsError


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True):
    """TLS is spoken where `ca_file` is set.

    Files are read again at each connect: certificates and passwords may be renewed while this runs.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    client_id: str
    """The device's or the gateway's own name: a second client of the same name throws this one out."""
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    keepalive_s: int = 20
    """After one and a half of these the broker gives a silent client up, and reads its will."""
    probe_s: float = 10.0
    """Without any proof of life for this long, one is asked for."""
    dead_after_s: float = 25.0
    """Without any proof of life for this long, the link is lost. Less than two keepalives."""
    connect_timeout_s: float = 10.0
    receive_maximum: int = 256
    """Messages that the broker may have under way to us: the back-pressure of a gateway."""
    session_expiry_s: int = 120
    """How long the broker keeps answers for a device that is away. Gateways keep nothing: see `MqttBelow`."""
    max_queued: int = 1000
    """Messages of ours that the broker has not acknowledged."""
    max_packet_bytes: int = MAX_QUESTION_BYTES + 16 * 1024
    """The largest packet that is sent or taken: one largest question and its envelope."""
    backoff_first_s: float = 1.0
    backoff_most_s: float = 30.0
    reconnects_a_minute: int = 6


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """None where TLS is not asked for. Reads files: not for the loop's thread. Raises `LinkError`."""
    if not settings.ca_file:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise LinkError(f"certificates can't be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def password(settings: MqttSettings) -> str | None:
    if not settings.password_file:
        return None
    try:
        return Path(settings.password_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise LinkError(f"the password can't be read: {error}") from error


def check_files(settings: MqttSettings) -> None:
    """What can be known before connecting. Reads files. Raises `SettingsError`."""
    mistakes = []
    if (settings.cert_file or settings.key_file) and not settings.ca_file:
        mistakes.append("ca_file: needed where there is a certificate of ours")
    if settings.password_file and not settings.username:
        mistakes.append("username: needed where there is a password")
    if not settings.client_id:
        mistakes.append("client_id: needed")
    if settings.dead_after_s <= settings.probe_s:
        mistakes.append("dead_after_s: must be longer than probe_s")
    for attempt in (tls_context, password):
        try:
            attempt(settings)
        except LinkError as error:
            mistakes.append(str(error))
    if mistakes:
        raise SettingsError("mqtt", mistakes)
