"""Settings of the asking end of the gRPC link, and the channel that is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import grpc
from grpc import aio

from cascade.adapters.transports.grpc_security import channel_credentials, may_be_plain
from cascade.adapters.transports.transport import MAX_QUESTION_BYTES
from cascade.errors import PeerError, SettingsError
from cascade.wire.limits import USUAL, Limits
from cascade.wire.topics import check_device_name


class GrpcAboveSettings(NamedTuple):
    host: str
    port: int
    node: str
    """Our own name, `<site>.<name>`: what our certificate says."""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""
    """The name in the server's certificate, where it is not `host`."""
    heartbeat_s: float = 1.0
    dead_after_s: float = 3.0
    max_queued: int = 4096
    """Questions that wait for the stream. No less than the hop has in flight; over it the link counts as lost."""
    insecure_ok: bool = False
    connect_within_s: float = 10.0
    retry_first_s: float = 0.5
    retry_most_s: float = 20.0
    pack_bytes: int = 256 * 1024
    """A message's most, unless one question alone is larger: on a line of 1 Mbit/s a heartbeat waits 2 s behind it."""
    max_question_bytes: int = MAX_QUESTION_BYTES
    limits: Limits = USUAL


def target_of(settings: GrpcAboveSettings) -> str:
    return f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"


def check_settings(settings: GrpcAboveSettings) -> None:
    where = "the link above"
    try:
        check_device_name(settings.node)
    except PeerError as error:
        raise SettingsError(where, [f"node: {error.detail}"]) from None
    if not 0 < settings.heartbeat_s < settings.dead_after_s:
        raise SettingsError(where, ["heartbeat_s: expected more than 0 and less than dead_after_s"])
    if settings.ca_file is None:
        if settings.cert_file is not None or settings.key_file is not None:
            raise SettingsError(where, ["ca_file: is missing, expected a file beside cert_file and key_file"])
        may_be_plain(where, settings.host, settings.insecure_ok)
    _channel_credentials(settings)


def _channel_credentials(settings: GrpcAboveSettings) -> grpc.ChannelCredentials | None:
    if settings.ca_file is None:
        return None
    return channel_credentials("the link above", settings.ca_file, settings.cert_file, settings.key_file)


def new_channel(settings: GrpcAboveSettings) -> Any:
    """Certificates are read at every try: they are short-lived, and replaced while we run."""
    dead_after_ms = int(settings.dead_after_s * 1000)
    options: list[tuple[str, Any]] = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", settings.limits.max_message_bytes),
        ("grpc.keepalive_time_ms", 4 * dead_after_ms),
        ("grpc.keepalive_timeout_ms", dead_after_ms),
        ("grpc.http2.ping_timeout_ms", dead_after_ms),
        ("grpc.enable_http_proxy", 0),
    ]
    if settings.server_name:
        options.append(("grpc.ssl_target_name_override", settings.server_name))
    credentials = _channel_credentials(settings)
    if credentials is None:
        return aio.insecure_channel(target_of(settings), options)
    return aio.secure_channel(target_of(settings), credentials, options)
