"""A SIMULATION in place of coding agents, so that the example runs anywhere. It says nothing about real agents.

What it draws depends on the seed, the issue and the attempt alone: two plans for the same attempt meet the same luck,
so a difference between two runs of the kernel comes from the plans. The shape is that of the simulated world (SPEC 8).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

DIFFICULTY = {"XS": -0.8, "S": -0.4, "M": 0.0, "L": 0.4, "XL": 0.8, "low": 0.0, "medium": 0.15, "high": 0.4}
DIFFICULTY["critical"] = 0.7
MINUTES = {"XS": 6, "S": 11, "M": 18, "L": 28, "XL": 50}
NO_LIMIT_CANDIDATES, NO_LIMIT_MINUTES, NO_LIMIT_ITERATIONS = 2, 240, 2
VOTE_MINUTES, USD_PER_MINUTE, USD_PER_CANDIDATE = 2.0, 0.05, 0.02


class Simulation:
    """An executor that draws outcomes; deterministic by seed."""

    name = "simulation"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def run(self, planner_input: Mapping[str, Any], executed: Mapping[str, Any], attempt: int) -> dict[str, Any]:
        """``{outcome, duration_ms, cost_usd_est}`` of an ``executed_plan.v1``."""
        issue, seconds = planner_input["issue"], executed["timeout_seconds_executed"]
        minutes = NO_LIMIT_MINUTES if seconds is None else seconds / 60
        candidates = executed["max_candidates_executed"] or NO_LIMIT_CANDIDATES
        tries = executed["max_iterations_executed"] or NO_LIMIT_ITERATIONS
        if planner_input["job_type"] == "code":
            tries = 1  # code jobs do not iterate
        z = DIFFICULTY[issue["dk_size"]] + DIFFICULTY[issue["dk_risk"]] + 0.25 * issue["dk_attempts"]

        finished, ran_out = [], False
        for candidate in range(candidates):
            # One generator a candidate: the second one's luck does not depend on how often the first one tried.
            rng = random.Random(f"{self.seed}/{issue['issue_id']}/{attempt}/{candidate}")
            used = 0.0
            for number in range(tries):
                good = rng.random() < 1 / (1 + math.exp(z - 0.5))
                needed = rng.lognormvariate(math.log(MINUTES[issue["dk_size"]]) + 0.25 * z, 0.4)
                used += needed if number == 0 else 0.6 * needed
                if used > minutes:
                    ran_out = ran_out or good
                    break
                if good:
                    finished.append(used)
                    break
        passed = bool(finished)
        took = min(finished) if passed else float(minutes)
        took += VOTE_MINUTES if candidates > 1 else 0.0
        code = "budget_exhausted" if ran_out else "test_failed"
        return {
            "outcome": {
                "status": "success" if passed else "timeout" if ran_out else "failed",
                "fail_codes": [] if passed else [code],
                "gates": [{"name": "test", "passed": passed}],
            },
            "duration_ms": round(took * 60_000),
            "cost_usd_est": round(candidates * (took * USD_PER_MINUTE + USD_PER_CANDIDATE), 4),
        }
