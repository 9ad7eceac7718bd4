"""Forward cross-fitting: everything after the first 40 % of a log is judged by what was learnt from earlier runs.

The later rows are cut into blocks by time. For each block a policy, the constants and the outcome model are fitted anew
on the runs that started before it, less those of issues that the block judges: no row is judged by anything that saw
its issue (SPEC section 13).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.data.dataset import Dataset
from planner_core.decision import Scores
from planner_core.errors import PlannerError
from planner_core.examples import Examples
from planner_core.harness.calibration import calibrated
from planner_core.harness.constants import ranked_constants
from planner_core.harness.evaluate import Decider, decide_split, policy_decider
from planner_core.harness.outcome_model import imputer, predicted
from planner_core.plugins.guard import make_policy
from planner_core.plugins.predictor import PolicyPredictor
from planner_core.plugins.registry import Registry
from planner_core.policy import PolicyContext, PolicySpec, TrainablePolicy
from planner_core.settings import Settings
from planner_core.training import EpochReport, TrainingSession
from planner_core.value import Predictions

FIRST = 0.4
"""Share of the runs, the earliest, that are only learnt from."""
BLOCKS = 3
VALID = 1 / 9
"""Share of what a block learns from, the latest, by which a policy chooses its epoch: as val is to train and val."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and of how much."""


@dataclass(frozen=True)
class Block:
    """Rows to judge, and the rows before them to learn from; int64, places in ``Dataset.everything`` in time order."""

    judged: NDArray[np.int64]
    learn: NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """A policy fitted by block: what it decides on the rows judged (joint classes int64), and its newest fit."""

    action: NDArray[np.int64]
    predictor: PolicyPredictor


def blocks_of(
    started_ms: NDArray[np.int64], issue: NDArray[np.int64], first: float = FIRST, count: int = BLOCKS
) -> list[Block]:
    """Cut n runs by time; runs that started in the same moment stay together. A block without anything to learn from
    is left out, as is everything of the first ``first`` of the runs."""
    order = np.argsort(started_ms, kind="stable")
    starts = started_ms[order]
    n = len(order)
    cuts = np.unique([round(n * (first + (1 - first) * i / count)) for i in range(count + 1)])
    # A cut falls where time goes on.
    cuts = np.unique([int(np.searchsorted(starts, starts[c], side="left")) if 0 < c < n else int(c) for c in cuts])
    out = []
    for begin, end in pairwise(cuts):
        judged = order[begin:end]
        before = order[:begin]
        learn = before[~np.isin(issue[before], issue[judged])]
        if len(judged) and len(learn):
            out.append(Block(judged, learn))
    return out


