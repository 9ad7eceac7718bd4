"""A study: trials until the budget is spent, then the best one on the test split beside the default configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from optuna.trial import FrozenTrial, TrialState

from planner_core import (
    MissingExtra,
    PlannerError,
    Trial,
    TrialResult,
    TrialRuns,
    TrialValue,
    claimed_for,
    merge,
    nested,
    pretty,
    value_at,
    write_bytes,
)
from planner_tune.documents import (
    BEST,
    JOURNAL,
    RESULT,
    RESULT_SCHEMA,
    STUDY,
    TRIALS,
    Result,
    TestRow,
    TrialRow,
    identity_of,
    settle_identity,
)
from planner_tune.journal import DONE, Journal

Progress = Callable[[str, int, int], None]


def default_out(runs: TrialRuns) -> Path:
    """Where a study is made when no place is named: one place for one study, so that the same command goes on."""
    return Path("runs") / runs.policy / "studies" / identity_of(runs).short


def run_study(
    runs: TrialRuns,
    out: Path,
    *,
    trials: int,
    minutes: float | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Result:
    """Go on with the study in ``out`` until ``trials`` have ended, those of earlier calls among them.

    No trial is begun once this call has taken ``minutes``. ``result.json`` and ``best.yaml`` are written anew. The test
    split is judged when all trials have ended. Raises :class:`PlannerError` where another study is in ``out``, where
    another process is at work there, or where the default configuration cannot be trained.
    """
    until = None if minutes is None else time.monotonic() + 60.0 * minutes
    with claimed_for(out, STUDY, "study"):
        settle_identity(out, identity_of(runs))
        default = {key: value_at(runs.base, key) for key in runs.space}
        journal = Journal(out / JOURNAL, runs.space, default, runs.seed)
        try:
            _search(runs, journal, out / TRIALS, trials, until, progress)
        except BaseException as problem:
            if not isinstance(problem, PlannerError):
                problem.add_note("every trial that ended is kept; the same command goes on")
            raise
        return _conclude(runs, journal, out, trials)


def _ended(journal: Journal) -> list[FrozenTrial]:
    return [trial for trial in journal.trials if trial.state in DONE]


def _search(
    runs: TrialRuns, journal: Journal, place: Path, trials: int, until: float | None, progress: Progress
) -> None:
    """Rounds of as many trials as there are workers; each round is told in the order in which it was asked for.

    So the trials of a study depend on the number of workers, and not on which of them is faster.
    """
    with runs.running(place) as run:
        while (ended := len(_ended(journal))) < trials:
            progress("trials", ended, trials)
            if ended and until is not None and time.monotonic() >= until:
                return
            begun = journal.interrupted()[: runs.workers]
            # The first one says whether the policy can be trained at all, before others wait for the same error.
            wanted = 1 if not ended else min(runs.workers, trials - ended)
            begun += [journal.ask() for _ in range(wanted - len(begun))]
            _round(journal, run, begun)
        progress("trials", ended, trials)


def _round(journal: Journal, run: Callable[[list[Trial]], list[TrialResult]], begun: list[FrozenTrial]) -> None:
    """Train and value some trials. Of several with the same values the first one is trained."""
    first: dict[tuple[Any, ...], int] = {}
    for trial in journal.trials:
        values = journal.values(trial)
        if values is not None:
            first.setdefault(_key(values), trial.number)
    todo: list[Trial] = []
    alike: dict[int, int] = {}
    results: dict[int, TrialResult] = {}
    for trial in begun:
        values = journal.values(trial)
        if values is None:
            results[trial.number] = TrialResult(_name(trial.number), error="was cut off before it knew what to try")
        elif (same := first[_key(values)]) != trial.number:
            alike[trial.number] = same
        else:
            todo.append(Trial(_name(trial.number), values))
    results |= {int(result.name): result for result in run(todo)}
    if 0 in results and results[0].error is not None:
        raise PlannerError(f"the default configuration cannot be trained: {results[0].error}")
    for trial in begun:
        other = alike.get(trial.number)
        journal.tell(trial.number, results[trial.number] if other is None else _told(journal, other), other)


def _name(number: int) -> str:
    return f"{number:04d}"


def _key(values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((type(value), value) for value in values.values())


def _told(journal: Journal, number: int) -> TrialResult:
    """The result of a trial that ended."""
    trial, told = journal.trials[number], journal.told(number)
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return TrialResult(_name(number), error=told.get("error") or "failed")
    return TrialResult(
        _name(number), TrialValue(trial.value, told.get("low"), told.get("high"), told.get("supported", 1.0))
    )


# -- the end


def _conclude(runs: TrialRuns, journal: Journal, out: Path, asked: int) -> Result:
    rows = [_row(journal, trial, out) for trial in _ended(journal)]
    done = [row for row in rows if row.utility is not None]
    best = max(done, key=lambda row: (row.utility or 0.0, -row.number))
    config = out / BEST
    write_bytes(config, _yaml(runs, best, out))
    data = runs.dataset
    notes = [] if best.number else ["no configuration did better than the default one on the validation split"]
    test = None
    if len(rows) >= asked and best.number:
        test = _on_test(runs, journal, best, rows[0])
        if test.looks > 1:
            notes.append(f"this study has looked at the test split {test.looks} times, for another configuration each")
    result = Result(
        schema_version=RESULT_SCHEMA,
        policy=runs.policy,
        dataset=str(data.directory),
        dataset_hash=data.meta.dataset_hash,
        known=runs.valid.known,
        rows=len(runs.valid),
        seed=runs.seed,
        out=str(out),
        asked=asked,
        finished=len(rows),
        trials=rows,
        best=best.number,
        config=str(config),
        test=test,
        notes=notes,
    )
    write_bytes(out / RESULT, pretty(result))
    return result


def _row(journal: Journal, trial: FrozenTrial, out: Path) -> TrialRow:
    told = journal.told(trial.number)
    same = told.get("same_as")
    done = trial.state == TrialState.COMPLETE
    return TrialRow(
        number=trial.number,
        state="done" if done else "failed",
        values=journal.values(trial) or {},
        run=str(out / TRIALS / _name(trial.number if same is None else same)),
        utility=trial.value if done else None,
        **{name: told.get(name) for name in ("low", "high", "supported", "same_as", "error")},
    )


def _yaml(runs: TrialRuns, best: TrialRow, out: Path) -> bytes:
    """What ``--config`` takes: the keys that were given and those that were tried."""
    values = merge(runs.given, nested(best.values))
    try:
        body = msgspec.yaml.encode(values)
    except ImportError:
        raise MissingExtra("planner tune", "tune", "pyyaml") from None
    head = f"# planner tune {runs.policy}: trial {best.number} of {out.name}, seed {runs.seed}\n"
    return head.encode() + body


def _on_test(runs: TrialRuns, journal: Journal, best: TrialRow, default: TrialRow) -> TestRow:
    looks = journal.look(best.number)
    found = runs.on_test(Path(best.run), Path(default.run)).to_dict()
    value = found.get("value", {})
    difference = value.get("difference", {}).get("utility", {})
    utility = value.get("utility", {})
    gap, own = difference.get("estimate"), utility.get("estimate")
    return TestRow(
        number=best.number,
        rows=found["rows"],
        known=found["known"],
        utility=utility,
        default_utility=None if gap is None or own is None else own - gap,
        difference=difference,
        verdict=found.get("verdict", {}),
        looks=len(looks),
    )
