"""Load from one thread: connections that each send the next request when the answer to the last is there.

A closed loop: a server that stalls is not asked meanwhile, so its tail under a given rate of arrivals is worse than
what is measured here. Both contestants are asked in the same way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core import PlannerError


@dataclass(frozen=True)
class Loaded:
    """Milliseconds of every request, float64 [n] in the order of the answers, and the seconds that all took."""

    times: NDArray[np.float64]
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.times) / self.seconds


def post(path: str, body: bytes) -> bytes:
    """A whole request."""
    fields = ("Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}", "", "")
    return "\r\n".join((f"POST {path} HTTP/1.1", *fields)).encode() + body


def load(port: int, requests: Sequence[bytes], connections: int, count: int) -> Loaded:
    """``count`` requests by so many connections; PlannerError for any answer but 200."""
    return asyncio.run(_load(port, requests, connections, count))


async def _load(port: int, requests: Sequence[bytes], connections: int, count: int) -> Loaded:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    waiting: list[asyncio.Future[None]] = []
    clients: list[_Client] = []
    for i in range(connections):
        share = count // connections + (i < count % connections)
        waiting.append(loop.create_future())
        client = _Client(requests, i * len(requests) // connections, share, times, waiting[-1])
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]  # mypy infers no lambda
        clients.append(client)
    began = time.perf_counter()
    for client in clients:
        client.ask()
    await asyncio.gather(*waiting)
    return Loaded(np.array(times), time.perf_counter() - began)


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(
        self, requests: Sequence[bytes], first: int, count: int, times: list[float], done: asyncio.Future[None]
    ) -> None:
        self._requests, self._next, self._left = requests, first, count
        self._times, self._done, self._answer = times, done, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, problem: Exception | None) -> None:
        """A server that goes away ends the measurement."""
        if not self._done.done():
            self._done.set_exception(PlannerError("the server closed a connection in the middle of the load"))

    def ask(self) -> None:
        """Send the next request, or end."""
        if not self._left:
            self._done.set_result(None)
            self._transport.close()
            return
        self._left -= 1
        self._next = (self._next + 1) % len(self._requests)
        self._began = time.perf_counter_ns()
        self._transport.write(self._requests[self._next])

    def data_received(self, data: bytes) -> None:
        """Put an answer together; when it is whole, note its time and go on."""
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._times.append((time.perf_counter_ns() - self._began) / 1e6)
        if not head.startswith(b"HTTP/1.1 200 "):
            if not self._done.done():
                self._done.set_exception(PlannerError(f"the server answered {self._answer[:200]!r} under load"))
            self._transport.close()
            return
        self._answer = b""
        self.ask()


def _length(head: bytes) -> int:
    at = head.index(b"content-length: ") + 16
    end = head.find(b"\r", at)
    return int(head[at:] if end < 0 else head[at:end])
