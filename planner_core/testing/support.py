"""What the checks share: inputs, comparisons, and the words for what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.contracts import PlannerInput
from planner_core.data.samples import sample_inputs
from planner_core.decision import ScoreKind, Scores, score_sizes
from planner_core.encoder import EncoderConfig, PlannerInputEncoder
from planner_core.errors import CheckDoesNotApply, CheckFailed
from planner_core.examples import Examples
from planner_core.features import Batch
from planner_core.jsonio import read
from planner_core.plugins.records import CheckSetup
from planner_core.policy import BasePolicy, TrainablePolicy
from planner_core.training import EpochReport, FitReport, TrainingSession

Impute = Callable[[Examples], NDArray[np.float32] | None]
"""As :attr:`TrainingSession.impute`."""


def require(condition: bool, found: str) -> None:
    """Raise :class:`CheckFailed` with what was found unless ``condition`` holds."""
    if not condition:
        raise CheckFailed(found)


def learning(setup: CheckSetup) -> None:
    """Raise :class:`CheckDoesNotApply` for a policy that does not learn."""
    if not setup.spec.trainable:
        raise CheckDoesNotApply("the policy does not learn")


def make_learner(setup: CheckSetup, **wanted: Any) -> TrainablePolicy:
    """A fresh policy that learns; ``wanted`` configuration values where it has such keys."""
    return cast(TrainablePolicy, setup.make(**wanted))


def samples(count: int, seed: int = 0, job_type: str | None = None) -> list[PlannerInput]:
    """Random valid inputs, with tags and histories that the small world does not have; new objects at each call."""
    return [read(raw, PlannerInput, "sample") for raw in _documents(count, seed, job_type)]


@cache
def _documents(count: int, seed: int, job_type: str | None) -> tuple[bytes, ...]:
    return tuple(msgspec.json.encode(x) for x in sample_inputs(count, seed, job_type=job_type, log_figures=True))


def sample_batch(count: int, seed: int = 0, encoder: EncoderConfig | None = None, job_type: str | None = None) -> Batch:
    """:func:`samples`, encoded."""
    return Batch.from_inputs(samples(count, seed, job_type), PlannerInputEncoder(encoder or EncoderConfig()))


def mixed_batch(setup: CheckSetup, count: int = 48) -> Batch:
    """Rows of the world and random inputs, ``count`` of each, arrays of its own."""
    world = [x for x, _ in zip(setup.valid.inputs or (), range(count), strict=False)]
    return Batch.from_inputs([*world, *samples(count, 5)], PlannerInputEncoder(setup.context.encoder))


def rows(examples: Examples, begin: int, end: int) -> Examples:
    """Rows ``begin`` to ``end`` of examples, as copies."""
    return examples.take(np.arange(begin, min(end, len(examples))))


def encoded(examples: Examples, encoder: EncoderConfig) -> Examples:
    """The same examples under another encoder."""
    inputs = list(examples.inputs or ())
    return replace(examples, features=Batch.from_inputs(inputs, PlannerInputEncoder(encoder)).features)


def fit(
    policy: TrainablePolicy,
    train: Examples,
    valid: Examples,
    directory: Path,
    seen: list[EpochReport] | None = None,
    impute: Impute = lambda examples: None,
) -> FitReport:
    """Fit in a directory of its own below ``directory``; ``seen`` collects what ``on_epoch`` is told."""
    place = directory / f"run-{len(list(directory.iterdir()))}"
    place.mkdir()
    collect = (lambda report: None) if seen is None else seen.append
    return policy.fit(TrainingSession(train, valid, place, on_epoch=collect, impute=impute))


def check_scores(
    scores: Any, kind: ScoreKind, count: int, setup: CheckSetup, where: str, dtype: type[np.floating[Any]] | None = None
) -> None:
    """Raise :class:`CheckFailed` where ``scores`` are not finite arrays of the names and shapes of ``kind``.

    ``count`` is the number of rows, ``where`` says what was scored. The type is asked for where ``dtype`` is given.
    """
    sizes = score_sizes(kind, setup.context.action_space)
    require(isinstance(scores, dict), f"{where}: predict returns a {type(scores).__name__}, not a dict of arrays")
    require(set(scores) == set(sizes), f"{where}: the scores are {sorted(scores)}; '{kind}' means {sorted(sizes)}")
    for name, size in sizes.items():
        values = scores[name]
        require(isinstance(values, np.ndarray), f"{where}: '{name}' is a {type(values).__name__}, not a NumPy array")
        if dtype is not None:
            require(values.dtype == dtype, f"{where}: '{name}' is {values.dtype}, not {np.dtype(dtype)}")
        require(values.shape == (count, size), f"{where}: '{name}' has shape {values.shape}, not {(count, size)}")
        bad = ~np.isfinite(values)
        require(
            not bad.any(),
            f"{where}: '{name}' has {int(bad.sum())} values that are not finite; "
            + ("every action has an expected outcome" if kind == "outcomes" else "scores are logits without a mask"),
        )


def largest_difference(one: Scores, other: Scores) -> tuple[float, str]:
    """The largest difference of two sets of scores, relative where they exceed 1, and the array it is in."""
    found = [(_difference(one[name], other[name]), name) for name in one]
    return max(found, key=lambda pair: np.nan_to_num(pair[0], nan=np.inf))


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    if one.shape != other.shape:
        return float("inf")
    return float((np.abs(one - other) / np.maximum(1.0, np.abs(one))).max(initial=0.0))


def same_bits(one: Scores, other: Scores) -> bool:
    """Whether two sets of scores agree bit for bit."""
    return set(one) == set(other) and all(
        one[n].shape == other[n].shape and one[n].tobytes() == other[n].tobytes() for n in one
    )


def predict_rows(policy: BasePolicy, batch: Batch, which: NDArray[np.int64]) -> Scores:
    """Scores of some rows of a batch, as a batch of their own."""
    inputs = None if batch.inputs is None else [batch.inputs[int(i)] for i in which]
    return policy.predict(Batch(batch.features.take(which), batch.job_type[which], inputs))
