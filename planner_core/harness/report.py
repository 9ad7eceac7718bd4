"""What the page for the person who pays is made of: an evaluation, and what only a reader of it asks for.

Every figure is one of the evaluation or follows from the same estimates; a page that shows the document computes none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.data.dataset import Dataset
from planner_core.data.describe import describe
from planner_core.errors import PlannerError
from planner_core.examples import Examples, Known
from planner_core.harness import run_files
from planner_core.harness.changes import Changes, known_changes, logged_changes
from planner_core.harness.constants import CONSTANT
from planner_core.harness.evaluate import Judged
from planner_core.harness.evaluation import Evaluation
from planner_core.harness.judging import Datasets, evaluate_source
from planner_core.harness.prediction_metrics import PassBin, pass_bins
from planner_core.harness.run_dir import is_run, newest_of_all
from planner_core.harness.sources import Opened, open_path, open_source
from planner_core.harness.values import AS_RUN, NAMES, POLICY, executed_columns, stack
from planner_core.plugins.registry import Registry
from planner_core.rules import BASELINE
from planner_core.runtime.bundle import read_bundle
from planner_core.utility import parse_value, utilities, weight_table
from planner_core.value import Figures, Range, ReplayUse, Value, comparison, known_mean, read_log

REPORT_SCHEMA = "swarm_planner.report.v1"

Basis = Literal["observed", "known", "estimated"]


class Row(msgspec.Struct, frozen=True):
    """One way to run the judged issues: means a run, and on which basis.

    ``cost_per_solved_usd`` is a prediction: USD until an issue is solved, if what failed is tried again in the same way
    and passes as often as a first try does. None where it is unknown or nothing passes.
    """

    key: str
    name: str
    basis: Basis
    figures: Figures
    cost_per_solved_usd: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The document behind a page.

    ``evaluation`` is that of ``planner run evaluate --json``; ``difference`` is of the policy and what it is judged
    against, whose name is ``against``. ``rows`` holds at most: what was run, the rules, the best constant, another run
    or bundle, the policy. ``data`` is that of ``planner data info --json``, ``first_ms`` and ``last_ms`` say when the
    judged runs started; where they are not ``priced`` there is no figure of USD, and utility counts USD as 0.
    ``left_out`` is said to be missing in sentences. ``source`` names the policy and where it
    comes from.
    """

    schema_version: str
    source: dict[str, Any]
    evaluation: dict[str, Any]
    known: Known
    against: str
    difference: Figures
    issues: int
    priced: bool
    rows: list[Row]
    changes: Changes | None
    calibration: list[PassBin]
    data: dict[str, Any]
    first_ms: int | None
    last_ms: int | None
    left_out: list[str]


def make_report(
    registry: Registry,
    *,
    dataset: Path | None = None,
    source: Path | None = None,
    policy: str | None = None,
    value: list[str] | None = None,
    against: str | None = None,
    replay: ReplayUse = "checked",
    progress: Any = None,
) -> Report:
    """Judge a run, a bundle or an untrained ``policy`` on a dataset, and put together what a page says of it.

    Without ``source`` it is the newest run, of ``policy`` where that is given. Raises :class:`PlannerError` where no
    outcome is known, and for everything that an evaluation refuses.
    """
    opened = _open(registry, source, policy)
    datasets = Datasets(dataset, progress)
    data = datasets.encoded(opened.context.encoder)
    if data.everything.known == "none":
        raise PlannerError(
            f"{data.directory}: no outcome is known of any example, so there is nothing to report; build the dataset "
            "from an issue tracker and its runs (planner data build)"
        )
    weights = parse_value(value or [], weight_table(data.meta.utility))
    found = evaluate_source(
        opened, datasets, registry, against=against, utility=weights, replay=replay, sensitivity=True
    )
    if found.known == "none":
        raise PlannerError(
            f"{data.directory}: no outcome is known of the judged examples, so there is nothing to report"
        )
    return report_of(found, data, opened, weight_table(data.meta.utility) if weights is None else weights)


