"""Ablations: one factor at a time around a base configuration, over seeds, as runs that any number of processes share.

A *point* is one value of one factor, a *cell* one seed of a point. Cells are ordinary run directories under the
ablation's own, so a finished cell is one whose ``results.json`` is there, an interrupted one goes on from its last
checkpoint, and ``plan.json`` beside them says what they belong to. The base point is trained once for all factors.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from planner_core import jsonio
from planner_core.data.dataset import Dataset, Progress, load_dataset, read_meta
from planner_core.encoder import EncoderConfig
from planner_core.errors import ConfigError, MissingExtra, PlannerError, suggestion
from planner_core.files import write_bytes
from planner_core.harness.run_dir import RUNS, new_run_path
from planner_core.harness.settings import make_settings, merge
from planner_core.harness.train import train
from planner_core.harness.training_config import TrainingConfig
from planner_core.registry import Registry, load_registry

PLAN_SCHEMA = "swarm_planner.ablation_plan.v1"
PLAN = "plan.json"
LOCK = ".lock"
DEFAULT_SEEDS = (0, 1, 2)
BASE = "base"
CLUSTERS = {"dask": "distributed", "ray": "ray"}
"""Backends that somebody else registers with joblib, and the module that does."""


@dataclass(frozen=True)
class Factor:
    """What is varied: ``name`` as ``--only`` has it, ``key`` of the configuration (``policy`` is the policy itself)."""

    name: str
    key: str
    title: str
    unit: str
    values: tuple[Any, ...]


FACTORS = (
    Factor("history", "history_slots", "history slots", "similar runs", (0, 1, 4, 8, 16)),
    Factor("layers", "n_layers", "layers", "of the trunk", (1, 2, 3, 4)),
    Factor("width", "d_hidden", "width", "units of the first layer", (128, 256, 512, 1024)),
    Factor("dropout", "dropout", "dropout", "probability", (0.0, 0.1, 0.2, 0.3)),
    Factor("smoothing", "label_smoothing", "label smoothing", "share of the target", (0.0, 0.05, 0.1, 0.2)),
    Factor("heads", "policy", "heads against joint", "policy", ("mlp", "joint")),
)


class Plan(msgspec.Struct, frozen=True):
    """``plan.json``: what an ablation is made of.

    ``given`` holds the keys the user set, ``base`` the effective configuration they lead to; ``factors`` the values by
    key; ``notes`` what a reader must know (factors and values left out, values that cannot matter).
    """

    schema_version: str
    policy: str
    dataset: str
    dataset_hash: str
    given: dict[str, Any]
    base: dict[str, Any]
    factors: dict[str, list[Any]]
    seeds: list[int]
    notes: list[str]


@dataclass(frozen=True)
class Point:
    """One value of one factor; ``stem`` names its runs and is shared by the base points of all factors."""

    key: str
    value: Any
    stem: str
    policy: str
    values: dict[str, Any]

    @property
    def is_base(self) -> bool:
        """Whether this is the base configuration itself."""
        return self.stem == BASE


@dataclass(frozen=True)
class Cell:
    """One run to train: everything a worker needs, in plain values. ``name`` is its directory."""

    name: str
    policy: str
    values: dict[str, Any]
    seed: int
    dataset: str
    dataset_hash: str
    out: str

    @property
    def path(self) -> Path:
        """The run directory."""
        return Path(self.out) / self.name

    @property
    def finished(self) -> bool:
        """Whether the run is whole."""
        return (self.path / "results.json").is_file()


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. ``error`` is None for a finished one; ``trace`` is there where the error was no user's."""

    cell: str
    error: str | None = None
    trace: str | None = None


# -- the plan


