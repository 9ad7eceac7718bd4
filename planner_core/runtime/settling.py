"""Which action is executed: the model's, an explored one or the baseline's, by mode, threshold, caps and rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from planner_core.action_space import Action
from planner_core.rules import Baseline
from planner_core.runtime.choice import Choice, Model, hardly_worse
from planner_core.runtime.documents import action_text
from planner_core.runtime.intake import Request
from planner_core.runtime.limits import Caps, least, uses_more
from planner_core.runtime.reasons import ARM_BASELINE, LOW_CONFIDENCE, MODE_LOG, OVER_CAP, WOULD_INCREASE, Mode
from planner_core.runtime.rollout import Arm, Rollout


class Settled(NamedTuple):
    """What is executed.

    ``choice`` has the action; its reason says why it is the baseline's, None where it is not. ``arm`` is where the
    rollout put the issue. ``baseline`` and ``propensities`` are None where nobody asked for the whole.
    """

    choice: Choice
    action: Action
    arm: Arm
    baseline: Action | None = None
    propensities: dict[str, float] | None = None


@dataclass(frozen=True)
class Settlement:
    """How a planner settles what is executed."""

    mode: Mode
    caps: Caps
    baseline: Baseline
    rollout: Rollout

    @property
    def asks(self) -> bool:
        """Whether the model is asked at all."""
        return self.mode != "off" and self.rollout.share > 0.0

    def arm(self, request: Request) -> Arm:
        """The arm of a request's issue; that of the baseline where nothing else is executed for any issue."""
        if self.mode in ("off", "log"):
            return "baseline"
        return self.rollout.arm(request.x.issue.issue_id)

    def settle(self, model: Model, request: Request, predicted: Choice, whole: bool = False) -> Settled:
        """The action to execute; ``whole`` also works out the baseline's and the probability of every action."""
        arm = self.arm(request)
        own, confidence = predicted.action, predicted.confidence
        reason, detail = self._against(model, request, predicted)
        rules = None
        if whole or reason is not None or arm == "baseline" or self.mode == "enforce_reductions":
            rules = self.rules(request)
        if reason is None and own is not None and rules is not None and self._exceeds(own, rules):
            reason, detail = WOULD_INCREASE, f"{action_text(own)} against {action_text(rules)}"
        followed = own if reason is None else None
        explored: list[Action] = []
        if followed is not None and self.rollout.explore > 0.0 and (whole or arm == "explore"):
            explored = self._explorable(model, request, predicted, rules)
        propensities = None
        if whole and rules is not None:
            propensities = self.rollout.propensities(request.x.job_type, rules, followed, explored)
        if followed is not None and arm == "model":
            return Settled(predicted, followed, arm, rules, propensities)
        if explored and arm == "explore":
            drawn = explored[self._drawn(request, len(explored))]
            return Settled(Choice(drawn, confidence), drawn, arm, rules, propensities)
        assert rules is not None  # asked for above in every case that is left
        if reason is None:
            reason, detail = ARM_BASELINE, f"the issue is not among the {self.rollout.share:.6g} that are the model's"
        return Settled(Choice(rules, confidence, reason, detail), rules, arm, rules, propensities)

    def rules(self, request: Request) -> Action:
        """The baseline's action within the caps."""
        safe = request.offer.within(self.caps)
        # Where every action breaks a cap, the smallest one breaks it least.
        return self.baseline.nearest(request.x, safe) if safe else least(request.offer.actions)

    def _against(self, model: Model, request: Request, predicted: Choice) -> tuple[str | None, str]:
        """Why the model's action is not executed in any arm, as far as that can be told without the baseline's."""
        action, confidence = predicted.action, predicted.confidence
        if predicted.reason is not None or action is None or confidence is None:
            return predicted.reason, predicted.detail
        if self.mode == "log":
            return MODE_LOG, f"the model chose {action_text(action)}"
        if confidence < model.threshold:
            return LOW_CONFIDENCE, f"{confidence:.4f} < {model.threshold:.4f}"
        if self.caps.any and action not in request.offer.within(self.caps):
            return OVER_CAP, f"the model chose {action_text(action)}"
        return None, ""

    def _explorable(self, model: Model, request: Request, predicted: Choice, rules: Action | None) -> list[Action]:
        """What may be executed in the place of the model's action: hardly worse, and bound by all that binds it."""
        found = hardly_worse(model, request, predicted, self.rollout.explore_within)
        if self.caps.any:
            safe = frozenset(request.offer.within(self.caps))
            found = [action for action in found if action in safe]
        return found if rules is None else [action for action in found if not self._exceeds(action, rules)]

    def _exceeds(self, action: Action, rules: Action) -> bool:
        return self.mode == "enforce_reductions" and uses_more(action, rules)

    def _drawn(self, request: Request, n: int) -> int:
        return min(int(self.rollout.draw(request.x.issue.issue_id, request.digest) * n), n - 1)
