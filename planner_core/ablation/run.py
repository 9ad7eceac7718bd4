"""Running the cells of an ablation: each in a process of its own, all through joblib, whatever its backend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from planner_core import jsonio
from planner_core.ablation.design import Cell, CellResult
from planner_core.data.dataset import Dataset, load_dataset
from planner_core.data.encode import Progress
from planner_core.encoder import EncoderConfig
from planner_core.errors import ConfigError, MissingExtra, PlannerError, PolicyFailed, describe, suggestion
from planner_core.harness.train import train
from planner_core.plugins.guard import policy_class
from planner_core.plugins.registry import Registry, load_registry
from planner_core.settings import make_settings
from planner_core.utility import weight_table

CLUSTERS = {"dask": "distributed", "ray": "ray"}
"""Backends that somebody else registers with joblib, and the module that does."""

# -- one cell


def run_cell(cell: Cell) -> CellResult:
    """Train one cell into its directory. Whatever goes wrong becomes an :class:`CellResult`, so that others go on."""
    try:
        _train_cell(cell)
    except Exception as problem:  # a failing run must not take the others with it, whatever its policy raises
        # A process that outlived a killed ablation may have finished the same cell in the meantime.
        if not cell.finished:
            text = str(problem) if isinstance(problem, PlannerError) else describe(problem)
            known = isinstance(problem, PlannerError) and not isinstance(problem, PolicyFailed)
            return CellResult(cell.name, text, None if known else traceback.format_exc())
    return CellResult(cell.name)


def run_cell_apart(cell: Cell) -> CellResult:
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
        return msgspec.json.decode(done.stdout, type=CellResult)
    except msgspec.DecodeError:
        error = f"its process ended with exit code {done.returncode} and said nothing"
        if done.returncode < 0:
            by = signal.Signals(-done.returncode).name
            error = f"its process was killed by {by}" + (", perhaps for want of memory" if by == "SIGKILL" else "")
        return CellResult(cell.name, error, done.stderr.decode(errors="replace")[-4000:] or None)


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
    utility = None if cell.utility is None else weight_table(cell.utility)
    train(
        *(cell.policy, data, cell.path, settings, registry),
        seed=cell.seed,
        resume=True,
        utility=utility,
        judged=cell.judged,
    )


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
        policy_class(spec)
        encoder = make_settings(cell.policy, spec.config_type, cell.values).encoder
        encoders[jsonio.canonical(encoder)] = encoder
    for encoder in encoders.values():
        load_dataset(Path(todo[0].dataset), encoder, progress=progress)


Runner = Callable[[Sequence[Cell]], Iterator[CellResult]]
"""Runs cells somewhere and yields their outcomes as they come; raises where the place itself breaks."""


def run_cells(todo: Sequence[Cell], run: Runner, on_outcome: Callable[[CellResult], None]) -> None:
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
            outcome = CellResult(cell.name, unseen)
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

        def run(todo: Sequence[Cell]) -> Iterator[CellResult]:
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