def choose_factors(names: Iterable[str] | None) -> list[Factor]:
    """The factors called ``names`` (by name or key), all of them for None; :class:`ConfigError` for an unknown one."""
    if not names:
        return list(FACTORS)
    by_name = {factor.key: factor for factor in FACTORS} | {factor.name: factor for factor in FACTORS}
    wanted = set()
    for name in names:
        if name not in by_name:
            known = ", ".join(factor.name for factor in FACTORS)
            raise ConfigError(f"no factor is called '{name}'{suggestion(name, by_name)}; known: {known}")
        wanted.add(by_name[name])
    return [factor for factor in FACTORS if factor in wanted]


def parse_seeds(text: str) -> list[int]:
    """``"3"`` is the seeds 0, 1, 2; ``"0,4,7"`` (and ``"7,"``) those themselves. :class:`ConfigError` for the rest."""
    if re.fullmatch(r"\s*[1-9]\d*\s*", text):
        return list(range(int(text)))
    parts = [part.strip() for part in text.rstrip().removesuffix(",").split(",")]
    if "," not in text or not all(re.fullmatch(r"\d+", part) for part in parts):
        raise ConfigError(f"found '{text}'; expected how many (3) or which (0,1,2) seeds")
    return list(dict.fromkeys(map(int, parts)))


def make_plan(
    policy: str,
    dataset: Path,
    values: Mapping[str, Any],
    registry: Registry,
    factors: Sequence[Factor] = FACTORS,
    seeds: Sequence[int] = DEFAULT_SEEDS,
) -> Plan:
    """Plan ``factors`` around the effective configuration of ``values``.

    A factor gets the base's own value too, where its list does not have it. Factors that this policy does not have, and
    values that it refuses, are left out with a note. Raises :class:`PlannerError` for a policy that does not learn, a
    configuration that does not fit, or when nothing is left to vary.
    """
    spec = registry.spec(policy)
    if not spec.trainable:
        raise PlannerError(f"policy '{policy}' does not learn, so there is nothing to ablate")
    settings = make_settings(policy, spec.config_type, values)
    base = settings.to_dict()
    meta, _ = read_meta(dataset)
    kept: dict[str, list[Any]] = {}
    notes: list[str] = []
    for factor in factors:
        if factor.key == "policy":
            found = _policies(factor, policy, base, registry, notes)
        elif factor.key not in base:
            notes.append(f"{factor.name}: left out, policy '{policy}' has no key '{factor.key}'")
            continue
        elif factor.key == "label_smoothing" and _ignores_smoothing(settings.policy):
            notes.append(f"{factor.name}: left out, objective=utility does not read label_smoothing")
            continue
        else:
            found = _values(factor, policy, base, registry, notes)
        if len(found) > 1:
            kept[factor.key] = found
        else:
            notes.append(f"{factor.name}: left out, only one value is left")
    most = max(kept.get("history_slots", [0]))
    if most > meta.n_similar_runs:
        notes.append(
            f"history: this dataset holds {meta.n_similar_runs} similar runs an example, so a policy with {most} slots "
            f"sees {meta.n_similar_runs} of them and empty slots"
        )
    if not kept:
        raise PlannerError("nothing is left to ablate:\n" + "\n".join(f"  {note}" for note in notes))
    return Plan(
        PLAN_SCHEMA,
        policy,
        str(dataset.resolve()),
        meta.dataset_hash,
        dict(values),
        base,
        kept,
        list(seeds),
        notes,
    )


def _ignores_smoothing(config: Any) -> bool:
    return isinstance(config, TrainingConfig) and config.objective == "utility"


def _values(factor: Factor, policy: str, base: dict[str, Any], registry: Registry, notes: list[str]) -> list[Any]:
    values = list(factor.values)
    if base[factor.key] not in values:
        values.append(base[factor.key])
        if all(isinstance(value, int | float) for value in values):
            values.sort()
    found = []
    for value in values:
        try:
            _configuration(policy, base, {factor.key: value}, registry)
        except ConfigError as problem:
            notes.append(f"{factor.name} {value}: left out, {str(problem).splitlines()[-1].strip()}")
        else:
            found.append(value)
    return found


