"""One decision: a planner input in, a planner action out, always inside what the request allows.

The model's probabilities are restricted to the actions of the request and renormalised. Where the model cannot be
trusted with the decision, the baseline decides, and the action says so (``abstain_to_default``, ``reason``).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.action_space import (
    Action,
    ActionSpace,
    action_dict,
    nearest_action,
    request_actions,
)
from planner_core.contracts import ACTION_SCHEMA, PlannerInput
from planner_core.decision import decide, temperatures_for
from planner_core.encoder import PlannerInputEncoder
from planner_core.errors import BundleError, DataError, PlannerError
from planner_core.policy import BasePolicy, Batch, PolicyContext
from planner_core.registry import load_registry
from planner_core.runtime.bundle import read_bundle

logger = logging.getLogger("planner")

LOW_CONFIDENCE = "low_confidence"
NO_OVERLAP = "no_overlap"
BUNDLE_UNUSABLE = "bundle_unusable"
INFERENCE_FAILED = "inference_failed"
REASONS = {
    LOW_CONFIDENCE: "the chosen action's probability is below the threshold",
    NO_OVERLAP: "the model gives no probability to any action that the request allows",
    BUNDLE_UNUSABLE: "the bundle is missing, altered, or made for another version",
    INFERENCE_FAILED: "the session raised an error or returned something that is no probability",
}
"""Every reason for a fallback; an action's ``reason`` begins with one of these words and a colon."""

MIN_MASS = 1e-6
"""Below this total probability on the request's actions, renormalising would only amplify rounding."""


Located = Mapping[str, Any] | bytes | str | tuple[str, int, bytes]
"""An input as :meth:`Planner.decide` takes it, or (source, line, JSON) so that errors can name its place."""


class Scorer(Protocol):
    """Anything that gives planner inputs their action probabilities."""

    def action_probs(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32]:
        """float32 [n, n_joint] for n validated inputs."""
        ...


class PolicyScorer:
    """Action probabilities of a policy in Python, trained or not."""

    def __init__(
        self, policy: BasePolicy, context: PolicyContext, temperatures: Mapping[str, float] | None = None
    ) -> None:
        self.policy, self.context = policy, context
        self._encoder = PlannerInputEncoder(context.encoder)
        self._temperatures = temperatures_for(policy.score_kind, temperatures)

    @classmethod
    def untrained(cls, name: str, config: Any = None) -> PolicyScorer:
        """A registered policy that needs no training; its default configuration where ``config`` is None."""
        spec, context = load_registry().spec(name), PolicyContext()
        if spec.trainable:
            raise PlannerError(f"policy '{name}' has to be trained before it can decide")
        return cls(spec.load()(config or spec.config_type(), context), context)

    def action_probs(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32]:
        """float32 [n, n_joint] for n inputs."""
        batch = Batch.from_inputs(inputs, self._encoder)
        scores = self.policy.predict(batch)
        return decide(scores, batch.job_type, self._temperatures, self.context.action_space).action_probs

    def nearest(self, x: PlannerInput, allowed: tuple[Action, ...]) -> Action:
        """The policy's own action for ``x``, or the allowed one nearest to it."""
        chosen = int(self.action_probs([x])[0].argmax())
        return nearest_action(self.context.action_space.actions[chosen], allowed)


