"""Tables of the settings that say where a link leads, how the hop above is asked, and what that may cost.

These are what a person writes. The transports have their own settings, made from these where a link is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from cascade.adapters.settings_tables import (
    Amount,
    Count,
    ExistingFile,
    Host,
    Name,
    Port,
    Seconds,
    Share,
    Table,
)
from cascade.adapters.transports.mqtt_settings import MqttSettings
from cascade.adapters.transports.transport import MAX_QUESTION_BYTES
from cascade.inference.budget import Allowance
from cascade.inference.uplink import UplinkSettings

MQTT_PORT, MQTT_TLS_PORT = 1883, 8883
PACKET_ROOM_BYTES = 16 * 1024
"""For what stands around a largest question in its packet."""


class AskingTable(Table, frozen=True, kw_only=True):
    """How patient this hop is with the hop above."""

    in_flight: Count = 256
    """Questions that are asked above and not yet answered, at most."""
    answer_within_s: Seconds = 5.0
    """An ask that has no answer after this, or at its deadline, has failed."""
    ask_again_s: Seconds = 2.0
    """A question that still wants its answer is asked again after this, then twice this, and so on."""
    ask_again_most_s: Seconds = 300.0
    """The longest such wait."""
    retry_share: Share = 0.1
    """Repeated asks, as a share of first asks."""
    failures_to_open: Count = 5
    """After so many failures in a row nobody is asked for a while."""
    cool_s: Seconds = 1.0
    """How long that while is; doubled after each failed try, up to `cool_most_s`."""
    cool_most_s: Seconds = 30.0
    """The longest such while."""
    reserve_ms: Amount = 20.0
    """Kept back from the time that the hop above is given, for the way back."""

    def mistakes(self) -> list[str]:
        return not_below("cool_most_s", self.cool_most_s, "cool_s", self.cool_s) + not_below(
            "ask_again_most_s", self.ask_again_most_s, "ask_again_s", self.ask_again_s
        )


class BudgetTable(Table, frozen=True, kw_only=True):
    """What asking above may cost. 0 or absent: without limit."""

    bytes_per_minute: Amount = 0.0
    """Bytes that may go up, on average."""
    bytes_burst: Amount = 0.0
    """What may be spent at once after a quiet time; 0: what a minute brings."""
    joules_per_minute: Amount = 0.0
    """Joules that the radio may spend on what goes up, on average."""
    joules_burst: Amount = 0.0
    """As `bytes_burst`, of joules."""
    joules_per_byte: Amount = 0.0
    """What the radio takes per byte: an estimate from its data sheet. Needed for a budget of joules."""

    def mistakes(self) -> list[str]:
        if self.joules_per_minute and not self.joules_per_byte:
            return ["joules_per_byte: is missing, expected a number above 0 beside joules_per_minute"]
        return []


class AboveTable(Table, frozen=True, kw_only=True):
    """Of every link to a hop above."""

    asking: AskingTable = AskingTable()
    budget: BudgetTable = BudgetTable()

    def uplink_settings(self) -> UplinkSettings:
        asking, budget = self.asking, self.budget
        return UplinkSettings(
            in_flight=asking.in_flight,
            answer_within_s=asking.answer_within_s,
            ask_again_s=asking.ask_again_s,
            ask_again_most_s=asking.ask_again_most_s,
            retry_share=asking.retry_share,
            failures_to_open=asking.failures_to_open,
            cool_s=asking.cool_s,
            cool_most_s=asking.cool_most_s,
            reserve_ms=asking.reserve_ms,
            bytes=_allowance(budget.bytes_per_minute, budget.bytes_burst),
            joules=_allowance(budget.joules_per_minute, budget.joules_burst),
            joules_per_byte=budget.joules_per_byte,
        )


class MqttAboveTable(AboveTable, frozen=True, kw_only=True):
    """A device's link to its gateways, through the broker of its site."""

    host: Host
    """The broker of the site."""
    port: Port | None = None
    """Absent: 8883 with `ca_file`, 1883 without."""
    username: str = ""
    """Absent: none is sent. The broker's access rules want the device's full name here, or in its certificate."""
    password_file: ExistingFile | None = None
    """A file with the password of `username`: passwords don't stand in settings."""
    ca_file: ExistingFile | None = None
    """Who vouches for the broker. Present: the link is encrypted."""
    cert_file: ExistingFile | None = None
    """The device's certificate, with which it says who it is."""
    key_file: ExistingFile | None = None
    """The private key of that certificate."""
    keepalive_s: Annotated[int, Meta(ge=1, le=65535)] = 15
    """Of MQTT: the broker says that this device is gone after one and a half of it."""
    probe_s: Seconds = 5.0
    """When nothing else proved that the gateway lives, it is asked after this."""
    dead_after_s: Seconds = 15.0
    """Without a proof of life for so long the link counts as lost."""

    def mistakes(self) -> list[str]:
        return (
            certificate_mistakes(self.cert_file, self.key_file, self.ca_file)
            + not_below("dead_after_s", self.dead_after_s, "probe_s", self.probe_s)
            + password_mistakes(self.username, self.password_file)
        )

    def mqtt_settings(self, client_id: str, max_question_bytes: int = MAX_QUESTION_BYTES) -> MqttSettings:
        return _mqtt_settings(self, client_id, max_question_bytes)


