"""A planner that follows its bundle: what is at the path decides, as long as it can be used."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from planner_core import Planner, PlannerError, describe, now
from planner_serve.documents import Health, ReloadError
from planner_serve.logs import event

Print = tuple[tuple[str, int, int, int], ...]
"""What tells two states of a directory apart: name, inode, size and time of change of every file."""


def look(path: Path) -> Print | None:
    """The state of a bundle's directory; None where there is none to be read."""
    try:
        with os.scandir(path) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return None
    return tuple(sorted((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in found))


class Served:
    """The planner, where its bundle is, and how the last reload went. To be used from one event loop."""

    def __init__(self, planner: Planner, bundle: Path, seen: Print | None) -> None:
        self.planner, self.bundle = planner, bundle
        self.reload_error: ReloadError | None = None
        self.started_at = self.loaded_at = now()
        self._seen = seen

    def health(self) -> Health:
        """What ``/healthz`` tells."""
        planner = self.planner
        whole = planner.predictor is not None and self.reload_error is None
        return Health(
            status="ok" if whole else "degraded",
            policy=planner.policy,
            model=planner.model,
            mode=planner.mode,
            decisions=planner.stats()["decisions"],
            started_at=self.started_at,
            loaded_at=self.loaded_at,
            reload_error=self.reload_error,
        )

    async def follow(self, every_s: float, pool: Executor, tell: Callable[[bool], None]) -> None:
        """Look every so many seconds whether the bundle changed, and reload it; ``tell`` whether it serves.

        One that cannot be used is tried again when it changes again: it may have been half-written.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every_s)
            found = await loop.run_in_executor(pool, look, self.bundle)
            if found == self._seen:
                continue
            self._seen = found  # taken before the bundle is read: what changes meanwhile is seen the next time
            try:
                await loop.run_in_executor(pool, self.planner.reload, self.bundle)
            except Exception as problem:  # whatever it is, the old one decides, and the next change is looked at
                if not isinstance(problem, PlannerError):  # those the planner has logged
                    event("reload failed", logging.ERROR, problem)
                said = str(problem) if isinstance(problem, PlannerError) else describe(problem)
                self.reload_error = ReloadError(said.encode("utf-8", "backslashreplace").decode(), now())
                tell(False)
                continue
            self.reload_error, self.loaded_at = None, now()
            tell(True)
            event("bundle reloaded", model=self.planner.model, policy=self.planner.policy)
