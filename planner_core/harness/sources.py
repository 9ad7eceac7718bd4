"""Where a policy comes from: a bundle, a run directory, its newest run, or - where it needs no training - itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS
from planner_core.decision import Decision, decide, temperatures_for
from planner_core.errors import BundleError, ConfigError, PlannerError
from planner_core.harness.evaluate import Decider, policy_decider
from planner_core.harness.run_dir import default_context, is_run, load_run, newest_run
from planner_core.harness.settings import make_settings
from planner_core.policy import Batch, PolicyContext, SparseFeatures
from planner_core.registry import Registry
from planner_core.runtime.bundle import Bundle, is_bundle, read_bundle
from planner_core.runtime.planner import Planner, PolicyScorer


@dataclass(frozen=True)
class Opened:
    """A policy ready to be evaluated."""

    name: str
    decider: Decider
    context: PolicyContext


def resolve(policy: str, registry: Registry, source: Path | None) -> Path | None:
    """The run or bundle to use; None for a policy that needs no training and was given no source."""
    if source is not None:
        if not source.exists():
            raise PlannerError(f"{source}: there is nothing there (expected a run directory or a bundle)")
        if not (is_run(source) or is_bundle(source)):
            raise PlannerError(f"{source}: neither a run directory nor a bundle")
        return source
    return newest_run(policy) if registry.spec(policy).trainable else None


def open_source(policy: str, registry: Registry, source: Path | None, values: Mapping[str, Any]) -> Opened:
    """A policy for evaluation. ``values`` configures an untrained one; a trained one carries its configuration."""
    path = resolve(policy, registry, source)
    _refuse_values(path, values)
    if path is None:
        spec = registry.spec(policy)
        settings = make_settings(policy, spec.config_type, values)
        context = default_context(settings.encoder)
        return Opened(f"policy {policy}", policy_decider(spec.make(settings.policy, context), context), context)
    if is_run(path):
        run = load_run(path, registry, policy)
        return Opened(str(path), policy_decider(run.policy, run.context, run.temperatures), run.context)
    bundle = read_bundle(path)
    _check_policy(bundle, policy)
    return Opened(str(path), bundle_decider(bundle), PolicyContext(bundle.encoder, bundle.action_space))


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
        try:
            given = read_bundle(source)
        except BundleError:
            given = None  # what --fallback is for
        if given is not None:
            _check_policy(given, policy)
        return Planner.load(source, threshold=threshold)
    path = resolve(policy, registry, source)
    _refuse_values(path, values)
    if path is None:
        spec = registry.spec(policy)
        scorer = PolicyScorer.untrained(policy, make_settings(policy, spec.config_type, values).policy)
        return Planner(scorer, threshold=threshold or 0.0, baseline=scorer)
    if is_run(path):
        run = load_run(path, registry, policy)
        scorer = PolicyScorer(run.policy, run.context, run.temperatures)
        model = {"checkpoint_id": path.resolve().name}
        return Planner(scorer, threshold=threshold or 0.0, model=model)
    planner = Planner.load(path, threshold=threshold, strict=True)
    _check_policy(read_bundle(path), policy)
    return planner


def _refuse_values(path: Path | None, values: Mapping[str, Any]) -> None:
    if path is not None and values:
        raise ConfigError(f"--set {next(iter(values))}: {path} carries its own configuration")


def _check_policy(bundle: Bundle, policy: str) -> None:
    given = bundle.metadata.get("policy")
    if given != policy:
        raise BundleError(f"{bundle.path} is a bundle of policy '{given}', not of '{policy}'")


class _DenseRows:
    """Dense rows in one buffer that is cleared bit by bit: zeroing 15 MB a batch costs more than setting its ones."""

    def __init__(self, d_in: int) -> None:
        self._rows: NDArray[np.float32] = np.zeros((0, d_in), np.float32)

    @contextmanager
    def of(self, features: SparseFeatures) -> Iterator[NDArray[np.float32]]:
        """``features`` as float32 [n, d_in]; good within the block only, which must not be entered twice at a time."""
        n, d_in = len(features), features.d_in
        if len(self._rows) < n:
            self._rows = np.zeros((n, d_in), np.float32)
        flat = self._rows.reshape(-1)
        on = np.repeat(np.arange(n) * d_in, np.diff(features.starts)) + features.indices
        flat[on] = 1.0
        try:
            yield self._rows[:n]
        finally:
            flat[on] = 0.0


def bundle_decider(bundle: Bundle) -> Decider:
    """Decide by a bundle's graph. The decisions before temperature scaling are recovered by undoing it.

    The decider is for one thread at a time.
    """
    from planner_core.runtime.session import OUTPUTS, check_interface, open_session

    session = open_session(bundle.model)
    check_interface(session, bundle.encoder.d_in, bundle.action_space)
    dense = _DenseRows(bundle.encoder.d_in)
    temperatures = bundle.calibration["temperatures"]
    calibrated = bundle.calibration.get("method") != "none"

    def run(batch: Batch) -> tuple[Decision, Decision | None]:
        with dense.of(batch.features) as rows:
            outputs = dict(
                zip(OUTPUTS, session.run(list(OUTPUTS), {"input": rows, "job_type": batch.job_type}), strict=True)
            )
        heads = {name: outputs[name] for name in HEADS}
        after = Decision(heads, outputs["action_probs"], outputs["action"], outputs["confidence"])
        if not calibrated:
            return after, None
        kind = "joint" if "joint" in temperatures else "heads"
        if kind == "joint":
            # Logits are known up to a constant a row: log-probabilities times the temperature.
            probs = np.maximum(after.action_probs, np.finfo(np.float32).tiny)
            scores = {"joint": np.log(probs) * np.float32(temperatures["joint"])}
        else:
            scores = {name: heads[name] * np.float32(temperatures[name]) for name in HEADS}
        return after, decide(scores, batch.job_type, temperatures_for(kind), bundle.action_space)

    return run
