"""A policy in Python as a source of action probabilities: for runs that are not exported, and as a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import Action, nearest_action
from planner_core.contracts import PlannerInput
from planner_core.decision import decide, row_weights, temperatures_for
from planner_core.encoder import PlannerInputEncoder
from planner_core.errors import PlannerError
from planner_core.features import Batch
from planner_core.plugins.guard import make_policy
from planner_core.plugins.registry import load_registry
from planner_core.policy import BasePolicy, PolicyContext


class PolicyPredictor:
    """Action probabilities of a policy in Python, trained or not."""

    def __init__(
        self,
        policy: BasePolicy,
        context: PolicyContext,
        temperatures: Mapping[str, float] | None = None,
        utility: NDArray[np.float64] | None = None,
    ) -> None:
        """``utility`` float64 [4 priorities, (pass, time, cost)]: what outcomes are worth, the defaults where None."""
        self.policy, self.context, self._utility = policy, context, utility
        self._encoder = PlannerInputEncoder(context.encoder)
        self.temperatures = temperatures_for(policy.score_kind, temperatures)

    @classmethod
    def untrained(cls, name: str, config: Any = None) -> PolicyPredictor:
        """A registered policy that needs no training; its default configuration where ``config`` is None."""
        spec, context = load_registry().spec(name), PolicyContext()
        if spec.trainable:
            raise PlannerError(f"policy '{name}' has to be trained before it can decide")
        return cls(make_policy(spec, config or spec.config_type(), context), context)

    def action_probs(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32]:
        """float32 [n, n_joint] for n inputs."""
        batch = Batch.from_inputs(inputs, self._encoder)
        scores = self.policy.predict(batch)
        weights = row_weights(batch.features, self._utility)
        return decide(scores, batch.job_type, self.temperatures, self.context.action_space, weights).action_probs

    def nearest(self, x: PlannerInput, allowed: tuple[Action, ...]) -> Action:
        """The policy's own action for ``x``, or the allowed one nearest to it."""
        chosen = int(self.action_probs([x])[0].argmax())
        return nearest_action(self.context.action_space.actions[chosen], allowed)
