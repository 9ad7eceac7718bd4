"""An evaluation: the policy beside what was run, the rules, the best constant and the best there is, on the same rows.

Where the outcomes of many actions are known, what each decision would have led to is looked up. Where only that of what
was run is known, it is estimated (:mod:`planner_core.value`); no figure is ever taken from the rows on which a policy
happens to agree with the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES
from planner_core.data.dataset import Dataset
from planner_core.data.writer import SPLITS
from planner_core.errors import PlannerError
from planner_core.examples import Examples, Known
from planner_core.harness.bootstrap import Interval, intervals
from planner_core.harness.constants import CONSTANT, best_constants, constant_decider
from planner_core.harness.evaluate import Decider, Judged, bounds, decide_split, judge, policy_decider
from planner_core.harness.outcome_metrics import Columns
from planner_core.harness.outcome_model import predicted
from planner_core.harness.prediction_metrics import PredictionMetrics, prediction_metrics
from planner_core.harness.sensitivity import PassWorth, pass_worth
from planner_core.harness.values import (
    AS_RUN,
    NAMES,
    POLICY,
    Reference,
    default_reference,
    executed_columns,
    known_values,
    log_values,
    value_document,
)
from planner_core.plugins.guard import make_policy
from planner_core.plugins.registry import Registry
from planner_core.policy import PolicyContext
from planner_core.rules import BASELINE
from planner_core.utility import Objective, weight_table, weights_document
from planner_core.value import KnownValue, Predictions, ReplayUse, Value

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

    ``known`` says what is known of outcomes, ``rows`` how many ``examples`` were judged. ``intervals`` are of known
    outcomes, by issue; ``values`` are those of the policy or another row against a reference, and ``against`` says
    which reference counts. ``reference`` is a run or bundle that was judged beside it, ``replay`` the use of replay
    that was asked for, ``expected`` what a model that saw none of their issues expects of every action. ``notes`` are
    sentences that a reader must not miss.
    """

    policy: str
    split: str
    dataset_hash: str
    known: Known
    rows: int
    examples: Examples
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
    values: dict[str, Value] | dict[str, KnownValue] = field(default_factory=dict)
    sensitivity: PassWorth | None = None
    expected: Predictions | None = None
    notes: list[str] = field(default_factory=list)
    against: str = AS_RUN
    reference: Judged | None = None
    replay: ReplayUse = "checked"

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
            "against": self.against,
            "replay": self.replay,
        }
        if self.best_constant is not None:
            out[CONSTANT] = {**self.best_constant.to_dict(), "actions": self.constants}
        if self.reference is not None:
            out["reference"] = {"name": self.against, **self.reference.to_dict()}
        if self.predictions is not None:
            out["predictions"] = msgspec.to_builtins(self.predictions)
        if self.intervals is not None:
            out["intervals"] = self.intervals
        if self.sensitivity is not None:
            out["sensitivity"] = self.sensitivity.to_dict()
        return out | value_document(self.values, self.against)


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
    against: str | Reference | None = None,
    replay: ReplayUse = "checked",
    notes: Sequence[str] = (),
    sensitivity: bool = False,
) -> Evaluation:
    """Judge a policy on a split. ``utility`` overrides what the dataset says outcomes are worth.

    ``against`` is what the verdict is about: ``as_run``, ``heuristic``, or another run or bundle; by default what was
    run on a log, the rules where outcomes are known. Where only what was run is known, an outcome model narrows the
    intervals: the policy's own predictions where it makes any, else with ``fit_model`` those of a model that learns
    from the rows before, which takes a while; ``replay`` as of :func:`planner_core.value.read_log`. ``notes`` come
    before those of the evaluation. With ``sensitivity`` also how all of it varies with the worth of a pass.

    Raises :class:`planner_core.errors.PlannerError` for an empty split, and where it is asked to judge against what
    was run and the dataset does not say what was.
    """
    weights = weight_table(dataset.meta.utility) if utility is None else utility
    options: dict[str, Any] = {"objective": objective, "utility": utility}
    own = judge(decider, dataset, split, threshold=threshold, **options)
    rules = judge(baseline_decider(registry, context, weights), dataset, split, **options)
    examples, space = dataset.split(split), dataset.action_space
    if against == AS_RUN and examples.executed is None:
        raise PlannerError(f"{dataset.directory}: --against {AS_RUN}: the dataset does not say what was run")
    earlier = dataset.split("train") if split in SPLITS else _before(dataset, examples, split)
    constants = best_constants(earlier, space, weights)
    constant = judge(constant_decider(constants, space), dataset, split, **options) if constants is not None else None
    reference = None
    if isinstance(against, Reference):
        reference = judge(against.decider, against.dataset or dataset, split, **options)
    limits = bounds(dataset, split)
    found = _paired_intervals(own, {BASELINE: rules, CONSTANT: constant}, examples)
    if found is not None and own.outcome is not None and own.outcome.gap_closed is not None:
        floor, ceiling = ((limits[name] or {})["mean_utility"] for name in ("floor", "ceiling"))
        found["gap_closed"] = _on_the_gap(found["mean_utility"], floor, ceiling)
    named = against.name if isinstance(against, Reference) else against or default_reference(examples.known)
    sides = [(POLICY, own), (BASELINE, rules), (CONSTANT, constant), (named, reference)]
    judged = {name: side for name, side in sides if side is not None}
    values: dict[str, Value] | dict[str, KnownValue] = {}
    predictions: Predictions | None = None
    was = executed_columns(examples, space, weights)
    if examples.known == "executed":
        predictions = _predictions(own, dataset, split, fit_model)
        actions = {name: side.decision.action for name, side in judged.items()}
        values = log_values(actions, examples, weights, predictions, replay)
    elif examples.known == "all":
        columns = {name: side.columns for name, side in judged.items() if side.columns is not None}
        values = known_values(columns, examples, was)
    varied = None
    if sensitivity:
        beside = judged.get(named)
        varied = pass_worth(
            own,
            examples,
            space,
            weights,
            against=None if beside is None else beside.decision.action,
            columns=was if beside is None else beside.columns,
            against_name=NAMES.get(named, named),
            predictions=predictions,
            replay=replay,
        )
    return Evaluation(
        policy=policy,
        split=split,
        dataset_hash=dataset.meta.dataset_hash,
        known=examples.known,
        rows=len(examples),
        examples=examples,
        own=own,
        heuristic=rules,
        best_constant=constant,
        constants={} if constants is None else {JOB_TYPES[job]: list(space.actions[i]) for job, i in constants.items()},
        as_run=as_run(examples, weights),
        floor=limits["floor"],
        ceiling=limits["ceiling"],
        utility=weights_document(weights),
        predictions=_judged_predictions(own, decider, dataset, split),
        intervals=found,
        values=values,
        sensitivity=varied,
        expected=predictions,
        notes=[*notes, *_notes(own, constant, found, values, utility, dataset)],
        against=named,
        reference=reference,
        replay=replay,
    )


