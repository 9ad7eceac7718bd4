"""The rows of a comparison where the outcomes of many actions are known: on the test split, by looking them up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES
from planner_core.data.dataset import Dataset
from planner_core.errors import PlannerError
from planner_core.harness.compare_rows import CONSTANT_NAMES, Contender, Kind, Row, Side, kind_of
from planner_core.harness.constants import constant_decider, ranked_constants
from planner_core.harness.evaluate import judge
from planner_core.harness.evaluation import baseline_decider
from planner_core.harness.judging import Datasets
from planner_core.harness.latency import of_bundle_at_hand, served, served_opened
from planner_core.harness.learnt import LATER, judged_elsewhere, later_rows
from planner_core.harness.run_dir import RESULTS, default_context, new_run_path
from planner_core.harness.run_list import runs_on
from planner_core.harness.sources import Opened, open_path, open_source
from planner_core.harness.train import train
from planner_core.harness.values import AS_RUN, NAMES, executed_columns, stack
from planner_core.plugins.registry import Registry
from planner_core.rules import BASELINE
from planner_core.settings import make_settings
from planner_core.value import Figures, Range, ValueFigures, known_value


class _Known:
    """Outcomes of what each side decides on the test split; float64 [4, n], NaN where it may not be judged."""

    def __init__(self, datasets: Datasets, weights: NDArray[np.float64], utility: NDArray[np.float64] | None) -> None:
        self.datasets, self.weights, self.utility = datasets, weights, utility
        self.data = datasets.encoded()
        self.examples = self.data.split("test")
        if not len(self.examples):
            raise PlannerError(f"{self.data.directory}: the split 'test' is empty, so there is nothing to compare on")
        self.rows = np.flatnonzero(self.data.split_of == 2)

    def of(self, decider: Any, dataset: Dataset | None = None) -> NDArray[np.float64]:
        """What a decider's choices lead to."""
        columns = judge(decider, dataset or self.data, "test", utility=self.utility).columns
        assert columns is not None
        return stack(columns)

    def of_opened(self, opened: Opened) -> tuple[NDArray[np.float64], list[str]]:
        """What the choices of a run or bundle lead to, on rows later than those it learnt from."""
        seen = self.datasets.encoded(opened.context.encoder)
        outcome, notes = self.of(opened.decider, seen), []
        if opened.learnt is not None and opened.learnt.hash != seen.meta.dataset_hash:
            later = np.isin(self.rows, later_rows(seen, opened.learnt, opened.name))
            if not later.any():
                raise PlannerError(
                    f"{opened.name}: no example of the split 'test' is {LATER} than those it learnt from"
                )
            outcome = np.where(later, outcome, np.nan)
            notes = [judged_elsewhere(seen, opened.learnt, "it") or ""]
        if opened.utility is not None and not np.array_equal(opened.utility, self.weights):
            notes.append("it was trained with other utility weights than it is judged by")
        return outcome, notes


