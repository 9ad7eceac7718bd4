"""The promotion gate: whether a trained run may be exported, by its worth beside the rules and the best constant."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.data.dataset import read_meta
from planner_core.data.encode import Progress
from planner_core.errors import DataError, PlannerError
from planner_core.harness.judging import Datasets, evaluate_source
from planner_core.harness.learnt import Learnt
from planner_core.harness.run_dir import RESULTS
from planner_core.harness.sources import open_path
from planner_core.harness.values import GATE, NAMES
from planner_core.plugins.registry import Registry
from planner_core.utility import weight_table
from planner_core.value import Verdict

GateAnswer = Literal["untrained", "no_dataset", "unknown", "worse", "not_worse"]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says: ``worse`` is refused unless it is forced, everything else passes with its sentence.

    ``verdicts`` of the run by what it is judged against (``heuristic``, ``best_constant``), on ``rows`` rows of the
    split ``test``; ``dataset`` where those are, ``known`` what is known of their outcomes.
    """

    answer: GateAnswer
    text: str
    dataset: str | None = None
    dataset_hash: str | None = None
    known: str | None = None
    rows: int | None = None
    verdicts: dict[str, Verdict] = {}
    forced: bool = False


class _Test(msgspec.Struct):
    known: str = "none"
    rows: int = 0
    verdicts: dict[str, Verdict] | None = None


class _Results(msgspec.Struct):
    dataset: dict[str, Any]
    test: _Test | None = None


def promotion_gate(
    policy: str,
    run: Path | None,
    registry: Registry,
    *,
    utility: NDArray[np.float64] | None = None,
    progress: Progress | None = None,
) -> Gate:
    """Judge what is about to be exported; ``run`` None for a policy that is not trained.

    The verdicts are those that training wrote into ``results.json``, where the dataset is still what it was and
    ``utility`` (what outcomes are worth, as of :func:`planner_core.utility.weight_table`) is None or the weights of the
    training; else they are made anew.
    """
    if run is None:
        return Gate(answer="untrained", text=f"{policy} is not trained: there is no verdict to ask for")
    results = jsonio.read_file(run / RESULTS, _Results)
    learnt = Learnt.of_run(results.dataset, str(run / RESULTS))
    place = Path(learnt.directory or "")
    missing = _missing(place, learnt)
    if missing is not None:
        return Gate(
            answer="no_dataset",
            text=f"{missing}: whether {policy} is worse than the rules or the best constant was not looked at",
            dataset_hash=learnt.hash,
        )
    used = results.dataset.get("utility")
    same = utility is None or (used is not None and np.array_equal(weight_table(used), utility))
    test = results.test
    if not same or (test is not None and test.verdicts is None and test.known != "none"):
        test = _judged(policy, run, place, registry, utility, progress)
    given = {} if test is None else test.verdicts or {}
    found = {name: given[name] for name in GATE if name in given}
    worse = [name for name, verdict in found.items() if verdict.answer == "worse"]
    answer: GateAnswer = "worse" if worse else "not_worse" if found else "unknown"
    return Gate(
        answer=answer,
        text=_text(policy, found, worse),
        dataset=str(place),
        dataset_hash=learnt.hash,
        known=None if test is None else test.known,
        rows=None if test is None else test.rows,
        verdicts=found,
    )


def _missing(place: Path, learnt: Learnt) -> str | None:
    """Why the dataset of a run cannot be asked; None where it is what it was."""
    if learnt.directory is None or not place.is_dir():
        return f"its dataset is not at {place}" if learnt.directory else "the run does not say where its dataset is"
    try:
        meta, _ = read_meta(place)
    except DataError as problem:
        return f"its dataset cannot be read ({problem})"
    return None if meta.dataset_hash == learnt.hash else f"{place} is another dataset now"


def _judged(
    policy: str,
    run: Path,
    place: Path,
    registry: Registry,
    utility: NDArray[np.float64] | None,
    progress: Progress | None,
) -> _Test | None:
    datasets = Datasets(place, progress)
    opened = open_path(run, registry, policy, utility)
    if not len(datasets.encoded(opened.context.encoder).split("test")):
        return None
    document = evaluate_source(opened, datasets, registry, split="test", utility=utility).to_dict()
    return msgspec.convert(jsonio.read(jsonio.canonical(document), dict[str, Any], "evaluation"), _Test)


def _text(policy: str, found: dict[str, Verdict], worse: list[str]) -> str:
    if worse:
        return " ".join(found[name].text for name in worse)
    if not found:
        return f"nothing is known of outcomes of later runs: whether {policy} is worse than the rules cannot be told"
    parts = {"better": "it is better than", "cannot_tell": "it cannot be told whether it is better than"}
    return f"{policy}: " + "; ".join(f"{parts[v.answer]} {NAMES[name]}" for name, v in found.items())


def refuse(gate: Gate, force: bool) -> Gate:
    """The gate, marked where it was forced; a :class:`PlannerError` where it says ``worse`` and is not."""
    if gate.answer != "worse":
        return gate
    if not force:
        raise PlannerError(f"not exported: {gate.text} With --force it is exported all the same.")
    return msgspec.structs.replace(gate, forced=True)
