"""Growing the trees: LightGBM's own loop, with early stopping and a report after every round."""

from __future__ import annotations

import time
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from planner_core import EpochReport, Examples, FitReport, PolicyContext, TrainingSession, decide, feature_matrix
from planner_gbdt.config import GBDTConfig
from planner_gbdt.goals import Goal
from planner_gbdt.trees import with_exact_sums

UNSEEN = np.float32(-30.0)
"""Logit of an action that no training example has as its label; those of the others lie between about -15 and 15."""

LOSS = "loss"
Metrics = list[tuple[str, float, bool]]
"""Name, value, and whether more is better."""


def grow(
    config: GBDTConfig, context: PolicyContext, session: TrainingSession, goal: Goal
) -> tuple[lightgbm.Booster, FitReport]:
    """Boost until the validation loss stops falling; the booster holds the rounds up to its lowest value."""
    classes = goal.classes
    if goal.utility is None:
        # A class that training does not have has no loss, so its validation rows cannot say when to stop.
        rows = np.arange(len(session.train)), np.flatnonzero(np.isin(goal.labels[1], classes))
    else:
        rows = goal.utility[0].rows, goal.utility[1].rows
    features = [
        feature_matrix(part.features)[picked] for part, picked in zip((session.train, session.valid), rows, strict=True)
    ]
    # Where utilities are learnt nobody reads the labels.
    labels = [np.searchsorted(classes, known[picked]) for known, picked in zip(goal.labels, rows, strict=True)]
    train_set = lightgbm.Dataset(features[0], labels[0], free_raw_data=False)
    sets, names, rounds, stop = [train_set], ["training"], config.blind_rounds, []
    if len(rows[1]):
        sets.append(train_set.create_valid(features[1], labels[1]))
        names.append("validation")
        rounds = config.rounds
        stop = [lightgbm.early_stopping(config.patience, first_metric_only=True, verbose=False)]
    reporter = _Reporter(session, rounds, "multi_logloss" if goal.utility is None else LOSS)
    parameters = config.lightgbm(len(classes), context.seed)
    booster = lightgbm.train(
        {**parameters, "objective": goal.objective, **({} if goal.utility is None else {"metric": "None"})},
        train_set,
        rounds,
        sets,
        names,
        feval=_judge(session.valid.take(rows[1]), goal, train_set, context),
        callbacks=[reporter, *stop],
    )
    best = booster.best_iteration if stop else rounds
    notes = [*goal.notes, f"{best * len(classes)} trees for the {len(classes)} actions that training shows"]
    if not stop:
        notes.append(f"nothing to stop on in the validation split: all {rounds} rounds are kept")
    report = FitReport(reporter.history, best, reporter.examples_per_second, notes)
    return with_exact_sums(booster, best), report


def scattered(raw: NDArray[np.float32], classes: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    """float32 [n, width] with the columns of ``raw`` at ``classes`` and :data:`UNSEEN` elsewhere."""
    out = np.full((len(raw), width), UNSEEN, np.float32)
    out[:, classes] = raw
    return out


def _judge(valid: Examples, goal: Goal, train_set: lightgbm.Dataset, context: PolicyContext) -> Any:
    """LightGBM's form of metrics of the decisions, masked as the harness decides: exact match; 0 for the training rows.

    Where utilities are learnt their loss, and the mean utility. ``valid`` holds the rows that are judged.
    """
    space, known = context.action_space, goal.utility

    def chosen(logits: NDArray[np.floating]) -> NDArray[np.int64]:
        joint = {"joint": scattered(logits.astype(np.float32), goal.classes, len(space.actions))}
        return decide(joint, valid.job_type, {"joint": 1.0}, space).action

    def exact_match(probabilities: NDArray[np.float64], data: lightgbm.Dataset) -> Metrics:
        if data is train_set:
            return [("exact_match", 0.0, True)]
        action = chosen(np.log(np.maximum(probabilities, 1e-12)))
        return [("exact_match", float((action == valid.action).mean()), True)]

    def utility(scores: NDArray[np.float64], data: lightgbm.Dataset) -> Metrics:
        assert known is not None
        if data is train_set:
            return [(LOSS, known[0].loss(scores), False), ("utility", 0.0, True)]
        column = np.searchsorted(goal.classes, chosen(scores))[:, None]
        told = np.take_along_axis(known[1].known, column, axis=1)
        worth = np.take_along_axis(known[1].utility, column, axis=1)[told]
        mean = float(worth.mean() * known[1].temperature) if len(worth) else 0.0
        return [(LOSS, known[1].loss(scores), False), ("utility", mean, True)]

    return exact_match if known is None else utility


class _Reporter:
    """LightGBM's callback: an :class:`EpochReport` a round."""

    def __init__(self, session: TrainingSession, rounds: int, loss: str) -> None:
        self.session, self.rounds, self.loss = session, rounds, loss
        self.history: list[EpochReport] = []
        self.lowest = np.inf
        self.began = time.perf_counter()

    @property
    def examples_per_second(self) -> float:
        """Training examples times rounds, over the time since the first round began."""
        return len(self.session.train) * len(self.history) / (time.perf_counter() - self.began)

    def __call__(self, env: Any) -> None:
        """Report one round."""
        values = {(name, metric): float(value) for name, metric, value, *_ in env.evaluation_result_list}
        loss = values.get(("validation", self.loss))
        done = env.iteration + 1
        report = EpochReport(
            done,
            self.rounds,
            values["training", self.loss],
            loss,
            values.get(("validation", "exact_match")),
            values.get(("validation", "utility")),
            examples_per_second=len(self.session.train) * done / (time.perf_counter() - self.began),
            seconds_left=(time.perf_counter() - self.began) / done * (self.rounds - done),
            best=loss is None or loss < self.lowest,
        )
        self.lowest = self.lowest if loss is None else min(self.lowest, loss)
        self.history.append(report)
        self.session.on_epoch(report)
