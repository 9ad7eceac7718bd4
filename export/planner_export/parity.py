"""The parity gate: an exported graph must compute what its Python policy computes, or there is no bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from planner_core import (
    PARITY_TOLERANCE,
    BasePolicy,
    Batch,
    Decision,
    ParityError,
    PlannerInput,
    PlannerInputEncoder,
    PolicyContext,
    convert,
    decide,
    row_weights,
    sample_inputs,
)
from planner_core.runtime.session import EXPECTED, FEATURES, INDICES, JOB_TYPE, PROBABILITIES, Feed, padded_indices

TOLERANCE = PARITY_TOLERANCE
BATCH_SIZES = (1, 2, 64)

Outputs = dict[str, NDArray[Any]]
"""What a graph gives for a batch, by the names of its outputs."""


def sample_batch(count: int, seed: int, context: PolicyContext) -> Batch:
    """Random valid inputs as a policy sees them."""
    documents = sample_inputs(count, seed, log_figures=context.encoder.n_figures > 0)
    inputs = [convert(x, PlannerInput, "sample") for x in documents]
    return Batch.from_inputs(inputs, PlannerInputEncoder(context.encoder))


def feed_of(session: onnxruntime.InferenceSession, batch: Batch) -> Feed:
    """The inputs of either of the two graphs: dense features, or the positions that are on."""
    features = batch.features
    if all(given.name != INDICES for given in session.get_inputs()):
        return {FEATURES: features.dense(), JOB_TYPE: batch.job_type}
    rows = [row.tolist() for row in np.split(features.indices, features.starts[1:-1])]
    return {INDICES: padded_indices(rows, features.d_in), JOB_TYPE: batch.job_type}


def run_session(session: onnxruntime.InferenceSession, batch: Batch) -> Outputs:
    """All outputs of a graph for a batch."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed_of(session, batch)), strict=True))


@dataclass(frozen=True)
class Comparison:
    """What a graph gave for a batch beside what its policy gives.

    ``differences``: the largest absolute difference of each output but ``action``, of expected outcomes relative to the
    largest of their array (1 at least). ``lost`` float [n]: how much less probable, to the policy, the graph's
    choice, ``chosen`` int64 [n], is than its own.
    """

    differences: dict[str, float]
    lost: NDArray[np.floating]
    chosen: NDArray[np.int64]
    expected: Decision

    @property
    def worst(self) -> str:
        """The output with the largest difference; NaN is the largest of all."""
        return max(self.differences, key=lambda name: np.nan_to_num(self.differences[name], nan=np.inf))

    @property
    def equal(self) -> bool:
        """Whether no output differs by more than :data:`TOLERANCE`; a NaN is not within any tolerance."""
        return self.differences[self.worst] <= TOLERANCE


def compare(
    policy: BasePolicy,
    found: Outputs,
    batch: Batch,
    context: PolicyContext,
    temperatures: Mapping[str, float],
    worth: NDArray[np.float64] | None = None,
) -> Comparison:
    """Compare the outputs of a graph for ``batch`` with its policy. Raises :class:`ParityError` for another shape.

    What is made of expected outcomes is compared with what :func:`planner_core.decide` makes of the graph's own: a
    small temperature enlarges their rounding into differences of logits that say nothing about the graph.
    """
    scores, differences = policy.predict(batch), {}
    if policy.score_kind == "outcomes":
        for name, output in EXPECTED.items():
            scale = max(1.0, float(np.abs(scores[name]).max(initial=0.0)))
            differences[output] = _difference(output, found[output], scores[name]) / scale
        scores = {name: found[output] for name, output in EXPECTED.items()}
    expected = decide(scores, batch.job_type, temperatures, context.action_space, row_weights(batch.features, worth))
    wanted = {**expected.heads, PROBABILITIES: expected.action_probs, "confidence": expected.confidence}
    differences |= {name: _difference(name, found[name], values) for name, values in wanted.items()}
    _difference("action", found["action"], expected.action)
    lost = expected.confidence - expected.action_probs[np.arange(len(batch)), found["action"]]
    return Comparison(differences, lost, found["action"], expected)


def _difference(name: str, found: NDArray[Any], wanted: NDArray[Any]) -> float:
    if found.shape != wanted.shape:
        raise ParityError(f"output {name}: the graph gives shape {found.shape}, the policy {wanted.shape}")
    return float(np.abs(found - wanted).max(initial=0.0))


def check_parity(
    policy: BasePolicy,
    session: onnxruntime.InferenceSession,
    context: PolicyContext,
    temperatures: Mapping[str, float],
    seed: int = 0,
    worth: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Compare policy and graph on random inputs in batches of 1, 2 and 64; returns the report.

    ``worth`` is what outcomes are worth in the graph. Raises :class:`ParityError` where a shape differs, a value
    differs by more than :data:`TOLERANCE`, or the argmax is another (a tie within the tolerance is no difference).
    """
    cases = []
    for size in BATCH_SIZES:
        batch = sample_batch(size, seed + size, context)
        found = compare(policy, run_session(session, batch), batch, context, temperatures, worth)
        if not found.equal:
            raise ParityError(
                f"output {found.worst}, batch {size}: graph and policy differ by {found.differences[found.worst]:.2e}, "
                f"more than {TOLERANCE:.0e}"
            )
        if (found.lost > TOLERANCE).any():
            row = int(found.lost.argmax())
            raise ParityError(
                f"action, batch {size}, row {row}: the graph chooses {int(found.chosen[row])}, the policy "
                f"{int(found.expected.action[row])}"
            )
        cases.append({"batch": size, "max_abs_diff": found.differences, "argmax_equal": True})
    return {"passed": True, "tolerance": TOLERANCE, "cases": cases}
