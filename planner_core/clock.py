"""Times as every document has them: RFC 3339 in UTC, with milliseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(unix_ms: int) -> str:
    """``2026-01-01T00:00:00.000Z`` for milliseconds since 1970; OverflowError beyond the year 9999."""
    moment = _EPOCH + timedelta(milliseconds=unix_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """This moment."""
    return rfc3339(time.time_ns() // 1_000_000)