class MqttBelowTable(Table, frozen=True, kw_only=True):
    """A gateway's link to the devices of its site."""

    host: Host
    """The broker of the site."""
    port: Port | None = None
    """Absent: 8883 with `ca_file`, 1883 without."""
    username: str = ""
    """Absent: none is sent. The broker's access rules want the gateway's full name here, or in its certificate."""
    password_file: ExistingFile | None = None
    """A file with the password of `username`: passwords don't stand in settings."""
    ca_file: ExistingFile | None = None
    """Who vouches for the broker. Present: the link is encrypted."""
    cert_file: ExistingFile | None = None
    """The gateway's certificate, with which it says who it is."""
    key_file: ExistingFile | None = None
    """The private key of that certificate."""
    keepalive_s: Annotated[int, Meta(ge=1, le=65535)] = 15
    """Of MQTT: the broker says that this gateway is gone after one and a half of it."""
    probe_s: Seconds = 5.0
    """When nothing else proved that the broker lives, it is asked after this."""
    dead_after_s: Seconds = 15.0
    """Without a proof of life for so long the link counts as lost."""
    group: Name = "gateways"
    """Gateways of one site with the same group share its questions."""
    receive_maximum: Annotated[int, Meta(ge=1, le=65535)] = 64
    """Messages that the broker may send before this gateway has worked on them: the back-pressure."""

    def mistakes(self) -> list[str]:
        return (
            certificate_mistakes(self.cert_file, self.key_file, self.ca_file)
            + not_below("dead_after_s", self.dead_after_s, "probe_s", self.probe_s)
            + password_mistakes(self.username, self.password_file)
        )

    def mqtt_settings(self, client_id: str, max_question_bytes: int = MAX_QUESTION_BYTES) -> MqttSettings:
        settings = _mqtt_settings(self, client_id, max_question_bytes)
        return msgspec.structs.replace(settings, receive_maximum=self.receive_maximum)


