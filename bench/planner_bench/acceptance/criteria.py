"""The criteria themselves: what each asks of what the commands said.

``mlp`` is judged on both splits. Its epoch and its temperatures are chosen by the validation rows, which is where the
design wants its figures; the test rows are later than all it has seen, so what holds has to hold there too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from planner_bench import targets
from planner_bench.acceptance.commands import COMBINATIONS, Commands, Found, shown
from planner_bench.results import Target
from planner_core import default_action

EXACT_MATCH, ECE, AIM_ECE, MCE, UNIQUE, AIM_GAP = 0.6, 0.1, 0.05, 0.15, 0.5, 0.95
EXPORT_SECONDS, MODEL_MEGABYTES = 30.0, 10.0

TAIL, ENCODE = "p99 of JSON to action", "p50 of encode"

METRICS = (
    *("per_head_accuracy", "exact_match_accuracy"),
    *("action_entropy", "top1_frequency", "unique_actions", "unique_action_ratio"),
    *("ece", "mce", "joint_ece", "ece_before", "mce_before", "joint_ece_before", "risk_coverage"),
    *("pass_rate", "mean_time_to_pass_min", "minutes_per_pass", "cost_per_pass_usd"),
    *("mean_utility", "mean_regret", "oracle_match_rate", "gap_closed"),
)
"""What an evaluation has to say where outcomes are known: diagnostic, collapse, calibration, outcome."""

PRIMARY = {"exact_match_accuracy": "match", "mean_utility": "utility"}
"""The metrics, with their short names, of which the policy has to beat the rules in at least one."""


class Criterion(Struct, frozen=True):
    """One criterion: its figure in words, what was asked for, whether it holds, and the command behind the figure.

    ``values`` are the numbers of the figure. A missed promise fails the acceptance, a missed aim is said; ``kept`` is
    None where the machine was too noisy to judge an aim.
    """

    what: str
    kind: Literal["promise", "aim"]
    figure: str
    wanted: str
    kept: bool | None
    command: str
    values: Mapping[str, float | None]


class Elsewhere(Struct, frozen=True):
    """A target that takes longer than an acceptance may, the command that measures it, and the page of its figures."""

    what: str
    command: str
    page: str


_LOGS = "planner bench peers --logs --runs 18000 --exploration 0.05 --policy outcome"
ELSEWHERE = (
    Elsewhere("training >= 3 x the plain dense loop, aimed at", "planner bench train", "docs/benchmarks.md"),
    Elsewhere("outcome from logs alone: gap closed >= 0.92, mean of three worlds", _LOGS, "docs/outcome.md"),
    Elsewhere("the same with log figures: >= 0.95, aimed at", f"{_LOGS} --log-figures", "docs/outcome.md"),
    Elsewhere("outcome in other worlds: no worse than the best constant", f"{_LOGS} --world NAME", "docs/outcome.md"),
    Elsewhere("verdicts on logs: coverage and false alarms", "make test-slow", "docs/value.md"),
)


def judge(found: Found, commands: Commands) -> list[Criterion]:
    """Every criterion, in the order of the design: promises first, then aims."""
    rows = [*_promises(found, commands), *_aims(found, commands)]
    return sorted(rows, key=lambda row: row.kind == "aim")


def accepted(criteria: list[Criterion]) -> bool:
    """Whether every promise is kept."""
    return all(row.kept for row in criteria if row.kind == "promise")


def _promises(found: Found, commands: Commands) -> Iterator[Criterion]:
    train, export, bench = shown(commands.train), shown(commands.export), shown(commands.bench)
    both = _both(commands)
    training, p99, encode = found.trained["training"], _target(found, TAIL), _target(found, ENCODE)
    yield _equality(found, shown(commands.rules))
    yield _no_nan(found, train)
    yield from _convergence(found, train)
    yield _metrics(found, both)
    yield _loaded(found, both)
    speed = training["examples_per_second"]
    yield _bound("training", speed, ">", targets.PROMISE_PER_SECOND, "examples/s", train, ",.0f")
    yield _bound("decision, p99", p99.found, "<", targets.PROMISE_P99_MS, "ms", bench)
    memory = training["peak_memory_mib"]
    yield _bound("training, resident", memory, "<", targets.PROMISE_MEMORY_MIB, "MiB", train, ".0f")
    yield _splits(found, "exact match", "exact_match_accuracy", ">", EXACT_MATCH, both)
    yield _beats(found, both)
    yield _splits(found, "ECE", "ece", "<", ECE, both)
    yield _splits(found, "MCE", "mce", "<", MCE, both)
    yield _splits(found, "unique actions", "unique_action_ratio", ">", UNIQUE, both)
    yield _bound("encode, p50", encode.found, "<", targets.PROMISE_ENCODE_MS, "ms", bench)
    yield _bound("export", found.exported["seconds"], "<", EXPORT_SECONDS, "s", export, ".1f")
    yield _bound("model.onnx", found.exported["model_bytes"] / 1e6, "<", MODEL_MEGABYTES, "MB", export, ".1f")


def _aims(found: Found, commands: Commands) -> Iterator[Criterion]:
    yield _splits(found, "ECE", "ece", "<", AIM_ECE, _both(commands), "aim")
    yield _splits(found, "gap closed", "gap_closed", ">=", AIM_GAP, _both(commands), "aim")
    names = {TAIL: "decision, p99", ENCODE: "encode, p50"}
    for target in found.bench.policies[0].targets:
        if target.kind == "aim":
            what = names.get(target.what, "p50 / bare session")
            figure, wanted = f"{target.found:.2f} {target.unit}", f"<= {target.limit:g}"
            values = {"found": target.found, "limit": target.limit}
            yield Criterion(what, "aim", figure, wanted, target.kept, shown(commands.bench), values)


def _both(commands: Commands) -> str:
    return f"{shown(commands.val)}; and with --split test"


def _equality(found: Found, command: str) -> Criterion:
    """The exported rules against the Python ones; an answer that fell back would be the Python ones once more."""
    same = 0
    for combination, answer in zip(COMBINATIONS, found.rules, strict=True):
        budgets = answer["budgets"]
        chosen = (answer["swarm_id"], *(budgets[f"max_{name}_bin"] for name in ("candidates", "minutes", "iterations")))
        same += chosen == tuple(default_action(*combination)) and not answer["abstain_to_default"]
    figure = f"{same} of {len(COMBINATIONS)} inputs"
    values = {"same": float(same), "combinations": float(len(COMBINATIONS))}
    return Criterion("heuristic, graph = rules", "promise", figure, "all", same == len(COMBINATIONS), command, values)


def _no_nan(found: Found, command: str) -> Criterion:
    """Losses of every epoch; JSON has null for what is not finite."""
    names = ("train_loss", "valid_loss")
    losses = [entry.get(name) for entry in found.history for name in names]
    bad = sum(not _finite(loss) for loss in losses)
    figure = f"{bad} of {len(losses)} losses are"
    values = {"not_finite": float(bad), "losses": float(len(losses))}
    return Criterion("no NaN", "promise", figure, "none", bool(losses) and not bad, command, values)


def _convergence(found: Found, command: str) -> Iterator[Criterion]:
    """Training loss falls from the first epoch to the last, validation loss from the first to the kept one."""
    first, last = found.history[0], found.history[-1]
    best = found.trained["training"]["best_epoch"]
    kept = next((entry for entry in found.history if entry["epoch"] == best), last)
    for what, name, end in (("training loss", "train_loss", last), ("validation loss", "valid_loss", kept)):
        before, after = first[name], end[name]
        falls = _finite(before) and _finite(after) and after < before
        figure, values = f"{_shown(before)} to {_shown(after)}", {"first": before, "last": after}
        yield Criterion(what, "promise", figure, "falls", falls, command, values)


def _metrics(found: Found, command: str) -> Criterion:
    documents = (found.val, found.test)
    there = sum(_all_finite(document.get(name)) for document in documents for name in METRICS)
    count = len(documents) * len(METRICS)
    values = {"found": float(there), "wanted": float(count)}
    return Criterion(
        "evaluation's metrics", "promise", f"{there} of {count} finite", "all", there == count, command, values
    )


def _loaded(found: Found, command: str) -> Criterion:
    """What the run directory gives when it is read again is what the training process itself found, bit for bit."""
    same, count = 0, 0
    for split, document in (("val", found.val), ("test", found.test)):
        for name in METRICS:
            count += 1
            same += found.trained[split].get(name) == document.get(name)
    values = {"same": float(same), "figures": float(count)}
    return Criterion("save and load", "promise", f"{same} of {count} equal", "all", same == count, command, values)


def _beats(found: Found, command: str) -> Criterion:
    """On both splits the 95 % interval, by issue, of the difference to the rules in a primary metric lies above 0."""
    values: dict[str, float | None] = {}
    ahead, parts = [], []
    for name, label in PRIMARY.items():
        for split, document in (("val", found.val), ("test", found.test)):
            values[f"{name}_{split}"] = document[name] - document["heuristic"][name]
            values[f"{name}_{split}_low"] = document["intervals"][name]["difference to heuristic"][0]
        lows = [values[f"{name}_val_low"], values[f"{name}_test_low"]]
        ahead.append(all(low is not None and _finite(low) and low > 0 for low in lows))
        parts.append(f"{label} {values[f'{name}_test']:+.2f}")
    return Criterion("beats heuristic, test", "promise", ", ".join(parts), "in one", any(ahead), command, values)


_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _bound(
    what: str, value: float | None, order: str, limit: float, unit: str, command: str, form: str = ".2f"
) -> Criterion:
    kept = value is not None and _finite(value) and _ORDER[order](value, limit)
    figure = f"{value:{form}} {unit}" if value is not None else "not measured"
    values = {"found": value, "limit": limit}
    return Criterion(what, "promise", figure, f"{order} {limit:g}", kept, command, values)


def _splits(
    found: Found,
    what: str,
    name: str,
    order: str,
    limit: float,
    command: str,
    kind: Literal["promise", "aim"] = "promise",
) -> Criterion:
    """A metric on both splits; both have to keep it."""
    both = [found.val.get(name), found.test.get(name)]
    kept = all(value is not None and _finite(value) and _ORDER[order](value, limit) for value in both)
    figure = f"{_shown(both[0])}, test {_shown(both[1])}"
    values = {"val": both[0], "test": both[1], "limit": limit}
    return Criterion(what, kind, figure, f"{order} {limit:g}", kept, command, values)


def _target(found: Found, what: str) -> Target:
    """A promise of the latency benchmark."""
    return next(t for t in found.bench.policies[0].targets if (t.what, t.kind) == (what, "promise"))


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _all_finite(value: Any) -> bool:
    """Whether there are numbers in a JSON value, and all of them are finite."""
    if isinstance(value, dict):
        return bool(value) and all(_all_finite(inner) for inner in value.values())
    if isinstance(value, list):
        return bool(value) and all(_all_finite(inner) for inner in value)
    return _finite(value)
