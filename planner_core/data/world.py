"""The simulated world: a dataset whose best possible policy is known.

Issues arrive in time and are run under the baseline's plan, with 20 % uniform exploration; a failed one may come back
as a further attempt. The outcomes that are sampled on the way are the history a policy sees. What it is judged by are
the expected outcomes of every action given the difficulty z of :mod:`planner_core.data.world_model`:

    z = size + risk + mean offset of the tags + 0.25 x attempts - skill of the hinted tool + noise

A tag's offset is a fixed part, which can be learned from the tags, plus a drift, which only recent history tells. The
noise is new in every run and never observable. So a **ceiling** can be computed: the policy that knows all of z but
the noise. The **floor** is the baseline. Both are recorded in ``meta.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import NA, ActionSpace, action_dict
from planner_core.contracts import ACTION_SCHEMA, INPUT_SCHEMA
from planner_core.data import world_model as model
from planner_core.data.retrieval import QueryColumns, RunColumns, pack_bits, retrieve_all
from planner_core.data.utility import UTILITY_WEIGHTS, best_actions, tie_order, utilities, weight_table
from planner_core.data.world_events import (
    ATTEMPT_OFFSET,
    DRIFT_ISSUES,
    DRIFT_SD,
    EPOCH_MS,
    EXPLORATION,
    FIXED_SD,
    JOB_SHARES,
    JOBS,
    MAX_ATTEMPTS,
    MEAN_GAP_MS,
    MEAN_RETRY_DELAY_MS,
    OBJECTIVE_SHARES,
    OBJECTIVES,
    PRIORITY_SHARES,
    RETRY_PROBABILITY,
    RISK_OFFSETS,
    RISK_SHARES,
    SIZE_OFFSETS,
    SIZE_SHARES,
    SKILL_SD,
    TAG_COUNT_SHARES,
    TAGS,
    TOOL_SHARES,
    UNIVERSE_SWARMS,
    UNIVERSES,
    Baseline,
    Hidden,
    Ints,
    Issues,
    Runs,
    draw_hidden,
    draw_issues,
    draw_runs,
    draw_states,
    tabulate,
)
from planner_core.data.writer import OUTCOME_ARRAYS, SPLITS, assign_splits, example_line, rfc3339, write_dataset
from planner_core.encoder import (
    DOMAINS,
    PRIORITIES,
    RISKS,
    SIZES,
    TOOLCHAINS,
)
from planner_core.errors import ConfigError
from planner_core.files import new_directory

JOB_GATES = (
    ("test", "typecheck", "lint", "build"),
    ("fab-realism", "godot", "godot-config"),
    ("fab-realism", "asset-only"),
)
GATE_FAIL_SHARE = 0.25  # of a further gate, once one has failed
FAIL_CODES = {
    "test": "TEST_FAILURE",
    "typecheck": "TYPE_ERROR",
    "lint": "LINT_ERROR",
    "build": "BUILD_FAILURE",
    "fab-realism": "REALISM_BELOW_THRESHOLD",
    "godot": "GODOT_IMPORT_FAILED",
    "godot-config": "GODOT_CONFIG_INVALID",
    "asset-only": "ASSET_INVALID",
}
OUT_OF_TIME, OUTVOTED = "BUDGET_EXHAUSTED", "VOTE_NOT_REACHED"

_ROWS_AT_ONCE = 4096


def synthesize(
    out: Path,
    *,
    examples: int,
    seed: int,
    baseline: Baseline,
    n_similar: int = 8,
    progress: Callable[[str, int, int], None] | None = None,
    replace: bool = False,
) -> dict[str, Any]:
    """Write the dataset of a simulated world of ``examples`` runs to the directory ``out``; returns its meta.

    The same arguments give byte-identical directories. ``progress`` is called with (stage, done, all). Raises
    :class:`PlannerError` when ``out`` exists and ``replace`` is not set, :class:`ConfigError` for an argument out of
    range or a baseline that breaks the validity rules.
    """
    if examples < 1 or n_similar < 0 or seed < 0:
        raise ConfigError(
            f"a world needs examples >= 1, n_similar >= 0 and seed >= 0, not {examples}, {n_similar} and {seed}"
        )
    tell = progress or (lambda stage, done, total: None)
    baseline_index = tabulate(baseline)
    with new_directory(out, replace=replace) as directory:
        streams = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(5)]
        hidden = draw_hidden(streams[0], examples)
        issues = draw_issues(streams[1], examples)
        runs = draw_runs(streams[2], issues, hidden, baseline_index, examples)
        states = draw_states(streams[3], runs.at_ms)
        summaries, signals, run_json = _summaries(streams[4], issues, runs)
        similar = retrieve_all(
            *_columns(issues, runs, signals), n_similar, lambda done, total: tell("similar runs", done, total)
        )
        outcomes, labels, ceiling_actions = _evaluate_all(issues, runs, tell)

        names = [_run_name(i) for i in range(examples)]
        splits = assign_splits(runs.at_ms.tolist(), names)
        floor_actions = baseline_index[issues.job[runs.issue], issues.risk[runs.issue], issues.size[runs.issue]]
        judged = (outcomes, issues.priority[runs.issue], labels, splits)
        meta = {
            "swarm_ids": list(ActionSpace().swarm_ids),
            "n_similar_runs": n_similar,
            "label_source": "best_of_k",
            "n_labels": len(np.unique(labels)),
            "utility": UTILITY_WEIGHTS,
            "ceiling": _judge(ceiling_actions, *judged),
            "floor": _judge(floor_actions, *judged),
            "world": _parameters(seed, hidden, summaries),
        }
        lines = _lines(issues, runs, states, similar, run_json, labels, splits, tell)
        return write_dataset(directory, lines, splits, meta, outcomes)


# ---------------------------------------------------------------------------------------------------------- drawing


def _run_name(i: int) -> str:
    return f"run-{i:07d}"


def _issue_name(i: int) -> str:
    return f"sim-{i:07d}"


def _tag_names(issues: Issues) -> list[list[str]]:
    return [[TAGS[tag] for tag in row if tag >= 0] for row in issues.tags.tolist()]


_GATE_NAMES = (*FAIL_CODES, "review")
_SIGNALS = {name: i for i, name in enumerate((*_GATE_NAMES, *FAIL_CODES.values(), OUT_OF_TIME, OUTVOTED))}


def _summaries(
    rng: np.random.Generator, issues: Issues, runs: Runs
) -> tuple[dict[str, float], NDArray[np.uint64], list[msgspec.Raw]]:
    """Shares of the outcomes, the failure signals of each run as bit masks, and each ``run_summary.v1`` as JSON."""
    n = len(runs.issue)
    failing_gate, further = rng.random(n), rng.random((n, max(len(gates) for gates in JOB_GATES))) < GATE_FAIL_SHARE
    tags, actions = _tag_names(issues), ActionSpace().actions
    encode = msgspec.json.Encoder().encode
    signals: list[list[int]] = []
    documents: list[msgspec.Raw] = []
    counts = {"success": 0, "failed": 0, "timeout": 0}
    for i in range(n):
        issue = int(runs.issue[i])
        gates: tuple[str, ...] = JOB_GATES[issues.job[issue]]
        failed: set[str] = set()
        codes: list[str] = []
        if runs.passed[i]:
            status = "success"
        elif runs.out_of_time[i]:
            status, gates, codes = "timeout", (), [OUT_OF_TIME]
        elif runs.outvoted[i]:
            status, gates, failed, codes = "failed", (*gates, "review"), {"review"}, [OUTVOTED]
        else:
            status = "failed"
            failed = {name for name, too in zip(gates, further[i], strict=False) if too}
            failed.add(gates[int(failing_gate[i] * len(gates))])
            codes = [FAIL_CODES[name] for name in gates if name in failed]
        counts[status] += 1
        signals.append([_SIGNALS[name] for name in (*gates, *codes)])
        action = action_dict(actions[runs.action[i]])
        limits = {name.removesuffix("_bin"): None if v == NA else v for name, v in action["budgets"].items()}
        job = issues.job[issue]
        document = {
            "run_id": _run_name(i),
            "started_ms": int(runs.at_ms[i]),
            "job_type": JOBS[job],
            "domain": DOMAINS[job],
            "action_executed": {"swarm_id": action["swarm_id"], **limits},
            "outcome": {
                "status": status,
                "fail_codes": codes,
                "gates": [{"name": name, "passed": name not in failed} for name in gates],
            },
            "runtime": {"duration_ms": int(runs.duration_ms[i])},
            "cost_usd_est": float(runs.cost_usd[i]),
            "tags": tags[issue],
            "issue_id": _issue_name(issue),
            "propensity": float(runs.propensity[i]),
        }
        if issues.world[issue] >= 0:
            document["universe_id"] = UNIVERSES[issues.world[issue]]
        if issues.objective[issue] >= 0:
            document["objective_id"] = OBJECTIVES[issues.objective[issue]]
        documents.append(msgspec.Raw(encode(document)))
    shares = {status: round(count / n, 4) for status, count in counts.items()}
    return shares, pack_bits(signals, len(_SIGNALS)), documents


def _columns(issues: Issues, runs: Runs, signals: NDArray[np.uint64]) -> tuple[QueryColumns, RunColumns]:
    """The log for retrieval; run i is also query i."""
    tags = pack_bits([[tag for tag in row if tag >= 0] for row in issues.tags.tolist()], len(TAGS))
    job, world, objective = issues.job[runs.issue], issues.world[runs.issue], issues.objective[runs.issue]
    log = RunColumns(
        start_ms=runs.at_ms,
        job_type=job,
        tags=tags[runs.issue],
        signals=signals,
        issue=runs.issue,
        world=world,
        objective=objective,
        id_rank=np.arange(len(job)),
    )
    return QueryColumns(runs.at_ms, job, log.tags, runs.issue, world, objective), log


# ---------------------------------------------------------------------------------------------------------- judging


def _evaluate_all(
    issues: Issues, runs: Runs, tell: Callable[[str, int, int], None]
) -> tuple[dict[str, NDArray[np.float32]], Ints, Ints]:
    """Expected outcomes given z (float32 [runs, 150], NaN where invalid), the labels, and the ceiling's actions."""
    space, world = ActionSpace(), model.world_model()
    n, order, weights = len(runs.issue), tie_order(space), weight_table()
    outcomes = {name: np.empty((n, len(space.actions)), np.float32) for name in OUTCOME_ARRAYS}
    labels, ceiling = np.empty(n, np.int64), np.empty(n, np.int64)
    job, size, priority = issues.job[runs.issue], issues.size[runs.issue], issues.priority[runs.issue]
    for begin in range(0, n, _ROWS_AT_ONCE):
        rows = slice(begin, min(begin + _ROWS_AT_ONCE, n))
        valid = space.joint_masks[job[rows]]

        given_all = world.expected(size[rows], runs.z[rows], job[rows])
        given_known = world.expected_over_noise(size[rows], runs.known_z[rows], job[rows])
        for expected, winners in ((given_known, ceiling), (given_all, labels)):
            # Rounded to what is stored before the winner is chosen, so that a reader finds the same one.
            passed, minutes, cost = (np.where(valid, values, np.nan).astype(np.float32) for values in expected)
            score = utilities(passed, minutes, cost, priority[rows], weights)
            winners[rows] = best_actions(passed, score, valid, order)
        for name, values in zip(outcomes, (passed, minutes, cost), strict=True):
            outcomes[name][rows] = values
        tell("expected outcomes", rows.stop, n)
    return outcomes, labels, ceiling


