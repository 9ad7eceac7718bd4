"""The simulated world: a dataset whose best possible policy is known.

Issues arrive in time and are run as the baseline says, but for a share of uniform exploration; a failed one may come
back as a further attempt. The outcomes that are sampled on the way are the history a policy sees, and what it may learn
from. What it is judged by are the expected outcomes of every action given the difficulty z, which the world's outcome
model knows:

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

import msgspec
import numpy as np

from planner_core.action_space import NA_STANDS_FOR, ActionSpace
from planner_core.data.npy import NpyWriter
from planner_core.data.retrieval import retrieve_all
from planner_core.data.writer import DATASET, SPLITS, ordered_splits, write_dataset
from planner_core.encoder import TOOLCHAINS
from planner_core.errors import ConfigError
from planner_core.examples import OUTCOME_ARRAYS
from planner_core.files import new_directory
from planner_core.utility import UTILITY_WEIGHTS, best_actions, tie_order, utilities, weight_table
from planner_core.world.config import DEFAULT, TAGS, WorldConfig
from planner_core.world.events import Issues, Runs, draw_hidden, draw_issues, draw_runs, draw_states
from planner_core.world.lines import world_lines
from planner_core.world.log import ROWS_AT_ONCE, RunLog
from planner_core.world.logging_policy import LoggingPolicy, Rules, tabulate
from planner_core.world.models import outcome_model
from planner_core.world.outcomes import Bools, Floats, Ints, OutcomeModel


def synthesize(
    out: Path,
    *,
    examples: int,
    seed: int,
    baseline: Rules,
    config: WorldConfig = DEFAULT,
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
        ExitStack() as opened,
    ):
        drawn = draw_world(config, seed, examples, baseline_index)
        issues, runs = drawn.issues, drawn.runs
        states = draw_states(drawn.state_rng, config.shares.system_state, runs.at_ms)
        policy = LoggingPolicy(config.exploration)
        log = RunLog(Path(scratch) / "runs", drawn.log_rng, config.gate_fail_share, policy, issues, runs, tell)
        opened.callback(log.close)  # a file that is mapped cannot be removed everywhere
        similar = retrieve_all(
            *log.columns(issues, runs), n_similar, lambda done, total: tell("similar runs", done, total)
        )
        outcomes = {name: Path(scratch) / f"{name}.npy" for name in OUTCOME_ARRAYS}
        judged = _evaluate_all(drawn.model, issues, runs, outcomes, tell)
        splits = ordered_splits(examples)  # runs are in order of start, and numbered in it
        meta = {
            "swarm_ids": list(ActionSpace().swarm_ids),
            "n_similar_runs": n_similar,
            "label_source": "best_of_k",
            "n_labels": len(np.unique(judged.labels)),
            "utility": UTILITY_WEIGHTS,
            "ceiling": _by_split(judged.ceiling == judged.labels, judged.ceiling_utility, splits),
            "floor": _by_split(runs.usual == judged.labels, judged.floor_utility, splits),
            "world": {**_parameters(config, seed, drawn.offsets), "status_shares": log.status_shares},
        }
        lines = world_lines(issues, runs, states, log, similar, judged.labels, splits, tell)
        return write_dataset(directory, lines, splits, meta, outcomes)


@dataclass(frozen=True)
class DrawnWorld:
    """Everything that happens in a world: its outcome model, issues and runs.

    ``offsets`` are the hidden fixed offsets of the tags and the skills of the tools by name; ``state_rng`` and
    ``log_rng`` draw what tells nothing of outcomes.
    """

    model: OutcomeModel
    issues: Issues
    runs: Runs
    offsets: Mapping[str, Mapping[str, float]]
    state_rng: np.random.Generator
    log_rng: np.random.Generator


def draw_world(config: WorldConfig, seed: int, examples: int, baseline: Ints) -> DrawnWorld:
    """A world of ``examples`` runs; ``baseline`` as of :func:`tabulate`. The same arguments draw the same world."""
    *seeds, model_seed = np.random.SeedSequence(seed).spawn(6)
    streams = [np.random.Generator(np.random.PCG64(s)) for s in seeds]
    model = outcome_model(config, model_seed)
    hidden = draw_hidden(streams[0], config.difficulty, examples)
    issues = draw_issues(streams[1], config, examples)
    runs = draw_runs(streams[2], config, model, issues, hidden, baseline, examples)
    offsets = {"tag_fixed": _by_name(TAGS, hidden.fixed), "skill": _by_name((*TOOLCHAINS, "none"), hidden.skill)}
    return DrawnWorld(model, issues, runs, offsets, streams[3], streams[4])


@dataclass(frozen=True)
class _Judged:
    """Joint classes int64 [runs] of the label and of the ceiling, and expected utilities float64 [runs]."""

    labels: Ints
    ceiling: Ints
    ceiling_utility: Floats
    floor_utility: Floats


def _evaluate_all(
    model: OutcomeModel,
    issues: Issues,
    runs: Runs,
    outcomes: Mapping[str, Path],
    tell: Callable[[str, int, int], None],
) -> _Judged:
    """Write the expected outcomes given z (float32 [runs, 150], NaN where invalid); judge ceiling and floor by them."""
    space = ActionSpace()
    n, order, weights = len(runs.issue), tie_order(space), weight_table()
    judged = _Judged(np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n), np.empty(n))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(NpyWriter(path, np.float32, (len(space.actions),))) for path in outcomes.values()
        ]
        for begin in range(0, n, ROWS_AT_ONCE):
            rows = slice(begin, min(begin + ROWS_AT_ONCE, n))
            cases = runs.cases(issues, rows)
            priority, valid = cases.priority, space.joint_masks[cases.job]
            given_all, given_known = model.expected(cases), model.expected_over_noise(cases)
            for expected, winners in ((given_known, judged.ceiling), (given_all, judged.labels)):
                # Rounded to what is stored before the winner is chosen, so that a reader finds the same one.
                passed, minutes, cost = (np.where(valid, values, np.nan).astype(np.float32) for values in expected)
                score = utilities(passed, minutes, cost, priority, weights)
                winners[rows] = best_actions(passed, score, valid, order)
            each = np.arange(len(cases))
            judged.ceiling_utility[rows] = score[each, judged.ceiling[rows]]
            judged.floor_utility[rows] = score[each, runs.usual[rows]]
            for writer, values in zip(writers, (passed, minutes, cost), strict=True):
                writer.append(values)
            tell("expected outcomes", rows.stop, n)
    return judged


def _by_split(matches: Bools, utility: Floats, splits: Sequence[str]) -> dict[str, dict[str, float]]:
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


def _parameters(config: WorldConfig, seed: int, offsets: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Everything that defines the world, the hidden offsets included (the drift follows from the seed)."""
    parameters: dict[str, Any] = msgspec.to_builtins(config)
    parameters["difficulty"] |= offsets
    return {"seed": seed, **parameters, "na_stands_for": NA_STANDS_FOR}
