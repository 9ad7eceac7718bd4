"""Predictions of an outcome model for rows that it has not seen: what imputation and the value of a log are built on.

The model is the registered ``outcome`` policy with its default configuration. It never predicts a row of an issue that
it learnt from: a model knows what happened on its own rows, and would call that a forecast.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from planner_core.decision import Scores
from planner_core.encoder import EncoderConfig
from planner_core.errors import MissingExtra, PlannerError, RegistryError
from planner_core.examples import Examples
from planner_core.plugins.guard import make_policy
from planner_core.plugins.registry import load_registry
from planner_core.policy import PolicyContext, TrainablePolicy
from planner_core.training import TrainingSession
from planner_core.value import Predictions, imputed_utilities, read_log

logger = logging.getLogger("planner")

MODEL = "outcome"
FOLDS = 3


def predicted(learn: Examples, judge: Examples, encoder: EncoderConfig, seed: int = 0) -> Scores | None:
    """What a model that learnt from ``learn``, less the issues of ``judge``, expects of every action of ``judge``.

    None, with the reason in the log, where there is no such model or nothing to learn from.
    """
    rows = np.arange(len(learn))
    if learn.issue is not None and judge.issue is not None:
        rows = np.flatnonzero(~np.isin(learn.issue, judge.issue))
    return _fitted(learn.take(rows), judge, encoder, seed)


def cross_fitted(examples: Examples, encoder: EncoderConfig, seed: int = 0, folds: int = FOLDS) -> Scores | None:
    """What is expected of every action of each row by a model that saw no row of its issue; None as in ``predicted``.

    The issues are dealt to ``folds`` models in turn, in the order in which they first appear.
    """
    if examples.executed is None:
        return None
    _, first, issue = np.unique(examples.executed.issue, return_index=True, return_inverse=True)
    fold = (np.argsort(np.argsort(first)) % folds)[issue]
    out: Scores = {}
    for k in range(folds):
        mine, others = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        if not len(mine):
            continue
        part = _fitted(examples.take(others), examples.take(mine), encoder, seed)
        if part is None:
            return None
        for name, values in part.items():
            out.setdefault(name, np.zeros((len(examples), values.shape[1]), np.float32))[mine] = values
    return out


def imputer(
    train: Examples, encoder: EncoderConfig, utility: NDArray[np.float64], seed: int = 0
) -> Callable[[Examples], NDArray[np.float32] | None]:
    """Gives the utility of every action of each row as far as a log tells, float32 [n, n_joint]; or None.

    ``train`` itself is imputed by models that did not see the row's issue, other examples by one that learnt from all
    of ``train``. ``utility`` as of :func:`planner_core.utility.weight_table`.
    """

    def impute(examples: Examples) -> NDArray[np.float32] | None:
        alike = examples is train
        expected = cross_fitted(train, encoder, seed) if alike else predicted(train, examples, encoder, seed)
        if expected is None or examples.executed is None:
            return None
        weights = utility[examples.priority]
        log = read_log(examples.executed, examples.job_type, weights, strata=examples.job_type)
        return imputed_utilities(log, Predictions(**expected), weights)

    return impute


def _fitted(learn: Examples, judge: Examples, encoder: EncoderConfig, seed: int) -> Scores | None:
    if learn.executed is None or not learn.executed.evidence.any():
        return None
    context = PolicyContext(encoder, seed=seed)
    try:
        spec = load_registry().spec(MODEL)
        policy = cast(TrainablePolicy, make_policy(spec, spec.config_type(), context))
        with tempfile.TemporaryDirectory() as scratch:
            policy.fit(TrainingSession(learn, learn.between(0, 0), Path(scratch)))
        return policy.predict(judge.batch())
    except (MissingExtra, RegistryError) as problem:
        logger.info("no outcome model: %s", problem)
    except PlannerError as problem:
        logger.warning("no outcome model: %s", problem)
    return None
