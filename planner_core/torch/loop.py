"""The training loop: AdamW, cosine annealing, gradient clipping, early stopping, a checkpoint after every epoch.

A policy's module never sees it. Order and dropout of an epoch come from the seed and the epoch's number alone, so an
epoch is the same whether or not the ones before it were run in this process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from planner_core.action_space import ActionSpace
from planner_core.decision import Scores, decide, kind_of, temperatures_for
from planner_core.features import Batch, SparseFeatures
from planner_core.harness.training_config import TrainingConfig
from planner_core.torch import checkpoint
from planner_core.torch.checkpoint import LoopState
from planner_core.torch.device import CPU, choose_device, device_name, kept_generators
from planner_core.torch.layers import SparseRows, narrowed
from planner_core.torch.objective import Loss, RowSource, choose_objective, make_loss
from planner_core.training import EpochReport, FitReport, TrainingSession

EVAL_BATCH = 1024
VALID_AT_ONCE = 16_384
"""Rows of the validation split whose probabilities are held at a time: 150 of them a row, a few times over."""

Forward = Callable[[SparseRows, Tensor], dict[str, Tensor]]
"""Features and job types int64 [n] to scores."""


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run the block with ``count`` intra-op threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def score(forward: Forward, batch: Batch, batch_size: int = EVAL_BATCH, device: torch.device = CPU) -> Scores:
    """Scores of a batch of any size, in parts of ``batch_size``, without gradients; ``forward`` is on ``device``."""
    parts: list[dict[str, Tensor]] = []
    with torch.inference_mode():
        for begin in range(0, len(batch), batch_size):
            rows = np.arange(begin, min(begin + batch_size, len(batch)))
            job_type = torch.from_numpy(np.asarray(batch.job_type[rows], np.int64)).to(device)
            parts.append(forward(SparseRows.of(batch.features.take(rows)).to(device), job_type))
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]} if parts else {}


def fit_module(
    module: nn.Module, forward: Forward, config: TrainingConfig, session: TrainingSession, space: ActionSpace, seed: int
) -> FitReport:
    """Train ``module`` in place on ``config.device`` and leave the best epoch's weights in it, on the CPU.

    Best is by validation exact match (validation utility for ``objective=utility``), ties by validation loss. With an
    empty validation split the last epoch is kept, training does not stop early, and a note says so. A checkpoint in
    ``session.directory`` is taken up, whatever device it was made on. Raises :class:`ConfigError` for a device that is
    not there.
    """
    device = choose_device(config.device)
    if not len(session.train):
        raise ValueError("the training split is empty")
    module.to(device)
    try:
        with narrowed(module, session.train.features), kept_generators(device):
            fit = Fit(module, forward, config, session, space, seed, device)
            state = fit.run()
    finally:
        module.to(CPU)
    assert state.best_state is not None
    module.load_state_dict(state.best_state)
    module.eval()
    report = FitReport(state.history, state.best_epoch, len(session.train) * state.epoch / state.seconds, fit.notes)
    report.devices = state.devices
    if device != CPU:
        report.notes.append(f"trained on {device_name(device)}; the same training on the CPU gives other last digits")
    if not len(session.valid):
        report.notes.append("the validation split is empty: no early stopping, the last epoch is kept")
    return report


class Fit:
    """One training in progress; :func:`fit_module` runs it to its end, the bench an epoch at a time."""

    def __init__(
        self,
        module: nn.Module,
        forward: Forward,
        config: TrainingConfig,
        session: TrainingSession,
        space: ActionSpace,
        seed: int,
        device: torch.device = CPU,
    ) -> None:
        self.module, self.forward, self.config, self.device = module, forward, config, device
        self.session, self.space, self.seed = session, space, seed
        self.objective, self.notes = choose_objective(config, session)
        self.loss_of: Loss = make_loss(self.objective, config, space, session.train, device)
        by_utility = self.objective == "utility"
        self.rows = RowSource(session.train, session, by_utility, device)
        self.valid_rows = RowSource(session.valid, session, by_utility, device)
        self.features = _plain(session.train.features)
        self.parameters = list(module.parameters())
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=config.lr,
            weight_decay=config.weight_decay,
            betas=(config.beta1, config.beta2),
            fused=True,
        )
        self.steps = math.ceil(len(session.train) / config.batch_size)

    def run(self) -> LoopState:
        """All epochs that are left."""
        config, session = self.config, self.session
        state = checkpoint.restore(session.directory, self.module, self.optimiser)
        if state.devices[-1:] != [self.device.type]:
            state.devices = [*state.devices, self.device.type]
        began, first = time.perf_counter(), state.epoch
        while state.epoch < config.epochs and (not len(session.valid) or state.since_best < config.patience):
            started = time.perf_counter()
            train_loss = self.run_epoch(state.epoch + 1)
            state.epoch += 1
            state.seconds += time.perf_counter() - started
            if not math.isfinite(train_loss):
                raise FloatingPointError(f"the training loss became {train_loss} in epoch {state.epoch}; lower lr")
            entry = self._judge(state, train_loss)
            per_epoch = (time.perf_counter() - began) / (state.epoch - first)
            entry = EpochReport(
                **{
                    **entry.__dict__,
                    "examples_per_second": len(session.train) * state.epoch / state.seconds,
                    "seconds_left": per_epoch * (config.epochs - state.epoch),
                }
            )
            state.history = [*state.history, entry]
            checkpoint.save(session.directory, state, self.module, self.optimiser)
            session.on_epoch(entry)
        return state

    def run_epoch(self, epoch: int) -> float:
        """One pass over the training split; returns the mean loss of an example."""
        config = self.config
        self.module.train()
        epoch_seed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        torch.manual_seed(epoch_seed)  # what dropout draws from
        order = np.random.default_rng(epoch_seed).permutation(len(self.features))
        total = 0.0
        for step, begin in enumerate(range(0, len(order), config.batch_size), (epoch - 1) * self.steps):
            picked = order[begin : begin + config.batch_size]
            rows = self.rows.take(picked)
            self.optimiser.zero_grad(set_to_none=True)
            features = SparseRows.of(self.features.take(picked)).to(self.device)
            loss = self.loss_of(self.forward(features, rows.job_type), rows)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own is untyped
            self._clip()
            for group in self.optimiser.param_groups:
                group["lr"] = self._lr(step)
            self.optimiser.step()
            total += loss.item() * len(picked)
        return total / len(order)

    def _lr(self, step: int) -> float:
        """Cosine annealing without restarts (Loshchilov and Hutter, ICLR 2017), by optimiser step."""
        config = self.config
        progress = step / (config.epochs * self.steps)
        return config.lr_min + (config.lr - config.lr_min) * (1.0 + math.cos(math.pi * progress)) / 2.0

    def _clip(self) -> None:
        """Scale the gradients to the norm limit where they exceed it; most steps need no pass over them."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients))
        if norm > self.config.gradient_clip:
            torch._foreach_mul_(gradients, self.config.gradient_clip / norm)

    def _judge(self, state: LoopState, train_loss: float) -> EpochReport:
        """Validate, and keep the weights if they are the best so far."""
        loss, exact, utility = self._validate()
        first = utility if self.objective == "utility" else exact
        key = (float(state.epoch), 0.0) if first is None or loss is None else (first, -loss)
        improved = state.best_key is None or key > state.best_key
        if improved:
            state.best_key, state.best_epoch, state.since_best = key, state.epoch, 0
            state.best_state = {name: value.to(CPU, copy=True) for name, value in self.module.state_dict().items()}
        else:
            state.since_best += 1
        return EpochReport(state.epoch, self.config.epochs, train_loss, loss, exact, utility, best=improved)

    def _validate(self) -> tuple[float | None, float | None, float | None]:
        """Loss, exact match and mean utility on the validation split; None where it is empty or has no outcomes.

        The loss of a large split is the mean over its parts.
        """
        valid = self.session.valid
        if not len(valid):
            return None, None, None
        self.module.eval()
        loss, exact, utilities = 0.0, 0, []
        for begin in range(0, len(valid), VALID_AT_ONCE):
            picked = np.arange(begin, min(begin + VALID_AT_ONCE, len(valid)))
            batch = Batch(valid.features.take(picked), valid.job_type[picked])
            scores = score(self.forward, batch, device=self.device)
            tensors = {name: torch.from_numpy(values).to(self.device) for name, values in scores.items()}
            rows = self.valid_rows.take(picked)
            with torch.inference_mode():
                found = self.loss_of(tensors, rows)
            loss += found.item() * (len(picked) / len(valid))
            job_type = valid.job_type[picked]
            chosen = decide(scores, job_type, temperatures_for(kind_of(scores)), self.space).action
            exact += int((chosen == valid.action[picked]).sum())
            if rows.utility is not None:
                utilities.append(rows.utility.cpu().numpy()[np.arange(len(chosen)), chosen])
        known = np.concatenate(utilities) if utilities else np.empty(0)
        mean_utility = float(np.nanmean(known)) if not np.isnan(known).all() else None
        return loss, exact / len(valid), mean_utility


def _plain(features: SparseFeatures) -> SparseFeatures:
    """The same memory without what a mapped array does at every access."""
    return replace(features, indices=np.asarray(features.indices), starts=np.asarray(features.starts))
