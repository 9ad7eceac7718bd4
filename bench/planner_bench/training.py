"""Training throughput at batch 64: the plain dense loop against the harness's own, in turns; and that both learn alike.

Three contestants train the same module at the same learning rate, all from the same first weights:

* ``plain``: what a user writes from the public names: ``PlannerDataset``, a shuffling ``DataLoader``, ``train_epoch``,
  ``torch.optim.AdamW`` as it comes. Every item is encoded when it is asked for.
* ``tensors``: the same loop on features encoded beforehand into one dense float32 tensor and picked a batch at a time:
  the strongest dense loop, so the fair one to compare against.
* ``harness``: the epoch of :mod:`planner_core.torch.loop` on features narrowed to those that occur.

They take turns of a block of steps each, so that whatever the machine does meets all of them alike; a speed is the
median over the blocks and a ratio the median of the ratios within a round.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from rich.table import Table
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from planner_bench.environment import environment
from planner_bench.targets import AIM_TRAINING_RATIO, PROMISE_MEMORY_MIB, PROMISE_PER_SECOND
from planner_core import (
    HEADS,
    ActionEncoder,
    ActionSpace,
    Batch,
    Dataset,
    DatasetExample,
    Examples,
    PlannerError,
    PlannerInputEncoder,
    PolicyContext,
    TrainingSession,
    decide,
    evaluate_decision,
    load_dataset,
    peak_memory_mib,
    read,
    temperatures_for,
)
from planner_core.cli.console import number
from planner_core.torch import Fit, PlannerDataset, PlannerLoss, collate, narrowed, score, torch_threads, train_epoch
from planner_mlp import MLP, MLPConfig, MLPPolicy

PLAIN, TENSORS, HARNESS = CONTESTANTS = ("plain", "tensors", "harness")

LR = 1e-3
DEFAULT_EXAMPLES, DEFAULT_EPOCHS = 4096, 3
BLOCK_STEPS, ROUNDS = 16, 8


def bench_training(
    dataset: Dataset,
    *,
    examples: int = DEFAULT_EXAMPLES,
    epochs: int = DEFAULT_EPOCHS,
    rounds: int = ROUNDS,
    block_steps: int = BLOCK_STEPS,
    threads: tuple[int, ...] = (1,),
    seed: int = 0,
    config: MLPConfig | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Measure on the first ``examples`` training examples; speeds once for each thread count, the rest once.

    ``config`` gives the module's sizes, dropout and batch size; learning rate, weight decay, smoothing and clipping are
    the ones both loops share. Raises :class:`PlannerError` for a dataset with nothing to train on.
    """
    train = dataset.split("train")
    if not len(train):
        raise PlannerError(f"{dataset.directory}: the training split is empty")
    train = train.take(np.arange(min(examples, len(train))))
    bench = _Bench(dataset, train, config or MLPConfig(), seed, block_steps)
    speeds = []
    for count in threads:
        tell(f"timing {rounds} rounds on {count} thread{'s' if count > 1 else ''}")
        with torch_threads(count):
            speeds.append({"threads": count, **bench.speeds(rounds)})
    with torch_threads(threads[0]):
        accuracy = {}
        for name in CONTESTANTS:
            tell(f"training {name} for {epochs} epochs")
            accuracy[name] = bench.accuracy(name, epochs)
    tell("measuring memory")
    slowest = min(run["examples_per_second"][HARNESS] for run in speeds)
    return {
        "dataset": str(dataset.directory),
        "examples": len(train),
        "batch_size": bench.config.batch_size,
        "block_steps": block_steps,
        "rounds": rounds,
        "speeds": speeds,
        "epochs": epochs,
        "valid_exact_match": accuracy,
        "peak_memory_mib": peak_memory(dataset.directory),
        "promise_memory_mib": PROMISE_MEMORY_MIB,
        "promise_per_second": PROMISE_PER_SECOND,
        "aimed_ratio": AIM_TRAINING_RATIO,
        "aim_held": all(run["ratio"][PLAIN] >= AIM_TRAINING_RATIO for run in speeds),
        "kept": slowest >= PROMISE_PER_SECOND,
        "environment": {**environment(), "torch": str(torch.__version__)},
    }


