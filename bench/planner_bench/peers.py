"""Other learners on the same encoded features: what a user would reach for before writing a policy.

* ``logistic``: scikit-learn's multinomial logistic regression, one a head, L2 with ``C``.
* ``lightgbm``: one gradient-boosted classifier a head, stopped early on the validation split.
* ``sklearn mlp``: scikit-learn's ``MLPClassifier`` on the joint labels, stopped early on a tenth of the training split.

All read a sparse matrix of the features that occur in the training split, which changes nothing they could learn and
saves them the work of empty columns. A head with a single class in training is a constant. Their log-probabilities are
decoded like any policy's scores: over the valid actions only (:func:`planner_core.decide`).

Their settings are the best of a few tried on the default world (20,000 examples, seed 0), as exact match / gap closed
on validation: ``C`` 0.02 0.499/0.789, 0.05 0.505/0.794, **0.1 0.506/0.794**, 0.3 0.501/0.793, 1 0.495/0.790. LightGBM
with **15 leaves at rate 0.05 0.646/0.867**, 31 leaves 0.637/0.858, 7 leaves at 0.1 0.636/0.858, 31 leaves at 0.1 with
30 % of the features 0.633/0.862. The network with **(256, 128), alpha 0.001 0.651/0.838**, (128,), alpha 0.01
0.635/0.858.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS, ActionSpace
from planner_core.data.dataset import Dataset
from planner_core.errors import MissingExtra
from planner_core.policy import Scores, SparseFeatures

EXTRA, COMMAND = "peers", "planner bench peers"
LOGISTIC_C = 0.1
LIGHTGBM: dict[str, Any] = {
    "objective": "multiclass",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "num_threads": 1,
    "deterministic": True,
    "verbosity": -1,
}
EARLY_STOPPING_ROUNDS, MOST_ROUNDS = 30, 1000
UNSTOPPED_ROUNDS = 150  # where there is no validation split to stop on
SKLEARN_MLP: dict[str, Any] = {
    "hidden_layer_sizes": (256, 128),
    "alpha": 1e-3,
    "batch_size": 64,
    "learning_rate_init": 1e-3,
    "max_iter": 30,
    "n_iter_no_change": 5,
}

FLOOR = np.float32(1e-9)
"""Of a probability before its logarithm; what a class that training never showed gets."""

Probabilities = Callable[[Any], NDArray[np.floating]]
"""A sparse matrix to class probabilities [n, classes that occurred]."""


class Columns:
    """Sparse features as a SciPy matrix of the columns that are on somewhere in training."""

    def __init__(self, features: SparseFeatures) -> None:
        active = np.flatnonzero(np.bincount(features.indices, minlength=features.d_in))
        self.width = len(active)
        self._place = np.full(features.d_in, -1, np.int32)
        self._place[active] = np.arange(self.width, dtype=np.int32)

    def matrix(self, features: SparseFeatures) -> Any:
        """``scipy.sparse.csr_matrix`` float32 [n, width]."""
        from scipy.sparse import csr_matrix

        place = self._place[features.indices]
        known = place >= 0
        kept = np.concatenate(([0], np.cumsum(known)))
        starts = kept[features.starts].astype(np.int32)
        return csr_matrix((np.ones(starts[-1], np.float32), place[known], starts), (len(features), self.width))


@dataclass(frozen=True)
class _Part:
    """One classifier: which of the ``size`` classes its columns stand for, and how to ask it."""

    size: int
    classes: NDArray[np.integer]
    ask: Probabilities

    def log_probabilities(self, x: Any) -> NDArray[np.float32]:
        out = np.full((x.shape[0], self.size), np.log(FLOOR), np.float32)
        out[:, self.classes] = np.log(np.maximum(self.ask(x), FLOOR))
        return out


@dataclass(frozen=True)
class Peer:
    """A fitted learner that scores features like a policy."""

    name: str
    columns: Columns
    parts: dict[str, _Part]

    def predict(self, features: SparseFeatures) -> Scores:
        """Log-probabilities per head, or over the joint actions."""
        x = self.columns.matrix(features)
        return {name: part.log_probabilities(x) for name, part in self.parts.items()}


def _constant(x: Any) -> NDArray[np.float32]:
    return np.ones((x.shape[0], 1), np.float32)


def fit_logistic(dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """Multinomial logistic regression, one a head."""
    linear = _need("sklearn.linear_model")

    def fit(x: Any, y: NDArray[np.int64], valid: _Valid) -> Probabilities:
        model = linear.LogisticRegression(C=LOGISTIC_C, max_iter=500)
        ask: Probabilities = model.fit(x, y).predict_proba
        return ask

    return _a_head_each("logistic", dataset, fit, space)


def fit_lightgbm(dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """One gradient-boosted classifier a head."""
    lightgbm = _need("lightgbm")

    def fit(x: Any, y: NDArray[np.int64], valid: _Valid) -> Probabilities:
        train = lightgbm.Dataset(x, y, free_raw_data=False)
        judged, calls, rounds = [], [], UNSTOPPED_ROUNDS
        if valid is not None:
            judged, rounds = [train.create_valid(*valid)], MOST_ROUNDS
            calls = [lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)]
        settings = {**LIGHTGBM, "num_class": int(y.max()) + 1, "seed": seed}
        booster = lightgbm.train(settings, train, rounds, judged, callbacks=calls)
        return lambda rows: booster.predict(rows, num_threads=1)

    return _a_head_each("lightgbm", dataset, fit, space)


def fit_sklearn_mlp(dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """A multilayer perceptron on the joint labels."""
    networks = _need("sklearn.neural_network")
    train = dataset.split("train")
    columns = Columns(train.features)
    classes, y, counts = np.unique(train.action, return_inverse=True, return_counts=True)
    ask: Probabilities = _constant
    if len(classes) > 1:
        # scikit-learn holds out a stratified tenth to stop on, so each class must be there twice, and in the tenth.
        stop = bool(counts.min() >= 2) and len(y) >= 10 * len(classes)
        model = networks.MLPClassifier(**SKLEARN_MLP, early_stopping=stop, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that max_iter was reached
            ask = model.fit(columns.matrix(train.features), y).predict_proba
    return Peer("sklearn mlp", columns, {"joint": _Part(len(space.actions), classes, ask)})


PEERS: dict[str, Callable[[Dataset, ActionSpace, int], Peer]] = {
    "logistic": fit_logistic,
    "lightgbm": fit_lightgbm,
    "sklearn mlp": fit_sklearn_mlp,
}


def fit_peer(name: str, dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """Fit a peer of :data:`PEERS` on one thread, as our own training runs.

    Raises :class:`MissingExtra` where its package is not installed.
    """
    with _need("threadpoolctl").threadpool_limits(1):
        return PEERS[name](dataset, space, seed)


def require_peers() -> None:
    """Raise :class:`MissingExtra` now, rather than after minutes of work, where a package is not installed."""
    for module in ("sklearn", "lightgbm", "threadpoolctl"):
        _need(module)


_Valid = tuple[Any, NDArray[np.int64]] | None
_Fit = Callable[[Any, NDArray[np.int64], _Valid], Probabilities]


def _a_head_each(name: str, dataset: Dataset, fit: _Fit, space: ActionSpace) -> Peer:
    """Fit every head on its own. Validation rows of a class that training does not have are left out."""
    train, valid = dataset.split("train"), dataset.split("val")
    columns = Columns(train.features)
    x, x_valid = columns.matrix(train.features), columns.matrix(valid.features)
    parts = {}
    for i, (head, size) in enumerate(zip(HEADS, space.head_sizes, strict=True)):
        classes, y = np.unique(train.labels[:, i], return_inverse=True)
        wanted = valid.labels[:, i]
        known = np.flatnonzero(np.isin(wanted, classes))
        judged = (x_valid[known], np.searchsorted(classes, wanted[known])) if len(known) else None
        parts[head] = _Part(size, classes, fit(x, y, judged) if len(classes) > 1 else _constant)
    return Peer(name, columns, parts)


def _need(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        raise MissingExtra(COMMAND, EXTRA, module.split(".")[0]) from problem
