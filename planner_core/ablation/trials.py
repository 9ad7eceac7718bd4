"""The trials of a study: configurations of one policy, trained on one dataset, and what each is worth.

A trial is one configuration, trained into a run directory of its own by the ablation's backends and valued on the
validation split. Which configurations there are is somebody else's affair (``planner tune``); the test split is not
looked at before :meth:`TrialRuns.on_test`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.ablation import run as running
from planner_core.ablation.design import Cell, CellResult
from planner_core.data.encode import Progress
from planner_core.errors import PlannerError
from planner_core.examples import Examples
from planner_core.harness.evaluate import decide_split
from planner_core.harness.evaluation import Evaluation, evaluate
from planner_core.harness.judging import Datasets
from planner_core.harness.outcome_metrics import outcome_columns
from planner_core.harness.outcome_model import predicted
from planner_core.harness.sources import open_path
from planner_core.harness.values import Reference
from planner_core.plugins.registry import Registry
from planner_core.search_space import SearchSpace, nested
from planner_core.settings import make_settings, merge
from planner_core.utility import utilities, weight_table, weights_document
from planner_core.value import METRICS, Log, Predictions, Range, estimate_value, known_value, read_log

DEFAULT = "its default configuration"
"""What a study's configurations are judged against."""

_UTILITY = METRICS.index("utility")