def report_of(found: Evaluation, dataset: Dataset, opened: Opened, weights: NDArray[np.float64]) -> Report:
    """The report of an evaluation; ``weights`` [4, 3] are those it was judged by."""
    examples = found.examples
    against = found.against
    sides = [(BASELINE, found.heuristic), (CONSTANT, found.best_constant), (against, found.reference)]
    beside = {name: side for name, side in sides if side is not None}
    executed, priced = examples.executed, found.known == "all" or _priced(examples)
    starts = None if executed is None else executed.started_ms[executed.evidence]
    return Report(
        schema_version=REPORT_SCHEMA,
        source={
            "policy": found.policy,
            "name": opened.name,
            "digest": None if opened.path is None else _digest(opened.path),
            "split": found.split,
            "dataset": str(dataset.directory),
        },
        evaluation=found.to_dict(),
        known=found.known,
        against=NAMES.get(against, against),
        difference=_difference(found) if priced else _unpriced(_difference(found)),
        issues=_issues(found, examples),
        priced=priced,
        rows=_rows(found, beside, examples, weights, priced),
        changes=_changes(found, beside.get(against), examples, dataset, weights, priced),
        calibration=pass_bins(found.own.decision.outcomes, examples),
        data=describe(dataset),
        first_ms=None if starts is None or not len(starts) else int(starts.min()),
        last_ms=None if starts is None or not len(starts) else int(starts.max()),
        left_out=_left_out(found, dataset, examples),
    )


def _open(registry: Registry, source: Path | None, policy: str | None) -> Opened:
    if policy is not None:
        return open_source(policy, registry, source, {})
    return open_path(newest_of_all() if source is None else source, registry)


def _digest(path: Path) -> str:
    """Of the files of a run directory or a bundle, as their manifest has it."""
    if is_run(path):
        return jsonio.read_file(path / run_files.MANIFEST, run_files.Manifest).digest
    return read_bundle(path).digest


def _difference(found: Evaluation) -> Figures:
    value = found.values.get(f"{POLICY} against {found.against}")
    return Figures() if value is None else value.value.difference


def _issues(found: Evaluation, examples: Examples) -> int:
    value = found.values.get(f"{POLICY} against {found.against}")
    if value is not None:
        return value.issues
    return len(examples) if examples.issue is None else len(np.unique(examples.issue))


def _rows(
    found: Evaluation, beside: dict[str, Judged], examples: Examples, weights: NDArray[np.float64], priced: bool
) -> list[Row]:
    rows = []
    observed = _observed(examples, weights)
    if observed is not None:
        rows.append(_row(AS_RUN, "observed", observed))
    for name, side in {**beside, POLICY: found.own}.items():
        if found.known == "executed":
            value = found.values.get(f"{name} against {AS_RUN}")
            if isinstance(value, Value):
                of = value.value
                figures = Figures(of.pass_rate, of.minutes, of.cost_usd, of.utility)
                rows.append(_row(name, "estimated", figures if priced else _unpriced(figures)))
        elif side.columns is not None:
            known = stack(side.columns)
            both = ~np.isnan(known).any(axis=0)
            issue = None if examples.issue is None else examples.issue[both]
            rows.append(_row(name, "known", Figures(*(Range.of(known_mean(row[both], issue)) for row in known))))
    return rows


def _priced(examples: Examples) -> bool:
    """Whether any judged run, or a candidate of one, says what it cost."""
    run = examples.executed
    if run is None:
        return False
    return not bool(np.isnan(run.cost_usd[run.evidence]).all() and np.isnan(run.candidate_cost_usd[run.evidence]).all())


def _unpriced(figures: Figures) -> Figures:
    return Figures(figures.pass_rate, figures.minutes, Range(), figures.utility)


def _row(key: str, basis: Basis, figures: Figures) -> Row:
    passes, usd = figures.pass_rate.estimate, figures.cost_usd.estimate
    solved = usd / passes if usd is not None and passes is not None and passes > 0 else None
    return Row(key, NAMES.get(key, key), basis, figures, solved)