class GrpcAboveTable(AboveTable, frozen=True, kw_only=True):
    """A gateway's link to the cloud."""

    host: Host
    """The cloud."""
    port: Port = 8443
    """Where it listens."""
    ca_file: ExistingFile | None = None
    """Who vouches for the cloud."""
    cert_file: ExistingFile | None = None
    """The gateway's certificate, with which it says who it is."""
    key_file: ExistingFile | None = None
    """The private key of that certificate."""
    server_name: str = ""
    """The name in the server's certificate, where it is not `host`."""
    heartbeat_s: Seconds = 2.0
    """How often the cloud is asked whether it lives."""
    dead_after_s: Seconds = 6.0
    """Without a proof of life for so long the link counts as lost."""
    retry_first_s: Seconds = 0.5
    """Without a link the cloud is tried again within this, then within twice this, and so on."""
    retry_most_s: Seconds = 20.0
    """The longest such wait. A second brings a link back at once; many gateways at once are hard on a cloud."""
    insecure_ok: bool = False
    """Without TLS anybody on the way can read and change everything: only for a machine that talks to itself."""

    def mistakes(self) -> list[str]:
        wrong = certificate_mistakes(self.cert_file, self.key_file, self.ca_file)
        if self.ca_file is None and not self.insecure_ok:
            wrong.append("ca_file: is missing, expected a file, or insecure_ok = true to go without encryption")
        return (
            wrong
            + not_below("dead_after_s", self.dead_after_s, "heartbeat_s", self.heartbeat_s)
            + not_below("retry_most_s", self.retry_most_s, "retry_first_s", self.retry_first_s)
        )


class GrpcBelowTable(Table, frozen=True, kw_only=True):
    """Where the cloud listens for gateways."""

    bind: Host = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for all."""
    port: Port = 8443
    """Where gateways find it."""
    ca_file: ExistingFile | None = None
    """Who vouches for gateways. Present: a gateway's certificate is asked for."""
    cert_file: ExistingFile | None = None
    """The certificate by which gateways know this service."""
    key_file: ExistingFile | None = None
    """The private key of that certificate."""
    require_client_cert: bool = True
    """A gateway without a certificate that `ca_file` vouches for is refused."""
    insecure_ok: bool = False
    """Listen without TLS."""
    drain_s: Seconds = 10.0
    """When it is told to stop: for how long it still answers what it has taken."""
    health: bool = True
    """Serve the health protocol of gRPC, for load balancers."""
    reflection: bool = False
    """Tell anybody who asks what can be called here."""

    def mistakes(self) -> list[str]:
        if self.cert_file is None and self.key_file is None and self.insecure_ok:
            return []
        wrong = []
        if self.cert_file is None or self.key_file is None:
            wrong.append("cert_file: is missing, or key_file; expected both, or insecure_ok = true without either")
        if self.require_client_cert and self.ca_file is None:
            wrong.append("ca_file: is missing, expected a file beside require_client_cert = true")
        return wrong


def certificate_mistakes(cert_file: object, key_file: object, ca_file: object) -> list[str]:
    """A certificate is nothing without its key, and neither without TLS."""
    if (cert_file is None) != (key_file is None):
        missing = "cert_file" if cert_file is None else "key_file"
        return [f"{missing}: is missing, expected cert_file and key_file together"]
    if cert_file is not None and ca_file is None:
        return ["ca_file: is missing, expected a file beside cert_file"]
    return []


def password_mistakes(username: str, password_file: object) -> list[str]:
    if password_file is not None and not username:
        return ["username: is missing, expected one beside password_file"]
    return []


def not_below(name: str, value: float, least_name: str, least: float) -> list[str]:
    return [f"{name}: found {value:g}, expected {least_name} ({least:g}) or more"] if value < least else []


def _allowance(per_minute: float, burst: float) -> Allowance:
    return Allowance(per_minute / 60.0, burst or per_minute)


def _mqtt_settings(table: MqttAboveTable | MqttBelowTable, client_id: str, max_question_bytes: int) -> MqttSettings:
    """A broker drops a packet that is too large for its reader without a word: so room is left to be told."""
    return MqttSettings(
        host=table.host,
        port=table.port or (MQTT_TLS_PORT if table.ca_file else MQTT_PORT),
        client_id=client_id,
        username=table.username,
        password_file=_text(table.password_file),
        ca_file=_text(table.ca_file),
        cert_file=_text(table.cert_file),
        key_file=_text(table.key_file),
        keepalive_s=table.keepalive_s,
        probe_s=table.probe_s,
        dead_after_s=table.dead_after_s,
        max_packet_bytes=max(MAX_QUESTION_BYTES, max_question_bytes) + PACKET_ROOM_BYTES,
    )


def _text(path: Path | None) -> str:
    return str(path) if path is not None else ""
