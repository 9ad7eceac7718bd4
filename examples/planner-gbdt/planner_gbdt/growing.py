"""Growing the trees: LightGBM's own loop, with early stopping and a report after every round."""

from __future__ import annotations

import time
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from planner_core import EpochReport, Examples, FitReport, PolicyContext, TrainingSession, decide
from planner_gbdt.config import GBDTConfig
from planner_gbdt.goals import Goal, Goals
from planner_gbdt.trees import matrix, scattered, with_exact_sums


def grow(
    config: GBDTConfig, context: PolicyContext, session: TrainingSession, classes: NDArray[np.int64], goals: Goals
) -> tuple[lightgbm.Booster, FitReport]:
    """Boost until the validation loss stops falling; the booster holds the rounds up to its lowest value.

    ``classes`` int64 [k] are the joint actions to tell apart.
    """
    # A class that training does not have has no loss, so its validation rows cannot say when to stop.
    train, valid = goals.train.of(classes), goals.valid.of(classes)
    train_set = _dataset(session.train, train, classes)
    sets, names, rounds, stop, judge = [train_set], ["training"], config.blind_rounds, [], None
    if len(valid.rows):
        sets.append(_dataset(session.valid, valid, classes, train_set))
        names.append("validation")
        rounds = config.rounds
        stop = [lightgbm.early_stopping(config.patience, first_metric_only=True, verbose=False)]
        judge = _judge(session.valid, valid, goals, sets[1], classes, context)
    reporter = _Reporter(session, rounds)
    booster = lightgbm.train(
        config.lightgbm(len(classes), context.seed),
        train_set,
        rounds,
        sets,
        names,
        feval=judge,
        callbacks=[reporter, *stop],
    )
    best = booster.best_iteration if stop else rounds
    notes = [*goals.notes, f"{best * len(classes)} trees for the {len(classes)} actions that training shows"]
    if not stop:
        notes.append(f"nothing to stop on in the validation split: all {rounds} rounds are kept")
    report = FitReport(reporter.history, best, reporter.examples_per_second, notes)
    return with_exact_sums(booster, best), report


def _dataset(
    examples: Examples, goal: Goal, classes: NDArray[np.int64], of: lightgbm.Dataset | None = None
) -> lightgbm.Dataset:
    """A row of features for every pair of a goal; ``of`` is the training set of a validation set."""
    features = matrix(examples.features)[goal.rows]
    labels = np.searchsorted(classes, goal.action)
    weight = None if (goal.weight == 1.0).all() else goal.weight
    return lightgbm.Dataset(features, labels, weight=weight, reference=of, free_raw_data=False)


def _judge(
    valid: Examples,
    goal: Goal,
    goals: Goals,
    valid_set: lightgbm.Dataset,
    classes: NDArray[np.int64],
    context: PolicyContext,
) -> Any:
    """LightGBM's form of a metric on the decisions, masked as the harness decides; 0 for the training rows.

    Exact match, or the mean utility where that is what is maximised.
    """
    space = context.action_space
    rows, first = np.unique(goal.rows, return_index=True)
    job_type, action = valid.job_type[rows], valid.action[rows]
    name = "exact_match" if goals.utility is None else "utility"

    def metric(probabilities: NDArray[np.float64], data: lightgbm.Dataset) -> tuple[str, float, bool]:
        if data is not valid_set:
            return name, 0.0, True
        logits = np.log(np.maximum(probabilities[first], 1e-12)).astype(np.float32)
        joint = {"joint": scattered(logits, classes, len(space.actions))}
        chosen = decide(joint, job_type, {"joint": 1.0}, space).action
        if goals.utility is None:
            return name, float((chosen == action).mean()), True
        known = goals.utility[rows, chosen]
        return name, float(np.nanmean(known)) if not np.isnan(known).all() else 0.0, True

    return metric


class _Reporter:
    """LightGBM's callback: an :class:`EpochReport` a round."""

    def __init__(self, session: TrainingSession, rounds: int) -> None:
        self.session, self.rounds = session, rounds
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
        loss = values.get(("validation", "multi_logloss"))
        done = env.iteration + 1
        report = EpochReport(
            done,
            self.rounds,
            values["training", "multi_logloss"],
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
