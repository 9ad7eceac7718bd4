"""The modes of a planner, and every reason for which the baseline's action is taken instead of the model's."""

from __future__ import annotations

from typing import Literal, get_args

Mode = Literal["off", "log", "enforce", "enforce_reductions"]
MODES: tuple[Mode, ...] = get_args(Mode)

MODE_OFF = "mode_off"
MODE_LOG = "mode_log"
LOW_CONFIDENCE = "low_confidence"
NO_OVERLAP = "no_overlap"
OVER_CAP = "over_cap"
WOULD_INCREASE = "would_increase"
BUNDLE_UNUSABLE = "bundle_unusable"
INFERENCE_FAILED = "inference_failed"
ARM_BASELINE = "arm_baseline"
REASONS = {
    MODE_OFF: "the planner is off; the model is not asked",
    MODE_LOG: "the planner only logs; the model was asked and the baseline is executed",
    LOW_CONFIDENCE: "the chosen action's probability is below the threshold",
    NO_OVERLAP: "the model gives no probability to any action that the request allows",
    OVER_CAP: "the chosen action is over a cap on candidates, minutes or iterations",
    WOULD_INCREASE: "the planner may only reduce, and the chosen action uses more than the baseline's",
    BUNDLE_UNUSABLE: "the bundle is missing, altered, or made for another version",
    INFERENCE_FAILED: "the session raised an error or returned something that is no probability",
    ARM_BASELINE: "the issue is in the rollout's arm of the baseline",
}
"""An action's ``reason`` begins with one of these words and a colon."""
