"""Checks of ``fit``: what it reports, what it leaves alone, that it repeats, and that the policy learns."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES
from planner_core.decision import Scores, decide, row_weights, temperatures_for
from planner_core.errors import CheckFailed, PlannerError
from planner_core.examples import OUTCOME_ARRAYS, Examples
from planner_core.features import Batch
from planner_core.plugins.records import CheckSetup, PolicyCheck
from planner_core.testing.support import (
    Impute,
    check_scores,
    fit,
    largest_difference,
    learning,
    make_learner,
    mixed_batch,
    require,
    rows,
    same_bits,
)
from planner_core.training import EpochReport, FitReport
from planner_core.utility import utilities, weight_table

FEW = 240
"""Training examples of the checks that are not about how well a policy learns."""

SURE = 2.0
"""Standard errors by which a policy has to be better than the constant one."""


def fit_reports(setup: CheckSetup) -> None:
    """``fit`` works on the small world, tells ``on_epoch``, and returns a FitReport of finite losses."""
    learning(setup)
    _, report = setup.fitted()
    require(isinstance(report, FitReport), f"fit returns a {type(report).__name__}, not a FitReport")
    assert report is not None
    require(bool(report.history), "the history of the FitReport is empty")
    seen: list[EpochReport] = []
    brief = make_learner(setup, epochs=2)
    again = fit(brief, rows(setup.train, 0, FEW), rows(setup.valid, 0, FEW), setup.directory, seen)
    require(len(seen) == len(again.history), f"on_epoch was called {len(seen)} times in {len(again.history)} epochs")
    for entry in (*report.history, *seen):
        require(isinstance(entry, EpochReport), f"the history holds a {type(entry).__name__}, not an EpochReport")
    epochs = [entry.epoch for entry in report.history]
    require(epochs == sorted(set(epochs)), f"epochs are numbered {epochs}")
    best = report.best_epoch
    require(best is None or best in epochs, f"best_epoch is {best}; the history has the epochs {epochs}")
    setup.note(f"{len(epochs)} epochs on {len(setup.train)} examples")


def examples_unchanged(setup: CheckSetup) -> None:
    """The arrays of the examples are after ``fit`` what they were before."""
    learning(setup)
    train, valid = rows(setup.train, 0, FEW), rows(setup.valid, 0, FEW)
    before = [{name: values.copy() for name, values in _arrays(part).items()} for part in (train, valid)]
    fit(make_learner(setup, epochs=1), train, valid, setup.directory)
    for what, part, kept in (("training", train, before[0]), ("validation", valid, before[1])):
        for name, values in _arrays(part).items():
            same = np.array_equal(values, kept[name], equal_nan=values.dtype.kind == "f")
            require(same, f"fit changes {name} of the {what} examples")


def _arrays(examples: Examples) -> dict[str, NDArray[Any]]:
    out = {name: getattr(examples, name) for name in ("job_type", "labels", "action", "priority")}
    out |= {f"features.{name}": getattr(examples.features, name) for name in ("indices", "starts")}
    if examples.outcomes is not None:
        out |= {f"outcomes.{name}": getattr(examples.outcomes, name) for name in OUTCOME_ARRAYS}
    if examples.executed is not None:
        out |= {f"executed.{f.name}": getattr(examples.executed, f.name) for f in fields(examples.executed)}
    return out


def determinism(setup: CheckSetup) -> None:
    """Twice the same seed gives the same bits, whatever the global random generators hold and whatever ran between."""
    batch = mixed_batch(setup)
    first = _short_fit(setup, batch, 1)
    _predict_unfitted(setup, batch)
    second = _short_fit(setup, batch, 2)
    if not same_bits(first, second):
        difference, name = largest_difference(first, second)
        raise CheckFailed(
            f"the same seed gives other scores the second time ('{name}' differs by {difference:.1e}); "
            "draw from np.random.default_rng(context.seed), or seed the framework inside"
        )


def _predict_unfitted(setup: CheckSetup, batch: Batch) -> None:
    """A fresh policy's ``predict`` answers, or says by a PlannerError that there is nothing to answer with."""
    policy = setup.make(epochs=1)
    try:
        policy.predict(batch)
    except PlannerError:
        pass
    except Exception as problem:
        raise CheckFailed(
            f"predict of a policy that has learnt nothing yet raises {type(problem).__name__}: {problem}; "
            "answer with any scores, or raise a planner_core.PlannerError that says so"
        ) from problem