def _judge(
    actions: Ints, outcomes: dict[str, NDArray[np.float32]], priority: Ints, labels: Ints, splits: list[str]
) -> dict[str, dict[str, float]]:
    """Exact match with the labels and mean expected utility of one action a run, by split that is not empty."""
    passed, minutes, cost = (outcomes[name][np.arange(len(actions)), actions][:, None] for name in OUTCOME_ARRAYS)
    utility = utilities(passed, minutes, cost, priority, weight_table())[:, 0]
    of_split = np.array(splits)
    out = {}
    for split in SPLITS:
        rows = of_split == split
        if rows.any():
            out[split] = {
                "exact_match_accuracy": float((actions == labels)[rows].mean()),
                "mean_utility": float(utility[rows].mean()),
            }
    return out


def _parameters(seed: int, hidden: Hidden, status_shares: dict[str, float]) -> dict[str, Any]:
    """Everything that defines the world, the hidden offsets included (the drift follows from the seed)."""
    return {
        "seed": seed,
        "epoch_ms": EPOCH_MS,
        "mean_gap_ms": MEAN_GAP_MS,
        "shares": {
            "job_type": dict(zip(JOBS, JOB_SHARES, strict=True)),
            "priority": dict(zip(PRIORITIES, PRIORITY_SHARES, strict=True)),
            "risk": dict(zip(RISKS, RISK_SHARES, strict=True)),
            "size": dict(zip(SIZES, SIZE_SHARES, strict=True)),
            "tool_hint": dict(zip((*TOOLCHAINS, "none"), TOOL_SHARES, strict=True)),
            "tag_count": dict(zip("1234", TAG_COUNT_SHARES, strict=True)),
            "objective": dict(zip((*OBJECTIVES, "none"), OBJECTIVE_SHARES, strict=True)),
            "system_state": 0.5,
        },
        "difficulty": {
            "size": dict(zip(SIZES, SIZE_OFFSETS, strict=True)),
            "risk": dict(zip(RISKS, RISK_OFFSETS, strict=True)),
            "attempt": ATTEMPT_OFFSET,
            "tag_fixed_sd": FIXED_SD,
            "tag_drift_sd": DRIFT_SD,
            "tag_drift_issues": DRIFT_ISSUES,
            "skill_sd": SKILL_SD,
            "noise_sd": model.NOISE,
            "tag_fixed": dict(zip(TAGS, hidden.fixed.tolist(), strict=True)),
            "skill": dict(zip((*TOOLCHAINS, "none"), hidden.skill.tolist(), strict=True)),
        },
        "outcome": {
            "quality_at": model.QUALITY_AT,
            "size_minutes": dict(zip(SIZES, model.SIZE_MINUTES, strict=True)),
            "time_slope": model.TIME_SLOPE,
            "time_spread": model.TIME_SPREAD,
            "retry_share": model.RETRY_SHARE,
            "na_candidates": model.NA_CANDIDATES,
            "na_minutes": model.NA_MINUTES,
            "na_iterations": model.NA_ITERATIONS,
            "vote_success": model.VOTE_SUCCESS,
            "vote_minutes": model.VOTE_MINUTES,
            "usd_per_candidate_minute": model.USD_PER_MINUTE,
            "usd_per_candidate": model.USD_PER_CANDIDATE,
        },
        "logging_policy": {"name": "baseline", "exploration": EXPLORATION},
        "attempts": {
            "retry_probability": RETRY_PROBABILITY,
            "max_attempts": MAX_ATTEMPTS,
            "mean_retry_delay_ms": MEAN_RETRY_DELAY_MS,
        },
        "status_shares": status_shares,
    }


