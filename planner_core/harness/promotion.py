"""Whether a trained run may take the place of the bundle that serves: by the newest runs, which neither learnt from.

The question is not whether the candidate is shown to be better, which takes many runs, but whether it is shown not to
be worse by more than a margin. The margin is in utility a run; the interval is that of the value from logs (SPEC
section 13), so it is by issue and says nothing where the log does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from planner_core.errors import ConfigError, NothingLater, PlannerError
from planner_core.harness.evaluation import Evaluation
from planner_core.harness.judging import Datasets, evaluate_source
from planner_core.harness.run_dir import is_run
from planner_core.harness.sources import open_path
from planner_core.harness.values import NAMES, POLICY
from planner_core.plugins.registry import Registry
from planner_core.rules import BASELINE
from planner_core.runtime.bundle import is_bundle
from planner_core.utility import parse_value, weight_table, weights_document
from planner_core.value import Range, ReplayUse, Verdict
from planner_core.value.verdict import FEWEST_FULL

MARGIN = 0.02
"""Utility a run by which a candidate may be worse at most."""


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """Whether ``candidate`` may take the place of ``incumbent``, and ``text``, why, in a sentence.

    ``policy`` is the candidate's. ``difference`` is its utility a run minus the incumbent's with the 95 % interval,
    whose lower end must lie above ``-margin``; ``rows`` runs of the dataset were judged, of whose outcomes ``known``
    is known, on the share ``differing`` of which the two decide differently. ``verdict`` is the whole of it, None where
    nothing was judged; ``utility`` is what outcomes are worth.
    """

    promoted: bool
    text: str
    policy: str
    candidate: str
    incumbent: str
    margin: float
    dataset: str
    dataset_hash: str
    known: str
    rows: int
    differing: float | None
    difference: Range
    verdict: Verdict | None
    utility: dict[str, dict[str, float]]
    notes: list[str] = []

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``planner promote``."""
        out: dict[str, Any] = msgspec.to_builtins(self)
        return out


def judge_promotion(
    candidate: Path,
    incumbent: Path | str,
    registry: Registry,
    *,
    dataset: Path,
    margin: float = MARGIN,
    value: list[str] | None = None,
    replay: ReplayUse = "checked",
    progress: Any = None,
) -> Promotion:
    """Judge a run directory against the bundle in use, or against the rules (``heuristic``) where there is none yet.

    Rows that either learnt from or was chosen by are not judged, as of ``evaluate``: of the candidate's own dataset
    that leaves the split ``test``, of a newer one all runs that are later than those of both. Outcomes are worth what
    they were in the candidate's training but for ``value``. Where the dataset cannot tell, the incumbent stays.

    Raises :class:`PlannerError` for what is no run, bundle or dataset, and :class:`ConfigError` for a margin that is no
    number of 0 or more.
    """
    if not 0.0 <= margin < float("inf"):
        raise ConfigError(f"--margin {margin}: expected a finite number of 0 or more, in utility a run")
    against = _incumbent(incumbent)
    if not is_run(candidate):
        raise PlannerError(f"--candidate {candidate}: expected a run directory, of 'planner run --policy P train'")
    opened = open_path(candidate, registry)
    datasets = Datasets(dataset, progress)
    data = datasets.encoded(opened.context.encoder)
    trained = weight_table(data.meta.utility) if opened.utility is None else opened.utility
    given = parse_value(value or [], trained)
    if given is not None:
        opened = open_path(candidate, registry, utility=given)
    worth = trained if given is None else given
    about: dict[str, Any] = {
        "policy": opened.policy,
        "candidate": str(candidate),
        "incumbent": against,
        "margin": margin,
        "dataset": str(dataset),
        "dataset_hash": data.meta.dataset_hash,
        "utility": weights_document(worth),
    }
    try:
        found = evaluate_source(opened, datasets, registry, against=against, utility=worth, replay=replay)
    except NothingLater as problem:
        known = data.everything.known
        return _kept(f"nothing was judged: {problem}", about | {"known": known, "rows": 0})
    return _judged(found, about | {"known": found.known, "rows": found.rows, "notes": found.notes}, margin)


def _incumbent(incumbent: Path | str) -> str:
    if str(incumbent) == BASELINE:
        return BASELINE
    path = Path(incumbent)
    if not is_bundle(path):
        raise PlannerError(
            f"--incumbent {path}: expected the bundle that serves, or {BASELINE} where none does yet"
            + ("" if path.exists() else "; there is nothing there")
        )
    return str(path)


def _judged(found: Evaluation, about: dict[str, Any], margin: float) -> Promotion:
    value = found.values.get(f"{POLICY} against {found.against}")
    if value is None or value.verdict is None:
        return _kept("nothing is known of the outcomes of the runs that neither learnt from", about)
    against, verdict, gap = NAMES.get(found.against, "the incumbent"), value.verdict, value.value.difference.utility
    about |= {"differing": value.differing, "difference": gap, "verdict": verdict}
    if not value.differing:
        text = f"it decides as {against} on all {value.rows:,} runs that neither learnt from"
        if value.issues < FEWEST_FULL:
            few = f"they are of {value.issues} issues, too few to say that it always does; {FEWEST_FULL} are needed"
            return _kept(f"the log cannot tell: {text}, but {few}", about)
        return Promotion(promoted=True, text=f"The candidate takes its place: {text}.", **about)
    if verdict.refused:
        return _kept(f"the log cannot tell: {'; '.join(verdict.reasons)}", about)
    if gap.low is None or gap.high is None or gap.estimate is None:
        return _kept("the log cannot tell: there is no interval", about)
    figures = (
        f"{gap.estimate:+.3f} utility a run against {against} (95 % interval {gap.low:.3f} to {gap.high:.3f}), judged "
        f"on {value.rows:,} runs that neither learnt from"
    )
    if gap.low > -margin:
        text = f"The candidate takes its place: {figures}; its lower end lies above {-margin:g}."
        return Promotion(promoted=True, text=text, **about)
    return _kept(f"{figures}; its lower end does not lie above {-margin:g}", about)


def _kept(why: str, about: dict[str, Any]) -> Promotion:
    unknown = {"differing": None, "difference": Range(), "verdict": None}
    return Promotion(promoted=False, text=f"The incumbent stays: {why}.", **{**unknown, **about})
