"""Values of the rows of an evaluation against each other: by known outcomes, or estimated from what was run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.data.dataset import Dataset
from planner_core.examples import Examples
from planner_core.harness.constants import CONSTANT
from planner_core.harness.evaluate import Decider
from planner_core.harness.outcome_metrics import Columns, outcome_columns
from planner_core.rules import BASELINE
from planner_core.value import KnownValue, Predictions, ReplayUse, Value, estimate_value, known_value, read_log

POLICY, AS_RUN = "policy", "as_run"
NAMES = {POLICY: "the policy", BASELINE: "the rules", CONSTANT: "the best constant", AS_RUN: "what was run"}
"""What sentences call the rows of an evaluation."""

GATE = (BASELINE, CONSTANT)
"""Against which a policy that is worse is not to be deployed."""


@dataclass(frozen=True)
class Reference:
    """Another run or bundle to judge against, under the name it was given by.

    ``dataset`` has the same examples as it encodes them; None where that is as the judged policy does.
    """

    name: str
    decider: Decider
    dataset: Dataset | None = None


def default_reference(known: str) -> str:
    """What a policy is judged against unless it is said: what was run on a log, the rules where outcomes are known."""
    return AS_RUN if known == "executed" else BASELINE


def log_values(
    actions: Mapping[str, NDArray[np.int64]],
    examples: Examples,
    weights: NDArray[np.float64],
    predictions: Predictions | None,
    replay: ReplayUse = "checked",
) -> dict[str, Value]:
    """What the log says, by ``"row against reference"``; ``actions`` are joint classes [n] by row, the policy first."""
    assert examples.executed is not None
    log = read_log(
        examples.executed, examples.job_type, weights[examples.priority], strata=examples.job_type, use=replay
    )
    if not len(log):
        return {}
    out = {}
    for name, action in actions.items():
        called = NAMES.get(name, name)
        out[f"{name} against {AS_RUN}"] = estimate_value(log, action, predictions=predictions, name=called)
        if name != POLICY:
            out[f"{POLICY} against {name}"] = estimate_value(
                log, actions[POLICY], against=action, predictions=predictions, against_name=called
            )
    return out


def known_values(
    columns: Mapping[str, Columns], examples: Examples, was: Columns | None = None
) -> dict[str, KnownValue]:
    """The same by known outcomes; ``was`` are those of the executed actions, where the dataset says what was run."""
    stacked = {name: stack(side) for name, side in columns.items()}
    ran = None if was is None else stack(was)
    out = {}
    for name, outcome in stacked.items():
        called = NAMES.get(name, name)
        if ran is not None and not np.isnan(ran).any(axis=0).all():
            out[f"{name} against {AS_RUN}"] = known_value(
                outcome, examples.issue, against=ran, name=called, against_name=NAMES[AS_RUN]
            )
        if name != POLICY:
            out[f"{POLICY} against {name}"] = known_value(
                stacked[POLICY], examples.issue, against=outcome, against_name=called
            )
    return out


def executed_columns(examples: Examples, space: ActionSpace, weights: NDArray[np.float64]) -> Columns | None:
    """Known outcomes of the actions that were run; None where none is known or the dataset does not say what was."""
    if examples.executed is None or examples.known != "all":
        return None
    return outcome_columns(examples.executed.action, examples, space, weights)


def stack(columns: Columns) -> NDArray[np.float64]:
    """float64 [4, n] in the order of :data:`planner_core.value.METRICS`."""
    return np.stack([columns[name] for name in ("passed", "minutes", "cost", "utility")])


def value_document(values: Mapping[str, Value | KnownValue], against: str) -> dict[str, Any]:
    """The estimate of the policy against ``against`` spread at top level; all of them under ``values``.

    ``verdicts`` holds those of the policy by what it is judged against.
    """
    if not values:
        return {}
    plain = {name: msgspec.to_builtins(value) for name, value in values.items()}
    prefix = f"{POLICY} against "
    out = {"values": plain, "verdicts": {n.removeprefix(prefix): v["verdict"] for n, v in plain.items() if prefix in n}}
    first = plain.get(prefix + against)
    if first is None:
        return out
    names = ("value", "estimator", "n_full", "ess", "support", "verdict", "coverage")
    return {**{name: first[name] for name in names if name in first}, **out}