class Forward:
    """The later rows of a dataset of logs, and what is learnt of each block of them.

    ``rows`` int64 [n]: the rows judged, in time order. What is fitted for all policies alike is fitted once.
    """

    def __init__(
        self, dataset: Dataset, utility: NDArray[np.float64], seed: int = 0, progress: Progress | None = None
    ) -> None:
        executed = dataset.everything.executed
        if executed is None:
            raise PlannerError(f"{dataset.directory}: does not say what was run, so there is no later run to judge by")
        self.dataset, self.utility, self.seed = dataset, utility, seed
        self.blocks = blocks_of(executed.started_ms, executed.issue)
        if not self.blocks:
            raise PlannerError(f"{dataset.directory}: too few runs to learn from some and judge by later ones")
        self.rows = np.concatenate([block.judged for block in self.blocks])
        self._tell: Progress = progress or (lambda what, done, total: None)
        self._imputed: dict[tuple[int, bool], NDArray[np.float32] | None] = {}

    @cached_property
    def examples(self) -> Examples:
        """The rows judged; of their outcomes only those of what was run."""
        return self._take(self.rows)

    def _take(self, rows: NDArray[np.int64]) -> Examples:
        return self.dataset.everything.take(rows).with_evidence("executed")

    @cached_property
    def predictions(self) -> Predictions | None:
        """What the outcome model of each block expects of its rows; None, with the reason in the log, without one."""
        parts: list[Scores] = []
        for i, block in enumerate(self.blocks):
            self._tell("fitting the outcome model", i, len(self.blocks))
            part = predicted(self._take(block.learn), self._take(block.judged), self.dataset.encoder, self.seed)
            if part is None:
                self._tell("fitting the outcome model", len(self.blocks), len(self.blocks))
                return None
            parts.append(part)
        self._tell("fitting the outcome model", len(self.blocks), len(self.blocks))
        return Predictions(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def constants(self, space: ActionSpace, count: int) -> list[tuple[NDArray[np.int64], dict[int, int]]]:
        """The ``count`` best constants by what each block learns from: joint classes int64 [n], and the newest actions
        by job type. Fewer where the log has evidence of fewer; a job type without any takes the first valid action."""
        weights, job_type = self.utility, self.examples.job_type
        by_block = [ranked_constants(self._take(b.learn), space, weights, count) for b in self.blocks]
        deepest = min(max((len(actions) for actions in ranked.values()), default=0) for ranked in by_block)
        out = []
        for rank in range(deepest):
            chosen, begin, newest = np.zeros(len(self.rows), np.int64), 0, {}
            for block, ranked in zip(self.blocks, by_block, strict=True):
                rows = slice(begin, begin + len(block.judged))
                newest = {job: actions[min(rank, len(actions) - 1)] for job, actions in ranked.items()}
                for job in np.unique(job_type[rows]):
                    action = newest.get(int(job), int(np.flatnonzero(space.joint_masks[job])[0]))
                    chosen[rows][job_type[rows] == job] = action
                begin = rows.stop
            out.append((chosen, newest))
        return out

    def decide(self, decider: Decider) -> NDArray[np.int64]:
        """What something that learns nothing here decides on the rows, joint classes int64 [n]."""
        return decide_split(decider, self.examples)[0].action

    def fit(self, spec: PolicySpec, settings: Settings, registry: Registry) -> Fitted:
        """Fit a policy for each block and let it decide there. Raises what making or fitting it raises."""
        context = PolicyContext(settings.encoder, ActionSpace(), self.seed)
        actions, newest = [], None
        for i, block in enumerate(self.blocks):
            what = f"fitting {spec.name}, block {i + 1} of {len(self.blocks)}"
            self._tell(what, 0, 1)
            newest = self._fit_block(i, block, spec, settings, context, what)
            decider = policy_decider(newest.policy, context, newest.temperatures, self.utility)
            actions.append(decide_split(decider, self._take(block.judged))[0].action)
            self._tell(what, 1, 1)
        assert newest is not None
        return Fitted(np.concatenate(actions), newest)

    def _fit_block(
        self, i: int, block: Block, spec: PolicySpec, settings: Settings, context: PolicyContext, what: str
    ) -> PolicyPredictor:
        policy = make_policy(spec, settings.policy, context)
        if not isinstance(policy, TrainablePolicy):
            raise PlannerError(f"policy '{spec.name}' is registered as trainable but has no fit, save and load")
        cut = len(block.learn) - int(len(block.learn) * VALID)
        train, valid = self._take(block.learn[:cut]), self._take(block.learn[cut:])

        def epoch(report: EpochReport) -> None:
            self._tell(what, report.epoch, max(report.epochs, report.epoch) + 1)

        def impute(examples: Examples) -> NDArray[np.float32] | None:
            key = (i, examples is train)
            if key not in self._imputed:
                self._tell(f"imputing block {i + 1} of {len(self.blocks)}", 0, 1)
                fill = imputer(train, context.encoder, self.utility, self.seed)
                self._imputed[key] = fill(examples)
                self._tell(f"imputing block {i + 1} of {len(self.blocks)}", 1, 1)
            return self._imputed[key]

        with tempfile.TemporaryDirectory() as scratch:
            session = TrainingSession(train, valid, Path(scratch), self.utility, epoch, impute)
            policy.fit(session)
            calibration: dict[str, Any] = calibrated(policy, session, context, settings.policy)
        return PolicyPredictor(policy, context, calibration["temperatures"], self.utility)
