"""The commands that the criteria are measured by, run as a user runs them, and what they said."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from planner_bench.results import BenchResult
from planner_core import JOB_TYPES, RISKS, SIZES, PlannerError, convert, read_file, sample_inputs

POLICY = "mlp"
COMBINATIONS = [
    ("research" if job == "other" else job, risk, size) for job, risk, size in product(JOB_TYPES, RISKS, SIZES)
]
"""Every combination of what the default rules read: job type, risk, size."""

INPUTS = "combinations.jsonl"


@dataclass(frozen=True)
class Commands:
    """The command lines, without ``planner`` in front and ``--json`` behind."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    export: tuple[str, ...]
    bench: tuple[str, ...]
    export_rules: tuple[str, ...]
    rules: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Path, place: Path, seed: int, assignments: Sequence[str], repeats: int | None) -> Commands:
        """Those of one acceptance, whose run and bundles are to stand in ``place``."""
        run, bundle, rules = (str(place / name) for name in ("run", "bundle", "rules"))
        data, policy = ("--dataset", str(dataset)), ("run", "--policy", POLICY)
        values = tuple(part for value in assignments for part in ("--set", value))
        return cls(
            train=(*policy, "train", *data, "--out", run, "--seed", str(seed), *values),
            val=(*policy, "evaluate", *data, "--from", run, "--split", "val"),
            test=(*policy, "evaluate", *data, "--from", run, "--split", "test"),
            # Whether it is worse than the rules is a criterion of its own here, and what follows needs a bundle.
            export=("export", "--policy", POLICY, "--run", run, "--out", bundle, "--force"),
            bench=("bench", "--bundle", bundle, *(("--repeats", str(repeats)) if repeats else ())),
            export_rules=("export", "--policy", "heuristic", "--out", rules),
            rules=("run", "--policy", "heuristic", "predict", "--from", rules, str(place / INPUTS)),
        )


def shown(command: Sequence[str]) -> str:
    """As it is typed."""
    return shlex.join(("planner", *command))


@dataclass(frozen=True)
class Found:
    """What the commands said, as their ``--json`` has it; ``rules`` are the actions of :data:`COMBINATIONS`."""

    trained: dict[str, Any]
    history: list[dict[str, Any]]
    val: dict[str, Any]
    test: dict[str, Any]
    exported: dict[str, Any]
    bench: BenchResult
    rules: list[dict[str, Any]]


def measure(commands: Commands, place: Path, tell: Callable[[str], None] = lambda what: None) -> Found:
    """Run the commands, made for the empty directory ``place``, one after the other; ``tell`` hears of each.

    Raises :class:`PlannerError` for a command that does not do its work; a promise of ``planner bench`` that is broken
    is no such thing.
    """

    def run(what: str, command: Sequence[str], *, codes: tuple[int, ...] = (0,), json_flag: bool = True) -> str:
        tell(what)
        line = [sys.executable, "-P", "-m", "planner_core", *command, *(("--json",) if json_flag else ())]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode not in codes or not done.stdout:
            said = done.stderr.strip().splitlines()
            raise PlannerError(f"{shown(command)}: exit code {done.returncode}: {said[-1] if said else 'no message'}")
        return done.stdout

    trained = json.loads(run("training", commands.train))
    history = read_file(place / "run" / "history.json", list[dict[str, Any]])
    val = json.loads(run("evaluating on validation rows", commands.val))
    test = json.loads(run("evaluating on test rows", commands.test))
    exported = json.loads(run("exporting", commands.export))
    timed = run("timing decisions", commands.bench, codes=(0, 1))  # 1: a promise is broken, which is said here
    bench = convert(json.loads(timed), BenchResult, shown(commands.bench))
    run("exporting the rules", commands.export_rules)
    documents = [_request(*combination) for combination in COMBINATIONS]
    (place / INPUTS).write_text("".join(json.dumps(document) + "\n" for document in documents), "utf-8")
    rules = [json.loads(line) for line in run("deciding by the rules", commands.rules, json_flag=False).splitlines()]
    return Found(trained, history, val, test, exported, bench, rules)


def _request(job_type: str, risk: str, size: str) -> dict[str, Any]:
    """An arbitrary planner input with this job type, risk and size, over the whole action space."""
    document = deepcopy(sample_inputs(1, seed=5, history_runs=2)[0])
    document["job_type"] = job_type
    document["issue"] |= {"dk_risk": risk, "dk_size": size}
    return document
