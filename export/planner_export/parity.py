"""The parity gate: an exported graph must compute what its Python policy computes, or there is no bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from planner_core import (
    HEADS,
    BasePolicy,
    Batch,
    ParityError,
    PlannerInput,
    PlannerInputEncoder,
    PolicyContext,
    convert,
    decide,
)
from planner_core.data.samples import sample_inputs
from planner_core.runtime.session import FEATURES, INDICES, JOB_TYPE, Feed, padded_indices

TOLERANCE = 1e-5
BATCH_SIZES = (1, 2, 64)
OUTPUTS = (*HEADS, "action_probs", "action", "confidence")


def sample_batch(count: int, seed: int, context: PolicyContext) -> Batch:
    """Random valid inputs as a policy sees them."""
    inputs = [convert(x, PlannerInput, "sample") for x in sample_inputs(count, seed)]
    return Batch.from_inputs(inputs, PlannerInputEncoder(context.encoder))


def feed_of(session: onnxruntime.InferenceSession, batch: Batch) -> Feed:
    """The inputs of either of the two graphs: dense features, or the positions that are on."""
    features = batch.features
    if all(given.name != INDICES for given in session.get_inputs()):
        return {FEATURES: features.dense(), JOB_TYPE: batch.job_type}
    rows = np.split(features.indices, features.starts[1:-1])
    return {INDICES: padded_indices(rows, features.d_in), JOB_TYPE: batch.job_type}


def run_session(session: onnxruntime.InferenceSession, batch: Batch) -> dict[str, np.ndarray]:
    """All outputs of a graph for a batch."""
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), feed_of(session, batch)), strict=True))


def check_parity(
    policy: BasePolicy,
    session: onnxruntime.InferenceSession,
    context: PolicyContext,
    temperatures: Mapping[str, float],
    seed: int = 0,
) -> dict[str, Any]:
    """Compare policy and graph on random inputs in batches of 1, 2 and 64; returns the report.

    Raises :class:`ParityError` where a shape differs, a value differs by more than :data:`TOLERANCE`, or the argmax
    is another (a tie within the tolerance is no difference).
    """
    cases = []
    for size in BATCH_SIZES:
        batch = sample_batch(size, seed + size, context)
        expected = decide(policy.predict(batch), batch.job_type, temperatures, context.action_space)
        found = run_session(session, batch)
        wanted = {
            **expected.heads,
            "action_probs": expected.action_probs,
            "action": expected.action,
            "confidence": expected.confidence,
        }
        differences = {}
        for name in OUTPUTS:
            if found[name].shape != wanted[name].shape:
                raise ParityError(
                    f"output {name}, batch {size}: the graph gives shape {found[name].shape}, the policy "
                    f"{wanted[name].shape}"
                )
            if name != "action":
                differences[name] = float(np.abs(found[name] - wanted[name]).max())
        worst = max(differences, key=lambda name: np.nan_to_num(differences[name], nan=np.inf))
        if not differences[worst] <= TOLERANCE:  # a NaN is not within any tolerance
            raise ParityError(
                f"output {worst}, batch {size}: graph and policy differ by {differences[worst]:.2e}, more than "
                f"{TOLERANCE:.0e}"
            )
        rows = np.arange(size)
        lost = expected.confidence - expected.action_probs[rows, found["action"]]
        if (lost > TOLERANCE).any():
            row = int(lost.argmax())
            raise ParityError(
                f"action, batch {size}, row {row}: the graph chooses {int(found['action'][row])}, the policy "
                f"{int(expected.action[row])}"
            )
        cases.append({"batch": size, "max_abs_diff": differences, "argmax_equal": True})
    return {"passed": True, "tolerance": TOLERANCE, "cases": cases}
