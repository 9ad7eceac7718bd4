"""Where the outcomes of several actions of a row are known: fine-tuning the fitted model on expected utility.

    loss  =  what the known outcomes say against the predictions  -  GAIN x utility of a soft choice among the known

The first part is cross-entropy of passing and gamma deviance of minutes and USD, proper for expected and for realised
outcomes alike, and the weights are held to where the likelihood of the runs put them: predictions stay predictions.
The second is the utility that choosing by softmax(predicted utility / tau) would have had. Issues held out say when to
stop.

Then the additive model gets the largest share that earns as much there as the best does, within a standard error. With
all of it the decision is (nearly) a constant for each priority and job type: more is not claimed than is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planner_outcome.actions import ActionTable
from planner_outcome.additive import fit_additive, no_additive
from planner_outcome.compose import Expected
from planner_outcome.core import ActionSpace, Examples, utilities
from planner_outcome.model import OutcomeModel
from planner_outcome.residuals import EDGE, Observed, fit_effects, no_effects
from planner_outcome.state import Floats
from planner_outcome.torch_compose import Composer, Outcome, tuned, unconstrained

GAIN, TAU = 2.0, 0.05
EPOCHS, PATIENCE, BATCH = 16, 4, 256
RATE, HOLD, SCALAR_HOLD = 5e-3, 0.3, 0.3
"""Step of Adam; standard deviations of the weights and scalars around where the likelihood put them."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
HELD_OUT, LEAST_ROWS = 0.1, 40
SEEN_ROWS, SEEN = 4_000, 40_000
"""Rows, and known outcomes of them, that effects and the additive model are fitted on."""


@dataclass(frozen=True)
class Known:
    """Rows with the outcomes of several actions: features, job types, worth float64 [n, (pass, hour, USD)], the
    outcomes and which are known [n, 150], canonical actions only; the issue."""

    x: Floats
    job_type: NDArray[np.int64]
    worth: Floats
    outcome: Expected
    there: NDArray[np.bool_]
    issue: NDArray[np.int64]

    def take(self, rows: NDArray[np.integer]) -> Known:
        """The given rows."""
        outcome = Expected(*(values[rows] for values in self.outcome))
        return Known(self.x[rows], self.job_type[rows], self.worth[rows], outcome, self.there[rows], self.issue[rows])

    def earned(self, expected: Expected) -> Floats:
        """Utility of the known action of highest expected utility, float64 [n]."""
        wanted = np.where(self.there, _utility(expected, self.worth), -np.inf).argmax(axis=1)
        out: Floats = _utility(self.outcome, self.worth)[np.arange(len(wanted)), wanted]
        return out


def known_of(examples: Examples, model: OutcomeModel, weights: Floats, space: ActionSpace) -> Known:
    """The rows of ``examples`` that know two actions or more; ``weights`` float64 [priorities, 3]."""
    if examples.outcomes is None or not len(examples):
        raise ValueError("examples without outcomes know nothing")
    out = examples.outcomes
    arrays = (out.passed, out.minutes, out.cost_usd)
    canonical = space.canonical[examples.job_type]
    there = space.joint_masks[examples.job_type] & (canonical == np.arange(canonical.shape[1]))
    there &= ~np.any([np.isnan(values) for values in arrays], axis=0)
    issue = np.arange(len(there)) if examples.issue is None else examples.issue
    all_of = Known(
        model.features.features(examples.features, examples.job_type),
        examples.job_type,
        weights[examples.priority],
        Expected(*(np.where(there, values, 0.0).astype(np.float64) for values in arrays)),
        there,
        issue,
    )
    return all_of.take(np.flatnonzero(there.sum(axis=1) > 1))


def fine_tune(
    model: OutcomeModel,
    train: Known,
    valid: Known | None,
    table: ActionTable,
    seed: int,
    tell: Callable[[float, float], None] = lambda loss, utility: None,
) -> OutcomeModel:
    """``model`` fine-tuned on ``train``, stopped and mixed by ``valid`` (a tenth of the issues of ``train`` where it is
    too small); ``tell`` is called with the loss and the utility on those issues after every epoch."""
    rng = np.random.default_rng(seed)
    if valid is None or len(valid.x) < LEAST_ROWS:
        train, valid = _hold_out(train, rng)
    if not len(train.x) or not len(valid.x):
        return model
    uncorrected = replace(model, effects=no_effects(table), additive=no_additive(train.x.shape[1], table))
    best = _descend(uncorrected, train, valid, table, rng, tell)
    some = np.sort(rng.permutation(len(train.x))[:SEEN_ROWS])
    sample = train.take(some)
    seen, rows = _seen(sample, rng)
    form = best.of_features(sample.x, sample.job_type, table)
    corrected, _ = fit_effects(Expected(*(values[rows] for values in form)), seen, table)
    additive = fit_additive(sample.x[rows], seen, np.full(len(rows), np.nan), table)
    candidates: list[OutcomeModel] = []
    earned: list[Floats] = []
    for chosen in (replace(best, effects=corrected), best, model):
        plain = replace(chosen, additive=replace(additive, share=0.0))
        without = plain.of_features(valid.x, valid.job_type, table)
        for share in SHARES:
            mixed = replace(additive, share=share)
            candidates.append(replace(chosen, additive=mixed))
            earned.append(valid.earned(mixed.blend(without, valid.x, valid.job_type)))
    order = np.argsort([-c.additive.share for c in candidates], kind="stable")
    return candidates[int(order[most_cautious(np.stack(earned)[order], valid.issue)])]


