"""The lines of a simulated world's ``dataset.jsonl``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from planner_core.action_space import ActionSpace, action_dict
from planner_core.clock import rfc3339
from planner_core.contracts import ACTION_SCHEMA, INPUT_SCHEMA, LogFigures
from planner_core.data.run_tracker import RunTracker, replay
from planner_core.data.writer import example_line
from planner_core.encoder import PRIORITIES, RISKS, SIZES, TOOLCHAINS
from planner_core.world.config import JOBS, OBJECTIVES, UNIVERSE_SWARMS, UNIVERSES
from planner_core.world.events import Issues, Runs, States
from planner_core.world.log import ROWS_AT_ONCE, RunLog, issue_name, run_name, tag_names, tracked_of
from planner_core.world.outcomes import Ints


def world_lines(
    issues: Issues,
    runs: Runs,
    states: States,
    log: RunLog,
    similar: Ints,
    labels: Ints,
    splits: Sequence[str],
    tell: Callable[[str, int, int], None],
) -> Iterator[bytes]:
    """One line a run. Each run summary was encoded once and is pasted wherever it is history.

    ``similar`` int64 [runs, n] as of :func:`planner_core.data.retrieval.retrieve_all`, ``labels`` int64 [runs] joint
    classes. ``tell`` is called with (stage, done, all).
    """
    space = ActionSpace()
    space_json = msgspec.Raw(msgspec.json.encode(space.to_dict()))
    label_parts = [action_dict(action) for action in space.actions]
    n = len(runs.issue)
    figures = _log_figures(issues, runs, log)
    for begin in range(0, n, ROWS_AT_ONCE):
        rows = range(begin, min(begin + ROWS_AT_ONCE, n))
        block = slice(rows.start, rows.stop)
        tags = tag_names(issues.tags[runs.issue[block]])
        for i, issue, row, tags_of_run in zip(
            rows, runs.issue[block].tolist(), similar[block].tolist(), tags, strict=True
        ):
            world, objective, tool = issues.world[issue], issues.objective[issue], issues.tool[issue]
            created_at = rfc3339(int(runs.at_ms[i]))
            planner_input = {
                "schema_version": INPUT_SCHEMA,
                "created_at": created_at,
                "universe_id": UNIVERSES[world] if world >= 0 else "default",
                "job_type": JOBS[issues.job[issue]],
                "universe_defaults": {
                    "swarm_id": UNIVERSE_SWARMS[UNIVERSES[world]] if world >= 0 else None,
                    "objective_id": OBJECTIVES[objective] if objective >= 0 else None,
                },
                "issue": {
                    "issue_id": issue_name(issue),
                    "dk_priority": PRIORITIES[issues.priority[issue]],
                    "dk_risk": RISKS[issues.risk[issue]],
                    "dk_size": SIZES[issues.size[issue]],
                    "dk_tool_hint": TOOLCHAINS[tool] if tool >= 0 else None,
                    "dk_attempts": int(runs.attempts[i]),
                    "tags": tags_of_run,
                },
                "history": {"last_n_similar_runs": [log.summary(j) for j in row if j >= 0]},
                "action_space": space_json,
                "system_state": states.document(i),
                "log_figures": next(figures),
            }
            yield example_line(
                run_id=run_name(i),
                started_ms=int(runs.at_ms[i]),
                split=splits[i],
                planner_input=planner_input,
                label={"schema_version": ACTION_SCHEMA, "created_at": created_at, **label_parts[labels[i]]},
                executed=log.executed(i),
            )
        tell("examples", rows.stop, n)


def _log_figures(issues: Issues, runs: Runs, log: RunLog) -> Iterator[LogFigures]:
    """Those of each run's issue, in order of start."""
    tracker = RunTracker()
    for ended, i in replay(runs.at_ms.tolist(), (runs.at_ms + runs.duration_ms).tolist()):
        if ended:
            tracker.hear(log.finished(i))
        else:
            yield tracker.figures_of(tracked_of(issues, int(runs.issue[i])))
