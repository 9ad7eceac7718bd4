"""Comparing everything there is on one dataset: policies, runs, bundles, constants, the rules and what was run.

On logs a policy by name is judged by forward cross-fitting (:mod:`planner_core.harness.forward`), a run or bundle on
those of the same rows that are later than what it learnt from. Where the outcomes of many actions are known, a policy
is its newest run on the dataset, trained now where there is none, and judged on the test split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES
from planner_core.data.dataset import Dataset
from planner_core.errors import PlannerError
from planner_core.harness.compare_known import judge_known
from planner_core.harness.compare_rows import (
    CONSTANT_NAMES,
    Contender,
    Row,
    Side,
    best_first,
    contenders,
    holding,
    opposite,
)
from planner_core.harness.forward import Forward, Progress
from planner_core.harness.judging import Datasets, open_reference
from planner_core.harness.latency import Served, of_bundle_at_hand, served
from planner_core.harness.learnt import judged_elsewhere, later_rows
from planner_core.harness.run_dir import RUNS
from planner_core.harness.sources import Opened
from planner_core.harness.values import AS_RUN, NAMES, default_reference
from planner_core.plugins.registry import Registry
from planner_core.rules import BASELINE
from planner_core.settings import make_settings
from planner_core.utility import weight_table, weights_document
from planner_core.value import Figures, Log, Range, ReplayUse, ValueFigures, estimate_value, read_log


class Comparison(msgspec.Struct, frozen=True):
    """``rows`` best first, each against ``against``; ``known`` of outcomes, ``utility`` what they are worth."""

    dataset: str
    dataset_hash: str
    known: str
    against: str
    replay: str
    utility: dict[str, dict[str, float]]
    rows: list[Row]
    notes: list[str] = []

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``planner compare``."""
        out: dict[str, Any] = msgspec.to_builtins(self)
        return out


def compare(
    datasets: Datasets,
    registry: Registry,
    words: Sequence[str] = (),
    *,
    against: str | None = None,
    utility: NDArray[np.float64] | None = None,
    replay: ReplayUse = "checked",
    progress: Progress | None = None,
    show_progress: bool = False,
    root: Path = RUNS,
) -> Comparison:
    """Compare policies by name, run directories and bundles (``words``; every registered policy by default).

    What cannot be judged becomes a row that says why. Raises :class:`PlannerError` for a word that is none of these,
    and for a dataset that knows nothing of outcomes.
    """
    data = datasets.encoded()
    known = data.everything.known
    if known == "none":
        raise PlannerError(f"{data.directory}: nothing is known of outcomes, so nothing can be compared by them")
    if against == AS_RUN and data.everything.executed is None:
        raise PlannerError(f"{data.directory}: --against {AS_RUN}: the dataset does not say what was run")
    given = contenders(words, registry)
    other = open_reference(against, registry) or default_reference(known)
    weights = weight_table(data.meta.utility) if utility is None else utility
    if known == "all":
        rows, notes = judge_known(
            *(datasets, registry, given, other, weights),
            given_utility=utility,
            show_progress=show_progress,
            root=root,
        )
    else:
        rows, notes = _on_logs(datasets, registry, given, other, weights, replay, progress)
    if utility is not None and not np.array_equal(utility, weight_table(data.meta.utility)):
        notes.append("judged by other utility weights than the dataset's")
    return Comparison(
        dataset=str(data.directory),
        dataset_hash=data.meta.dataset_hash,
        known=known,
        against=other.name if isinstance(other, Opened) else other,
        replay=replay,
        utility=weights_document(weights),
        rows=best_first(holding(rows)),
        notes=notes,
    )


@dataclass(frozen=True)
class _Logs:
    """The rows of a forward cross-fitting, with one log for each subset of them that is judged."""

    forward: Forward
    weights: NDArray[np.float64]
    replay: ReplayUse
    total: int
    cache: dict[bytes, tuple[Log, NDArray[np.int64]]]

    def of(self, mask: NDArray[np.bool_]) -> tuple[Log, NDArray[np.int64]]:
        """The log of the rows of ``mask`` bool [n], and which of the n those are."""
        key = np.packbits(mask).tobytes()
        if key not in self.cache:
            rows = np.flatnonzero(mask)
            part = self.forward.examples.take(rows)
            assert part.executed is not None
            log = read_log(
                part.executed, part.job_type, self.weights[part.priority], strata=part.job_type, use=self.replay
            )
            self.cache[key] = log, rows
        return self.cache[key]

    def row(self, side: Side, reference: Side | None, against: str) -> Row:
        """One side against the reference (None: what was run), on the rows on which both can be judged."""
        mask = side.mask if reference is None else side.mask & reference.mask
        log, rows = self.of(mask)
        if not len(log):
            return side.refused("no run that both sides can be judged by is evidence")
        predictions = self.forward.predictions
        value = estimate_value(
            log,
            side.action[rows],
            against=None if reference is None or reference is side else reference.action[rows],
            predictions=None if predictions is None else predictions.take(rows),
            name=side.called,
            against_name=NAMES.get(against, against),
            coverage=len(log) / max(self.total, 1),
        )
        if reference is side:  # against itself there is nothing to tell
            nothing = Range(0.0, 0.0, 0.0)
            figures = value.value
            value = msgspec.structs.replace(
                value,
                value=ValueFigures(
                    *(figures.pass_rate, figures.minutes, figures.cost_usd, figures.utility),
                    Figures(nothing, nothing, nothing, nothing),
                ),
            )
        return side.row(value, with_verdict=reference is not side)

    def as_run(self, reference: Side | None, against: str) -> Row:
        """What was run, by plain means; its difference is that of the reference to it, turned round."""
        everything = np.ones(len(self.forward.rows), bool) if reference is None else reference.mask
        side = Side(AS_RUN, "as_run", np.zeros(len(everything), np.int64), everything)
        log, rows = self.of(everything)
        if not len(log):
            return side.refused("no run is evidence")
        action = np.zeros(len(rows), np.int64) if reference is None else reference.action[rows]
        value = estimate_value(log, action, coverage=len(log) / max(self.total, 1))
        if reference is not None and self.forward.predictions is not None:
            value = estimate_value(
                *(log, action), predictions=self.forward.predictions.take(rows), coverage=value.coverage
            )
        gaps = value.value.difference if reference is not None else Figures(*[Range(0.0, 0.0, 0.0)] * 4)
        was = value.as_run
        figures = ValueFigures(was.pass_rate, was.minutes, was.cost_usd, was.utility, opposite(gaps))
        value = msgspec.structs.replace(value, value=figures, estimator="as_run", support=1.0, n_full=None)
        return msgspec.structs.replace(side.row(value, with_verdict=False), ess=None, differing=None)


