"""A connection of HTTP/1.1 that is kept, one request at a time: just enough to ask a peer, so as to cost little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOST = ConnectionError("the server hung up")


class HttpConnection(asyncio.Protocol):
    def __init__(self, port: int, content_type: str, path: str = "/predict") -> None:
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {content_type}\r\n"
            "Connection: keep-alive\r\nContent-Length: "
        ).encode()
        self._heard = bytearray()
        self._waiting: asyncio.Future[bytes] | None = None

    @classmethod
    async def opened(cls, port: int, content_type: str) -> HttpConnection:
        make: Callable[[], HttpConnection] = lambda: cls(port, content_type)  # noqa: E731
        _, connection = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, body: bytes) -> asyncio.Future[bytes]:
        """The body of the answer; `RuntimeError` for a status other than 200."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._heard += data
        end = self._heard.find(b"\r\n\r\n")
        if end < 0 or self._waiting is None or self._waiting.done():
            return
        head = bytes(self._heard[:end]).lower()
        body = self._body(head, end + 4)
        if body is None:
            return
        self._heard.clear()
        if head[9:12] == b"200":
            self._waiting.set_result(body)
        else:
            self._waiting.set_exception(RuntimeError(f"{head[:60]!r}: {body[:300]!r}"))

    def _body(self, head: bytes, begin: int) -> bytes | None:
        """Whole, or None while some of it is on the way."""
        at = head.find(b"content-length:")
        if at >= 0:
            size = int(head[at + 15 :].split(b"\r\n", 1)[0])
            return bytes(self._heard[begin : begin + size]) if len(self._heard) >= begin + size else None
        return _joined(bytes(self._heard[begin:])) if self._heard.endswith(b"\r\n0\r\n\r\n") else None

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error or LOST)


def _joined(chunks: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        size_ends = chunks.index(b"\r\n", at)
        size = int(chunks[at:size_ends], 16)
        if not size:
            return b"".join(parts)
        parts.append(chunks[size_ends + 2 : size_ends + 2 + size])
        at = size_ends + 4 + size
