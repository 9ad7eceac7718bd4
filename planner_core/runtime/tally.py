"""What a planner has decided so far, counted by reason."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from planner_core.runtime.reasons import REASONS


class Tally:
    """Counts of decisions and of failed session calls. Safe to share between threads and with signal handlers."""

    def __init__(self) -> None:
        # Re-entrant, since a signal handler may decide while a decision of its own thread is being counted.
        self._lock = threading.RLock()
        self._reasons: dict[str | None, int] = dict.fromkeys((None, *REASONS), 0)
        self._failures: Counter[str] = Counter()

    def decided(self, reason: str | None) -> None:
        """Count one decision; ``reason`` None: the model's own."""
        with self._lock:
            self._reasons[reason] += 1

    def failed(self, kind: str) -> bool:
        """Count one session call that raised ``kind``; whether it is the first of its kind."""
        with self._lock:
            self._failures[kind] += 1
            return self._failures[kind] == 1

    def snapshot(self) -> dict[str, Any]:
        """``{"decisions", "model", "fallbacks": {reason: n}, "failures": {exception type: n}}``."""
        with self._lock:
            fallbacks = {reason: n for reason, n in self._reasons.items() if reason is not None and n}
            own, failures = self._reasons[None], dict(self._failures)
        total = own + sum(fallbacks.values())
        return {"decisions": total, "model": own, "fallbacks": fallbacks, "failures": failures}