def _on_logs(
    datasets: Datasets,
    registry: Registry,
    given: Sequence[Contender],
    other: str | Opened,
    weights: NDArray[np.float64],
    replay: ReplayUse,
    progress: Progress | None,
) -> tuple[list[Row], list[str]]:
    data = datasets.encoded()
    forward = Forward(data, weights, progress=progress)
    logs = _Logs(forward, weights, replay, len(data.everything), {})
    everything = np.ones(len(forward.rows), bool)
    sides: list[Side] = []
    rows: list[Row] = []
    rules = _by_name(forward, registry, BASELINE)
    sides.append(rules)
    reference: Side | None = None
    if isinstance(other, Opened):
        reference = _of_opened(forward, datasets, other)
        sides.append(reference)
    elif other == BASELINE:
        reference = rules
    for rank, (action, newest) in enumerate(forward.constants(data.action_space, len(CONSTANT_NAMES))):
        name = CONSTANT_NAMES[rank]
        actions = {JOB_TYPES[job]: list(data.action_space.actions[i]) for job, i in newest.items()}
        sides.append(Side(name, "constant", action, everything, actions=actions))
    for contender in given:
        if contender.name == BASELINE or (isinstance(other, Opened) and contender.name == other.name):
            continue
        try:
            sides.append(
                _by_name(forward, registry, contender.policy)
                if contender.opened is None
                else _of_opened(forward, datasets, contender.opened)
            )
        except PlannerError as problem:
            rows.append(contender.refused(str(problem)))
    against = other.name if isinstance(other, Opened) else other
    rows += [logs.row(side, reference, against) for side in sides]
    rows.append(logs.as_run(reference, against))
    return rows, _notes(logs, data)


def _notes(logs: _Logs, data: Dataset) -> list[str]:
    forward = logs.forward
    log, _ = logs.of(np.ones(len(forward.rows), bool))
    notes = [
        f"{len(log):,} of {len(data.everything):,} runs are judged, in {len(forward.blocks)} blocks by time; each by "
        "what was learnt from earlier runs of other issues",
        *log.notes,
    ]
    if forward.predictions is None:
        notes.append("there is no outcome model (the extra 'train' brings what it needs): intervals are wider")
    return notes


def _by_name(forward: Forward, registry: Registry, name: str) -> Side:
    """A policy by its name: fitted by block where it learns."""
    spec = registry.spec(name)
    settings = make_settings(name, spec.config_type, {})
    everything = np.ones(len(forward.rows), bool)
    if not spec.trainable:
        from planner_core.harness.sources import open_source

        opened = open_source(name, registry, None, {})
        latency = of_bundle_at_hand(name) or served(name, registry, None)
        return Side(name, "policy", forward.decide(opened.decider), everything, latency=latency)
    fitted = forward.fit(spec, settings, registry)
    latency = of_bundle_at_hand(name) or Served.of_predictor(fitted.predictor)
    return Side(name, "policy", fitted.action, everything, latency=latency)


def _of_opened(forward: Forward, datasets: Datasets, opened: Opened) -> Side:
    """A run or a bundle on the rows later than those it learnt from."""
    seen = datasets.encoded(opened.context.encoder)
    mask = np.ones(len(forward.rows), bool)
    notes = []
    if opened.learnt is not None:
        mask = np.isin(forward.rows, later_rows(seen, opened.learnt, opened.name))
        elsewhere = judged_elsewhere(seen, opened.learnt, "it")
        notes += [elsewhere] if elsewhere else []
    if not mask.any():
        raise PlannerError(f"{opened.name}: none of the runs that are judged is later than those it learnt from")
    action = np.zeros(len(mask), np.int64)
    from planner_core.harness.evaluate import decide_split

    action[mask] = decide_split(opened.decider, seen.everything.take(forward.rows[mask]))[0].action
    return Side.of_opened(opened, action, mask, notes)
