"""The ``outcome`` policy: what would happen of every action."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from planner_outcome.actions import action_table
from planner_outcome.config import OutcomeConfig
from planner_outcome.core import (
    Batch,
    EpochReport,
    FitReport,
    PlannerError,
    PolicyContext,
    ScoreKind,
    Scores,
    TrainingSession,
)
from planner_outcome.counterfactual import runs_of
from planner_outcome.model import OutcomeModel

if TYPE_CHECKING:
    import onnx

LEARNT = "outcome_model.npz"


class OutcomePolicy:
    """Learns from logged runs how one try of one candidate goes, and composes that to all joint actions."""

    score_kind: ClassVar[ScoreKind] = "outcomes"

    def __init__(self, config: OutcomeConfig, context: PolicyContext) -> None:
        self.config, self.context = config, context
        self.table = action_table(context.action_space)
        self._model: OutcomeModel | None = None

    @property
    def model(self) -> OutcomeModel:
        """What was learnt; raises :class:`PlannerError` before it is."""
        if self._model is None:
            raise PlannerError("the outcome policy has learnt nothing yet: train it, or load a run")
        return self._model

    def fit(self, session: TrainingSession) -> FitReport:
        """Learn from what was run and, where the outcomes of several actions are known, from all of them.

        The same examples and seed give the same model.

        Raises :class:`PlannerError` where the examples say nothing of what came of them.
        """
        import torch

        from planner_outcome.learn import learn

        train, executed = session.train, session.train.executed
        several = train.known == "all"
        if train.outcomes is not None and (executed is None or not executed.evidence.any()):
            rows, executed = runs_of(train.outcomes, train.job_type, self.context.action_space, self.context.seed)
            train = train.take(rows)
        if executed is None or not (executed.evidence & (executed.swarm >= 0)).any():
            raise PlannerError("the outcome policy learns from what came of runs, and no training example says that")
        history: list[EpochReport] = []

        def tell(done: int, loss: float) -> None:
            report = EpochReport(done, self.config.rounds, loss, best=True)
            history.append(report)
            session.on_epoch(report)

        threads = torch.get_num_threads()
        torch.set_num_threads(self.config.threads)
        try:
            space, worth = self.context.action_space, session.utility_weights
            self._model = learn(train, executed, self.context.encoder, self.table, self.config, tell, space, worth)
            if several and self.config.tune:
                self._model = self._tuned(self._model, session, history)
        finally:
            torch.set_num_threads(threads)
        return FitReport(history, best_epoch=len(history))

    def _tuned(self, model: OutcomeModel, session: TrainingSession, history: list[EpochReport]) -> OutcomeModel:
        """Fine-tuned on expected utility; the epochs join ``history``."""
        from planner_outcome.fine_tuning import EPOCHS, fine_tune, known_of

        first = len(history)

        def tell(loss: float, utility: float) -> None:
            done = len(history) + 1
            report = EpochReport(done, first + EPOCHS, loss, valid_utility=utility)
            history.append(report)
            session.on_epoch(report)

        worth, space = session.utility_weights, self.context.action_space
        train = known_of(session.train, model, worth, space)
        valid = known_of(session.valid, model, worth, space) if session.valid.known == "all" else None
        return fine_tune(model, train, valid, self.table, self.context.seed, tell)

    def predict(self, batch: Batch) -> Scores:
        """``{"passed", "minutes", "cost_usd"}`` float32 [n, n_joint]."""
        expected = self.model.expected(batch.features, batch.job_type, self.table)
        return {name: values.astype(np.float32) for name, values in expected._asdict().items()}

    def save(self, directory: Path) -> None:
        """Write ``outcome_model.npz``: arrays, nothing that needs unpickling."""
        self.model.save(directory / LEARNT)

    def load(self, directory: Path) -> None:
        """Read what :meth:`save` wrote; raises :class:`planner_core.DataError` for anything else."""
        self._model = OutcomeModel.load(directory / LEARNT, self.context.encoder.d_in)

    def export_scorer(self) -> onnx.ModelProto:
        """The model as ONNX, written node by node."""
        from planner_outcome.graph import build_scorer

        return build_scorer(self.model, self.table)