def _policies(factor: Factor, policy: str, base: dict[str, Any], registry: Registry, notes: list[str]) -> list[str]:
    """The policies that can be trained with the base configuration; what that means for each is noted."""
    found = []
    for name in dict.fromkeys((*factor.values, policy)):
        try:
            spec = registry.spec(name)
            if not spec.trainable:
                raise PlannerError(f"policy '{name}' does not learn")
            values = _configuration(name, base, {}, registry)
        except PlannerError as problem:
            notes.append(f"{factor.name} {name}: left out, {str(problem).splitlines()[-1].strip()}")
            continue
        found.append(name)
        if name == policy:
            continue
        unread = [key for key in base if key not in values]
        if unread:
            notes.append(f"{factor.name} {name}: does not have the keys {', '.join(unread)} of {policy}")
        defaults = make_settings(name, spec.config_type, {}).to_dict()
        usual = make_settings(policy, registry.spec(policy).config_type, {}).to_dict()
        own = [
            f"{key}={base[key]} (its default {defaults[key]})"
            for key in values
            if key in base and defaults[key] != usual[key]
        ]
        if own:
            notes.append(f"{factor.name} {name}: runs with the base configuration of {policy}: {', '.join(own)}")
    return found


def _configuration(
    policy: str, base: Mapping[str, Any], change: Mapping[str, Any], registry: Registry
) -> dict[str, Any]:
    """The base with ``change``, as far as ``policy`` has its keys, complete."""
    config_type = registry.spec(policy).config_type
    keys = {*EncoderConfig.__struct_fields__, *config_type.__struct_fields__}
    values = {key: value for key, value in base.items() if key in keys}
    return make_settings(policy, config_type, {**values, **change}).to_dict()


def points(plan: Plan, registry: Registry) -> list[Point]:
    """Every value of every factor, base points included, in the order of the plan."""
    out = []
    for key, values in plan.factors.items():
        for value in values:
            policy = value if key == "policy" else plan.policy
            change = {} if key == "policy" else {key: value}
            is_base = value == (plan.policy if key == "policy" else plan.base[key])
            stem = BASE if is_base else f"{key}-{re.sub(r'[^A-Za-z0-9._-]', '_', str(value))}"
            out.append(Point(key, value, stem, policy, _configuration(policy, plan.base, change, registry)))
    return out


def cell_name(point: Point, seed: int) -> str:
    """The directory of one seed of a point."""
    return f"{point.stem}-seed{seed}"


def cells(plan: Plan, out: Path, registry: Registry) -> list[Cell]:
    """The runs of a plan, each once, seeds outermost: an interrupted ablation has whole curves of the first seeds."""
    unique: dict[str, Cell] = {}
    for seed in plan.seeds:
        for point in points(plan, registry):
            name = cell_name(point, seed)
            unique.setdefault(
                name,
                Cell(name, point.policy, point.values, seed, plan.dataset, plan.dataset_hash, str(out.resolve())),
            )
    return list(unique.values())


# -- the directory


def ablations_of(policy: str) -> Path:
    """Where the ablations of a policy are made when no place is named."""
    return RUNS / policy / "ablations"


def default_out(policy: str, *, resume: bool) -> Path:
    """A new directory, or with ``resume`` the newest one that holds a plan, where there is one."""
    place = ablations_of(policy)
    found = sorted(path.parent for path in place.glob(f"*/{PLAN}")) if resume and place.is_dir() else []
    return found[-1] if found else new_run_path(place.name, place.parent)


def read_plan(out: Path) -> Plan | None:
    """The plan recorded in ``out``; None where there is none. :class:`DataError` where it cannot be read."""
    return jsonio.read_file(out / PLAN, Plan) if (out / PLAN).exists() else None