@dataclass(frozen=True)
class Trial:
    """A configuration to try: ``changes`` by dotted key to the base configuration, under the name of its directory."""

    name: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class TrialValue:
    """Mean utility of a run on the validation split with its 95 % interval, and the share of rows that tell of it."""

    utility: float
    low: float | None
    high: float | None
    supported: float


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended: its value, or why there is none."""

    name: str
    value: TrialValue | None = None
    error: str | None = None


class TrialRuns:
    """Trains configurations of ``policy`` into ``out`` and says what each is worth.

    ``values`` are the keys that are set for all of them, ``utility`` float64 [4 priorities, (pass, time, cost)] what
    outcomes are worth instead of what the dataset says. ``workers`` trials are trained side by side on a joblib
    ``backend`` (:func:`planner_core.ablation.run.joblib_runner`). Without a ``dataset`` it is the simulated world.

    Raises :class:`PlannerError` for a policy that does not learn or declares no search space, and for a dataset that
    knows nothing of outcomes or has no validation or test rows.
    """

    def __init__(
        self,
        policy: str,
        registry: Registry,
        dataset: Path | None = None,
        *,
        values: Mapping[str, Any] | None = None,
        seed: int = 0,
        utility: NDArray[np.float64] | None = None,
        backend: str = "sequential",
        workers: int = 1,
        scheduler: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        spec = registry.spec(policy)
        if not spec.trainable:
            raise PlannerError(f"policy '{policy}' does not learn, so there is nothing to tune")
        if not spec.search_space:
            raise PlannerError(f"{spec.label} declares no search space, so there is nothing to tune")
        running.check_backend(backend, scheduler)
        self.policy, self.registry, self.seed = policy, registry, seed
        self.given = dict(values or {})
        self.settings = make_settings(policy, spec.config_type, self.given)
        self.space: SearchSpace = {key: one for key, one in spec.search_space.items() if not _is_set(self.given, key)}
        if not self.space:
            raise PlannerError(f"every key of the search space of policy '{policy}' is set: nothing is left to try")
        self.base: dict[str, Any] = self.settings.to_dict()
        self._backend, self.workers, self._scheduler = backend, workers, scheduler
        self._progress = progress
        self._datasets = Datasets(dataset, progress)
        self.dataset = self._datasets.encoded(self.settings.encoder)
        self._given_utility = utility
        self.utility = weight_table(self.dataset.meta.utility) if utility is None else utility
        self._check()

    def _check(self) -> None:
        place = self.dataset.directory
        if self.dataset.everything.known == "none":
            raise PlannerError(f"{place}: nothing is known of outcomes, so no configuration is worth more than another")
        for split in ("train", "val", "test"):
            if not len(self.dataset.split(split)):
                raise PlannerError(f"{place}: the split '{split}' is empty; a study needs train, val and test")
        if self.valid.known == "executed" and not len(self._log):
            raise PlannerError(f"{place}: no run of the split 'val' is evidence, so no configuration can be valued")

    @cached_property
    def valid(self) -> Examples:
        """The validation rows with what of their outcomes the training may use: a study learns no more than it may."""
        try:
            return self.dataset.split("val").with_evidence(self.settings.learning.evidence)
        except ValueError as problem:
            raise PlannerError(f"{self.dataset.directory}: {problem}, and the split 'val' has none") from None

    # -- training

    @contextmanager
    def running(self, out: Path) -> Iterator[Callable[[Sequence[Trial]], list[TrialResult]]]:
        """Yield what trains trials into ``out`` and values them, several side by side; results in the order given.

        A trial whose run is whole is valued without training, an interrupted one goes on from its last checkpoint.
        """
        threads = int(self.base.get("threads", 1))
        with running.joblib_runner(self._backend, self.workers, threads, self._scheduler) as run:

            def results(trials: Sequence[Trial]) -> list[TrialResult]:
                ended: dict[str, CellResult] = {}
                cells = [self._cell(trial, out) for trial in trials]
                wrong = {c.name: text for c in cells if (text := self._refused(c)) is not None}
                todo = [cell for cell in cells if cell.name not in wrong and not cell.finished]
                if todo:
                    running.encode_for(todo, self.registry, self._progress)
                    running.run_cells(todo, run, lambda result: ended.update({result.cell: result}))
                failed = wrong | {name: result.error for name, result in ended.items() if result.error is not None}
                return [
                    TrialResult(cell.name, error=failed[cell.name])
                    if cell.name in failed
                    else TrialResult(cell.name, self.value_of(cell.path))
                    for cell in cells
                ]

            yield results

    def _cell(self, trial: Trial, out: Path) -> Cell:
        return Cell(
            trial.name,
            self.policy,
            merge(self.base, nested(trial.changes)),
            self.seed,
            str(self.dataset.directory.resolve()),
            self.dataset.meta.dataset_hash,
            str(out.resolve()),
            judged=("val",),
            utility=None if self._given_utility is None else weights_document(self._given_utility),
        )

    def _refused(self, cell: Cell) -> str | None:
        """Why the policy does not take this configuration (a rule between several keys); None where it does."""
        try:
            make_settings(cell.policy, self.registry.spec(cell.policy).config_type, cell.values)
        except PlannerError as problem:
            return str(problem).splitlines()[-1].strip()
        return None

    # -- value

    def value_of(self, run: Path) -> TrialValue:
        """What a run is worth on the validation split.

        Where outcomes are known they are looked up; a decision whose outcome nobody knows counts as the mean of the
        known ones of its row, so that every configuration is valued on the same rows. On a log it is what was run plus
        the estimated difference to that (augmented replay with one outcome model for all trials, fitted on the training
        rows); where the log has no support the difference counts as 0.
        """
        opened = open_path(run, self.registry, self.policy, self._given_utility)
        rows = self._datasets.encoded(opened.context.encoder).split("val")
        action = decide_split(opened.decider, rows)[0].action
        return self._known(action) if self.valid.known == "all" else self._estimated(action)

    def _known(self, action: NDArray[np.int64]) -> TrialValue:
        columns = outcome_columns(action, self.valid, self.dataset.action_space, self.utility)
        assert columns is not None
        worth = columns["utility"]
        told = ~np.isnan(worth)
        outcome = np.full((len(METRICS), len(worth)), 0.0)
        outcome[_UTILITY] = np.where(told, worth, self._usual)
        found = known_value(outcome, self.valid.issue).value.utility
        if found.estimate is None:
            raise PlannerError(f"{self.dataset.directory}: no outcome of the split 'val' is known")
        some = ~np.isnan(self._usual)
        return TrialValue(found.estimate, found.low, found.high, float(told[some].mean()))

    @cached_property
    def _usual(self) -> NDArray[np.float64]:
        """Mean utility of the actions whose outcome is known, float64 [n]; NaN where there is none."""
        known = self.valid.outcomes
        assert known is not None
        arrays = (known.passed, known.minutes, known.cost_usd)
        worth = utilities(*arrays, self.valid.priority, self.utility).astype(np.float64)
        there = ~np.isnan(worth) & self.dataset.action_space.joint_masks[self.valid.job_type]
        count = there.sum(axis=1)
        total = np.where(there, worth, 0.0).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def _estimated(self, action: NDArray[np.int64]) -> TrialValue:
        value = estimate_value(self._log, action, predictions=self._predictions)
        gap = value.value.difference.utility
        if gap.estimate is None and value.partial is not None:
            gap = value.partial.value.difference.utility
        was = value.as_run.utility.estimate
        assert was is not None  # the log has rows
        gap = gap if gap.estimate is not None else Range(0.0)
        low, high = (None if end is None else was + end for end in (gap.low, gap.high))
        return TrialValue(was + (gap.estimate or 0.0), low, high, value.support)

    @cached_property
    def _log(self) -> Log:
        valid = self.valid
        if valid.executed is None:
            raise PlannerError(f"{self.dataset.directory}: does not say what was run")
        return read_log(valid.executed, valid.job_type, self.utility[valid.priority], strata=valid.job_type)

    @cached_property
    def _predictions(self) -> Predictions | None:
        found = predicted(self.dataset.split("train"), self.valid, self.dataset.encoder)
        return None if found is None else Predictions(**found)

    # -- the end

    def on_test(self, best: Path, default: Path) -> Evaluation:
        """The run ``best`` on the test split beside the run ``default``, with the interval of the difference."""
        chosen, usual = (open_path(run, self.registry, self.policy, self._given_utility) for run in (best, default))
        return evaluate(
            self.policy,
            chosen.decider,
            self._datasets.encoded(chosen.context.encoder),
            "test",
            self.registry,
            chosen.context,
            utility=self._given_utility,
            fit_model=True,
            against=Reference(DEFAULT, usual.decider, self._datasets.encoded(usual.context.encoder)),
        )


def _is_set(given: Mapping[str, Any], key: str) -> bool:
    """Whether a dotted key, or what it is part of, is among the given values."""
    found: Any = given
    for part in key.split("."):
        if not isinstance(found, Mapping):
            return True
        if part not in found:
            return False
        found = found[part]
    return True