# ---------------------------------------------------------------------------------------------------------- writing


def _lines(
    issues: Issues,
    runs: Runs,
    states: list[dict[str, Any] | None],
    similar: Ints,
    run_json: list[msgspec.Raw],
    labels: Ints,
    splits: list[str],
    tell: Callable[[str, int, int], None],
) -> Iterator[bytes]:
    """The dataset's lines. Each run summary was encoded once and is pasted wherever it is history."""
    space = ActionSpace()
    space_json = msgspec.Raw(msgspec.json.encode(space.to_dict()))
    label_parts = [action_dict(action) for action in space.actions]
    tags = _tag_names(issues)
    n = len(runs.issue)
    for i, (issue, row) in enumerate(zip(runs.issue.tolist(), similar.tolist(), strict=True)):
        world, objective, tool = issues.world[issue], issues.objective[issue], issues.tool[issue]
        created_at = rfc3339(int(runs.at_ms[i]))
        planner_input = {
            "schema_version": INPUT_SCHEMA,
            "created_at": created_at,
            "universe_id": UNIVERSES[world] if world >= 0 else "default",
            "job_type": JOBS[issues.job[issue]],
            "universe_defaults": {
                "swarm_id": UNIVERSE_SWARMS[world] if world >= 0 else None,
                "objective_id": OBJECTIVES[objective] if objective >= 0 else None,
            },
            "issue": {
                "issue_id": _issue_name(issue),
                "dk_priority": PRIORITIES[issues.priority[issue]],
                "dk_risk": RISKS[issues.risk[issue]],
                "dk_size": SIZES[issues.size[issue]],
                "dk_tool_hint": TOOLCHAINS[tool] if tool >= 0 else None,
                "dk_attempts": int(runs.attempts[i]),
                "tags": tags[issue],
            },
            "history": {"last_n_similar_runs": [run_json[j] for j in row if j >= 0]},
            "action_space": space_json,
            "system_state": states[i],
        }
        label = {"schema_version": ACTION_SCHEMA, "created_at": created_at, **label_parts[labels[i]]}
        yield example_line(
            run_id=_run_name(i),
            started_ms=int(runs.at_ms[i]),
            split=splits[i],
            planner_input=planner_input,
            label=label,
        )
        if i % _ROWS_AT_ONCE == _ROWS_AT_ONCE - 1 or i == n - 1:
            tell("examples", i + 1, n)