def judge_known(
    datasets: Datasets,
    registry: Registry,
    given: Sequence[Contender],
    other: str | Opened,
    weights: NDArray[np.float64],
    *,
    given_utility: NDArray[np.float64] | None,
    show_progress: bool,
    root: Path,
) -> tuple[list[Row], list[str]]:
    """All rows, in no order, and notes."""
    known = _Known(datasets, weights, given_utility)
    data, space = known.data, known.data.action_space
    nobody = np.zeros(0, np.int64), np.zeros(0, bool)
    sides: list[tuple[Side, NDArray[np.float64]]] = []
    rules = known.of(baseline_decider(registry, default_context(data.encoder), weights))
    latency = of_bundle_at_hand(BASELINE) or served(BASELINE, registry, None)
    sides.append((Side(BASELINE, "policy", *nobody, latency=latency), rules))
    was = executed_columns(known.examples, space, weights)
    if was is not None:
        sides.append((Side(AS_RUN, "as_run", *nobody), stack(was)))
    ranked = ranked_constants(data.split("train"), space, weights, len(CONSTANT_NAMES))
    for rank in range(max((len(actions) for actions in ranked.values()), default=0)):
        chosen = {job: actions[min(rank, len(actions) - 1)] for job, actions in ranked.items()}
        name = CONSTANT_NAMES[rank]
        actions = {JOB_TYPES[job]: list(space.actions[i]) for job, i in chosen.items()}
        sides.append((Side(name, "constant", *nobody, actions=actions), known.of(constant_decider(chosen, space))))
    against = other.name if isinstance(other, Opened) else other
    if isinstance(other, Opened):
        outcome, notes = known.of_opened(other)
        sides.append((Side.of_opened(other, *nobody, notes), outcome))
        reference = outcome
    elif other == AS_RUN:
        if was is None:
            raise PlannerError(f"{data.directory}: no outcome of what was run is known, so nothing compares with it")
        reference = stack(was)
    else:
        reference = rules
    rows: list[Row] = []
    for contender in given:
        if contender.name in (BASELINE, against):
            continue
        try:
            sides.append(_judged(known, contender, registry, given_utility, show_progress, root))
        except PlannerError as problem:
            rows.append(contender.refused(str(problem)))
    rows += [_row(side, outcome, reference, known, against) for side, outcome in sides]
    return rows, [f"judged on the {len(known.examples):,} examples of the split 'test' by their known outcomes"]


def _judged(
    known: _Known,
    contender: Contender,
    registry: Registry,
    utility: NDArray[np.float64] | None,
    show_progress: bool,
    root: Path,
) -> tuple[Side, NDArray[np.float64]]:
    """A run or bundle as it is; a policy by its newest run on this dataset, which is trained where there is none."""
    nobody = np.zeros(0, np.int64), np.zeros(0, bool)
    opened, notes = contender.opened, []
    spec = registry.spec(contender.policy)
    if opened is None and not spec.trainable:
        decider = open_source(contender.policy, registry, None, {}).decider
        latency = of_bundle_at_hand(contender.policy) or served(contender.policy, registry, None)
        return Side(contender.name, "policy", *nobody, latency=latency), known.of(decider)
    if opened is None:
        path = next(iter(runs_on(known.data.meta.dataset_hash, contender.policy, known.weights, root)), None)
        if path is None:
            path = new_run_path(contender.policy, root)
            settings = make_settings(contender.policy, spec.config_type, {})
            data = known.datasets.encoded(settings.encoder)
            train(*(contender.policy, data, path, settings, registry), show_progress=show_progress, utility=utility)
        opened = open_path(path, registry, contender.policy)
        notes.append(f"by its run {path / RESULTS}".removesuffix(f"/{RESULTS}"))
    outcome, more = known.of_opened(opened)
    name = contender.name
    kind: Kind = "policy" if contender.opened is None else kind_of(opened)
    return Side(name, kind, *nobody, latency=served_opened(opened, registry), notes=[*notes, *more]), outcome


def _row(side: Side, outcome: NDArray[np.float64], reference: NDArray[np.float64], known: _Known, against: str) -> Row:
    called = side.called if side.kind != AS_RUN else NAMES[AS_RUN]
    issue = known.examples.issue
    value = known_value(outcome, issue, against=reference, name=called, against_name=NAMES.get(against, against))
    if not value.rows:
        return side.refused("no outcome of what it decides is known where that of the reference is")
    same = outcome is reference or np.array_equal(outcome, reference, equal_nan=True)
    itself = side.name == against
    if itself or (side.kind == AS_RUN and against == AS_RUN):
        nothing = Range(0.0, 0.0, 0.0)
        figures = value.value
        value = msgspec.structs.replace(
            value,
            value=ValueFigures(
                *(figures.pass_rate, figures.minutes, figures.cost_usd, figures.utility),
                Figures(nothing, nothing, nothing, nothing),
            ),
        )
    return side.row(value, with_verdict=not (same and itself))
