"""Run directories: what a trained policy is, in files, and how to find the newest one.

``config.json`` effective configuration · ``provenance.json`` command, versions, dataset · ``history.json`` one entry an
epoch · the policy's own files (``best_model.pt``) · ``inputs.json`` how often an input occurs · ``calibration.json`` ·
``results.json`` metrics.
"""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from planner_core import jsonio, system
from planner_core.action_space import ActionSpace
from planner_core.clock import now
from planner_core.contracts import Temperature
from planner_core.decision import ScoreKind, temperatures_for
from planner_core.encoder import EncoderConfig
from planner_core.errors import DataError, PlannerError
from planner_core.files import write_bytes
from planner_core.harness import run_files
from planner_core.harness.input_counts import InputCounts
from planner_core.plugins.guard import make_policy
from planner_core.plugins.registry import Registry
from planner_core.policy import PolicyContext, TrainablePolicy
from planner_core.settings import Settings, make_settings

RUN_SCHEMA = "swarm_planner.run.v1"
RUNS = Path("runs")
CONFIG, PROVENANCE, HISTORY = "config.json", "provenance.json", "history.json"
INPUTS, CALIBRATION, RESULTS = "inputs.json", "calibration.json", "results.json"
"""Files of a run directory, beside the policy's own."""


class RunConfig(msgspec.Struct):
    """``config.json`` of a run: ``values`` is flat, as a config file would have it."""

    schema_version: str
    policy: str
    seed: int
    values: dict[str, Any]


def new_run_path(policy: str, root: Path = RUNS) -> Path:
    """``runs/<policy>/<time>``; a second run within a second gets a suffix."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = root / policy / stamp
    suffix = 1
    while path.exists():
        suffix += 1
        path = root / policy / f"{stamp}-{suffix}"
    return path


def newest_run(policy: str, root: Path = RUNS) -> Path:
    """The newest finished run of a policy; a :class:`PlannerError` that says how to make one where there is none."""
    runs = sorted(p.parent for p in (root / policy).glob(f"[0-9]*Z*/{RESULTS}")) if (root / policy).is_dir() else []
    runs = [run for run in runs if not run.name.endswith(".partial")]
    if not runs:
        raise PlannerError(
            f"policy '{policy}' has no finished run under {root / policy}; "
            f"train one (planner run --policy {policy} train) or name one with --from or --run"
        )
    return runs[-1]


def newest_of_all(root: Path = RUNS) -> Path:
    """The newest finished run of any policy; a :class:`PlannerError` where there is none."""
    runs = [p.parent for p in root.glob(f"*/[0-9]*Z*/{RESULTS}") if not p.parent.name.endswith(".partial")]
    if not runs:
        raise PlannerError(
            f"there is no finished run under {root}; train one (planner run --policy P train), or name one, a bundle "
            "(--from) or a policy that needs no training (--policy)"
        )
    return max(runs, key=lambda run: (run.name, run.parent.name))


def is_run(path: Path) -> bool:
    """Whether ``path`` looks like a run directory."""
    return (path / CONFIG).is_file() and (path / PROVENANCE).is_file()


def read_config(run: Path) -> RunConfig:
    """``config.json`` of a run."""
    if not run.is_dir():
        raise DataError(str(run), expected="a run directory")
    config = jsonio.read_file(run / CONFIG, RunConfig)
    if config.schema_version != RUN_SCHEMA:
        raise DataError(str(run / CONFIG), path="$.schema_version", found=config.schema_version, expected=RUN_SCHEMA)
    return config


def write_json(directory: Path, name: str, value: Any) -> None:
    """One pretty-printed file, whole or not at all."""
    write_bytes(directory / name, jsonio.pretty(value))


def config_document(policy: str, seed: int, settings: Settings) -> RunConfig:
    """What ``config.json`` holds."""
    return RunConfig(RUN_SCHEMA, policy, seed, settings.to_dict())


def provenance(dataset: dict[str, Any]) -> dict[str, Any]:
    """Command, versions and machine of this process, and the dataset it used."""
    packages: dict[str, str | None] = {}
    for name in ("swarm-planner", "numpy", "torch", "onnx", "onnxruntime", "msgspec"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started_at": now(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": system.usable_cpus(),
        "versions": packages,
        "dataset": dataset,
    }


class LoadedRun(msgspec.Struct):
    """A trained policy with all that surrounds it."""

    path: Path
    policy_name: str
    policy: TrainablePolicy
    context: PolicyContext
    settings: Settings
    temperatures: dict[str, float]
    calibration: dict[str, Any]
    results: dict[str, Any]
    inputs: InputCounts | None = None


def load_run(path: Path, registry: Registry, policy: str | None = None) -> LoadedRun:
    """Read a run directory and rebuild its policy. ``policy``, where given, must be the run's."""
    config = read_config(path)
    run_files.verify(path)
    if policy is not None and config.policy != policy:
        raise PlannerError(f"{path} is a run of policy '{config.policy}', not of '{policy}'")
    spec = registry.spec(config.policy)
    settings = make_settings(config.policy, spec.config_type, config.values)
    context = PolicyContext(settings.encoder, ActionSpace(), config.seed)
    loaded = make_policy(spec, settings.policy, context)
    if not isinstance(loaded, TrainablePolicy):
        raise PlannerError(f"policy '{config.policy}' cannot load a run")
    loaded.load(path)
    calibration = jsonio.read_file(path / CALIBRATION, dict[str, Any])
    temperatures = _temperatures(calibration, loaded.score_kind, str(path / CALIBRATION))
    results = jsonio.read_file(path / RESULTS, dict[str, Any])
    return LoadedRun(
        path,
        config.policy,
        loaded,
        context,
        settings,
        temperatures,
        calibration,
        results,
        # Runs of an earlier version have none.
        jsonio.read_file(path / INPUTS, InputCounts) if (path / INPUTS).exists() else None,
    )


class _Calibration(msgspec.Struct):
    """What is read of ``calibration.json`` by its type."""

    temperatures: dict[str, Temperature]


def _temperatures(calibration: dict[str, Any], kind: ScoreKind, source: str) -> dict[str, float]:
    """A positive temperature for every score array; DataError for anything else, which would decide nonsense."""
    found = jsonio.convert(calibration, _Calibration, source).temperatures
    missing = set(temperatures_for(kind)) - set(found)
    if missing:
        raise DataError(source, path="$.temperatures", expected=f"a temperature for {', '.join(sorted(missing))}")
    return found


def default_context(encoder: EncoderConfig | None = None, seed: int = 0) -> PolicyContext:
    """The context of a policy that was not trained."""
    return PolicyContext(encoder or EncoderConfig(), ActionSpace(), seed)
