"""Judging a run, a bundle or an untrained policy on a dataset, on rows that it cannot have learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.data.dataset import Dataset, load_dataset
from planner_core.data.encode import Progress
from planner_core.data.writer import SPLITS
from planner_core.encoder import EncoderConfig
from planner_core.errors import ConfigError, NothingLater, PlannerError, suggestion
from planner_core.harness.evaluation import Evaluation, evaluate
from planner_core.harness.learnt import LATER, judged_elsewhere, later_rows
from planner_core.harness.run_dir import is_run
from planner_core.harness.sources import Opened, open_path
from planner_core.harness.values import AS_RUN, Reference
from planner_core.plugins.registry import Registry
from planner_core.rules import BASELINE
from planner_core.runtime.bundle import is_bundle
from planner_core.utility import weight_table
from planner_core.value import ReplayUse
from planner_core.world.source import default_dataset


class Datasets:
    """One dataset directory as each of several encoders sees it: the same rows in the same order.

    Without a directory it is the simulated world, made once and reused.
    """

    def __init__(self, directory: Path | None, progress: Progress | None = None) -> None:
        self.directory = directory or default_dataset(progress)
        self._progress = progress
        self._loaded: dict[EncoderConfig, Dataset] = {}

    def encoded(self, encoder: EncoderConfig | None = None) -> Dataset:
        """The dataset with the features of ``encoder``, the default one if None."""
        wanted = encoder or EncoderConfig()
        if wanted not in self._loaded:
            self._loaded[wanted] = load_dataset(self.directory, wanted, progress=self._progress)
        return self._loaded[wanted]


def check_reference(against: str | None) -> None:
    """Raise :class:`ConfigError` for an ``--against`` that is neither a name nor an existing path."""
    if against is not None and against not in (AS_RUN, BASELINE) and not Path(against).exists():
        near = suggestion(against, (AS_RUN, BASELINE))
        raise ConfigError(f"--against {against}: neither {AS_RUN} nor {BASELINE}, and there is no such path{near}")


def open_reference(against: str | None, registry: Registry) -> str | Opened | None:
    """``--against``: a name as it is, or the run or bundle at a path; :class:`PlannerError` for all else."""
    check_reference(against)
    if against is None or against in (AS_RUN, BASELINE):
        return against
    path = Path(against)
    if not (is_run(path) or is_bundle(path)):
        raise PlannerError(f"--against {against}: neither a run directory nor a bundle")
    return open_path(path, registry)


def evaluate_source(
    opened: Opened,
    datasets: Datasets,
    registry: Registry,
    *,
    split: str | None = None,
    against: str | None = None,
    utility: NDArray[np.float64] | None = None,
    replay: ReplayUse = "checked",
    **options: Any,
) -> Evaluation:
    """Judge what was opened on a split, ``test`` by default; ``options`` are those of :func:`evaluate`.

    Where it or the run or bundle ``against`` learnt from another dataset, only rows later than those are judged: all
    of them without a ``split``. Raises :class:`NothingLater` where there is none, :class:`PlannerError` where it cannot
    be known.
    """
    other = open_reference(against, registry)
    data = datasets.encoded(opened.context.encoder)
    sides = [(opened, "it"), *([(other, f"the reference {other.name}")] if isinstance(other, Opened) else [])]
    notes = [note for side, name in sides if (note := judged_elsewhere(data, side.learnt, name))]
    name, rows = split or "test", None
    for side, called in sides:
        if side.learnt is None or (side.learnt.hash == data.meta.dataset_hash and name in SPLITS[2:]):
            continue
        if side.learnt.hash == data.meta.dataset_hash:
            notes.append(f"{called} learnt from the split '{name}' or was chosen by it: figures there are no evidence")
            continue
        later = later_rows(data, side.learnt, side.name)
        rows = later if rows is None else np.intersect1d(rows, later)
    if rows is not None:
        if split is not None or any(side.learnt and side.learnt.hash == data.meta.dataset_hash for side, _ in sides):
            rows = np.intersect1d(rows, np.flatnonzero(data.split_of == SPLITS.index(name)))
        if not len(rows):
            raise NothingLater(f"{data.directory}: no run of the split '{name}' is later than those learnt from")
        name = LATER
    notes += _weights_notes(opened, utility, data)
    reference: str | Reference | None = other if not isinstance(other, Opened) else None
    if isinstance(other, Opened):
        seen = datasets.encoded(other.context.encoder)
        reference = Reference(other.name, other.decider, seen if rows is None else seen.with_rows(name, rows))
    return evaluate(
        opened.policy,
        opened.decider,
        data if rows is None else data.with_rows(name, rows),
        name,
        registry,
        opened.context,
        utility=utility,
        fit_model=True,
        against=reference,
        replay=replay,
        notes=notes,
        **options,
    )


def _weights_notes(opened: Opened, utility: NDArray[np.float64] | None, data: Dataset) -> list[str]:
    judged_by = weight_table(data.meta.utility) if utility is None else utility
    if opened.utility is None or np.array_equal(opened.utility, judged_by):
        return []
    return ["it was trained with other utility weights than it is judged by"]
