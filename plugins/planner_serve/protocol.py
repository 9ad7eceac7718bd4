"""HTTP/1.1 as uvicorn speaks it, with bounds on what comes before a request is one.

uvicorn with httptools bounds neither the size of a head, nor the time it may take, nor the number of connections.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 << 10
HEAD_SECONDS = 10.0
"""Within which the head of a first request, or of one that has begun, has to be there."""
MAX_CONNECTIONS = 512

_FULL = b'{"error":"the server is busy: found %d connections; expected fewer"}' % MAX_CONNECTIONS


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _in_head = False
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Refuse what is one too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._end(b"503 Service Unavailable", _FULL, b"retry-after: 1\r\n")
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer too."""
        self._got_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head that is not complete; of the piece that it began in, nothing."""
        had_begun = self._in_head
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if self._late is None:
            self._expect_head()
        self._head_bytes += len(data) if had_begun else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            said = b'{"error":"request: found a head of more than %d bytes; expected a smaller one"}'
            self._end(b"431 Request Header Fields Too Large", said % MAX_HEAD_BYTES)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._got_head()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _got_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self, status: bytes, body: bytes, headers: bytes = b"") -> None:
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n%b\r\n"
        self.transport.write(head % (status, len(body), headers) + body)
        self.transport.close()