class Planner:
    """Decides issues. Safe to share between threads.

    Build one with :meth:`load`; the constructor takes the parts for other sources of probabilities.
    """

    def __init__(
        self,
        scorer: Scorer | None,
        *,
        action_space: ActionSpace | None = None,
        threshold: float = 0.0,
        model: Mapping[str, str] | None = None,
        unusable: str | None = None,
        baseline: PolicyScorer | None = None,
    ) -> None:
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold must lie in [0, 1], not {threshold}")
        self.threshold, self.model = threshold, dict(model) if model else None
        self._scorer, self._unusable = scorer, unusable
        self._space = action_space or ActionSpace()
        self._baseline = baseline or PolicyScorer.untrained("heuristic")

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        *,
        threshold: float | None = None,
        threads: int = 1,
        spinning: bool = False,
        baseline: str = "heuristic",
        strict: bool = False,
    ) -> Planner:
        """A planner for the bundle directory ``bundle``.

        ``threshold`` defaults to the bundle's own. A bundle that is missing or broken is logged, and every decision
        falls back to the baseline and says so; with ``strict`` it raises :class:`BundleError` instead.
        """
        from planner_core.runtime.session import OnnxScorer, check_interface, open_session

        rules = PolicyScorer.untrained(baseline)
        try:
            content = read_bundle(Path(bundle))
            session = open_session(content.model, threads=threads, spinning=spinning)
            check_interface(session, content.encoder.d_in, content.action_space)
        except BundleError as problem:
            if strict:
                raise
            logger.warning("falling back to '%s': %s", baseline, problem)
            return cls(None, threshold=threshold or 0.0, unusable=str(problem), baseline=rules)
        return cls(
            OnnxScorer(session, PlannerInputEncoder(content.encoder)),
            action_space=content.action_space,
            threshold=content.calibration.get("threshold", 0.0) if threshold is None else threshold,
            model={"checkpoint_id": content.digest[:16], "version": str(content.metadata["version"])},
            baseline=rules,
        )

    def decide(self, planner_input: Mapping[str, Any] | bytes | str) -> dict[str, Any]:
        """The ``planner_action.v1`` of one ``planner_input.v1``, given as a dict, JSON bytes or str.

        Raises :class:`planner_core.errors.DataError` for an input that does not fit its contract, and
        :class:`planner_core.errors.PlannerError` where its own rules leave no action at all.
        """
        x, digest = parse_input(planner_input)
        allowed = _allowed(x)
        if self._scorer is None:
            return self._fall_back(x, allowed, digest, BUNDLE_UNUSABLE, str(self._unusable))
        try:
            probs = self._scorer.action_probs([x])[0]
        except Exception as problem:  # whatever the session raises, the issue still has to be decided
            return self._fall_back(x, allowed, digest, INFERENCE_FAILED, str(problem))
        return self._choose(x, allowed, digest, probs)

    def decide_many(self, planner_inputs: Iterable[Located], batch: int = 64) -> Iterator[dict[str, Any]]:
        """The actions of many inputs, in their order, ``batch`` of them a session call; holds one batch at a time.

        An input may come as (source, line, JSON), which is then named in errors.
        """
        stream = iter(planner_inputs)
        while chunk := [_parse_located(item) for item in islice(stream, batch)]:
            spaces = [_allowed(x) for x, _ in chunk]
            probs: list[NDArray[np.float32]] | None = None
            reason, detail = BUNDLE_UNUSABLE, str(self._unusable)
            if self._scorer is not None:
                try:
                    probs = list(self._scorer.action_probs([x for x, _ in chunk]))
                except Exception as problem:  # as in decide
                    reason, detail = INFERENCE_FAILED, str(problem)
            for row, ((x, digest), allowed) in enumerate(zip(chunk, spaces, strict=True)):
                if probs is None:
                    yield self._fall_back(x, allowed, digest, reason, detail)
                else:
                    yield self._choose(x, allowed, digest, probs[row])

    def _choose(
        self, x: PlannerInput, allowed: tuple[Action, ...], digest: str, probs: NDArray[np.float32]
    ) -> dict[str, Any]:
        """The most probable action the request allows, or the baseline's."""
        ours = _model_rows(self._space, allowed)
        masses = probs[ours]
        mass = float(masses.sum())
        if not np.isfinite(mass):
            return self._fall_back(x, allowed, digest, INFERENCE_FAILED, "the probabilities are not finite")
        if mass < MIN_MASS:
            return self._fall_back(x, allowed, digest, NO_OVERLAP, f"{mass:.2g} of the probability is on them")
        best = int(masses.argmax())
        confidence = min(float(masses[best]) / mass, 1.0)
        if confidence < self.threshold:
            detail = f"{confidence:.4f} < {self.threshold:.4f}"
            return self._fall_back(x, allowed, digest, LOW_CONFIDENCE, detail, confidence)
        action = self._space.actions[ours[best]]
        return self._document(action, digest, confidence=confidence, abstain=False, reason=None)

    def _fall_back(
        self,
        x: PlannerInput,
        allowed: tuple[Action, ...],
        digest: str,
        reason: str,
        detail: str,
        confidence: float | None = None,
    ) -> dict[str, Any]:
        action = self._baseline.nearest(x, allowed)
        return self._document(action, digest, confidence=confidence, abstain=True, reason=f"{reason}: {detail}")

    def _document(
        self, action: Action, digest: str, *, confidence: float | None, abstain: bool, reason: str | None
    ) -> dict[str, Any]:
        out = {
            "schema_version": ACTION_SCHEMA,
            "created_at": now(),
            **action_dict(action),
            "abstain_to_default": abstain,
            "reason": reason,
            "input_hash": digest,
        }
        if confidence is not None:
            out["confidence"] = confidence
        if self.model is not None:
            out["model"] = dict(self.model)
        return out


def now() -> str:
    """The current time as RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_input(
    planner_input: Mapping[str, Any] | bytes | str, source: str = "planner_input", line: int | None = None
) -> tuple[PlannerInput, str]:
    """A validated input, and the SHA-256 of its canonical JSON without ``created_at``, as it arrived."""
    if isinstance(planner_input, bytes | str):
        x = jsonio.read(planner_input, PlannerInput, source, line)
        raw = msgspec.json.decode(planner_input)
    else:
        raw = dict(planner_input)
        x = jsonio.convert(raw, PlannerInput, source, line)
    raw.pop("created_at")
    try:
        return x, hashlib.sha256(jsonio.canonical(raw)).hexdigest()
    except (UnicodeEncodeError, TypeError) as problem:
        raise DataError(source, line=line, expected=f"values that JSON can hold ({problem})") from None


def _parse_located(item: Located) -> tuple[PlannerInput, str]:
    if isinstance(item, tuple):
        source, line, document = item
        return parse_input(document, source, line)
    return parse_input(item)


def _allowed(x: PlannerInput) -> tuple[Action, ...]:
    allowed = request_actions(x.job_type, x.action_space)
    if not allowed:
        raise PlannerError(
            f"planner_input (issue {x.issue.issue_id}), at $.action_space: its bins and validity rules leave no action "
            f"for job type {x.job_type}"
        )
    return allowed


@lru_cache(maxsize=1024)
def _model_rows(space: ActionSpace, allowed: tuple[Action, ...]) -> NDArray[np.int64]:
    """Joint classes of the model that the request allows."""
    return np.array([space.index[action] for action in allowed if action in space.index], np.int64)