def taken_up(
    recorded: Plan, values: dict[str, Any], factors: list[Factor] | None, seeds: list[int] | None, dataset: Path | None
) -> tuple[dict[str, Any], list[Factor], list[int], Path]:
    """What a resumed ablation is to do: what was asked for, completed from what is recorded."""
    return (
        merge(recorded.given, values),
        factors or choose_factors(recorded.factors),
        seeds or recorded.seeds,
        dataset or Path(recorded.dataset),
    )


def record_plan(out: Path, plan: Plan) -> Plan:
    """Write ``plan.json`` and return it; an earlier one of the same base and dataset is extended.

    Raises :class:`PlannerError` where the earlier plan has another policy, dataset or base configuration.
    """
    earlier = read_plan(out)
    if earlier is not None:
        _check_same(out, earlier, plan)
        plan = msgspec.structs.replace(
            plan,
            factors={
                factor.key: plan.factors.get(factor.key) or earlier.factors[factor.key]
                for factor in FACTORS
                if factor.key in plan.factors or factor.key in earlier.factors
            },
            seeds=sorted({*earlier.seeds, *plan.seeds}),
            notes=list(dict.fromkeys((*earlier.notes, *plan.notes))),
        )
    write_bytes(out / PLAN, jsonio.pretty(plan))
    return plan


def _check_same(out: Path, earlier: Plan, plan: Plan) -> None:
    problems = []
    if earlier.policy != plan.policy:
        problems.append(f"policy {earlier.policy}, not {plan.policy}")
    if earlier.dataset_hash != plan.dataset_hash:
        problems.append(
            f"dataset {earlier.dataset} (hash {earlier.dataset_hash[:16]}...), "
            f"not {plan.dataset} ({plan.dataset_hash[:16]}...)"
        )
    if earlier.policy == plan.policy:
        problems += [
            f"{key} {earlier.base.get(key)}, not {plan.base.get(key)}"
            for key in dict.fromkeys((*earlier.base, *plan.base))
            if earlier.base.get(key) != plan.base.get(key)
        ]
    if problems:
        raise PlannerError(
            f"{out}: the ablation there has another plan and cannot be resumed; choose another --out\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Keep a second ablation out of ``out`` while the block runs.

    Raises :class:`PlannerError` where another one is at work there, or where ``out`` holds something else.
    """
    if out.exists() and not (out / PLAN).is_file() and (not out.is_dir() or {p.name for p in out.iterdir()} - {LOCK}):
        raise PlannerError(f"{out}: is not empty and holds no ablation ({PLAN}); choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlannerError(f"{out}: another ablation is at work there") from None
        except OSError:  # a file system without locks: nothing to be had
            pass
        yield


# -- one cell


def run_cell(cell: Cell) -> Outcome:
    """Train one cell into its directory. Whatever goes wrong becomes an :class:`Outcome`, so that others go on."""
    try:
        _train_cell(cell)
    except Exception as problem:  # a failing run must not take the others with it, whatever its policy raises
        # A process that outlived a killed ablation may have finished the same cell in the meantime.
        if not cell.finished:
            ours = isinstance(problem, PlannerError)
            text = str(problem) if ours else f"{type(problem).__name__}: {problem}"
            return Outcome(cell.name, text, None if ours else traceback.format_exc())
    return Outcome(cell.name)


def run_cell_apart(cell: Cell) -> Outcome:
    """:func:`run_cell` in a process of its own, with the cell's number of threads.

    A run that takes its process with it (memory, a crash in native code) costs nobody else anything, neither a pool
    nor a cluster's worker. It also keeps cells that land in threads of one process apart: torch's random generator and
    thread count belong to the process.
    """
    threads = str(cell.values.get("threads", 1))
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    command = [sys.executable, "-c", f"from {__name__} import serve_cell; serve_cell()"]
    done = subprocess.run(command, input=jsonio.canonical(cell), capture_output=True, env={**os.environ, **limits})
    try:
        return msgspec.json.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError:
        error = f"its process ended with exit code {done.returncode} and said nothing"
        if done.returncode < 0:
            error = f"its process was killed by {signal.Signals(-done.returncode).name}"
        if done.returncode == -signal.SIGKILL:
            error += ", perhaps for want of memory"
        return Outcome(cell.name, error, done.stderr.decode(errors="replace")[-4000:] or None)


def serve_cell() -> None:
    """Read a cell from standard input, run it, and write its outcome to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # pools ignore Ctrl-C, and what they start inherits that
    cell = msgspec.json.decode(sys.stdin.buffer.read(), type=Cell)
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)  # what a policy prints is not the answer
        answer.write(jsonio.canonical(run_cell(cell)))


