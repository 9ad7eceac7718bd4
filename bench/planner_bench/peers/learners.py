"""Other learners on the same encoded features: what a user would reach for before writing a policy.

* ``logistic``: scikit-learn's multinomial logistic regression, one a head, L2 with ``C``.
* ``lightgbm``: one gradient-boosted classifier a head, stopped early on the validation split.
* ``sklearn mlp``: scikit-learn's ``MLPClassifier`` on the joint labels, stopped early on a tenth of the training split.
* ``vowpal wabbit``: one linear model against all others a joint label (``--oaa``), learnt online in a few passes.

All read the features that occur in the training split, which changes nothing they could learn and saves them the work
of empty columns. A head with a single class in training is a constant. Their log-probabilities are decoded like any
policy's scores: over the valid actions only (:func:`planner_core.decide`).

Each can be asked for one row in several ways (``rows``): as its users do, and in the fastest form it has. All of them
are timed, since which is the fastest is a question to a clock.

Their settings are the best of a few tried on the default world (20,000 examples, seed 0), as exact match / gap closed
on validation: ``C`` 0.02 0.499/0.789, 0.05 0.505/0.794, **0.1 0.506/0.794**, 0.3 0.501/0.793, 1 0.495/0.790. LightGBM
with **15 leaves at rate 0.05 0.646/0.867**, 31 leaves 0.637/0.858, 7 leaves at 0.1 0.636/0.858, 31 leaves at 0.1 with
30 % of the features 0.633/0.862. The network with **(256, 128), alpha 0.001 0.651/0.838**, (128,), alpha 0.01
0.635/0.858. Vowpal Wabbit in 5 passes 0.630/0.812, **10 passes 0.619/0.823**, at a rate of 0.1 0.578/0.705, with L2
1e-6 0.557/0.676; one model a head in 6 passes 0.487/0.760, those with 16 hidden units 0.589/0.835 in five times the
time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_bench.peers.lightgbm_rows import FastRow
from planner_core import HEADS, ActionSpace, Dataset, MissingExtra, Scores, SparseFeatures

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
VOWPAL_WABBIT = "--loss_function logistic --probabilities -b 22 --quiet"
VOWPAL_PASSES = 10

FLOOR = np.float32(1e-9)
"""Of a probability before its logarithm; what a class that training never showed gets."""

Probabilities = Callable[[Any], NDArray[np.floating]]
"""A sparse matrix to class probabilities [n, classes that occurred]."""
Row = Callable[[NDArray[np.int32]], list[NDArray[np.floating]]]
"""Columns that are on in one row, ascending, to class probabilities [classes that occurred] of every part."""


class Columns:
    """Sparse features as a SciPy matrix of the columns that are on somewhere in training."""

    def __init__(self, features: SparseFeatures) -> None:
        active = np.flatnonzero(np.bincount(features.indices, minlength=features.d_in))
        self.width = len(active)
        self._place = np.full(features.d_in, -1, np.int32)
        self._place[active] = np.arange(self.width, dtype=np.int32)

    def row(self, positions: Sequence[int]) -> NDArray[np.int32]:
        """Columns of one row from the positions of the features that are on, both ascending."""
        place = self._place[positions]
        return place[place >= 0]

    def matrix(self, features: SparseFeatures) -> Any:
        """``scipy.sparse.csr_matrix`` float32 [n, width]."""
        place = self._place[features.indices]
        known = place >= 0
        kept = np.concatenate(([0], np.cumsum(known)))
        starts = kept[features.starts].astype(np.int32)
        return _csr(place[known], starts, self.width)


def _csr(columns: NDArray[np.integer], starts: NDArray[np.integer], width: int) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((np.ones(len(columns), np.float32), columns, starts), (len(starts) - 1, width))


@dataclass(frozen=True)
class _Part:
    """One classifier: which of the ``size`` classes its columns stand for, and how to ask it."""

    size: int
    classes: NDArray[np.integer]
    ask: Probabilities
    model: Any = None

    def log_probabilities(self, probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
        """float32 [n, size] from [n, classes that occurred]."""
        out = np.full((len(probabilities), self.size), np.log(FLOOR), np.float32)
        out[:, self.classes] = np.log(np.maximum(probabilities, FLOOR))
        return out


@dataclass(frozen=True)
class Peer:
    """A fitted learner that scores features like a policy. ``rows`` are its ways to be asked for a single row."""

    name: str
    columns: Columns
    parts: dict[str, _Part]
    rows: dict[str, Row]

    def predict(self, features: SparseFeatures) -> Scores:
        """Log-probabilities per head, or over the joint actions."""
        x = self.columns.matrix(features)
        return {name: part.log_probabilities(part.ask(x)) for name, part in self.parts.items()}

    def predict_row(self, way: str, positions: Sequence[int]) -> Scores:
        """:meth:`predict` of one row, given as the positions that are on, in one of its ``rows``."""
        found = self.rows[way](self.columns.row(positions))
        return {
            name: part.log_probabilities(probabilities[None])
            for (name, part), probabilities in zip(self.parts.items(), found, strict=True)
        }


_ONE = np.ones(1)


def _constant(x: Any) -> NDArray[np.float32]:
    return np.ones((x.shape[0], 1), np.float32)


def _by_matrix(parts: Sequence[_Part], width: int) -> dict[str, Row]:
    """The two forms in which a library takes a row, sparse and dense."""

    def sparse(columns: NDArray[np.int32]) -> list[NDArray[np.floating]]:
        x = _csr(columns, np.array([0, len(columns)], np.int32), width)
        return [part.ask(x)[0] for part in parts]

    def dense(columns: NDArray[np.int32]) -> list[NDArray[np.floating]]:
        x = np.zeros((1, width), np.float32)
        x[0, columns] = 1.0
        return [part.ask(x)[0] for part in parts]

    return {"sparse row": sparse, "dense row": dense}


def fit_logistic(dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """Multinomial logistic regression, one a head."""
    linear = need("sklearn.linear_model")

    def fit(x: Any, y: NDArray[np.int64], valid: _Valid) -> tuple[Probabilities, Any]:
        model = linear.LogisticRegression(C=LOGISTIC_C, max_iter=500).fit(x, y)
        return model.predict_proba, model

    columns, parts = _a_head_each(dataset, fit, space)
    listed = list(parts.values())
    return Peer("logistic", columns, parts, {**_by_matrix(listed, columns.width), "by hand": _linear_row(listed)})


def _linear_row(parts: Sequence[_Part]) -> Row:
    """The coefficients of all heads in one table; a row is the sum of its columns' lines."""
    weights, biases, sizes = [], [], []
    for part in parts:
        if part.model is None:
            sizes.append(0)
            continue
        coefficients, bias = part.model.coef_, part.model.intercept_
        if len(coefficients) == 1:  # two classes are one logit, that of the second
            coefficients, bias = (np.concatenate([np.zeros_like(a), a]) for a in (coefficients, bias))
        weights.append(coefficients.T)
        biases.append(bias)
        sizes.append(len(bias))
    if not weights:
        return lambda columns: [_ONE for _ in parts]
    table, bias = np.ascontiguousarray(np.concatenate(weights, axis=1)), np.concatenate(biases)
    ends = np.cumsum(sizes).tolist()

    def row(columns: NDArray[np.int32]) -> list[NDArray[np.floating]]:
        logits = table[columns].sum(axis=0) + bias
        return [_softmax(logits[end - size : end]) if size else _ONE for size, end in zip(sizes, ends, strict=True)]

    return row


