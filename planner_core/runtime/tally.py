"""What a planner has decided so far, counted by reason."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from planner_core.runtime.reasons import REASONS
from planner_core.runtime.rollout import ARMS, Arm


class Tally:
    """Counts of decisions and of failed session calls. Safe to share between threads and with signal handlers."""

    def __init__(self) -> None:
        # Re-entrant, since a signal handler may decide while a decision of its own thread is being counted.
        self._lock = threading.RLock()
        self._reasons: dict[str | None, int] = dict.fromkeys((None, *REASONS), 0)
        self._failures: Counter[str] = Counter()
        self._arms: dict[Arm, int] = dict.fromkeys(ARMS, 0)
        self._unlogged = 0

    def decided(self, reason: str | None, arm: Arm) -> None:
        """Count one decision; ``reason`` None: the model's own."""
        with self._lock:
            self._reasons[reason] += 1
            self._arms[arm] += 1

    def failed(self, kind: str) -> bool:
        """Count one session call that raised ``kind``; whether it is the first of its kind."""
        with self._lock:
            self._failures[kind] += 1
            return self._failures[kind] == 1

    def unlogged(self) -> None:
        """Count one decision whose line could not be added to the log."""
        with self._lock:
            self._unlogged += 1

    def snapshot(self) -> dict[str, Any]:
        """The counts of :meth:`planner_core.Planner.stats`."""
        with self._lock:
            fallbacks = {reason: n for reason, n in self._reasons.items() if reason is not None and n}
            own, failures = self._reasons[None], dict(self._failures)
            unlogged, arms = self._unlogged, {arm: n for arm, n in self._arms.items() if n}
        total = own + sum(fallbacks.values())
        counts = {"fallbacks": fallbacks, "failures": failures, "arms": arms}
        return {"decisions": total, "model": own, **counts, "unlogged": unlogged}
