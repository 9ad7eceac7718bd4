"""What is measured: bundles as they are, and policies exported only for the purpose."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from planner_core import BasePolicy, MissingExtra, PlannerError, PolicyPredictor, load_registry, load_run, newest_run
from planner_core.cli.console import err


class Measured(NamedTuple):
    """A bundle to measure; ``policy`` is the one in Python it was exported from, if only to be measured."""

    path: Path
    policy: BasePolicy | None = None


@contextmanager
def subjects(policies: Sequence[str], bundles: Sequence[Path]) -> Iterator[list[Measured]]:
    """The given bundles, and the given policies freshly exported into a temporary directory.

    A policy that was named must be there; with nothing named, every policy that can be exported is measured, and those
    without a run are left out and said.
    """
    registry = load_registry()
    everything = not policies and not bundles
    names = policies or ([e.name for e in registry.entries if e.status == "ok"] if everything else [])
    with tempfile.TemporaryDirectory() as scratch:
        found = [Measured(path) for path in bundles]
        for name in names:
            spec = registry.spec(name)
            try:
                run = newest_run(name) if spec.trainable else None
            except PlannerError as problem:
                if not everything:
                    raise
                err.print(f"left out: {problem}", style="yellow", soft_wrap=True)
                continue
            try:
                from planner_export.bundle import export_bundle
            except ModuleNotFoundError as problem:
                raise MissingExtra("planner bench --policy", "train", str(problem.name)) from None
            path = Path(scratch) / name
            with err.status(f"exporting {name}"):
                export_bundle(name, registry, path, run=run)
            policy = load_run(run, registry, name).policy if run else PolicyPredictor.untrained(name).policy
            found.append(Measured(path, policy))
        yield found