def _softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    weights = np.exp(logits - logits.max())
    out: NDArray[np.floating] = weights / weights.sum()
    return out


def fit_lightgbm(dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """One gradient-boosted classifier a head."""
    lightgbm = need("lightgbm")

    def fit(x: Any, y: NDArray[np.int64], valid: _Valid) -> tuple[Probabilities, Any]:
        train = lightgbm.Dataset(x, y, free_raw_data=False)
        judged, calls, rounds = [], [], UNSTOPPED_ROUNDS
        if valid is not None:
            judged, rounds = [train.create_valid(*valid)], MOST_ROUNDS
            calls = [lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)]
        settings = {**LIGHTGBM, "num_class": int(y.max()) + 1, "seed": seed}
        booster = lightgbm.train(settings, train, rounds, judged, callbacks=calls)
        return lambda rows: booster.predict(rows, num_threads=1), booster

    columns, parts = _a_head_each(dataset, fit, space)
    listed = list(parts.values())
    fast = [None if part.model is None else FastRow(part.model) for part in listed]

    def c_call(row: NDArray[np.int32]) -> list[NDArray[np.floating]]:
        return [_ONE if ask is None else ask(row) for ask in fast]

    return Peer("lightgbm", columns, parts, {**_by_matrix(listed, columns.width), "C interface": c_call})


