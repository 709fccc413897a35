"""A socket to the broker: how it is opened, and how it is read and written once per turn of the loop.

With one read and one write per turn, a fleet whose questions can't be packed gets through 2.6 times as many.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from cascade.adapters.transports.mqtt_packets import Malformed, head_of
from cascade.errors import LinkError

READ_BYTES = 64 * 1024
MOST_UNSENT_BYTES = 1024 * 1024
"""What paho may hand over before it has to keep the rest itself."""


HUNG_UP = "the broker hung up"


class Refused(LinkError):
    """Somebody has to mend something before trying again makes sense: no hurry."""


async def dial(host: str, port: int, context: ssl.SSLContext | None, timeout_s: float) -> socket.socket:
    """A connected socket that never blocks, and never waits to send: Nagle costs 40 ms. `LinkError`, `Refused`."""
    try:
        async with asyncio.timeout(timeout_s):
            plain = await _connected(host, port)
            try:
                return plain if context is None else await _greeted(plain, context, host)
            except BaseException:
                plain.close()
                raise
    except TimeoutError:
        raise LinkError(f"no connection to {host}:{port} within {timeout_s:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"the certificate of {host} is not believed: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Refused(f"no TLS with {host}:{port}: {said(error)}") from error
    except OSError as error:
        raise LinkError(f"no connection to {host}:{port}: {said(error)}") from error


async def _connected(host: str, port: int) -> socket.socket:
    """Tries the addresses of the name one after the other."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        plain = socket.socket(family, kind, protocol)
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.sock_connect(plain, address)
        except OSError as error:
            plain.close()
            failure = error
        except BaseException:
            plain.close()
            raise
        else:
            return plain
    raise failure


async def _greeted(plain: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    wrapped = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                wrapped.do_handshake()
                return wrapped
            except ssl.SSLWantReadError:
                await _ready(loop.add_reader, loop.remove_reader, wrapped)
            except ssl.SSLWantWriteError:
                await _ready(loop.add_writer, loop.remove_writer, wrapped)
    except BaseException:
        wrapped.close()
        raise


async def _ready(add: Callable[..., None], remove: Callable[..., bool], sock: ssl.SSLSocket) -> None:
    """Wait until the socket can be read or written, whichever the two functions are for."""
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(sock, _wake, ready)
    try:
        await ready
    finally:
        remove(sock)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def said(error: OSError) -> str:
    """What an error of the network says, in few words. Numbers of TLS and of name servers are not the system's."""
    if isinstance(error, ssl.SSLEOFError):
        return HUNG_UP
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return f"the broker says: {error.reason.partition('ALERT_')[2].replace('_', ' ').lower()}"
    if error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error) or type(error).__name__).lower()


class TurnSocket:
    """Whole packets in, bytes out, with one read and one write per turn; and what paho takes for its socket.

    `packet` reads, `write` gathers, `flush` sends. Of what comes paho sees only what it is lent.
    """

    def __init__(self, sock: socket.socket, max_packet_bytes: int) -> None:
        self.fault = ""
        """Why the socket failed: paho logs that, and tells its caller only that the connection is lost."""
        self._sock, self._max_packet_bytes = sock, max_packet_bytes
        self._short_read_is_all = not isinstance(sock, ssl.SSLSocket)
        self._fd = sock.fileno()
        self._in, self._at = b"", 0
        self._dry = False
        self._lent, self._lent_at = b"", 0
        self._out = bytearray()

    @property
    def unsent(self) -> bool:
        return bool(self._out)

    @property
    def crowded(self) -> bool:
        """So much waits to be sent that more should wait elsewhere."""
        return len(self._out) >= MOST_UNSENT_BYTES

    def begin_turn(self) -> None:
        self._dry = False

    def packet(self) -> tuple[int, bytes] | None:
        """The first byte and the body of the next packet; None where it isn't all there yet. Raises OSError where the
        connection is gone, or should be: a giant packet is seen before it is taken."""
        while True:
            start, missing = self._at, READ_BYTES
            head = self._head(start)
            if head is not None:
                begin, length = head
                if length > self._max_packet_bytes:
                    self.fault = f"the broker sends a packet of {length} bytes"
                    raise ConnectionError(self.fault)
                if begin + length <= len(self._in):
                    self._at = begin + length
                    return self._in[start], self._in[begin : self._at]
                missing = begin + length - len(self._in)
            if not self._fill(max(READ_BYTES, missing)):
                return None

    def _head(self, start: int) -> tuple[int, int] | None:
        try:
            return head_of(self._in, start)
        except Malformed as error:
            self.fault = f"the broker breaks the protocol: {error}"
            raise ConnectionError(self.fault) from None

    def _fill(self, size: int) -> bool:
        """Whether there was more."""
        if self._dry:
            return False
        try:
            data = self._sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._dry = True
            return False
        except OSError as error:
            self.fault = said(error)
            raise
        if not data:
            self.fault = HUNG_UP
            raise ConnectionError(HUNG_UP)
        self._dry = self._short_read_is_all and len(data) < size
        self._in = data if self._at == len(self._in) else self._in[self._at :] + data
        self._at = 0
        return True

    def lend(self, packet: bytes) -> None:
        """paho may read this, and nothing else."""
        self._lent, self._lent_at = packet, 0

    def recv(self, size: int) -> bytes:
        if self._lent_at == len(self._lent):
            raise BlockingIOError
        piece = self._lent[self._lent_at : self._lent_at + size]
        self._lent_at += len(piece)
        return piece

    def send(self, data: bytes | bytearray) -> int:
        """paho's: where much is unsent, it keeps the rest itself."""
        if self.crowded:
            raise BlockingIOError
        self._out += data
        return len(data)

    def write(self, data: bytes) -> None:
        self._out += data

    def flush(self) -> None:
        """Raises OSError where the connection is gone; what can't be sent now stays."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self.fault = said(error)
                raise
            del self._out[:sent]

    def close(self) -> None:
        """What can still be sent is: paho closes right after its DISCONNECT."""
        try:
            self.flush()
        except OSError as error:
            self.fault = said(error)
        self._sock.close()

    def fileno(self) -> int:
        return self._fd

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""
