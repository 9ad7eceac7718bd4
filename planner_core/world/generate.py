"""The simulated world: a dataset whose best possible policy is known.

Issues arrive in time and are run under the baseline's plan, with 20 % uniform exploration; a failed one may come back
as a further attempt. The outcomes that are sampled on the way are the history a policy sees. What it is judged by are
the expected outcomes of every action given the difficulty z of :mod:`planner_core.world.model`:

    z = size + risk + mean offset of the tags + 0.25 x attempts - skill of the hinted tool + noise

A tag's offset is a fixed part, which can be learned from the tags, plus a drift, which only recent history tells. The
noise is new in every run and never observable. So a **ceiling** can be computed: the policy that knows all of z but
the noise. The **floor** is the baseline. Both are recorded in ``meta.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.data.npy import NpyWriter
from planner_core.data.retrieval import retrieve_all
from planner_core.data.writer import DATASET, SPLITS, ordered_splits, write_dataset
from planner_core.encoder import PRIORITIES, RISKS, SIZES, TOOLCHAINS
from planner_core.errors import ConfigError
from planner_core.examples import OUTCOME_ARRAYS
from planner_core.files import new_directory
from planner_core.utility import UTILITY_WEIGHTS, best_actions, tie_order, utilities, weight_table
from planner_core.world import model
from planner_core.world.events import (
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
    Baseline,
    Floats,
    Ints,
    Issues,
    Runs,
    draw_hidden,
    draw_issues,
    draw_runs,
    draw_states,
    tabulate,
)
from planner_core.world.lines import world_lines
from planner_core.world.log import ROWS_AT_ONCE, RunLog


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
    with (
        new_directory(out, replace=DATASET if replace else None) as directory,
        TemporaryDirectory(dir=directory) as scratch,
    ):
        streams = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(5)]
        hidden = draw_hidden(streams[0], examples)
        issues = draw_issues(streams[1], examples)
        runs = draw_runs(streams[2], issues, hidden, baseline_index, examples)
        offsets = {"tag_fixed": _by_name(TAGS, hidden.fixed), "skill": _by_name((*TOOLCHAINS, "none"), hidden.skill)}
        del hidden  # the drift is 320 bytes an issue, and has done its work
        states = draw_states(streams[3], runs.at_ms)
        log = RunLog(Path(scratch) / "runs", streams[4], issues, runs, tell)
        similar = retrieve_all(
            *log.columns(issues, runs), n_similar, lambda done, total: tell("similar runs", done, total)
        )
        floor = baseline_index[issues.job[runs.issue], issues.risk[runs.issue], issues.size[runs.issue]]
        outcomes = {name: Path(scratch) / f"{name}.npy" for name in OUTCOME_ARRAYS}
        judged = _evaluate_all(issues, runs, floor, outcomes, tell)
        splits = ordered_splits(examples)  # runs are in order of start, and numbered in it
        meta = {
            "swarm_ids": list(ActionSpace().swarm_ids),
            "n_similar_runs": n_similar,
            "label_source": "best_of_k",
            "n_labels": len(np.unique(judged.labels)),
            "utility": UTILITY_WEIGHTS,
            "ceiling": _by_split(judged.ceiling == judged.labels, judged.ceiling_utility, splits),
            "floor": _by_split(floor == judged.labels, judged.floor_utility, splits),
            "world": _parameters(seed, offsets, log.status_shares),
        }
        lines = world_lines(issues, runs, states, log, similar, judged.labels, splits, tell)
        return write_dataset(directory, lines, splits, meta, outcomes)


@dataclass(frozen=True)
class _Judged:
    """Joint classes int64 [runs] of the label and of the ceiling, and expected utilities float64 [runs]."""

    labels: Ints
    ceiling: Ints
    ceiling_utility: Floats
    floor_utility: Floats


def _evaluate_all(
    issues: Issues, runs: Runs, floor: Ints, outcomes: Mapping[str, Path], tell: Callable[[str, int, int], None]
) -> _Judged:
    """Write the expected outcomes given z (float32 [runs, 150], NaN where invalid); judge ceiling and floor by them."""
    space, world = ActionSpace(), model.world_model()
    n, order, weights = len(runs.issue), tie_order(space), weight_table()
    judged = _Judged(np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n), np.empty(n))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(NpyWriter(path, np.float32, (len(space.actions),))) for path in outcomes.values()
        ]
        for begin in range(0, n, ROWS_AT_ONCE):
            rows = slice(begin, min(begin + ROWS_AT_ONCE, n))
            issue = runs.issue[rows]
            job, size, priority = issues.job[issue], issues.size[issue], issues.priority[issue]
            valid = space.joint_masks[job]
            given_all = world.expected(size, runs.z[rows], job)
            given_known = world.expected_over_noise(size, runs.known_z[rows], job)
            for expected, winners in ((given_known, judged.ceiling), (given_all, judged.labels)):
                # Rounded to what is stored before the winner is chosen, so that a reader finds the same one.
                passed, minutes, cost = (np.where(valid, values, np.nan).astype(np.float32) for values in expected)
                score = utilities(passed, minutes, cost, priority, weights)
                winners[rows] = best_actions(passed, score, valid, order)
            each = np.arange(len(issue))
            judged.ceiling_utility[rows] = score[each, judged.ceiling[rows]]
            judged.floor_utility[rows] = score[each, floor[rows]]
            for writer, values in zip(writers, (passed, minutes, cost), strict=True):
                writer.append(values)
            tell("expected outcomes", rows.stop, n)
    return judged


def _by_split(matches: NDArray[np.bool_], utility: Floats, splits: Sequence[str]) -> dict[str, dict[str, float]]:
    """Share of ``matches`` with the label and mean of ``utility``, by split that is not empty."""
    of_split = np.array(splits)
    out = {}
    for split in SPLITS:
        rows = of_split == split
        if rows.any():
            out[split] = {
                "exact_match_accuracy": float(matches[rows].mean()),
                "mean_utility": float(utility[rows].mean()),
            }
    return out


def _by_name(names: Sequence[str], values: Floats) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _parameters(
    seed: int, offsets: Mapping[str, Mapping[str, float]], status_shares: Mapping[str, float]
) -> dict[str, Any]:
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
            **offsets,
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
