"""A log of runs, read once: what each run is evidence of, and under which probabilities it was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner_core.errors import ConfigError
from planner_core.examples import Executed
from planner_core.value.check import ReplayCheck, check_replay
from planner_core.value.intervals import Clusters
from planner_core.value.propensity import LoggingPolicy, estimate_propensities, logging_policy
from planner_core.value.replay import Replay, replay

NOT_CHECKED = "assumed, not checked"

ReplayUse = Literal["checked", "assumed", "off"]


@dataclass(frozen=True)
class Log:
    """Runs ready to judge policies by: n rows that are evidence, of ``given`` rows.

    ``rows`` int64 [n] their places among the given ones; ``job_type`` int64 [n]; ``utility_weights`` float64 [n, 3];
    ``ran`` int64 [n] joint class of the executed action, -1 unknown; ``replayed`` bool [n]: runs whose budgets are
    replayed, ``budgets_replayed`` whether any are; ``asserted`` whether somebody vouches for replay.
    """

    given: int
    rows: NDArray[np.int64]
    job_type: NDArray[np.int64]
    utility_weights: NDArray[np.float64]
    ran: NDArray[np.int64]
    clusters: Clusters
    logging: LoggingPolicy
    runs: Replay
    check: ReplayCheck
    replay_state: str
    asserted: bool
    replayed: NDArray[np.bool_]
    budgets_replayed: bool
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def longer_tells(self) -> bool:
        """Whether a run with a longer budget tells all of a shorter one, USD included."""
        return self.budgets_replayed and self.runs.usd_by_minutes


def read_log(
    executed: Executed,
    job_type: NDArray[np.integer],
    utility_weights: NDArray[np.floating],
    *,
    strata: NDArray[np.integer] | None = None,
    use: ReplayUse = "checked",
) -> Log:
    """Prepare n runs to judge policies by.

    ``job_type`` int [n] indexes JOB_TYPES; ``utility_weights`` float [n, (pass, hour, USD)]. Where the log gives no
    probability it is estimated within ``strata`` int [n], if given. Runs that are no evidence are left out.

    ``use`` of replay: ``checked`` gives no verdict that rests on replay unless runs of different budgets could be
    compared and behave alike; ``assumed`` does so too where the log has no such runs to compare (for somebody who knows
    that the agents do not know their budget); ``off`` replays nothing.
    """
    if np.shape(utility_weights) != (len(executed), 3) or len(job_type) != len(executed):
        raise ConfigError(
            f"value: found job types {list(np.shape(job_type))} and utility weights {list(np.shape(utility_weights))}; "
            f"expected [{len(executed)}] and [{len(executed)}, 3]"
        )
    rows = np.flatnonzero(executed.evidence)
    runs_of = executed.take(rows) if len(rows) < len(executed) else executed
    jobs = np.asarray(job_type, np.int64)[rows]
    notes = [f"{len(executed) - len(rows)} runs ended for reasons that are not the agent's"] * (
        len(rows) < len(executed)
    )
    estimated = 0
    if strata is not None:
        before = int((np.diff(runs_of.propensity_starts) > 0).sum())
        runs_of = estimate_propensities(runs_of, np.asarray(strata)[rows])
        estimated = int((np.diff(runs_of.propensity_starts) > 0).sum()) - before
        if estimated:
            notes.append(f"the log gives no probability of {estimated:,} runs: estimated by frequency within strata")
    logging = logging_policy(runs_of, estimated=estimated)
    replays = replay(runs_of, logging.budget)
    clusters = Clusters(runs_of.issue)
    usable = logging.whole & replays.replayable
    check = check_replay(logging, replays, clusters.of_row, usable)
    state: str = check.state
    if use == "off":
        state = "off: not asked for"
    elif not usable.any():
        state = "off: the log does not give the whole distribution of its choices"
    elif state == NOT_CHECKED:
        notes.append("too few runs of different budgets to see whether agents work alike under them: replay is assumed")
    on = state in ("holds", NOT_CHECKED)
    replayed = usable & on
    if check.state == "contradicted":
        notes.append(f"replay is contradicted: {check.worst} (p = {check.p_value:.2g})")
    return Log(
        given=len(executed),
        rows=rows,
        job_type=jobs,
        utility_weights=np.asarray(utility_weights, np.float64)[rows],
        ran=runs_of.action,
        clusters=clusters,
        logging=logging,
        runs=replays,
        check=check,
        replay_state=state,
        asserted=use == "assumed",
        replayed=replayed,
        budgets_replayed=on,
        notes=(*notes, *replays.notes),
    )