def _train_cell(cell: Cell) -> None:
    registry = load_registry()
    settings = make_settings(cell.policy, registry.spec(cell.policy).config_type, cell.values)
    data = _dataset(cell.dataset, cell.dataset_hash, jsonio.canonical(settings.encoder))
    train(cell.policy, data, cell.path, settings, registry, seed=cell.seed, resume=True)


@lru_cache(maxsize=2)
def _dataset(directory: str, expected_hash: str, encoder: bytes) -> Dataset:
    """The dataset of several cells, kept between them: hashing it again for each would cost more than loading."""
    data = load_dataset(Path(directory), msgspec.json.decode(encoder, type=EncoderConfig))
    if data.meta.dataset_hash != expected_hash:
        raise PlannerError(f"{directory}: the dataset is not the one that was planned; it has changed since")
    return data


# -- all cells


def encode_for(todo: Sequence[Cell], registry: Registry, progress: Progress | None = None) -> None:
    """Encode the dataset once for every encoder that ``todo`` needs, so that workers only map what is there.

    Loading every policy here too says a missing extra, or data that breaks the contract, before anything is trained.
    """
    encoders = {}
    for cell in todo:
        spec = registry.spec(cell.policy)
        spec.load()
        encoder = make_settings(cell.policy, spec.config_type, cell.values).encoder
        encoders[jsonio.canonical(encoder)] = encoder
    for encoder in encoders.values():
        load_dataset(Path(todo[0].dataset), encoder, progress=progress)


Runner = Callable[[Sequence[Cell]], Iterator[Outcome]]
"""Runs cells somewhere and yields their outcomes as they come; raises where the place itself breaks."""


def run_cells(todo: Sequence[Cell], run: Runner, on_outcome: Callable[[Outcome], None]) -> None:
    """Run every cell of ``todo``. Raises :class:`PlannerError` where the backend itself breaks."""
    by_name = {cell.name: cell for cell in todo}
    outcomes = run(todo)
    while True:
        try:
            outcome = next(outcomes)
        except StopIteration:
            return
        except PlannerError:
            raise
        except Exception as problem:  # joblib, Dask and Ray each have their own words for a cluster that went away
            raise PlannerError(
                f"the backend failed, the same command goes on where it stopped: {type(problem).__name__}: {problem}"
            ) from problem
        cell = by_name[outcome.cell]
        if outcome.error is None and not cell.finished:
            unseen = f"trained, but {cell.path} is not here: workers need a file system shared with this machine"
            outcome = Outcome(cell.name, unseen)
        on_outcome(outcome)


