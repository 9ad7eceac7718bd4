"""Reading a request's body within bounds of size and time."""

from __future__ import annotations

import asyncio
from email.message import Message

from starlette.requests import Request

BODY_SECONDS = 10.0
"""Within which a body has to be there."""
DRAIN_BYTES = 8 << 20
"""So much of what is too large is read and dropped, so that who sends it gets to read the answer."""

JSON = "application/json"


class BadRequest(Exception):
    """A request that is refused before its content is looked at; ``close``: the connection is of no further use."""

    def __init__(self, status: int, found: str, expected: str, *, close: bool = False) -> None:
        super().__init__(f"request: found {found}; expected {expected}")
        self.status, self.found, self.expected, self.close = status, found, expected, close


async def read_json_body(request: Request, limit: int) -> bytes:
    """The body of a request that says it is JSON, at most ``limit`` bytes.

    Raises :class:`BadRequest` (408, 413, 415), and Starlette's ``ClientDisconnect`` where nobody waits for an answer.
    """
    _check_type(request.headers.get("content-type", ""))
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request, limit)
    except TimeoutError:
        found = f"a body that is incomplete after {BODY_SECONDS:g} s"
        raise BadRequest(408, found, "the whole body by then", close=True) from None


def _check_type(given: str) -> None:
    """JSON, in UTF-8 if it says which encoding."""
    message = Message()
    message["content-type"] = given
    if not given or message.get_content_type() != JSON or message.get_content_charset("utf-8") != "utf-8":
        raise BadRequest(415, f"the content type {given[:80]!a}" if given else "no content type", f"{JSON} in UTF-8")


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        waits = request.headers.get("expect", "").lower() == "100-continue"
        if waits or int(declared) > limit + DRAIN_BYTES:
            raise _too_large(declared, limit)
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit + DRAIN_BYTES:
            raise _too_large(f"more than {limit + DRAIN_BYTES}", limit)
        if size > limit:
            parts.clear()
        else:
            parts.append(chunk)
    if size > limit:
        raise _too_large(str(size), limit)
    return b"".join(parts)


def _too_large(size: str, limit: int) -> BadRequest:
    return BadRequest(413, f"a body of {size[:24]} bytes", f"at most {limit}", close=True)
