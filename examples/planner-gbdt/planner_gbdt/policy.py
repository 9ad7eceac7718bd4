"""The ``gbdt`` policy: one boosted class for every whole action that the training examples show."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from planner_core import EpochReport, FitReport, OnnxPolicy, ScoreKind, TrainingSession
from planner_gbdt.goals import goal_of
from planner_gbdt.growing import grow

if TYPE_CHECKING:
    import onnx


class GBDT(OnnxPolicy):
    """A booster over the joint actions seen in training; a single action seen needs no trees."""

    score_kind: ClassVar[ScoreKind] = "joint"

    def learn(self, session: TrainingSession) -> tuple[onnx.ModelProto, FitReport]:
        """Boost until the validation loss stops falling; the graph has the rounds up to its lowest value."""
        from planner_gbdt.graph import build_scorer

        context = self.context
        d_in, width = context.encoder.d_in, len(context.action_space.actions)
        goal = goal_of(self.config, session, context.action_space)
        if len(goal.classes) == 1:
            entry = EpochReport(1, 1, 0.0, best=True)
            session.on_epoch(entry)
            note = "a single action in training: nothing to learn, no trees"
            return build_scorer(None, goal.classes, d_in, width), FitReport([entry], 1, notes=[*goal.notes, note])
        booster, report = grow(self.config, context, session, goal)
        return build_scorer(booster, goal.classes, d_in, width), report