class _Bench:
    """The three loops over one selection of examples."""

    def __init__(self, dataset: Dataset, train: Examples, config: MLPConfig, seed: int, block_steps: int) -> None:
        self.dataset, self.train, self.valid = dataset, train, dataset.split("val")
        # A constant rate: train_epoch knows no schedule, and a schedule costs no time worth measuring.
        self.config = msgspec.structs.replace(config, lr=LR, lr_min=LR)
        self.space, self.seed, self.block_steps = dataset.action_space, seed, block_steps
        self.plain = PlannerDataset(
            read_examples(dataset.directory, len(train)),
            PlannerInputEncoder(dataset.encoder),
            ActionEncoder(self.space),
        )
        self.tensors = dense_tensors(train)

    def speeds(self, rounds: int) -> dict[str, Any]:
        """Examples per second of each contestant, and how often the harness is faster."""
        seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        blocks = {name: self._dense_blocks(name) for name in (PLAIN, TENSORS)}
        with closing(self._harness_blocks()) as harness:
            for turn in range(rounds + 1):
                for name, block in {**blocks, HARNESS: harness}.items():
                    spent = next(block)
                    if turn:  # the first round warms up
                        seconds[name].append(spent)
        per_second = {name: 1.0 / np.array(values) for name, values in seconds.items()}
        ratios = {name: per_second[HARNESS] / per_second[name] for name in (PLAIN, TENSORS)}
        return {
            "examples_per_second": {name: float(np.median(values)) for name, values in per_second.items()},
            "ratio": {name: float(np.median(values)) for name, values in ratios.items()},
            "ratio_range": {name: [float(values.min()), float(values.max())] for name, values in ratios.items()},
        }

    def _module(self) -> MLPPolicy:
        """The module with the weights the seed gives; the same for every contestant."""
        torch.manual_seed(self.seed)
        c = self.config
        return MLPPolicy(self.dataset.encoder.d_in, self.space, c.d_hidden, c.n_layers, c.dropout)

    def _loaders(self, name: str) -> DataLoader[Any]:
        if name == PLAIN:
            return DataLoader(self.plain, batch_size=self.config.batch_size, shuffle=True, collate_fn=collate)
        batches = BatchSampler(RandomSampler(self.tensors), self.config.batch_size, drop_last=False)
        return DataLoader(self.tensors, sampler=batches, batch_size=None, collate_fn=_as_batch(self.space))

    def _dense_blocks(self, name: str) -> Iterator[float]:
        """Seconds an example of one block after the other, by :func:`train_epoch`, through epoch after epoch."""
        module = self._module()
        optimiser = torch.optim.AdamW(module.parameters(), lr=LR)
        loss = PlannerLoss(label_smoothing=self.config.label_smoothing)
        stream = chain.from_iterable(repeat(self._loaders(name)))
        while True:
            counted = _Counted(islice(stream, self.block_steps))
            started = time.perf_counter()
            train_epoch(module, counted, optimiser, loss, "cpu")
            yield (time.perf_counter() - started) / counted.examples

    def _harness_blocks(self) -> Generator[float]:
        """The same by the harness's own epoch, which runs over a block's worth of the examples at a time.

        The loop's inner method is called on purpose: a copy of it here would go on measuring the copy.
        """
        policy = self._policy()
        size = self.block_steps * self.config.batch_size
        parts = [np.arange(at, min(at + size, len(self.train))) for at in range(0, len(self.train), size)]
        with tempfile.TemporaryDirectory() as scratch, narrowed(policy.module, self.train.features):
            nothing = self.valid.take(np.arange(0))
            fits = []
            for part in parts:
                session = TrainingSession(self.train.take(part), nothing, Path(scratch))
                fits.append(Fit(policy.module, policy.forward, policy.config, session, self.space, self.seed))
                fits[-1].optimiser = fits[0].optimiser  # one optimiser goes through all blocks
            epoch = 0
            while True:
                epoch += 1
                for fit, part in zip(fits, parts, strict=True):
                    started = time.perf_counter()
                    fit.run_epoch(epoch)
                    yield (time.perf_counter() - started) / len(part)

    def _policy(self) -> MLP:
        return MLP(self.config, PolicyContext(self.dataset.encoder, self.space, self.seed))

    def accuracy(self, name: str, epochs: int) -> float | None:
        """Validation exact match after ``epochs`` epochs of a contestant; None without a validation split."""
        if not len(self.valid):
            return None
        if name == HARNESS:
            policy = self._policy()
            policy.config = msgspec.structs.replace(self.config, epochs=epochs)
            with tempfile.TemporaryDirectory() as scratch:
                # No validation split in the session: the last epoch is kept, as the plain loop keeps it.
                policy.fit(TrainingSession(self.train, self.valid.take(np.arange(0)), Path(scratch)))
            return self._exact_match(policy.forward)
        module = self._module()
        optimiser = torch.optim.AdamW(module.parameters(), lr=LR)
        loss = PlannerLoss(label_smoothing=self.config.label_smoothing)
        for _ in range(epochs):
            train_epoch(module, self._loaders(name), optimiser, loss, "cpu")
        module.eval()
        return self._exact_match(lambda features, job_type: module(features))

    def _exact_match(self, forward: Callable[..., dict[str, torch.Tensor]]) -> float:
        valid = self.valid
        scores = score(forward, Batch(valid.features, valid.job_type))
        decision = decide(scores, valid.job_type, temperatures_for("heads"), self.space)
        metrics = evaluate_decision(decision, valid.labels, valid.action, valid.job_type, self.space)
        return metrics.exact_match_accuracy


