"""What Prometheus and a watchdog see of a process: `/metrics` and `/healthz`, on a thread and a loop of their own.

Their own, so that `/healthz` still answers when the hop hangs: that is when it is asked. It is served in the clear and
to anybody who can connect, so it binds what was configured, and loopback by default. A request is one GET, read and
answered within `REQUEST_S`; more than `MAX_CONNECTIONS` at once are closed unread; a page is made at most once in
`fresh_for_s`, since making it takes the interpreter from the hop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from itertools import groupby

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from cascade.errors import LinkError, SettingsError
from cascade.metrics import ROWS, Kind, Reading, Row

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 16
MAX_REQUEST_BYTES = 8192
REQUEST_S = 5.0
OPEN_S = 5.0

Source = Callable[[], Iterable[Reading]]
"""As `Tally.snapshot` and `DeviceMetrics.readings`: called on the exporter's thread."""

_PLACES = {row: place for place, row in enumerate(ROWS)}


def text_page(readings: Iterable[Reading]) -> bytes:
    """Prometheus' text format. Of two readings of one series the first counts: Prometheus refuses a page with both.

    prometheus_client takes five times as long, and a gateway shows tens of thousands of lines.
    """
    lines: list[str] = []
    in_order = sorted(readings, key=lambda reading: _PLACES[reading.row])
    for row, group in groupby(in_order, key=lambda reading: reading.row):
        lines.append(f"# HELP {row.name} {row.help}\n# TYPE {row.name} {row.kind}\n")
        seen = set()
        for reading in group:
            if (reading.device, reading.labels) not in seen:
                seen.add((reading.device, reading.labels))
                lines.append(_series(row, reading))
    return "".join(lines).encode("utf-8", "replace")


def _series(row: Row, reading: Reading) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in zip(row.labels, reading.labels, strict=True)]
    if reading.device:
        pairs.append(f'device="{_escaped(reading.device)}"')
    labels = ",".join(pairs)
    if row.kind is not Kind.HISTOGRAM:
        return f"{row.name}{{{labels}}} {_number(reading.value)}\n"
    counts = zip([*map(repr, row.buckets), "+Inf"], reading.buckets, strict=True)
    lines = [f'{row.name}_bucket{{{labels},le="{bound}"}} {count}\n' for bound, count in counts]
    lines.append(f"{row.name}_sum{{{labels}}} {_number(reading.value)}\n")
    lines.append(f"{row.name}_count{{{labels}}} {reading.buckets[-1]}\n")
    return "".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


class Exporter:
    """Serves from `open` to `close`.

    `idle_s` says how long ago the process last made progress, as the pump of the hop notes it; from `stalled_after_s`
    on the process counts as ill.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        idle_s: Callable[[], float],
        *,
        host: str = "127.0.0.1",
        port: int = 9464,
        stalled_after_s: float = 10.0,
        fresh_for_s: float = 0.25,
    ) -> None:
        if not 0 <= port <= 65535:
            raise SettingsError("metrics", [f"port: {port}; expected 0 to 65535"])
        self.host, self.port = host, port
        self._idle_s, self._stalled_after_s = idle_s, stalled_after_s
        self._fresh_for_s = fresh_for_s
        self._sources = tuple(sources)
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._page, self._made_at = b"", -float("inf")
        self._connections = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._opened = threading.Event()
        self._fault: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def open(self) -> None:
        """Serve; `port` is then the one that is served, also where 0 was asked for. `LinkError` where it is taken."""
        self._thread.start()
        if not self._opened.wait(OPEN_S):
            raise LinkError(f"metrics: {self.host} could not be looked up within {OPEN_S:g} s")
        if self._fault is not None:
            raise LinkError(f"metrics: can't serve on {self.host}:{self.port}: {self._fault.strerror or self._fault}")

    def close(self) -> None:
        if self._thread.is_alive() and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # It ended by itself in this moment.
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(REQUEST_S)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            server = await asyncio.start_server(self._connected, self.host, self.port, limit=MAX_REQUEST_BYTES)
        except OSError as error:
            self._fault = error
            self._opened.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._opened.set()
        await self._stop.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS:
                async with asyncio.timeout(REQUEST_S):
                    writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if method != b"GET":
            return _response(405, b"only GET\n")
        try:
            if path == b"/metrics":
                return _response(200, self.page(), CONTENT_TYPE_PLAIN_0_0_4)
            if path == b"/healthz":
                return self._health()
        except Exception:
            log.exception("metrics: %r", path)  # A source's fault: it may not end the thread that says so.
            return _response(503, b"see the log\n")
        return _response(404, b"/metrics or /healthz\n")

    def _health(self) -> bytes:
        idle_s = self._idle_s()
        fine = idle_s < self._stalled_after_s  # Not a number is not fine.
        said = f"{'fine' if fine else 'stalled'}: progress {idle_s:.1f} s ago\n"
        return _response(200 if fine else 503, said.encode())

    def page(self) -> bytes:
        """Every metric, in Prometheus' text format."""
        now = time.monotonic()
        if now - self._made_at >= self._fresh_for_s:
            readings = [reading for source in self._sources for reading in source()]
            self._page, self._made_at = text_page(readings) + generate_latest(self._process), now
        return self._page


_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def _response(status: int, body: bytes, content: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
