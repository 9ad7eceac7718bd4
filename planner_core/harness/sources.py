"""Where a policy comes from: a bundle, a run directory, its newest run, or - where it needs no training - itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner_core.errors import BundleError, ConfigError, PlannerError
from planner_core.harness.run_dir import CALIBRATION, RESULTS, default_context, is_run, load_run, newest_run
from planner_core.plugins.guard import make_policy
from planner_core.plugins.predictor import PolicyPredictor
from planner_core.plugins.registry import Registry
from planner_core.policy import PolicyContext
from planner_core.runtime.bundle import is_bundle, read_bundle
from planner_core.runtime.planner import Planner
from planner_core.settings import make_settings
from planner_core.utility import weight_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner_core.harness.evaluate import Decider
    from planner_core.harness.learnt import Learnt


@dataclass(frozen=True)
class Opened:
    """A policy ready to be evaluated. ``learnt`` says from what, None for one that is not trained.

    ``path`` is the run or bundle it was read from; ``utility`` float64 [4, 3] what outcomes were worth where it learnt,
    None where that is not recorded.
    """

    name: str
    policy: str
    decider: Decider
    context: PolicyContext
    learnt: Learnt | None = None
    path: Path | None = None
    utility: NDArray[np.float64] | None = None


def resolve(policy: str, registry: Registry, source: Path | None) -> Path | None:
    """The run or bundle to use; None for a policy that needs no training and was given no source."""
    if source is not None:
        if not source.exists():
            raise PlannerError(f"{source}: there is nothing there (expected a run directory or a bundle)")
        if not (is_run(source) or is_bundle(source)):
            raise PlannerError(f"{source}: neither a run directory nor a bundle")
        return source
    return newest_run(policy) if registry.spec(policy).trainable else None


def open_source(
    policy: str,
    registry: Registry,
    source: Path | None,
    values: Mapping[str, Any],
) -> Opened:
    """A policy for evaluation. ``values`` configures an untrained one; a trained one carries its configuration."""
    # Imported here because predicting needs none of it, and a single decision should not wait for the evaluation.
    from planner_core.harness.evaluate import policy_decider

    path = resolve(policy, registry, source)
    _refuse_values(path, values)
    if path is None:
        spec = registry.spec(policy)
        settings = make_settings(policy, spec.config_type, values)
        context = default_context(settings.encoder)
        decider = policy_decider(make_policy(spec, settings.policy, context), context)
        return Opened(f"policy {policy}", policy, decider, context)
    return open_path(path, registry, policy)


def open_path(
    path: Path, registry: Registry, policy: str | None = None, utility: NDArray[np.float64] | None = None
) -> Opened:
    """A run directory or a bundle, of ``policy`` where that is given; it decides by the weights it learnt with.

    A run decides by ``utility`` (as of :func:`planner_core.utility.weight_table`) instead where that is given.
    """
    from planner_core.harness.bundle_decider import bundle_decider
    from planner_core.harness.evaluate import policy_decider
    from planner_core.harness.learnt import Learnt

    if is_run(path):
        run = load_run(path, registry, policy)
        recorded = run.calibration.get("utility")
        worth = None if recorded is None else weight_table(recorded, str(path / CALIBRATION))
        decider = policy_decider(run.policy, run.context, run.temperatures, worth if utility is None else utility)
        learnt = Learnt.of_run(run.results.get("dataset", {}), str(path / RESULTS))
        return Opened(str(path), run.policy_name, decider, run.context, learnt, path, worth)
    bundle = read_bundle(path)
    if policy is not None:
        _check_policy(path, bundle.metadata.get("policy"), policy)
    context = PolicyContext(bundle.encoder, bundle.action_space)
    recorded = bundle.calibration.get("utility")
    worth = None if recorded is None else weight_table(recorded, str(path))
    learnt_by_it = Learnt.of_bundle(bundle.metadata)
    return Opened(
        str(path), str(bundle.metadata.get("policy")), bundle_decider(bundle), context, learnt_by_it, path, worth
    )


def open_planner(
    policy: str,
    registry: Registry,
    source: Path | None,
    values: Mapping[str, Any],
    *,
    threshold: float | None = None,
    fallback: bool = False,
) -> Planner:
    """A policy for decisions. With ``fallback`` a bundle that cannot be used leaves every decision to the baseline."""
    if fallback and source is not None and not is_run(source):
        planner = Planner.load(source, threshold=threshold)
        if planner.policy is not None:
            _check_policy(source, planner.policy, policy)
        return planner
    path = resolve(policy, registry, source)
    _refuse_values(path, values)
    if path is None:
        spec = registry.spec(policy)
        scorer = PolicyPredictor.untrained(policy, make_settings(policy, spec.config_type, values).policy)
        return Planner(scorer, threshold=threshold or 0.0, baseline=scorer)
    if is_run(path):
        run = load_run(path, registry, policy)
        worth = weight_table(run.calibration.get("utility"), str(path / CALIBRATION))
        scorer = PolicyPredictor(run.policy, run.context, run.temperatures, worth)
        model = {"checkpoint_id": path.resolve().name}
        return Planner(scorer, threshold=threshold or 0.0, model=model)
    planner = Planner.load(path, threshold=threshold, strict=True)
    _check_policy(path, planner.policy, policy)
    return planner


def _refuse_values(path: Path | None, values: Mapping[str, Any]) -> None:
    if path is not None and values:
        raise ConfigError(f"--set {next(iter(values))}: {path} carries its own configuration")


def _check_policy(path: Path, given: str | None, policy: str) -> None:
    if given != policy:
        raise BundleError(f"{path} is a bundle of policy '{given}', not of '{policy}'")