def _short_fit(setup: CheckSetup, batch: Batch, scramble: int) -> Scores:
    with global_generators(scramble):
        if not setup.spec.trainable:
            return setup.make().predict(batch)
        policy = make_learner(setup, epochs=2)
        fit(policy, rows(setup.train, 0, FEW), rows(setup.valid, 0, FEW), setup.directory)
        return policy.predict(batch)


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Run the block with the global generators of Python, NumPy and torch (where imported) at another place."""
    torch = sys.modules.get("torch")
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state = torch.get_rng_state() if torch else None
    random.seed(seed)
    np.random.seed(seed)
    if torch:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        if torch and torch_state is not None:
            torch.set_rng_state(torch_state)


def instances_independent(setup: CheckSetup) -> None:
    """Training a second policy does not change what the first one says."""
    learning(setup)
    batch = mixed_batch(setup)
    first = make_learner(setup, epochs=1)
    fit(first, rows(setup.train, 0, FEW), rows(setup.valid, 0, FEW), setup.directory)
    before = {name: values.copy() for name, values in first.predict(batch).items()}
    second = make_learner(setup, epochs=1)
    fit(second, rows(setup.train, FEW, 2 * FEW), rows(setup.valid, 0, FEW), setup.directory)
    require(same_bits(before, first.predict(batch)), "its scores change when another policy of its kind is trained")


def finite_loss(setup: CheckSetup) -> None:
    """Labels of every job type, with label smoothing where the policy has it, keep losses and scores finite."""
    learning(setup)
    for index, job_type in enumerate(JOB_TYPES):
        train, valid = _of_job_type(setup.train, index, 96), _of_job_type(setup.valid, index, 32)
        policy = make_learner(setup, epochs=1, label_smoothing=0.1)
        where = f"labels of job type {job_type}"
        seen: list[EpochReport] = []
        try:
            report = fit(policy, train, valid, setup.directory, seen)
        except FloatingPointError as problem:
            raise CheckFailed(f"{where}: {problem}") from None
        for entry in (*report.history, *seen):
            for name in ("train_loss", "valid_loss"):
                loss = getattr(entry, name)
                require(
                    loss is None or bool(np.isfinite(loss)),
                    f"{where}: {name} is {loss} in epoch {entry.epoch}; smoothing may spread only over valid classes",
                )
        check_scores(policy.predict(valid.batch()), policy.score_kind, len(valid), setup, where)


def _of_job_type(examples: Examples, job_type: int, count: int) -> Examples:
    """Up to ``count`` examples of a job type; for one that the world lacks, others under its name.

    That is sound for ``other``, which obeys the general rules only: every label of the world is valid there.
    """
    found = np.flatnonzero(examples.job_type == job_type)[:count]
    if len(found):
        return examples.take(found)
    some = examples.take(np.arange(min(count, len(examples))))
    return replace(some, job_type=np.full(len(some), job_type, np.int64))


def small_splits(setup: CheckSetup) -> None:
    """No validation examples, one validation example, one training example: works, or says why not."""
    learning(setup)
    train, valid = rows(setup.train, 0, 64), rows(setup.valid, 0, 32)
    cases = {
        "an empty validation split": (train, rows(valid, 0, 0)),
        "one validation example": (train, rows(valid, 0, 1)),
        "one training example": (rows(train, 0, 1), valid),
    }
    for what, (few, judged) in cases.items():
        policy = make_learner(setup, epochs=1)
        try:
            fit(policy, few, judged, setup.directory)
        except PlannerError as problem:
            setup.note(f"{what} is refused: {problem}")
            continue
        except Exception as problem:
            raise CheckFailed(_no_refusal(what, problem)) from problem
        check_scores(policy.predict(valid.batch()), policy.score_kind, len(valid), setup, what)


def _no_refusal(what: str, problem: Exception) -> str:
    """What to say of a fit that neither works nor refuses."""
    found = f"{what}: fit raises {type(problem).__name__}: {problem}"
    return f"{found}; what cannot be learnt from is refused by a planner_core.PlannerError that says why"


def less_known(setup: CheckSetup) -> None:
    """Examples that know the outcome of what was run alone, and examples that know none: works, or says why not."""
    learning(setup)
    known = rows(setup.train, 0, FEW), rows(setup.valid, 0, 32)
    train, valid = (part.with_evidence("executed") for part in known)
    told = {id(log): true_utilities(part) for log, part in zip((train, valid), known, strict=True)}
    cases: dict[str, tuple[Examples, Examples, Impute]] = {
        "outcomes of what was run alone": (train, valid, lambda examples: told.get(id(examples))),
        "no outcomes": (replace(train, executed=None), replace(valid, executed=None), lambda examples: None),
    }
    for what, (given, judged, impute) in cases.items():
        policy = make_learner(setup, epochs=1)
        try:
            fit(policy, given, judged, setup.directory, impute=impute)
        except PlannerError as problem:
            setup.note(f"{what}: refused: {problem}")
            continue
        except Exception as problem:
            raise CheckFailed(_no_refusal(what, problem)) from problem
        check_scores(policy.predict(judged.batch()), policy.score_kind, len(judged), setup, what)


def true_utilities(examples: Examples) -> NDArray[np.float32] | None:
    """Utility of every action by the known outcomes, float32 [n, n_joint]: what an imputation is to come near to."""
    known = examples.outcomes
    if known is None:
        return None
    worth = utilities(known.passed, known.minutes, known.cost_usd, examples.priority, weight_table())
    return worth.astype(np.float32)


def learns(setup: CheckSetup) -> None:
    """On the small world the policy beats the best constant one, in exact match or in utility."""
    learning(setup)
    policy, valid = setup.trained(), setup.valid
    space = setup.context.action_space
    scores, weights = policy.predict(valid.batch()), row_weights(valid.features)
    chosen = decide(scores, valid.job_type, temperatures_for(policy.score_kind), space, weights).action
    constant = most_frequent(setup.train)[valid.job_type]
    right, constant_right = (chosen == valid.action).astype(float), (constant == valid.action).astype(float)
    gains = {"exact match": (right, constant_right)}
    if valid.outcomes is not None:
        gains["utility"] = (_utility(chosen, valid), _utility(constant, valid))
    found = ", ".join(f"{name} {a.mean():.3f} against {b.mean():.3f}" for name, (a, b) in gains.items())
    require(
        any(_better(a, b) for a, b in gains.values()),
        f"no better than the most frequent action of each job type on {len(valid)} examples: {found}",
    )
    setup.note(f"{found} of the constant policy")


def most_frequent(train: Examples) -> NDArray[np.int64]:
    """The most frequent joint class of each job type, int64 [job types]; of all rows for a job type without any."""
    out = np.empty(len(JOB_TYPES), np.int64)
    for index in range(len(JOB_TYPES)):
        actions = train.action[train.job_type == index]
        out[index] = np.bincount(actions if len(actions) else train.action).argmax()
    return out


def _utility(chosen: NDArray[np.int64], examples: Examples) -> NDArray[np.float64]:
    assert examples.outcomes is not None
    columns = (getattr(examples.outcomes, name)[np.arange(len(chosen)), chosen][:, None] for name in OUTCOME_ARRAYS)
    passed, minutes, cost = columns
    return utilities(passed, minutes, cost, examples.priority, weight_table())[:, 0].astype(np.float64)


def _better(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> bool:
    """Whether the mean of the paired differences is more than :data:`SURE` of its standard errors above 0."""
    gain = ours - theirs
    return bool(gain.mean() > SURE * max(gain.std(ddof=1), 1e-12) / np.sqrt(len(gain)))


CHECKS = (
    PolicyCheck("fit", "The harness draws progress and writes the history from what fit reports.", fit_reports),
    PolicyCheck("examples-unchanged", "The same examples are judged after training.", examples_unchanged),
    PolicyCheck("determinism", "A run that cannot be repeated cannot be compared.", determinism),
    PolicyCheck("instances-independent", "An ablation trains many policies in one process.", instances_independent),
    PolicyCheck("finite-loss", "Smoothing over a class that the mask forbids is infinite.", finite_loss),
    PolicyCheck("small-splits", "People's first datasets are small.", small_splits),
    PolicyCheck("less-known", "A log knows the outcome of one action a row; some logs know none.", less_known),
    PolicyCheck("learns", "A policy that learns must beat one that looks at nothing.", learns),
)
