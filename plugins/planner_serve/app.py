"""The endpoints: a planner as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from planner_core import DataError, Plan, PlannerError, read, suggestion
from planner_serve.bodies import JSON, BadRequest, read_json_body
from planner_serve.documents import BatchRequest, Refused
from planner_serve.logs import event
from planner_serve.metrics import Metrics
from planner_serve.openapi import document
from planner_serve.serving import Served

MAX_INPUT_BYTES = 1 << 20
"""Of the body of a single input; the planner itself takes no larger one."""
MAX_BATCH_BYTES = 8 << 20
MAX_REQUESTS = 64
"""Requests in flight, unless another number is given."""
RETRY_AFTER_S = 1
POOL_THREADS = 2

Answer = Callable[[bytes], Awaitable[Any]]
"""From the body of a request to what is answered."""

_encode = msgspec.json.Encoder().encode


def build_app(served: Served, *, max_requests: int = MAX_REQUESTS, reload_every_s: float = 1.0) -> Starlette:
    """An application that answers for ``served``. 0 seconds: the bundle is not looked at again."""
    return Endpoints(served, max_requests, reload_every_s).app


class Endpoints:
    """The routes, and what they share: the limit of requests in flight, the counts, the threads."""

    def __init__(self, served: Served, max_requests: int, reload_every_s: float) -> None:
        self._served, self._max, self._reload_every_s = served, max_requests, reload_every_s
        self._in_flight = 0
        self.metrics = Metrics(served.planner, lambda: self._in_flight)
        self._pool = ThreadPoolExecutor(POOL_THREADS, "planner-serve")
        posts = (
            ("/v1/decide", MAX_INPUT_BYTES, self._decide),
            ("/v1/plan", MAX_INPUT_BYTES, self._plan),
            ("/v1/decide_batch", MAX_BATCH_BYTES, self._decide_batch),
        )
        gets = (("/healthz", self._health), ("/metrics", self._metrics), ("/openapi.json", self._openapi))
        self.paths = [path for path, *_ in (*posts, *gets)]
        self.app = Starlette(
            routes=[
                *(
                    Route(path, partial(self._post, path, limit, answer), methods=["POST"])
                    for path, limit, answer in posts
                ),
                *(Route(path, endpoint) for path, endpoint in gets),
            ],
            exception_handlers={HTTPException: self._no_endpoint, Exception: self._fault},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        follower = None
        if self._reload_every_s:
            following = self._served.follow(self._reload_every_s, self._pool, self.metrics.reloaded)
            follower = asyncio.create_task(following)
        yield
        if follower:
            follower.cancel()
            with suppress(asyncio.CancelledError):
                await follower
        self._pool.shutdown()

    # -- decisions

    async def _decide(self, body: bytes) -> Any:
        # Here and not in a thread: handing it over costs about as much as half a decision.
        return self._served.planner.decide(body)

    async def _plan(self, body: bytes) -> Any:
        plan: Plan = self._served.planner.plan(body)
        return plan._asdict()

    async def _decide_batch(self, body: bytes) -> Any:
        """All or none. In a thread, as a batch takes as long as hundreds of decisions would wait."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._batch, body)

    def _batch(self, body: bytes) -> Any:
        inputs = read(body, BatchRequest, "request").inputs
        return {"actions": self._served.planner.decide_batch([(f"inputs[{i}]", None, x) for i, x in enumerate(inputs)])}

    async def _post(self, path: str, limit: int, answer: Answer, request: Request) -> Response:
        began, status = time.perf_counter(), 500
        try:
            response = await self._bounded(path, limit, answer, request)
            status = response.status_code
            return response
        finally:
            self.metrics.answered(path, status, time.perf_counter() - began)

    async def _bounded(self, path: str, limit: int, answer: Answer, request: Request) -> Response:
        if self._in_flight >= self._max:
            busy = Refused(f"the server is busy: found {self._max} requests in flight; expected fewer")
            return refusal(path, 503, busy, {"Retry-After": str(RETRY_AFTER_S)})
        self._in_flight += 1
        try:
            return _json(await answer(await read_json_body(request, limit)))
        except PlannerError as problem:
            return refusal(path, 400, _refused(problem))
        except BadRequest as problem:
            said = Refused(str(problem), "request", found=problem.found, expected=problem.expected)
            return refusal(path, problem.status, said, {"Connection": "close"} if problem.close else None)
        except ClientDisconnect:
            return Response(status_code=499)  # counted as this; nobody is there to read it
        finally:
            self._in_flight -= 1

    # -- everything else

    async def _health(self, request: Request) -> Response:
        return _json(self._served.health())

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _openapi(self, request: Request) -> Response:
        return Response(document(), media_type=JSON)

    def _no_endpoint(self, request: Request, problem: Exception) -> Response:
        """404 and 405."""
        assert isinstance(problem, HTTPException)
        path, method = request.url.path[:80], request.method[:20]
        if problem.status_code == 404:
            hint = suggestion(path, self.paths)
            said = Refused(f"request: found the path {path!a}; expected one of {', '.join(self.paths)}{hint}")
        else:
            allowed = (problem.headers or {}).get("Allow", "")
            said = Refused(f"{path}: found the method {method}; expected {allowed}")
        self.metrics.refused(path if path in self.paths else "other", problem.status_code)
        return refusal(path, problem.status_code, said, dict(problem.headers or {}))

    def _fault(self, request: Request, problem: Exception) -> Response:
        """What is nobody's mistake but ours; whoever runs the application logs where."""
        return _json(Refused("a fault of the server; its log says where"), 500)


def refusal(path: str, status: int, said: Refused, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that is refused, logged."""
    event("refused", logging.WARNING, path=path, status=status, error=said.error)
    return _json(said, status, headers)


def _refused(problem: PlannerError) -> Refused:
    if isinstance(problem, DataError):
        return Refused(str(problem), problem.source, problem.path, problem.found, problem.expected)
    return Refused(str(problem))


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_encode(value), status, headers, JSON)