def fit_sklearn_mlp(dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """A multilayer perceptron on the joint labels."""
    networks = need("sklearn.neural_network")
    train = dataset.split("train")
    columns = Columns(train.features)
    classes, y, counts = np.unique(train.action, return_inverse=True, return_counts=True)
    ask: Probabilities = _constant
    rows: dict[str, Row] = {"constant": lambda row: [_ONE]}
    if len(classes) > 1:
        # scikit-learn holds out a stratified tenth to stop on, so each class must be there twice, and in the tenth.
        stop = bool(counts.min() >= 2) and len(y) >= 10 * len(classes)
        model = networks.MLPClassifier(**SKLEARN_MLP, early_stopping=stop, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that max_iter was reached
            ask = model.fit(columns.matrix(train.features), y).predict_proba
        rows = {**_by_matrix([_Part(0, classes, ask)], columns.width), "by hand": _network_row(model)}
    return Peer("sklearn mlp", columns, {"joint": _Part(len(space.actions), classes, ask)}, rows)


def _network_row(model: Any) -> Row:
    """The network's own weights; the first layer of a row is the sum of its columns' lines."""
    first, *others = zip(model.coefs_, model.intercepts_, strict=True)
    two_classes = model.out_activation_ == "logistic"

    def row(columns: NDArray[np.int32]) -> list[NDArray[np.floating]]:
        x = first[0][columns].sum(axis=0) + first[1]
        for weights, bias in others:
            x = np.maximum(x, 0.0) @ weights + bias
        if two_classes:  # one logit, that of the second
            x = np.concatenate([np.zeros(1), x])
        return [_softmax(x)]

    return row


def fit_vowpal_wabbit(dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """One online linear model a joint label, in :data:`VOWPAL_PASSES` passes over the shuffled training split."""
    wabbit = need("vowpalwabbit")
    train = dataset.split("train")
    columns = Columns(train.features)
    classes, y = np.unique(train.action, return_inverse=True)
    size = len(space.actions)
    if len(classes) == 1:
        return Peer(
            "vowpal wabbit",
            columns,
            {"joint": _Part(size, classes, _constant)},
            {"constant": lambda row: [_ONE]},
        )
    names = [str(column) for column in range(columns.width)]

    def text(row: NDArray[np.integer]) -> str:
        return "|f " + " ".join([names[column] for column in row.tolist()])

    def texts(x: Any) -> list[str]:
        return [text(x.indices[begin:end]) for begin, end in zip(x.indptr[:-1], x.indptr[1:], strict=True)]

    workspace = wabbit.Workspace(f"--oaa {len(classes)} {VOWPAL_WABBIT}")
    examples = [f"{label + 1} {line}" for label, line in zip(y, texts(columns.matrix(train.features)), strict=True)]
    rng = np.random.default_rng(seed)
    for _ in range(VOWPAL_PASSES):
        for at in rng.permutation(len(examples)).tolist():
            workspace.learn(examples[at])

    def ask(x: Any) -> NDArray[np.float64]:
        return np.array([workspace.predict(line) for line in texts(x)], np.float64).reshape(x.shape[0], len(classes))

    def row(columns: NDArray[np.int32]) -> list[NDArray[np.floating]]:
        return [np.array(workspace.predict(text(columns)))]

    return Peer("vowpal wabbit", columns, {"joint": _Part(size, classes, ask, workspace)}, {"text": row})


@dataclass(frozen=True)
class PeerKind:
    """How a peer is fitted, and the packages it needs."""

    fit: Callable[[Dataset, ActionSpace, int], Peer]
    packages: tuple[str, ...]


PEERS: dict[str, PeerKind] = {
    "logistic": PeerKind(fit_logistic, ("sklearn",)),
    "lightgbm": PeerKind(fit_lightgbm, ("lightgbm", "scipy")),
    "sklearn mlp": PeerKind(fit_sklearn_mlp, ("sklearn",)),
    "vowpal wabbit": PeerKind(fit_vowpal_wabbit, ("vowpalwabbit", "scipy")),
}


def fit_peer(name: str, dataset: Dataset, space: ActionSpace, seed: int = 0) -> Peer:
    """Fit a peer of :data:`PEERS` on one thread, as our own training runs.

    Raises :class:`MissingExtra` where its package is not installed.
    """
    require_peers([name])
    with need("threadpoolctl").threadpool_limits(1):
        return PEERS[name].fit(dataset, space, seed)


def require_peers(names: Sequence[str]) -> None:
    """Raise :class:`MissingExtra` now, rather than after minutes of work, where a peer's package is not installed."""
    for module in ("threadpoolctl", *(package for name in names for package in PEERS[name].packages)):
        need(module)


_Valid = tuple[Any, NDArray[np.int64]] | None
_Fit = Callable[[Any, NDArray[np.int64], _Valid], tuple[Probabilities, Any]]


def _a_head_each(dataset: Dataset, fit: _Fit, space: ActionSpace) -> tuple[Columns, dict[str, _Part]]:
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
        ask, model = fit(x, y, judged) if len(classes) > 1 else (_constant, None)
        parts[head] = _Part(size, classes, ask, model)
    return columns, parts


def need(module: str) -> Any:
    """Import a module of the extra; raises :class:`MissingExtra` where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        raise MissingExtra(COMMAND, EXTRA, module.split(".")[0]) from problem
