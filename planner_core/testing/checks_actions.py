"""Checks of what comes of the scores: valid actions, for every job type and inside every request."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from planner_core.action_space import JOB_TYPES, NA, Action, request_actions
from planner_core.contracts import ActionDocument, PlannerInput
from planner_core.data.samples import sample_inputs
from planner_core.decision import decide, row_weights
from planner_core.errors import CheckBlocked, CheckFailed
from planner_core.harness.calibration import fit_temperatures
from planner_core.jsonio import convert
from planner_core.plugins.predictor import PolicyPredictor
from planner_core.plugins.records import CheckSetup, PolicyCheck
from planner_core.runtime.planner import Planner
from planner_core.runtime.reasons import INFERENCE_FAILED, REASONS
from planner_core.testing.support import require, sample_batch

UNKNOWN_JOB = "research"

RESTRICTIONS: dict[str, dict[str, Any]] = {
    "the whole space": {},
    "serial only": {"swarm_ids": ["serial_handoff"]},
    "speculation only": {"swarm_ids": ["speculate_vote"], "max_candidates_bins": [2, 3]},
    "bins in another order": {"max_minutes_bins": [NA, 120, 15], "max_iterations_bins": [NA, 1]},
    "a single action": {
        "swarm_ids": ["serial_handoff"],
        "max_candidates_bins": [1],
        "max_minutes_bins": [45],
        "max_iterations_bins": [NA],
    },
    "a rule of its own": {
        "validity_rules": [
            {
                "description": "speculation gets an hour",
                "if": {"swarm_id": "speculate_vote"},
                "then": {"max_minutes_bin": 60},
            }
        ]
    },
    "some bins that no model knows": {"max_minutes_bins": [20, 60, 90], "max_candidates_bins": [1, 2, 8]},
    "a swarm that no model knows": {"swarm_ids": ["round_robin"]},
}
"""What requests do to the action space, as changes of the default one."""


def temperatures(setup: CheckSetup) -> dict[str, float]:
    """Temperatures fitted on the validation examples, as training does."""
    policy = setup.trained()

    def fitted() -> dict[str, float]:
        valid = setup.valid
        weights = row_weights(valid.features)
        calibration = fit_temperatures(policy.predict(valid.batch()), valid, setup.context.action_space, weights)
        found: dict[str, float] = calibration["temperatures"]
        return found

    try:
        return setup.once("temperatures", fitted)
    except Exception:  # the scores are the plugin's; the check named here says what is wrong with them
        raise CheckBlocked("the scores cannot be calibrated; see the check 'scores'") from None


def valid_only(setup: CheckSetup) -> None:
    """Decisions on random inputs are valid for their job type, probabilities sum to 1 and are 0 elsewhere."""
    policy, space = setup.trained(), setup.context.action_space
    fitted = temperatures(setup)
    for index, job_type in enumerate(JOB_TYPES):
        batch = sample_batch(64, 20 + index, job_type=UNKNOWN_JOB if job_type == "other" else job_type)
        decision = decide(policy.predict(batch), batch.job_type, fitted, space, row_weights(batch.features))
        mask = space.joint_masks[index]
        outside = ~mask[decision.action]
        if outside.any():
            action = tuple(space.actions[int(decision.action[outside.argmax()])])
            raise CheckFailed(
                f"job type {job_type}: {int(outside.sum())} of 64 decisions are not valid, {action} first"
            )
        probs = decision.action_probs
        require(bool(np.isfinite(probs).all()), f"job type {job_type}: probabilities are not finite")
        require(not probs[:, ~mask].any(), f"job type {job_type}: invalid actions have a probability")
        off = float(np.abs(probs.sum(axis=1) - 1.0).max())
        require(off < 1e-4, f"job type {job_type}: the probabilities sum to 1 only within {off:.1e}")


def restricted_requests(setup: CheckSetup) -> None:
    """Through the runtime, every decision lies in the request's own action space, and the policy never fails."""
    scorer = PolicyPredictor(setup.trained(), setup.context, temperatures(setup))
    planner = Planner(scorer)
    decided = fallbacks = 0
    for job_type in (*JOB_TYPES[:-1], UNKNOWN_JOB):
        inputs = sample_inputs(4, 40, job_type=job_type)
        for what, change in RESTRICTIONS.items():
            documents = [{**x, "action_space": {**x["action_space"], **change}} for x in inputs]
            for document, answer in zip(documents, planner.decide_batch(documents), strict=True):
                _check_answer(document, answer, f"{what}, job type {job_type}")
                decided += 1
                fallbacks += answer["abstain_to_default"]
    setup.note(f"{decided} requests decided, {fallbacks} of them by the fallback")


def _check_answer(document: dict[str, Any], answer: ActionDocument, where: str) -> None:
    budgets = answer["budgets"]
    action = Action(
        answer["swarm_id"], budgets["max_candidates_bin"], budgets["max_minutes_bin"], budgets["max_iterations_bin"]
    )
    x = convert(document, PlannerInput, "request")
    require(action in request_actions(x.job_type, x.action_space), f"{where}: {tuple(action)} is not allowed")
    reason = answer["reason"] or ""
    require(not reason.startswith(INFERENCE_FAILED), f"{where}: {reason}")
    confidence = answer.get("confidence")
    require(
        confidence is None or 0.0 <= confidence <= 1.0,
        f"{where}: the confidence is {confidence}: {msgspec.json.encode(answer).decode()}",
    )
    assert not reason or reason.split(":")[0] in REASONS


CHECKS = (
    PolicyCheck("valid-actions", "No job type may be given an action its rules forbid.", valid_only),
    PolicyCheck(
        "restricted-requests", "A request offers its own swarms and bins, under rules of its own.", restricted_requests
    ),
)
