"""What a run of the bench found, as it is written, read back and compared: ``bench.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from planner_bench.timing import REFERENCE, Noise, Timed, curve, judge_noise, percentiles, ratio
from planner_core import DataError, read_file

SCHEMA: Literal["swarm_planner.bench.v1"] = "swarm_planner.bench.v1"
FILE = "bench.json"


class Place(Struct, frozen=True):
    """What was measured: a stage, and the conditions it was measured under. Equal places are comparable."""

    stage: str
    history_runs: int = 8
    batch: int = 1
    threads: int = 1


class Measurement(Place, frozen=True, kw_only=True):
    """Milliseconds of ``calls`` calls of one place.

    ``ratio`` is to the reference, ``to_session`` to the bare session of the graph that serves, where the table has one.
    ``curve`` are (percentile, milliseconds) for the picture.
    """

    calls: int
    p50: float
    p90: float
    p99: float
    p999: float = msgspec.field(name="p99.9")
    mean: float
    ratio: float
    to_session: float | None = None
    curve: list[tuple[float, float]] = []

    @property
    def place(self) -> Place:
        """Without the figures."""
        return Place(self.stage, self.history_runs, self.batch, self.threads)


class Table(Struct, frozen=True):
    """Contestants measured in turns, the reference among them, and how quiet the machine was meanwhile."""

    name: str
    noise: Noise
    measurements: list[Measurement]

    def __getitem__(self, stage: str) -> Measurement:
        """The first measurement of a stage; KeyError where it was not measured."""
        for found in self.measurements:
            if found.stage == stage:
                return found
        raise KeyError(stage)


class Target(Struct, frozen=True):
    """A promise, which fails the command where it is broken, or an aim, which is only reported.

    ``kept`` is None where the machine was too noisy to say.
    """

    what: str
    kind: Literal["promise", "aim"]
    found: float
    limit: float
    unit: str
    kept: bool | None


class ColdStart(Struct, frozen=True):
    """Milliseconds from a process's start to its first decision, in parts: medians over ``processes`` fresh ones."""

    processes: int
    parts: dict[str, float]
    total: float
    fastest: float
    slowest: float


class Memory(Struct, frozen=True):
    """Peak resident MiB of a fresh process, None where the system does not tell.

    ``base`` with NumPy and onnxruntime imported, ``loaded`` after the first decision, ``peak`` after ``decisions`` more
    and one batch of them all.
    """

    base: float | None
    loaded: float | None
    peak: float | None
    decisions: int


class PolicyResult(Struct, frozen=True):
    """Everything that was found of one policy. ``bundle`` is None for one exported only to be measured."""

    policy: str
    version: str
    bundle: str | None
    input_bytes: float
    fallbacks: dict[str, int]
    tables: list[Table]
    cold_start: ColdStart
    memory: Memory
    files: dict[str, int]
    targets: list[Target]
    notes: list[str]

    def table(self, name: str) -> Table:
        """A table by its name; KeyError where there is none."""
        for found in self.tables:
            if found.name == name:
                return found
        raise KeyError(name)


class BenchResult(Struct, frozen=True):
    """The document. ``environment`` is of the moment before the first measurement."""

    schema_version: Literal["swarm_planner.bench.v1"]
    created_at: str
    repeats: int
    seed: int
    environment: dict[str, Any]
    policies: list[PolicyResult]


def make_table(
    name: str, timed: Timed[Place], *, bare: str | None = None, curves: bool = False, helpers: bool = False
) -> Table:
    """The figures of contestants measured in turns; the one whose stage is the reference is what ratios are to.

    ``bare`` names the stage of the bare session, if there is one; ``curves`` keeps points for the picture; ``helpers``
    says that contestants have threads of their own.
    """
    times = timed.times
    reference = next(values for place, values in times.items() if place.stage == REFERENCE)
    session = next((values for place, values in times.items() if place.stage == bare), None)
    rows = []
    for place, values in times.items():
        figures = percentiles(values)
        rows.append(
            Measurement(
                stage=place.stage,
                history_runs=place.history_runs,
                batch=place.batch,
                threads=place.threads,
                calls=len(values),
                p50=figures["p50"],
                p90=figures["p90"],
                p99=figures["p99"],
                p999=figures["p99.9"],
                mean=figures["mean"],
                ratio=ratio(values, reference),
                to_session=None if session is None else ratio(values, session),
                curve=curve(values) if curves else [],
            )
        )
    return Table(name, judge_noise(reference, None if helpers else timed.waiting), rows)


def read_results(path: Path) -> BenchResult:
    """A ``bench.json``, or the directory that ``--out`` made. Raises :class:`DataError` for anything else."""
    file = path / FILE if path.is_dir() else path
    found = read_file(file, BenchResult)
    if not found.policies:
        raise DataError(str(file), path="$.policies", found="an empty list", expected="the results of a policy")
    return found
