"""The ``forest`` policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from planner_core import OnnxPolicy, ScoreKind, TrainingSession, classifier_scorer, feature_matrix, joint_scorer

if TYPE_CHECKING:
    import onnx

TEMPERATURE = 0.05  # utility by which a score of one more is better


class Forest(OnnxPolicy):
    """A random forest: of the labels where they are worth learning, else of the utility of every action."""

    score_kind: ClassVar[ScoreKind] = "joint"

    def learn(self, session: TrainingSession) -> onnx.ModelProto:
        """Grow the trees, and return them with one score an action."""
        c, train, width = self.config, session.train, len(self.context.action_space.actions)
        grown = {"max_depth": c.depth, "min_samples_leaf": c.leaf, "random_state": self.context.seed}
        utility = session.utilities(train) if session.objective == "utility" else None
        if utility is None:
            forest = RandomForestClassifier(c.trees, **grown).fit(feature_matrix(train.features), train.action)
            return classifier_scorer(forest, self.context)
        # An action of which nothing is known counts as the mean of those that are.
        utility = np.where(np.isnan(utility), np.nanmean(utility, axis=1, keepdims=True), utility)
        forest = RandomForestRegressor(c.trees, **grown).fit(feature_matrix(train.features), utility / TEMPERATURE)
        self.notes.append("objective: utility, known" if train.outcomes else "objective: utility, imputed from a log")
        kind = [("input", FloatTensorType([None, self.context.encoder.d_in]))]
        model = to_onnx(forest, initial_types=kind, target_opset={"": 18, "ai.onnx.ml": 3})
        return joint_scorer(model, np.arange(width), width, output="variable", logits=True)
