"""Other learners on logged runs: each sees what was run of an issue and what came of it, and picks an action.

* ``lightgbm``: passing, minutes and USD of a run, each a gradient-boosted model of issue and action; the action of the
  highest expected utility. The same idea as ``outcome``, without its form.
* ``linear``: the same with a logistic regression of passing and ridge regressions of log minutes and log USD, additive
  in the issue's features and the action's parts.
* ``ips``: a softmax policy, linear in the features of the issue, that maximises the inverse-propensity estimate of its
  own utility (Bottou et al., JMLR 2013), with the mean utility taken off first (Swaminathan and Joachims, NIPS 2015).
* ``dr``: the same policy on doubly robust utilities of all actions (Dudik, Langford and Li, ICML 2011): predictions of
  the linear models, fitted without the row's issue, corrected by what was run.
* ``table``: means by tool and tag of every action, shrunk to the action's own mean by an empirical Bayes estimate of
  how much the cells differ (Efron and Morris, JASA 1973).

Each reads the features that training switches on and the job type. Actions that mean the same are one. All run on one
thread. Settings were chosen on the validation split of one default world (seed 7) and are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_bench.peers.learners import EARLY_STOPPING_ROUNDS, LIGHTGBM, MOST_ROUNDS, UNSTOPPED_ROUNDS, Columns, need
from planner_core import JOB_TYPES, ActionSpace, EncoderConfig, Examples, PlannerError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Choose = Callable[[Examples], Ints]
"""Examples to the joint class of each, int64 [n]."""

Expected = Callable[[Examples], Floats]
"""Examples to the expected utility of every joint class, float64 [n, n_joint], NaN where it is not allowed."""

FOLDS = 3
LOGISTIC_C, RIDGE_ALPHA = 0.1, 10.0
RIDGE_IPS, RIDGE_DR = 1e-4, 1e-5
POLICY_STEPS = 150
MAX_WEIGHT = 20.0
"""Inverse propensities are cut here for the means of ``table``; cutting them made the two policies worse."""
SMALLEST = 1e-3
"""Minute or dollar, before its logarithm."""
MIN_RUNS = 10
"""``table`` chooses only among actions that were run so often on the job type."""
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class LoggedRows:
    """The runs of some examples that are evidence and whose action and USD are known, n rows.

    ``x`` is a SciPy CSR matrix float32 [n, width]; ``action`` int64 [n] canonical joint classes; ``happened`` float64
    [n, (passed, minutes, USD)]; ``worth`` float64 [n, 3] is the utility of one unit of each; ``propensity`` float64
    [n].
    """

    examples: Examples
    x: Any
    action: Ints
    happened: Floats
    worth: Floats
    propensity: Floats

    def __len__(self) -> int:
        return len(self.action)

    @property
    def utility(self) -> Floats:
        """Of each run, float64 [n]."""
        out: Floats = (self.happened * self.worth).sum(axis=1)
        return out

    def take(self, rows: Ints) -> LoggedRows:
        """The given rows."""
        examples = self.examples.take(rows)
        happened, worth, propensity = (part[rows] for part in (self.happened, self.worth, self.propensity))
        return LoggedRows(examples, self.x[rows], self.action[rows], happened, worth, propensity)


@dataclass(frozen=True)
class Setting:
    """What every learner shares: the columns, the actions, what outcomes are worth.

    ``weights`` float64 [4 priorities, (pass, hour, USD)].
    """

    columns: Columns
    space: ActionSpace
    encoder: EncoderConfig
    weights: Floats
    seed: int

    def matrix(self, examples: Examples) -> Any:
        """Features and the job type, CSR float32 [n, width]."""
        sparse = need("scipy.sparse")
        job = np.eye(len(JOB_TYPES), dtype=np.float32)[examples.job_type]
        return sparse.hstack([self.columns.matrix(examples.features), sparse.csr_matrix(job)], format="csr")

    def worth(self, examples: Examples) -> Floats:
        """Utility of a pass, of a minute and of a dollar in each row, float64 [n, 3]."""
        out: Floats = self.weights[examples.priority] * np.array([1.0, -1.0 / 60.0, -1.0])
        return out

    def allowed(self, job: int) -> Ints:
        """The valid joint classes of a job type that differ, ascending."""
        canonical = self.space.canonical[job]
        return np.flatnonzero(self.space.joint_masks[job] & (canonical == np.arange(len(canonical))))

    def log(self, examples: Examples) -> LoggedRows:
        """The runs of ``examples`` that a learner can use."""
        executed = examples.executed
        assert executed is not None
        rows = np.flatnonzero(
            executed.evidence & (executed.action >= 0) & ~np.isnan(executed.cost_usd) & (executed.propensity > 0)
        )
        kept = examples.take(rows)
        ran = executed.take(rows)
        happened = np.column_stack([ran.passed, ran.duration_minutes, ran.cost_usd]).astype(np.float64)
        propensity = ran.propensity.astype(np.float64)
        return LoggedRows(kept, self.matrix(kept), ran.action, happened, self.worth(kept), propensity)

    def best(self, scores: Floats, job_type: Ints) -> Ints:
        """The class of the highest score among those allowed, int64 [n]; NaN is never chosen."""
        out = np.zeros(len(scores), np.int64)
        for job in np.unique(job_type):
            allowed, rows = self.allowed(int(job)), job_type == job
            among = np.where(np.isnan(scores), -np.inf, scores)[rows][:, allowed]
            out[rows] = allowed[np.argmax(among, axis=1)]
        return out


# -- gradient boosting


def fit_lightgbm(setting: Setting, train: LoggedRows, valid: LoggedRows) -> Choose:
    """Expected utility from three boosted models."""
    expected = _boosted(setting, train, valid)

    def choose(examples: Examples) -> Ints:
        return setting.best(expected(examples), examples.job_type)

    return choose


def _boosted(setting: Setting, train: LoggedRows, valid: LoggedRows) -> Expected:
    """Three boosted models."""
    lightgbm = need("lightgbm")
    x, x_valid = (_with_actions(setting, log.x, log.examples.job_type, log.action) for log in (train, valid))
    models = []
    for part, objective in enumerate(("binary", "regression", "regression")):
        settings = {**LIGHTGBM, "objective": objective, "seed": setting.seed}
        data = lightgbm.Dataset(x, train.happened[:, part], free_raw_data=False)
        judged, calls, rounds = [], [], UNSTOPPED_ROUNDS
        if len(valid):
            judged, rounds = [data.create_valid(x_valid, valid.happened[:, part])], MOST_ROUNDS
            calls = [lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)]
        models.append(lightgbm.train(settings, data, rounds, judged, callbacks=calls))

    def expected(examples: Examples) -> Floats:
        out = np.full((len(examples), len(setting.space.actions)), np.nan)
        matrix, worth = setting.matrix(examples), setting.worth(examples)
        for job in np.unique(examples.job_type):
            allowed = setting.allowed(int(job))
            of_job = np.flatnonzero(examples.job_type == job)
            for rows in np.array_split(of_job, len(of_job) // _ROWS_AT_ONCE + 1):
                each, action = np.repeat(rows, len(allowed)), np.tile(allowed, len(rows))
                asked = _with_actions(setting, matrix[each], examples.job_type[each], action)
                found = np.column_stack([model.predict(asked, num_threads=1) for model in models])
                out[each, action] = (found * worth[each]).sum(axis=1)
        return out

    return expected


def _with_actions(setting: Setting, x: Any, job_type: Ints, action: Ints) -> Any:
    """``x`` with four more columns: the action as the numbers it stands for."""
    sparse = need("scipy.sparse")
    numbers = setting.space.resolved[job_type, action].astype(np.float32)
    return sparse.hstack([x, sparse.csr_matrix(numbers)], format="csr")


# -- linear models


def fit_linear(setting: Setting, train: LoggedRows, valid: LoggedRows) -> Choose:
    """Expected utility from three linear models."""
    expected = _linear(setting, train)

    def choose(examples: Examples) -> Ints:
        return setting.best(expected(examples), examples.job_type)

    return choose


def _linear(setting: Setting, train: LoggedRows) -> Expected:
    """Three linear models; the passing of runs that all passed or all failed is what it was."""
    models, sparse = need("sklearn.linear_model"), need("scipy.sparse")
    parts = _action_parts(setting.space)
    x = sparse.hstack([train.x, sparse.csr_matrix(parts[train.examples.job_type, train.action])], format="csr")
    passed, *amounts = train.happened.T
    fits, scales = [], []
    for amount in amounts:
        logs = np.log(np.maximum(amount, SMALLEST))
        fits.append(models.Ridge(alpha=RIDGE_ALPHA, solver="lsqr").fit(x, logs))
        scales.append(np.exp(logs - fits[-1].predict(x)).mean())  # from the mean of logs to the log of the mean
    both = len(np.unique(passed)) > 1
    fits.insert(0, models.LogisticRegression(C=LOGISTIC_C, max_iter=500).fit(x, passed) if both else None)

    def expected(examples: Examples) -> Floats:
        matrix, worth, width = setting.matrix(examples), setting.worth(examples), train.x.shape[1]

        def linear(model: Any) -> Floats:
            weights, bias = np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])
            out: Floats = (matrix @ weights[:width] + bias)[:, None] + parts[examples.job_type] @ weights[width:]
            return out

        chance = np.full((len(examples), 1), passed[0]) if fits[0] is None else 1.0 / (1.0 + np.exp(-linear(fits[0])))
        out = worth[:, :1] * chance
        for part, (model, scale) in enumerate(zip(fits[1:], scales, strict=True), start=1):
            out = out + worth[:, part, None] * scale * np.exp(linear(model))
        return np.where(setting.space.joint_masks[examples.job_type], out, np.nan)

    return expected


# -- policy learning


def fit_ips(setting: Setting, train: LoggedRows, valid: LoggedRows) -> Choose:
    """The policy of the highest inverse-propensity value."""
    gain = np.zeros((len(train), len(setting.space.actions)))
    weight = 1.0 / train.propensity
    baseline = (weight * train.utility).sum() / weight.sum()
    gain[np.arange(len(train)), train.action] = weight * (train.utility - baseline)
    return _policy(setting, train, gain, RIDGE_IPS)


def fit_dr(setting: Setting, train: LoggedRows, valid: LoggedRows) -> Choose:
    """The policy of the highest doubly robust value."""
    gain = np.full((len(train), len(setting.space.actions)), np.nan)
    for rows, others in _folds(train.examples):
        gain[rows] = _linear(setting, train.take(others))(train.examples.take(rows))
    ran = np.arange(len(train)), train.action
    gain[ran] += (train.utility - gain[ran]) / train.propensity
    gain -= np.nanmean(gain, axis=1, keepdims=True)  # what all actions share changes no policy
    return _policy(setting, train, np.nan_to_num(gain), RIDGE_DR)


def _folds(examples: Examples) -> list[tuple[Ints, Ints]]:
    """(rows, all rows of other issues), :data:`FOLDS` times; issues are dealt in turn."""
    assert examples.issue is not None
    _, issue = np.unique(examples.issue, return_inverse=True)
    fold = issue % FOLDS
    return [(np.flatnonzero(fold == k), np.flatnonzero(fold != k)) for k in range(FOLDS) if (fold == k).any()]


def _policy(setting: Setting, train: LoggedRows, gain: Floats, ridge: float) -> Choose:
    """A linear softmax policy that maximises the mean over rows of its expected ``gain`` float64 [n, n_joint].

    An action's logit is a sum over its parts (who runs, minutes, tries, and the first two together), so that actions
    share what they have in common. ``ridge`` times the squared weights is taken off.
    """
    optimize = need("scipy.optimize")
    x, job_type, n = train.x.astype(np.float64), train.examples.job_type, len(train)
    parts = _action_parts(setting.space)
    of_rows = {int(job): np.flatnonzero(job_type == job) for job in np.unique(job_type)}
    shape = (x.shape[1], parts.shape[2])

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        inner, value = x @ weights, 0.0
        slope = np.zeros_like(inner)
        for job, rows in of_rows.items():
            allowed = setting.allowed(job)
            kinds = parts[job, allowed]
            chance = _softmax(inner[rows] @ kinds.T)
            each = gain[rows][:, allowed]
            mean = (chance * each).sum(axis=1, keepdims=True)
            value += mean.sum()
            slope[rows] = (chance * (each - mean)) @ kinds
        return float(-value / n + ridge * (flat**2).sum()), (-(x.T @ slope) / n + 2 * ridge * weights).ravel()

    found = optimize.minimize(
        loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": POLICY_STEPS}
    )
    weights = found.x.reshape(shape)

    def choose(examples: Examples) -> Ints:
        inner = setting.matrix(examples) @ weights
        return setting.best(np.einsum("nf,naf->na", inner, parts[examples.job_type], optimize=True), examples.job_type)

    return choose


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    out: Floats = weights / weights.sum(axis=1, keepdims=True)
    return out


def _action_parts(space: ActionSpace) -> Floats:
    """0/1 float64 [job types, n_joint, parts]: who runs, minutes, tries, and who runs with which minutes."""
    swarm, k, minutes, tries = np.moveaxis(space.resolved, -1, 0)
    who = swarm * 10 + k

    def one_hot(values: Ints) -> Floats:
        out: Floats = (values[..., None] == np.unique(values)).astype(np.float64)
        return out

    return np.concatenate([one_hot(v) for v in (who, minutes, tries, who * 1000 + minutes)], axis=-1)


# -- a table


def fit_table(setting: Setting, train: LoggedRows, valid: LoggedRows) -> Choose:
    """Means of every action by tool and tag."""
    actions = len(setting.space.actions)
    weight = np.minimum(1.0 / train.propensity, MAX_WEIGHT)
    cell_of_action = train.examples.job_type * actions + train.action
    size = len(JOB_TYPES) * actions
    runs = np.bincount(cell_of_action, minlength=size)
    total = np.bincount(cell_of_action, weight, size)
    sums = [np.bincount(cell_of_action, weight * part, size) for part in train.happened.T]
    mean = np.stack(sums, axis=1) / np.maximum(total, 1e-12)[:, None]
    mean[runs < MIN_RUNS] = np.nan
    if np.isnan(mean).all():
        mean[runs > 0] = train.happened.mean(axis=0)  # too few runs of anything: what was run, all alike
    row, key = _keys(setting, train.examples)
    cells, cell = np.unique(key * size + cell_of_action[row], return_inverse=True)
    residual = np.nan_to_num(train.happened - mean[cell_of_action])[row]
    shrunk = np.stack([_shrunken(residual[:, part], cell, weight[row]) for part in range(3)], axis=1)

    def choose(examples: Examples) -> Ints:
        row, key = _keys(setting, examples)
        count = np.maximum(np.bincount(row, minlength=len(examples)), 1)
        outcomes = mean.reshape(len(JOB_TYPES), actions, 3)[examples.job_type].copy()
        of_job = examples.job_type[row] * actions
        for action in np.unique(train.action):
            wanted = key * size + of_job + action
            at = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
            told = cells[at] == wanted
            for part in range(3):
                added = np.bincount(row[told], shrunk[at[told], part], len(examples))
                outcomes[:, action, part] += added / count
        return setting.best((outcomes * setting.worth(examples)[:, None]).sum(axis=2), examples.job_type)

    return choose


def _keys(setting: Setting, examples: Examples) -> tuple[Ints, Ints]:
    """(row, number of its tool and tag) of every tag of every row."""
    features, tags, hint = examples.features, *(setting.encoder.group(name) for name in ("tags", "tool_hint"))
    on = np.asarray(features.indices, np.int64)
    row = np.repeat(np.arange(len(examples)), np.diff(features.starts))
    of_tool, of_tag = (on >= hint.start) & (on < hint.stop), (on >= tags.start) & (on < tags.stop)
    # A tool is written in binary: the sum of powers of two is its number.
    tool = np.bincount(row[of_tool], 2.0 ** (on[of_tool] - hint.start), len(examples)).astype(np.int64)
    return row[of_tag], tool[row[of_tag]] * len(tags) + on[of_tag] - tags.start


def _shrunken(values: Floats, cell: Ints, weight: Floats) -> Floats:
    """Mean of each cell times the share of its variance that is not chance, float64 [cells].

    The variance between cells is the method of moments' (DerSimonian and Laird, 1986).
    """
    total = np.bincount(cell, weight)
    effective = total**2 / np.bincount(cell, weight**2)
    mean = np.bincount(cell, weight * values) / total
    freedom = max(len(values) - len(total), 1)
    within = ((values - mean[cell]) ** 2).sum() / freedom
    spare = effective.sum() - (effective**2).sum() / effective.sum()
    excess = (effective * mean**2).sum() - within * (len(total) - 1)
    between = max(0.0, excess / spare) if spare > 0 else 0.0
    share = between / (between + within / effective) if within > 0 or between > 0 else np.zeros(len(total))
    return mean * share


@dataclass(frozen=True)
class LearnerKind:
    """How a learner is fitted, and the packages it needs."""

    fit: Callable[[Setting, LoggedRows, LoggedRows], Choose]
    packages: tuple[str, ...]


LOG_LEARNERS: dict[str, LearnerKind] = {
    "lightgbm": LearnerKind(fit_lightgbm, ("lightgbm", "scipy")),
    "linear": LearnerKind(fit_linear, ("sklearn", "scipy")),
    "dr": LearnerKind(fit_dr, ("sklearn", "scipy")),
    "ips": LearnerKind(fit_ips, ("scipy",)),
    "table": LearnerKind(fit_table, ("scipy",)),
}


def fit_learner(name: str, setting: Setting, train: Examples, valid: Examples) -> Choose:
    """Fit a learner of :data:`LOG_LEARNERS` on one thread; ``valid`` may be empty.

    Raises :class:`MissingExtra` where its package is not installed, :class:`PlannerError` where no run can be used.
    """
    log = setting.log(train)
    if not len(log):
        raise PlannerError(f"{name}: no training run says what was run, how likely that was, and what came of it")
    with need("threadpoolctl").threadpool_limits(1):
        return LOG_LEARNERS[name].fit(setting, log, setting.log(valid))


def require_learners(names: Sequence[str]) -> None:
    """Raise :class:`MissingExtra` now, rather than after minutes of work, where a package is not installed."""
    for module in ("threadpoolctl", *(package for name in names for package in LOG_LEARNERS[name].packages)):
        need(module)
