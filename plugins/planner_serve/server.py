"""Running the application until somebody ends it: in order, with what is in flight answered."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.applications import Starlette

from planner_core import END_SIGNALS
from planner_serve.logs import event
from planner_serve.protocol import BoundedHttp

KEEP_ALIVE_S = 75
"""That a connection may be idle; whoever asks once a minute keeps his."""


class Server(uvicorn.Server):
    """A server that a signal ends with what is in flight answered, and a second one at once."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Replaces uvicorn's, which raises the signal again in the end: for us an orderly end is a good one."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in END_SIGNALS}
        ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in ours:
            self._listen(loop, number)
        try:
            yield
        finally:
            for number in ours:
                with suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    def _listen(self, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
        try:
            loop.add_signal_handler(number, self._end, number)
        except NotImplementedError:  # Windows' loop, which a handler has to wake itself
            signal.signal(number, lambda caught, frame: _wake(loop, self._end, caught))

    def _end(self, number: int) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        event("stopping", signal=signal.Signals(number).name, at_once=self.force_exit)


def _wake(loop: asyncio.AbstractEventLoop, function: Callable[[int], None], number: int) -> None:
    loop.call_soon_threadsafe(function, number)


def run(app: Starlette, listener: socket.socket, grace_s: float) -> None:
    """Answer on ``listener`` until a signal comes; what is in flight then gets ``grace_s`` seconds more."""
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,  # type: ignore[arg-type]  # asyncio takes fractions of a second too
    )
    server = Server(config)
    with asyncio.Runner() as runner:
        runner.run(server.serve([listener]))
