"""An evaluation: the policy beside what was run, the rules, the best constant and the best there is, on the same rows.

Where the outcomes of many actions are known, what each decision would have led to is looked up. Where only that of what
was run is known, it is estimated (:mod:`planner_core.value`); no figure is ever taken from the rows on which a policy
happens to agree with the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES, ActionSpace
from planner_core.data.dataset import Dataset
from planner_core.data.writer import SPLITS
from planner_core.decision import Decision, decide, temperatures_for
from planner_core.examples import Examples, Known
from planner_core.features import Batch
from planner_core.harness.bootstrap import Interval, intervals
from planner_core.harness.evaluate import Decider, Judged, bounds, judge, policy_decider
from planner_core.harness.outcome_metrics import Columns
from planner_core.harness.outcome_model import predicted
from planner_core.harness.prediction_metrics import PredictionMetrics, prediction_metrics
from planner_core.plugins.guard import make_policy
from planner_core.plugins.registry import Registry
from planner_core.policy import PolicyContext
from planner_core.rules import BASELINE
from planner_core.utility import Objective, utilities, weight_table, weights_document
from planner_core.value import Predictions, Value, estimate_value, read_log

CONSTANT = "best_constant"
MIN_KNOWN = 0.5
"""A constant is a candidate for the best where its outcome is known on this share of its job type's training rows."""
MIN_ISSUES = 20
"""On logs, a constant is a candidate where so many issues had a run with its swarm, candidates and enough budget."""
ONE_ACTION = 0.95
"""Above this share of decisions that are one action, a training warns."""


class AsRun(msgspec.Struct, kw_only=True):
    """What was run, as it went: means over ``rows`` runs that are evidence; cost over those whose cost is known."""

    rows: int
    pass_rate: float
    mean_minutes: float
    mean_cost_usd: float | None
    mean_utility: float | None


@dataclass(frozen=True)
class Evaluation:
    """One policy on one split, and the rows it stands beside.

    ``known`` says what is known of outcomes, ``rows`` how many examples were judged. ``intervals`` are of known
    outcomes, by issue; ``value`` is what logs say, of the policy against what was run, and ``values`` of the policy or
    another row against a reference. ``notes`` are sentences that a reader must not miss.
    """

    policy: str
    split: str
    dataset_hash: str
    known: Known
    rows: int
    own: Judged
    heuristic: Judged
    best_constant: Judged | None
    constants: dict[str, list[Any]]
    as_run: AsRun | None
    floor: dict[str, float] | None
    ceiling: dict[str, float] | None
    utility: dict[str, dict[str, float]]
    predictions: PredictionMetrics | None = None
    intervals: dict[str, dict[str, Interval]] | None = None
    values: dict[str, Value] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``evaluate``: the policy's metrics at top level, every other row under its name."""
        outcome = self.own.outcome
        out = {
            "policy": self.policy,
            "split": self.split,
            "dataset_hash": self.dataset_hash,
            "known": self.known,
            "rows": self.rows,
            "coverage": outcome.outcome_coverage if outcome else 0.0,
            "utility": self.utility,
            **self.own.to_dict(),
            BASELINE: self.heuristic.to_dict(),
            "floor": self.floor,
            "ceiling": self.ceiling,
            "as_run": None if self.as_run is None else msgspec.to_builtins(self.as_run),
            "notes": self.notes,
        }
        if self.best_constant is not None:
            out[CONSTANT] = {**self.best_constant.to_dict(), "actions": self.constants}
        if self.predictions is not None:
            out["predictions"] = msgspec.to_builtins(self.predictions)
        if self.intervals is not None:
            out["intervals"] = self.intervals
        return out | _value_document(self.values)


