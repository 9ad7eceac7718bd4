"""Ablations: one factor at a time around a base configuration, over seeds, as runs that any number of processes share.

A *point* is one value of one factor, a *cell* one seed of a point. Cells are ordinary run directories under the
ablation's own, so a finished cell is one whose ``results.json`` is there, an interrupted one goes on from its last
checkpoint, and ``plan.json`` beside them says what they belong to. The base point is trained once for all factors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from planner_core import jsonio
from planner_core.data.dataset import read_meta
from planner_core.encoder import EncoderConfig
from planner_core.errors import ConfigError, PlannerError, suggestion
from planner_core.files import write_bytes
from planner_core.harness.run_dir import RESULTS, RUNS, new_run_path
from planner_core.harness.training_config import TrainingConfig
from planner_core.plugins.registry import Registry
from planner_core.settings import make_settings, merge

PLAN_SCHEMA = "swarm_planner.ablation_plan.v1"
PLAN = "plan.json"
DEFAULT_SEEDS = (0, 1, 2)
BASE = "base"


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


class Design(msgspec.Struct, frozen=True):
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
    """One run to train: everything a worker needs, in plain values. ``name`` is its directory.

    ``judged`` are the splits it is judged on, ``utility`` what outcomes are worth instead of what the dataset says.
    """

    name: str
    policy: str
    values: dict[str, Any]
    seed: int
    dataset: str
    dataset_hash: str
    out: str
    judged: tuple[str, ...] = ("val", "test")
    utility: dict[str, dict[str, float]] | None = None

    @property
    def path(self) -> Path:
        """The run directory."""
        return Path(self.out) / self.name

    @property
    def finished(self) -> bool:
        """Whether the run is whole."""
        return (self.path / RESULTS).is_file()


@dataclass(frozen=True)
class CellResult:
    """How a cell ended. ``error`` is None for a finished one; ``trace`` is there where the error was no user's."""

    cell: str
    error: str | None = None
    trace: str | None = None


# -- the design


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


def make_design(
    policy: str,
    dataset: Path,
    values: Mapping[str, Any],
    registry: Registry,
    factors: Sequence[Factor] = FACTORS,
    seeds: Sequence[int] = DEFAULT_SEEDS,
) -> Design:
    """Design ``factors`` around the effective configuration of ``values``.

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
    return Design(
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


def points(design: Design, registry: Registry) -> list[Point]:
    """Every value of every factor, base points included, in the order of the design."""
    out = []
    for key, values in design.factors.items():
        for value in values:
            policy = value if key == "policy" else design.policy
            change = {} if key == "policy" else {key: value}
            is_base = value == (design.policy if key == "policy" else design.base[key])
            stem = BASE if is_base else f"{key}-{re.sub(r'[^A-Za-z0-9._-]', '_', str(value))}"
            out.append(Point(key, value, stem, policy, _configuration(policy, design.base, change, registry)))
    return out


def cell_name(point: Point, seed: int) -> str:
    """The directory of one seed of a point."""
    return f"{point.stem}-seed{seed}"


def cells(design: Design, out: Path, registry: Registry) -> list[Cell]:
    """The runs of a design, each once, seeds outermost: an interrupted ablation has whole curves of the first seeds."""
    unique: dict[str, Cell] = {}
    for seed in design.seeds:
        for point in points(design, registry):
            name = cell_name(point, seed)
            unique.setdefault(
                name,
                Cell(name, point.policy, point.values, seed, design.dataset, design.dataset_hash, str(out.resolve())),
            )
    return list(unique.values())


# -- the directory


def ablations_of(policy: str) -> Path:
    """Where the ablations of a policy are made when no place is named."""
    return RUNS / policy / "ablations"


def default_out(policy: str, *, resume: bool) -> Path:
    """A new directory, or with ``resume`` the newest one that holds a design, where there is one."""
    place = ablations_of(policy)
    found = sorted(path.parent for path in place.glob(f"*/{PLAN}")) if resume and place.is_dir() else []
    return found[-1] if found else new_run_path(place.name, place.parent)


def read_design(out: Path) -> Design | None:
    """The design recorded in ``out``; None where there is none. :class:`DataError` where it cannot be read."""
    return jsonio.read_file(out / PLAN, Design) if (out / PLAN).exists() else None


def taken_up(
    recorded: Design,
    values: dict[str, Any],
    factors: list[Factor] | None,
    seeds: list[int] | None,
    dataset: Path | None,
) -> tuple[dict[str, Any], list[Factor], list[int], Path]:
    """What a resumed ablation is to do: what was asked for, completed from what is recorded."""
    return (
        merge(recorded.given, values),
        factors or choose_factors(recorded.factors),
        seeds or recorded.seeds,
        dataset or Path(recorded.dataset),
    )


def record_design(out: Path, design: Design) -> Design:
    """Write ``plan.json`` and return it; an earlier one of the same base and dataset is extended.

    Raises :class:`PlannerError` where the earlier design has another policy, dataset or base configuration.
    """
    earlier = read_design(out)
    if earlier is not None:
        _check_same(out, earlier, design)
        design = msgspec.structs.replace(
            design,
            factors={
                factor.key: design.factors.get(factor.key) or earlier.factors[factor.key]
                for factor in FACTORS
                if factor.key in design.factors or factor.key in earlier.factors
            },
            seeds=sorted({*earlier.seeds, *design.seeds}),
            notes=list(dict.fromkeys((*earlier.notes, *design.notes))),
        )
    write_bytes(out / PLAN, jsonio.pretty(design))
    return design


def _check_same(out: Path, earlier: Design, design: Design) -> None:
    problems = []
    if earlier.policy != design.policy:
        problems.append(f"policy {earlier.policy}, not {design.policy}")
    if earlier.dataset_hash != design.dataset_hash:
        problems.append(
            f"dataset {earlier.dataset} (hash {earlier.dataset_hash[:16]}...), "
            f"not {design.dataset} ({design.dataset_hash[:16]}...)"
        )
    if earlier.policy == design.policy:
        problems += [
            f"{key} {earlier.base.get(key)}, not {design.base.get(key)}"
            for key in dict.fromkeys((*earlier.base, *design.base))
            if earlier.base.get(key) != design.base.get(key)
        ]
    if problems:
        raise PlannerError(
            f"{out}: the ablation there has another design and cannot be resumed; choose another --out\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )
