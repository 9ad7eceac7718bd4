"""Times as every document has them: RFC 3339 in UTC, with milliseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(unix_ms: int) -> str:
    """``2026-01-01T00:00:00.000Z`` for milliseconds since 1970; OverflowError beyond the year 9999."""
    seconds, rest = divmod(unix_ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(unix_s: int) -> str:
    """Without the fraction; a process that decides asks for the same second again and again."""
    return (_EPOCH + timedelta(seconds=unix_s)).isoformat().removesuffix("+00:00")


def now() -> str:
    """This moment."""
    return rfc3339(time.time_ns() // 1_000_000)