def _observed(examples: Examples, weights: NDArray[np.float64]) -> Figures | None:
    """What was run, as it went, over the runs that are evidence; cost and utility over those whose cost is known.

    Where that is of none, utility counts USD as 0, as estimates do.
    """
    run = examples.executed
    if run is None or not run.evidence.any():
        return None
    columns = (run.passed, run.duration_minutes, run.cost_usd)
    passed, minutes, usd = (values[run.evidence].astype(np.float64) for values in columns)
    issue = run.issue[run.evidence]
    utility = utilities(passed[:, None], minutes[:, None], usd[:, None], examples.priority[run.evidence], weights)[:, 0]
    priced = ~np.isnan(usd)
    if not priced.any():
        w = weights[examples.priority[run.evidence]]
        free = Range.of(known_mean(w[:, 0] * passed - w[:, 1] * minutes / 60.0, issue))
        return Figures(Range.of(known_mean(passed, issue)), Range.of(known_mean(minutes, issue)), Range(), free)
    return Figures(
        Range.of(known_mean(passed, issue)),
        Range.of(known_mean(minutes, issue)),
        Range.of(known_mean(usd[priced], issue[priced])),
        Range.of(known_mean(utility[priced], issue[priced])),
    )


def _changes(
    found: Evaluation,
    reference: Judged | None,
    examples: Examples,
    dataset: Dataset,
    weights: NDArray[np.float64],
    priced: bool,
) -> Changes | None:
    space, actions = dataset.action_space, found.own.decision.action
    other = None if reference is None else reference.decision.action
    if found.known == "executed":
        assert examples.executed is not None
        of_row = weights[examples.priority]
        log = read_log(examples.executed, examples.job_type, of_row, strata=examples.job_type, use=found.replay)
        if not len(log):
            return None
        judged = comparison(log, actions, against=other, predictions=found.expected)
        changes = logged_changes(judged, actions, other, examples, space, of_row, found.expected)
        return changes if priced else _unpriced_changes(changes)
    columns = executed_columns(examples, space, weights) if reference is None else reference.columns
    if found.own.columns is None or columns is None:
        return None
    return known_changes(stack(found.own.columns) - stack(columns), actions, other, examples, space)


def _unpriced_changes(changes: Changes) -> Changes:
    groups = [
        replace(group, value=replace(group.value, difference=_unpriced(group.value.difference)))
        for group in changes.groups
    ]
    return replace(changes, groups=groups)


def _left_out(found: Evaluation, dataset: Dataset, examples: Examples) -> list[str]:
    """What the figures do not count, as sentences; what is missing in ``meta.json`` is not guessed."""
    out = []
    run = examples.executed
    if run is not None:
        infrastructure = int(((run.swarm >= 0) & ~run.evidence).sum())
        if infrastructure:
            out.append(f"{infrastructure:,} runs ended for reasons that are not the agent's and are not counted")
        unpriced = int(np.isnan(run.cost_usd[run.evidence]).sum())
        if unpriced and not _priced(examples):
            out.append("no judged run says what it cost: utility counts USD as 0")
        elif unpriced:
            out.append(f"the cost of {unpriced:,} of {int(run.evidence.sum()):,} judged runs is not known")
    share = found.own.outcome.outcome_coverage if found.own.outcome is not None else 1.0
    if found.known == "all" and share < 1.0:
        out.append(f"on {1 - share:.0%} of the rows the outcomes are not known, and they are not counted")
    meta = dataset.raw_meta
    for key, text in (
        ("runs_left_out", "{n:,} runs are left out of the whole dataset: {what}"),
        ("issues_left_out", "{n:,} issues are left out of the whole dataset: {what}"),
        ("issue_defaults", "{n:,} issues of the whole dataset name no {what}: a default stands for it"),
        ("missing", "{n:,} runs of the whole dataset do not say {what}"),
        ("noted", "{n:,} runs of the whole dataset: {what}"),
    ):
        counts = meta.get(key)
        if isinstance(counts, dict):
            out += [text.format(n=n, what=what) for what, n in counts.items() if isinstance(n, int) and n]
    rounded = meta.get("rounded")
    if isinstance(rounded, dict):
        for part, counts in rounded.items():
            if isinstance(counts, dict):
                out += [f"{part} rounded: {what} ({n:,} runs)" for what, n in counts.items() if isinstance(n, int)]
    return out
