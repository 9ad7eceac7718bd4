"""Policies that predict outcomes, each with one mistake; ``BROKEN`` has each with all checks that it fails."""

from __future__ import annotations

import numpy as np
from honest_outcomes import OutcomeTable
from honest_policy import spec_of

from planner_core import OUTCOME_ARRAYS, SIZES, PolicySpec

BROKEN: dict[str, tuple[PolicySpec, set[str]]] = {}


def fails(*checks):
    """Register a policy class as one that fails exactly these checks."""

    def register(policy):
        BROKEN[policy.__name__] = (spec_of(policy), set(checks))
        return policy

    return register


@fails("scores")
class Overconfident(OutcomeTable):
    def learn(self, examples):
        tables = super().learn(examples)
        return {**tables, "passed": tables["passed"] * np.float32(1.25)}


@fails("scores")
class NegativeMinutes(OutcomeTable):
    def learn(self, examples):
        tables = super().learn(examples)
        return {**tables, "minutes": tables["minutes"] - np.float32(20.0)}


@fails("twins")
class CountsNamesApart(OutcomeTable):
    """No number of candidates means two of them, and yet it costs a little more here."""

    def learn(self, examples):
        tables = super().learn(examples)
        unsure = np.array([action.candidates == "NA" for action in self.context.action_space.actions])
        return {**tables, "cost_usd": np.where(unsure, tables["cost_usd"] + np.float32(1e-3), tables["cost_usd"])}


@fails("utility-weights")
class WorthWithinPassed(OutcomeTable):
    """Gives what it takes an action to be worth as its chance of passing, and nothing else."""

    def learn(self, examples):
        tables = super().learn(examples)
        passed, minutes, cost = (tables[name] for name in OUTCOME_ARRAYS)
        worth = 1.0 / (1.0 + np.exp(-(3.0 * passed - minutes / 60.0 - 0.2 * cost) / 3.0))
        nothing = np.ones_like(passed)
        return {"passed": worth.astype(np.float32), "minutes": nothing, "cost_usd": nothing}


@fails("utility-weights", "learns")  # what is free is bought
class OneCostForAll(OutcomeTable):
    def learn(self, examples):
        tables = super().learn(examples)
        mean = tables["cost_usd"].mean(axis=1, keepdims=True)
        return {**tables, "cost_usd": np.broadcast_to(mean, tables["cost_usd"].shape).copy()}


@fails("learns")
class TakesLargeForSmall(OutcomeTable):
    def learn(self, examples):
        tables = super().learn(examples)
        return {
            name: table.reshape(-1, len(SIZES), table.shape[1])[:, ::-1].reshape(table.shape)
            for name, table in tables.items()
        }


@fails("examples-unchanged")
class FillsInWhatIsUnknown(OutcomeTable):
    def learn(self, examples):
        tables = super().learn(examples)
        if examples.executed is not None:
            examples.executed.cost_usd[:] = 0.0
        return tables


@fails("less-known")
class AsksForAllOutcomes(OutcomeTable):
    def known(self, examples):
        assert examples.outcomes.passed.shape
        return super().known(examples)


@fails("graph-parity")
class HoursInTheGraph(OutcomeTable):
    def constants(self):
        constants = super().constants()
        return {**constants, "table_minutes": constants["table_minutes"] / np.float32(60.0)}


@fails("graph-interface")
class ForgetsTheCost(OutcomeTable):
    def nodes(self):
        return super().nodes()[:-1]

    def outputs(self):
        return {name: size for name, size in super().outputs().items() if name != "cost_usd"}