def _judged_predictions(own: Judged, decider: Decider, dataset: Dataset, split: str) -> PredictionMetrics | None:
    """What the predictions are worth; on the test split, intervals are made of the validation split."""
    outcomes, calibration = own.decision.outcomes, None
    if outcomes is not None and split == "test" and len(dataset.split("val")):
        valid = dataset.split("val")
        predicted_there = decide_split(decider, valid)[0].outcomes
        if predicted_there is not None:
            calibration = ("val", predicted_there, valid)
    return prediction_metrics(outcomes, dataset.split(split), calibration)


def baseline_decider(registry: Registry, context: PolicyContext, utility: NDArray[np.float64] | None = None) -> Decider:
    """The heuristic with its default configuration."""
    spec = registry.spec(BASELINE)
    return policy_decider(make_policy(spec, spec.config_type(), context), context, utility=utility)


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
    before = _before(dataset, examples, split)
    scores = own.decision.outcomes
    if scores is None:
        scores = predicted(before, examples, dataset.encoder) if fit_model and len(before) else None
    elif examples.issue is not None and before.issue is not None:
        # The policy learnt from earlier runs of some issues; 0 is a prediction that did not.
        seen = np.isin(examples.issue, before.issue)
        scores = {name: np.where(seen[:, None], np.float32(0.0), values) for name, values in scores.items()}
    return None if scores is None else Predictions(**scores)


def _before(dataset: Dataset, examples: Examples, split: str) -> Examples:
    """The rows of the splits before, or of the time before where the rows are no split of the dataset's own."""
    if split in SPLITS:
        return dataset.everything.take(np.flatnonzero(dataset.split_of < SPLITS.index(split)))
    assert examples.executed is not None and dataset.everything.executed is not None
    begin = examples.executed.started_ms.min()
    return dataset.everything.take(np.flatnonzero(dataset.everything.executed.started_ms < begin))


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
    values: Mapping[str, Value | KnownValue],
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
    value = values.get(f"{POLICY} against {CONSTANT}")
    if isinstance(value, Value) and value.verdict.answer != "better":
        notes.append(
            "the logs do not show the policy to be better than the best constant action: it is not shown to have "
            "learnt anything"
        )
    if utility is not None and not np.array_equal(utility, weight_table(dataset.meta.utility)):
        notes.append("judged by other utility weights than the dataset's")
    return notes