def most_cautious(earned: Floats, issue: NDArray[np.int64]) -> int:
    """The first candidate that is not worse than the best one by a standard error of their difference, by issue.

    ``earned`` float64 [candidates, n], those that stand closest to a constant first: on few held-out issues the best
    of many candidates is partly luck.
    """
    _, of = np.unique(issue, return_inverse=True)
    short = earned[int(np.argmax(earned.mean(axis=1)))] - earned
    mean = short.mean(axis=1)
    off = np.stack([np.bincount(of, row) for row in short - mean[:, None]])
    error = np.sqrt((off**2).sum(axis=1)) / len(of)
    return int(np.argmax(mean <= error))


def _hold_out(known: Known, rng: np.random.Generator) -> tuple[Known, Known]:
    issues, issue = np.unique(known.issue, return_inverse=True)
    held = rng.permutation(len(issues))[: int(np.ceil(HELD_OUT * len(issues)))]
    out = np.isin(issue, held)
    return known.take(np.flatnonzero(~out)), known.take(np.flatnonzero(out))


def _seen(known: Known, rng: np.random.Generator) -> tuple[Observed, NDArray[np.int64]]:
    """Known outcomes as runs, a sample where there are many, and the row of each."""
    row, action = np.nonzero(known.there)
    if len(row) > SEEN:
        some = np.sort(rng.choice(len(row), SEEN, replace=False))
        row, action = row[some], action[some]
    passed, minutes, cost = (values[row, action] for values in known.outcome)
    return Observed(action, known.job_type[row], passed, minutes, cost, known.issue[row]), row


def _descend(
    model: OutcomeModel,
    train: Known,
    valid: Known,
    table: ActionTable,
    rng: np.random.Generator,
    tell: Callable[[float, float], None],
) -> OutcomeModel:
    """The epoch that earns most on ``valid``, the start among them."""
    start = [torch.from_numpy(v.copy()) for v in (model.weights, model.biases, unconstrained(model.physics))]
    learnt = [v.clone().requires_grad_(True) for v in start]
    composers = {int(job): Composer(model.physics, table, int(job)) for job in np.unique(train.job_type)}
    optimiser = torch.optim.Adam(learnt, lr=RATE)
    best, waited = model, 0
    top = float(valid.earned(model.of_features(valid.x, valid.job_type, table)).mean())
    for epoch in range(EPOCHS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        total = 0.0
        for rows in _batches(train.job_type, rng):
            batch = train.take(rows)
            heads = torch.from_numpy(batch.x) @ learnt[0] + learnt[1]
            loss = _loss(composers[int(batch.job_type[0])](heads, learnt[2]), batch)
            held = ((learnt[0] - start[0]) ** 2).sum() / HOLD**2 + ((learnt[2] - start[2]) ** 2).sum() / SCALAR_HOLD**2
            loss = loss + 0.5 * held / len(train.x)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own is untyped
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        weights, biases, scalars = (v.detach() for v in learnt)
        now = replace(
            model,
            weights=weights.numpy().copy(),
            biases=biases.numpy().copy(),
            physics=tuned(model.physics, scalars),
        )
        utility = float(valid.earned(now.of_features(valid.x, valid.job_type, table)).mean())
        tell(total / len(train.x), utility)
        waited += 1
        if utility > top:
            best, top, waited = now, utility, 0
        if waited >= PATIENCE:
            break
    return best


def _batches(job_type: NDArray[np.int64], rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows of one job type at a time, in random order."""
    parts: list[NDArray[np.int64]] = []
    for job in np.unique(job_type):
        rows = rng.permutation(np.flatnonzero(job_type == job))
        parts += [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    for i in rng.permutation(len(parts)):
        yield parts[i]


def _loss(predicted: Outcome, known: Known) -> Tensor:
    passed, minutes, cost = (torch.from_numpy(values) for values in known.outcome)
    there, worth = torch.from_numpy(known.there), torch.from_numpy(known.worth)
    share = there / there.sum(dim=1, keepdim=True)
    p = predicted.passed.clamp(EDGE, 1 - EDGE)
    against = -(passed * torch.log(p) + (1 - passed) * torch.log1p(-p))
    for actual, expected in ((minutes, predicted.minutes), (cost, predicted.cost_usd)):
        mean = expected.clamp_min(EDGE)
        against = against + torch.log(mean) + actual / mean
    would, was = _worth(predicted, worth), _worth(Outcome(passed, minutes, cost), worth)
    choice = torch.softmax(torch.where(there, would / TAU, -torch.inf), dim=1)
    return ((against * share).sum(dim=1) - GAIN * (choice * torch.where(there, was, 0.0)).sum(dim=1)).mean()


def _worth(outcome: Outcome, worth: Tensor) -> Tensor:
    return worth[:, :1] * outcome.passed - worth[:, 1:2] * outcome.minutes / 60.0 - worth[:, 2:] * outcome.cost_usd


def _utility(outcome: Expected, worth: Floats) -> Floats:
    return utilities(*outcome, np.arange(len(worth)), worth)