class _Counted:
    """Batches passed through, and how many examples they held."""

    def __init__(self, batches: Iterator[Mapping[str, Any]]) -> None:
        self.batches, self.examples = batches, 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for batch in self.batches:
            self.examples += len(batch["features"])
            yield batch


def read_examples(directory: Path, count: int) -> Iterator[DatasetExample]:
    """The first ``count`` training examples of a dataset, as its lines hold them."""
    path = directory / "dataset.jsonl"
    with path.open("rb") as stream:
        examples = (read(line, DatasetExample, str(path), i) for i, line in enumerate(stream, 1) if line.strip())
        yield from islice((example for example in examples if example.split == "train"), count)


def dense_tensors(examples: Examples) -> TensorDataset:
    """Features float32 [n, d_in], labels int64 [n, 4] and job types int64 [n]."""
    columns = (examples.features.dense(), examples.labels, examples.job_type)
    return TensorDataset(*(torch.from_numpy(np.array(column)) for column in columns))


def _as_batch(space: ActionSpace) -> Callable[[Any], dict[str, Any]]:
    """The rows of :func:`dense_tensors` as :func:`train_epoch` wants a batch."""
    masks = {name: torch.from_numpy(mask) for name, mask in space.head_masks.items()}

    def batch(columns: tuple[torch.Tensor, ...]) -> dict[str, Any]:
        features, labels, job_type = columns
        return {
            "features": features,
            "labels": {name: labels[:, i] for i, name in enumerate(HEADS)},
            "masks": {name: mask[job_type] for name, mask in masks.items()},
        }

    return batch


def peak_memory(directory: Path) -> float:
    """Peak resident MiB of a process that loads a dataset and trains ``mlp`` on all of it for one epoch.

    A process of its own, because this one holds the dense tensors of the contestants.
    """
    command = [sys.executable, "-c", "from planner_bench.training import _train_once; _train_once()", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise PlannerError(f"training in a process of its own failed: {reason[-1] if reason else done.returncode}")
    peak = json.loads(done.stdout)["peak_memory_mib"]
    if peak is None:
        raise PlannerError("this system does not say how much memory a process used")
    return float(peak)


def _train_once() -> None:
    """What the process of :func:`peak_memory` does."""
    dataset = load_dataset(Path(sys.argv[1]))
    policy = MLP(MLPConfig(epochs=1), PolicyContext(dataset.encoder, dataset.action_space))
    with tempfile.TemporaryDirectory() as scratch:
        policy.fit(TrainingSession(dataset.split("train"), dataset.split("val"), Path(scratch)))
    print(json.dumps({"peak_memory_mib": peak_memory_mib()}))


def speed_table(result: dict[str, Any]) -> Table:
    """Examples a second of every loop, by threads."""
    title = f"training mlp, batch {result['batch_size']}, {result['examples']} examples, {result['rounds']} rounds"
    table = Table(title=title, title_justify="left")
    columns = ("threads", "loop", "examples/s", "harness is faster by", "range", f"val exact, {result['epochs']} ep.")
    for column in columns:
        table.add_column(column, justify="left" if column == "loop" else "right")
    for run in result["speeds"]:
        for row, (name, speed) in enumerate(run["examples_per_second"].items()):
            ratio, ends = run["ratio"].get(name), run["ratio_range"].get(name)
            table.add_row(
                str(run["threads"]) if row == 0 else "",
                name,
                f"{speed:,.0f}",
                f"{ratio:.2f}x" if ratio else "",
                f"{ends[0]:.2f} - {ends[1]:.2f}" if ends else "",
                number(result["valid_exact_match"][name]),
                end_section=row == len(run["examples_per_second"]) - 1,
            )
    return table


def verdicts(result: dict[str, Any]) -> Iterator[str]:
    """What the figures say of the promises and the aim."""
    peak, limit = result["peak_memory_mib"], result["promise_memory_mib"]
    yield f"promise {result['promise_per_second']:.0f} examples/s: {'kept' if result['kept'] else 'BROKEN'}"
    yield f"promise {limit:.0f} MiB resident: {'kept' if peak < limit else 'BROKEN'} ({peak:.0f} MiB, one epoch of all)"
    yield f"aim {result['aimed_ratio']:.0f}x the plain loop: {'holds' if result['aim_held'] else 'missed'}"
