"""Section 13 of the specification written down row by row in plain loops, to check the arrays against."""

from __future__ import annotations

import math

import numpy as np

from planner_core.value.actions import classes

TABLE = classes()


def entries(executed, row):
    """{(swarm, k, m, i): p} of one row."""
    span = slice(executed.propensity_starts[row], executed.propensity_starts[row + 1])
    out = {}
    for key, p in zip(
        executed.propensity_actions[span].tolist(), executed.propensity_values[span].tolist(), strict=True
    ):
        out[tuple(key)] = out.get(tuple(key), 0.0) + p
    return out


def times(executed, row):
    """(T for pass and minutes, T for USD and utility) of a run whose candidates are all known."""
    k, m = int(executed.candidates[row]), float(executed.minutes[row])
    limited = bool(executed.minutes_limited[row])
    ends, passes = [], []
    for j in range(k):
        busy = float(executed.candidate_minutes[row, j])
        if executed.candidate_passed[row, j] == 1:
            ends.append(busy)
            passes.append(busy)
        elif limited and busy >= m - 0.02:
            ends.append(math.inf)
        else:
            ends.append(busy)
    return (min(passes) if passes else max(ends)), max(ends)


def weight(executed, row, action, job, for_cost):
    """The replay weight of a run for a target class."""
    swarm, k, budget, i = TABLE.resolved[job, action].tolist()
    own = (int(executed.swarm[row]), int(executed.candidates[row]), int(executed.iterations[row]))
    if own != (swarm, k, i):
        return 0.0
    s = min(times(executed, row)[1 if for_cost else 0], budget)
    if float(executed.minutes[row]) < s:
        return 0.0
    chance = sum(p for (a, b, m, c), p in entries(executed, row).items() if (a, b, c) == own and m >= s)
    return 1.0 / chance


def replayed(executed, row, action, job, fixed, vote):
    """(passed, minutes, USD) under the target's budget."""
    budget = float(TABLE.resolved[job, action][2])
    m = float(executed.minutes[row])
    whole = float(executed.passed[row]), float(executed.duration_minutes[row])
    time = times(executed, row)[0]
    passed, minutes = whole if time <= budget or budget == m else (0.0, budget + (vote if executed.swarm[row] else 0.0))
    usd = 0.0
    for j in range(int(executed.candidates[row])):
        busy, cost = float(executed.candidate_minutes[row, j]), float(executed.candidate_cost_usd[row, j])
        usd += cost if busy <= budget or budget == m else fixed + (cost - fixed) * budget / busy
    return passed, minutes, usd


def utility(outcome, weights):
    return weights[0] * outcome[0] - weights[1] * outcome[1] / 60 - weights[2] * outcome[2]


def support(executed, row, action, job):
    swarm, k, budget, i = TABLE.resolved[job, action].tolist()
    return any(
        p > 0 and (a, b, c) == (swarm, k, i) and m >= budget for (a, b, m, c), p in entries(executed, row).items()
    )


def clustered_error(influence, issue):
    """Standard error of a mean from the variance of the issues' sums."""
    sums = [sum(influence[r] for r in range(len(issue)) if issue[r] == c) for c in sorted(set(issue.tolist()))]
    count = len(sums)
    return math.sqrt(count / (count - 1) * sum(v * v for v in sums)) / len(issue)


def expected_of(predictions, row, action, weights):
    outcome = [
        float(np.asarray(a)[row, action]) for a in (predictions.passed, predictions.minutes, predictions.cost_usd)
    ]
    return [*outcome, utility(outcome, weights)]
