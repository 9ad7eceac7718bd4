"""What a dataset is, as figures: sizes, labels, and what its runs tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES, SWARM_IDS
from planner_core.data.dataset import Dataset
from planner_core.data.encode import SPLIT_NAMES
from planner_core.encoder import STATUSES
from planner_core.examples import Executed


def describe(dataset: Dataset) -> dict[str, Any]:
    """What ``planner data info`` shows: sizes, label and job-type distribution, what is known of outcomes, the runs.

    ``known`` is ``all``, ``executed`` or ``none``; ``outcomes`` says whether those of ``all`` are ``expected`` or
    ``realised``; ``runs`` is None where no example says what was run.
    """
    everything = dataset.everything
    names = [", ".join(map(str, action)) for action in dataset.action_space.actions]
    labels, counts = np.unique(everything.action, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    on = np.diff(everything.features.starts)
    jobs = np.bincount(everything.job_type, minlength=len(JOB_TYPES))
    return {
        "directory": str(dataset.directory),
        "dataset_hash": dataset.meta.dataset_hash,
        "meta_hash": dataset.meta.meta_hash,
        "label_source": dataset.meta.label_source,
        "example_count": len(everything),
        "split_counts": {name: int((dataset.split_of == i).sum()) for i, name in enumerate(SPLIT_NAMES)},
        "job_types": {name: int(n) for name, n in zip(JOB_TYPES, jobs, strict=True) if n},
        "features_on": {"mean": float(on.mean()), "max": int(on.max()), "d_in": dataset.encoder.d_in},
        "distinct_labels": len(labels),
        "labels": {names[labels[i]]: int(counts[i]) for i in order},
        "known": everything.known,
        "outcomes": None if everything.outcomes is None else everything.outcomes.kind,
        "runs": None if everything.executed is None else describe_runs(everything.executed),
        **{name: dataset.raw_meta.get(name) for name in ("rounded", "missing", "noted")},
        "ceiling": dataset.meta.ceiling,
        "floor": dataset.meta.floor,
    }


def describe_runs(executed: Executed) -> dict[str, Any]:
    """Plain figures of what was run, without the runs that are no evidence, which are counted apart.

    Each quantity is a mean over the runs that have it, with ``n`` such runs.
    """
    run, evidence = executed.swarm >= 0, executed.evidence
    resolved = (executed.swarm, executed.candidates, executed.minutes, executed.iterations)
    tried = np.stack([values[evidence] for values in resolved], axis=1)
    distributions = np.diff(executed.propensity_starts)[evidence] > 0
    return {
        "runs": int(run.sum()),
        "evidence": int(evidence.sum()),
        "not_evidence": int((run & ~evidence).sum()),
        "issues": len(np.unique(executed.issue[run])),
        "passed": _mean(executed.passed[evidence]),
        "status": {name: int((executed.status[evidence] == i).sum()) for i, name in enumerate(STATUSES)},
        "minutes": _mean(executed.duration_minutes[evidence]),
        "cost_usd": _mean(executed.cost_usd[evidence]),
        "propensity": _range(executed.propensity[evidence]),
        "distributions": int(distributions.sum()),
        "candidates_known": int((executed.candidate_passed[evidence, 0] >= 0).sum()),
        "distinct_actions": len(np.unique(tried, axis=0)),
        "swarms": {name: int((executed.swarm[evidence] == i).sum()) for i, name in enumerate(SWARM_IDS)},
    }


def _mean(values: NDArray[np.float32]) -> dict[str, Any]:
    known = values[~np.isnan(values)].astype(np.float64)
    return {"n": len(known), "mean": float(known.mean()) if len(known) else None}


def _range(values: NDArray[np.float32]) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (None, None)
    return {"n": len(known), "min": least, "max": most}