def require(what: str, extra: str, module: str) -> Any:
    """Import an optional module; :class:`MissingExtra` where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        top = module.partition(".")[0]
        if (problem.name or "").partition(".")[0] == top:
            raise MissingExtra(what, extra, top) from None
        raise


def check_backend(backend: str, scheduler: str | None = None) -> None:
    """Say before any work what :func:`joblib_runner` could not do.

    Raises :class:`MissingExtra`, or :class:`ConfigError` for a backend that joblib does not know and for a scheduler
    where the backend has none.
    """
    parallel = require("an ablation", "train", "joblib.parallel")
    if backend in CLUSTERS:
        require(f"the {backend} backend", "cluster", CLUSTERS[backend])
        return
    known = {*parallel.BACKENDS, *parallel.EXTERNAL_BACKENDS, *CLUSTERS}
    if backend not in known:
        raise ConfigError(f"no backend is called '{backend}'{suggestion(backend, known)}; known: {_listed(known)}")
    if scheduler:
        raise ConfigError(f"the backend '{backend}' takes no --scheduler; {_listed(CLUSTERS)} do")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


@contextmanager
def joblib_runner(backend: str, jobs: int | None, threads: int, scheduler: str | None = None) -> Iterator[Runner]:
    """A :data:`Runner` on a joblib backend.

    ``loky``, ``multiprocessing`` and ``threading`` are joblib's own, ``sequential`` runs all cells in this process;
    every other backend runs each in a process of its own (:func:`run_cell_apart`). ``dask`` connects to
    ``scheduler`` or starts a local cluster of ``jobs`` workers; ``ray`` likewise connects to ``scheduler`` or starts
    Ray here. Workers of a cluster must see the dataset and the output at the same paths. ``jobs`` is by default as many
    as there are cores for ``threads`` each. Raises :class:`PlannerError` for a scheduler that does not answer, and
    what :func:`check_backend` raises.
    """
    check_backend(backend, scheduler)
    joblib = require("an ablation", "train", "joblib")
    count = jobs or max(1, joblib.cpu_count() // threads)
    options: dict[str, Any] = {"backend": backend, "n_jobs": count}
    with ExitStack() as stack:
        if backend == "dask":
            options |= {"n_jobs": -1, "client": stack.enter_context(_dask_client(count, scheduler))}
        elif backend == "ray":
            options["n_jobs"] = stack.enter_context(_ray(jobs, scheduler))
        active = stack.enter_context(joblib.parallel_config(**options))["backend"]
        if backend == "dask":
            # joblib runs a single job in this very process, and a cluster may have a single core.
            cores = active.effective_n_jobs
            active.effective_n_jobs = lambda n_jobs: max(2, cores(n_jobs))

        def run(todo: Sequence[Cell]) -> Iterator[Outcome]:
            function = run_cell if backend == "sequential" else run_cell_apart
            calls = (joblib.delayed(function)(cell) for cell in todo)
            pool = {"batch_size": 1}
            try:
                outcomes = joblib.Parallel(return_as="generator_unordered", **pool)
            except ValueError:  # pools of the multiprocessing kind (Ray's too) return everything at the end
                yield from joblib.Parallel(**pool)(calls)
            else:
                yield from outcomes(calls)

        yield run


@contextmanager
def _dask_client(workers: int, scheduler: str | None) -> Iterator[Any]:
    distributed = require("the dask backend", "cluster", CLUSTERS["dask"])
    with ExitStack() as stack:
        if scheduler:
            try:
                client = distributed.Client(scheduler, timeout="10s")
            except (OSError, ValueError) as problem:
                raise PlannerError(f"--scheduler {scheduler}: no Dask scheduler answers there ({problem})") from None
        else:
            # No dashboard: its port may be taken, and nobody was told of it.
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
                )
            )
            client = distributed.Client(cluster)
        yield stack.enter_context(client)


@contextmanager
def _ray(jobs: int | None, scheduler: str | None) -> Iterator[int]:
    """Yield the number of jobs for joblib: -1, all that Ray has, unless told otherwise."""
    ray = require("the ray backend", "cluster", CLUSTERS["ray"])
    register = require("the ray backend", "cluster", "ray.util.joblib").register_ray
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(address=scheduler, num_cpus=None if scheduler else jobs, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as problem:
            raise PlannerError(f"--scheduler {scheduler}: Ray cannot be reached ({problem})") from None
    register()
    try:
        yield jobs or -1
    finally:
        if mine:
            ray.shutdown()