def evaluate(
    policy: str,
    decider: Decider,
    dataset: Dataset,
    split: str,
    registry: Registry,
    context: PolicyContext,
    *,
    threshold: float | None = None,
    objective: Objective = "utility",
    utility: NDArray[np.float64] | None = None,
    fit_model: bool = False,
) -> Evaluation:
    """Judge a policy on a split. ``utility`` overrides what the dataset says outcomes are worth.

    Where only what was run is known, an outcome model narrows the intervals: the policy's own predictions where it
    makes any, else with ``fit_model`` those of a model that learns from the splits before, which takes a while.

    Raises :class:`planner_core.errors.PlannerError` for an empty split.
    """
    weights = weight_table(dataset.meta.utility) if utility is None else utility
    options: dict[str, Any] = {"objective": objective, "utility": utility}
    own = judge(decider, dataset, split, threshold=threshold, **options)
    rules = judge(baseline_decider(registry, context, weights), dataset, split, **options)
    examples, space = dataset.split(split), dataset.action_space
    constants = best_constants(dataset.split("train"), space, weights)
    constant = judge(constant_decider(constants, space), dataset, split, **options) if constants is not None else None
    limits = bounds(dataset, split)
    found = _paired_intervals(own, {BASELINE: rules, CONSTANT: constant}, examples)
    if found is not None and own.outcome is not None and own.outcome.gap_closed is not None:
        floor, ceiling = ((limits[name] or {})["mean_utility"] for name in ("floor", "ceiling"))
        found["gap_closed"] = _on_the_gap(found["mean_utility"], floor, ceiling)
    values: dict[str, Value] = {}
    if examples.known == "executed":
        predictions = _predictions(own, dataset, split, fit_model)
        values = _values(own, rules, constant, examples, weights, predictions)
    return Evaluation(
        policy=policy,
        split=split,
        dataset_hash=dataset.meta.dataset_hash,
        known=examples.known,
        rows=len(examples),
        own=own,
        heuristic=rules,
        best_constant=constant,
        constants={} if constants is None else {JOB_TYPES[job]: list(space.actions[i]) for job, i in constants.items()},
        as_run=as_run(examples, weights),
        floor=limits["floor"],
        ceiling=limits["ceiling"],
        utility=weights_document(weights),
        predictions=prediction_metrics(own.decision.outcomes, examples),
        intervals=found,
        values=values,
        notes=_notes(own, constant, found, values, utility, dataset),
    )


def baseline_decider(registry: Registry, context: PolicyContext, utility: NDArray[np.float64] | None = None) -> Decider:
    """The heuristic with its default configuration."""
    spec = registry.spec(BASELINE)
    return policy_decider(make_policy(spec, spec.config_type(), context), context, utility=utility)


def constant_decider(actions: dict[int, int], space: ActionSpace) -> Decider:
    """Always the joint class ``actions[job type]``; for a job type without one, the one of the first that is valid."""

    def run(batch: Batch) -> tuple[Decision, Decision | None]:
        action = np.zeros(len(batch), np.int64)
        for job in np.unique(batch.job_type):
            action[batch.job_type == job] = actions.get(int(job), _any_valid(actions, int(job), space))
        logits = np.full((len(batch), len(space.actions)), -50.0, np.float32)
        logits[np.arange(len(batch)), action] = 0.0
        return decide({"joint": logits}, batch.job_type, temperatures_for("joint"), space), None

    return run


def _any_valid(actions: dict[int, int], job: int, space: ActionSpace) -> int:
    """A class for a job type that training never saw: a chosen one that is valid there, else the first valid one."""
    valid = space.joint_masks[job]
    return next((action for action in actions.values() if valid[action]), int(np.flatnonzero(valid)[0]))


def best_constants(train: Examples, space: ActionSpace, weights: NDArray[np.float64]) -> dict[int, int] | None:
    """The best action of each job type on the training rows, as joint classes; None where nothing is known.

    Where the outcomes of many actions are known, it has the highest mean utility of those known on half the rows. On
    logs it has the highest value by augmented replay, among those with :data:`MIN_ISSUES` issues of evidence.
    """
    if not len(train) or train.known == "none":
        return None
    out: dict[int, int] = {}
    for job in np.unique(train.job_type):
        rows = np.flatnonzero(train.job_type == job)
        score = _mean_utilities(train, rows, weights) if train.outcomes else _replayed(train.take(rows), space, weights)
        score = np.where(space.joint_masks[job], score, -np.inf)
        if np.isfinite(score).any():
            out[int(job)] = int(np.argmax(score))
    return out or None


def _mean_utilities(train: Examples, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean utility of every action over the rows where it is known, float64 [n_joint]; -inf where that is too few."""
    assert train.outcomes is not None
    total, count = np.zeros(0), np.zeros(0)
    for part in np.array_split(rows, max(1, len(rows) // 4096)):
        known = train.outcomes
        utility = utilities(
            known.passed[part], known.minutes[part], known.cost_usd[part], train.priority[part], weights
        )
        sums, seen = np.nansum(utility, axis=0), (~np.isnan(utility)).sum(axis=0)
        total, count = (sums, seen) if not len(total) else (total + sums, count + seen)
    enough = count >= max(1.0, MIN_KNOWN * len(rows))
    return np.where(enough, total / np.maximum(count, 1), -np.inf)


def _replayed(train: Examples, space: ActionSpace, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimated utility of every action as a constant, float64 [n_joint]; -inf where there is too little evidence."""
    assert train.executed is not None
    log = read_log(train.executed, train.job_type, weights[train.priority], strata=train.job_type)
    out = np.full(len(space.actions), -np.inf)
    job = int(train.job_type[0])
    for action in np.unique(space.canonical[job][space.joint_masks[job]]):
        value = estimate_value(log, np.full(len(train), action))
        estimate = value.value.utility.estimate
        if estimate is not None and value.support == 1.0 and (value.n_full or 0) >= MIN_ISSUES:
            out[action] = estimate
    return out


def as_run(examples: Examples, weights: NDArray[np.float64]) -> AsRun | None:
    """What was run of the examples, as it went; None where the dataset does not say or nothing is evidence."""
    executed = examples.executed
    if executed is None or not executed.evidence.any():
        return None
    rows = executed.evidence
    cost = executed.cost_usd[rows].astype(np.float64)
    minutes = executed.duration_minutes[rows].astype(np.float64)
    passed = executed.passed[rows].astype(np.float64)
    w = weights[examples.priority[rows]]
    utility = w[:, 0] * passed - w[:, 1] * minutes / 60.0 - w[:, 2] * cost
    priced = ~np.isnan(cost)
    return AsRun(
        rows=int(rows.sum()),
        pass_rate=float(passed.mean()),
        mean_minutes=float(minutes.mean()),
        mean_cost_usd=float(cost[priced].mean()) if priced.any() else None,
        mean_utility=float(utility[priced].mean()) if priced.any() else None,
    )


def _predictions(own: Judged, dataset: Dataset, split: str, fit_model: bool) -> Predictions | None:
    """What an outcome model that saw no row of the issue expects of every action; None without one."""
    examples = dataset.split(split)
    before = dataset.everything.take(np.flatnonzero(dataset.split_of < SPLITS.index(split)))
    scores = own.decision.outcomes
    if scores is None:
        scores = predicted(before, examples, dataset.encoder) if fit_model and len(before) else None
    elif examples.issue is not None and before.issue is not None:
        # The policy learnt from earlier runs of some issues; 0 is a prediction that did not.
        seen = np.isin(examples.issue, before.issue)
        scores = {name: np.where(seen[:, None], np.float32(0.0), values) for name, values in scores.items()}
    return None if scores is None else Predictions(**scores)


def _values(
    own: Judged,
    rules: Judged,
    constant: Judged | None,
    examples: Examples,
    weights: NDArray[np.float64],
    predictions: Predictions | None,
) -> dict[str, Value]:
    """What the log says, by ``"row against reference"``."""
    assert examples.executed is not None
    log = read_log(examples.executed, examples.job_type, weights[examples.priority], strata=examples.job_type)
    if not len(log):
        return {}
    actions = {"policy": own.decision.action, BASELINE: rules.decision.action}
    if constant is not None:
        actions[CONSTANT] = constant.decision.action
    names = {"policy": "the policy", BASELINE: "the rules", CONSTANT: "the best constant"}
    out = {}
    for name, action in actions.items():
        out[f"{name} against as_run"] = estimate_value(log, action, predictions=predictions, name=names[name])
        if name != "policy":
            out[f"policy against {name}"] = estimate_value(
                log, actions["policy"], against=action, predictions=predictions, against_name=names[name]
            )
    return out


def _value_document(values: dict[str, Value]) -> dict[str, Any]:
    """The first estimate, of the policy against what was run, spread at top level; the others under ``values``."""
    if not values:
        return {}
    plain = {name: msgspec.to_builtins(value) for name, value in values.items()}
    first = plain["policy against as_run"]
    names = ("value", "estimator", "n_full", "ess", "support", "verdict", "coverage")
    return {**{name: first[name] for name in names}, "values": plain}


def _paired_intervals(
    own: Judged, others: dict[str, Judged | None], examples: Examples
) -> dict[str, dict[str, Interval]] | None:
    """Bootstrap intervals on the rows whose outcome is known for all of them; None where there is none."""
    columns = {name: side.columns for name, side in others.items() if side is not None}
    if own.columns is None or any(side is None for side in columns.values()):
        return None
    sides: dict[str, Columns] = {name: side for name, side in columns.items() if side is not None}
    both = np.all([~np.isnan(side["utility"]) for side in (own.columns, *sides.values())], axis=0)
    if not both.any():
        return None

    def known(side: Columns) -> Columns:
        return {name: values[both] for name, values in side.items()}

    issue = None if examples.issue is None else examples.issue[both]
    return intervals(known(own.columns), {name: known(side) for name, side in sides.items()}, issue)


def _on_the_gap(found: dict[str, Interval], floor: float, ceiling: float) -> dict[str, Interval]:
    """Intervals of mean utility on the scale of ``gap_closed``."""
    return {
        name: None
        if ends is None
        else [(end - (0.0 if name.startswith("difference") else floor)) / (ceiling - floor) for end in ends]
        for name, ends in found.items()
    }


def _notes(
    own: Judged,
    constant: Judged | None,
    found: dict[str, dict[str, Interval]] | None,
    values: dict[str, Value],
    utility: NDArray[np.float64] | None,
    dataset: Dataset,
) -> list[str]:
    notes = []
    top = own.diagnostic.top1_frequency
    if top > ONE_ACTION:
        action = ", ".join(map(str, dataset.action_space.actions[np.bincount(own.decision.action).argmax()]))
        notes.append(f"{top:.1%} of the decisions are one action ({action}): the policy has collapsed to a constant")
    if found is not None and constant is not None:
        ends = found["mean_utility"][f"difference to {CONSTANT}"]
        if ends is not None and ends[1] < 0.0:
            notes.append("the policy earns less than the best constant action, one fixed action a job type")
        if ends is not None and ends[0] <= 0.0 <= ends[1]:
            notes.append(
                "the interval of the difference to the best constant action holds 0: the policy is not shown to have "
                "learnt anything that one fixed action would not do"
            )
    value = values.get(f"policy against {CONSTANT}")
    if value is not None and value.verdict.answer != "better":
        notes.append(
            "the logs do not show the policy to be better than the best constant action: it is not shown to have "
            "learnt anything"
        )
    if utility is not None and not np.array_equal(utility, weight_table(dataset.meta.utility)):
        notes.append("judged by other utility weights than the dataset's")
    return notes
