"""One decision: a planner input in, a planner action out, always inside what the request allows.

The model's probabilities are restricted to the actions of the request and renormalised. Where the model cannot be
trusted with the decision, the baseline decides, and the action says so (``abstain_to_default``, ``reason``).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import Action, ActionSpace, budgets
from planner_core.clock import now
from planner_core.contracts import (
    ACTION_SCHEMA,
    EXECUTED_PLAN_SCHEMA,
    ActionDocument,
    Bin,
    ExecutedPlanDocument,
)
from planner_core.errors import BundleError, PlannerError, describe
from planner_core.failures import BROKEN, is_foreign
from planner_core.rules import BASELINE, Baseline, DefaultRules
from planner_core.runtime.choice import Choice, Model, Predictor, most_probable
from planner_core.runtime.intake import Document, Located, Request, read_located, read_request
from planner_core.runtime.limits import Caps, checked_caps, least, uses_more
from planner_core.runtime.opening import checked_digest, open_bundle
from planner_core.runtime.reasons import (
    BUNDLE_UNUSABLE,
    INFERENCE_FAILED,
    LOW_CONFIDENCE,
    MODE_LOG,
    MODE_OFF,
    MODES,
    OVER_CAP,
    WOULD_INCREASE,
    Mode,
)
from planner_core.runtime.tally import Tally
from planner_core.utility import weight_table

logger = logging.getLogger("planner")

R = TypeVar("R")

DecisionCallback = Callable[[ActionDocument], None]
"""Called with a ``planner_action.v1`` that was decided."""


class Plan(NamedTuple):
    """One decision and what goes into a manifest.

    ``action`` is the ``planner_action.v1`` to execute, ``executed`` its ``executed_plan.v1``. ``prediction`` is the
    model's own ``planner_action.v1``, before mode, threshold and caps; None where there was none.
    """

    action: ActionDocument
    executed: ExecutedPlanDocument
    prediction: ActionDocument | None


class Planner:
    """Decides issues. Safe to share between threads.

    Build one with :meth:`load`; the constructor takes the parts for other sources of probabilities.
    """

    def __init__(
        self,
        predictor: Predictor | None,
        *,
        action_space: ActionSpace | None = None,
        threshold: float = 0.0,
        mode: Mode = "enforce",
        caps: Caps | None = None,
        model: Mapping[str, str] | None = None,
        unusable: str | None = None,
        baseline: Baseline | None = None,
        on_decision: DecisionCallback | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        self.mode, self.caps = mode, checked_caps(caps)
        self._tally, self._on_decision = Tally(), on_decision
        self._baseline = baseline or DefaultRules()
        self._options: dict[str, Any] = {}
        self._model = Model(
            predictor, action_space or ActionSpace(), _probability(threshold), dict(model) if model else None, unusable
        )

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        *,
        mode: Mode = "enforce",
        threshold: float | None = None,
        caps: Caps | None = None,
        threads: int = 1,
        spinning: bool = False,
        baseline: str | Baseline = BASELINE,
        strict: bool = False,
        digest: str | None = None,
        utility: Mapping[str, Mapping[str, float]] | None = None,
        on_decision: DecisionCallback | None = None,
    ) -> Planner:
        """A planner for the bundle directory ``bundle``.

        ``threshold`` defaults to the bundle's own. ``threads`` are intra-op threads of the session, which sleep between
        calls unless ``spinning``. A bundle that is missing or broken is logged, and every decision falls back to the
        baseline and says so; with ``strict`` it raises :class:`BundleError` instead.

        ``digest`` ("sha256:...", as an export prints it) is the only content that is accepted; every other is an
        unusable bundle.

        ``utility`` ({"P0": {"pass": 4, "time": 1, "cost": 0.1}, ...}, all four priorities) says what outcomes are
        worth instead of the bundle, which must be of a policy that predicts outcomes. DataError for weights that do
        not fit.

        ``on_decision`` is called with every action before it is returned, from the thread that decided it; what it
        raises reaches the caller. ValueError and TypeError are for options that are none, whatever the bundle.
        """
        if threshold is not None:
            _probability(threshold)
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads must be an integer of at least 1, not {threads!r}")
        if on_decision is not None and not callable(on_decision):
            raise TypeError(f"on_decision must be callable, not {on_decision!r:.80}")
        planner = cls(None, mode=mode, caps=caps, baseline=_baseline(baseline), on_decision=on_decision)
        planner._options = {
            **{"threshold": threshold, "threads": threads, "spinning": spinning},
            "digest": checked_digest(digest),
            "utility": None if utility is None else weight_table(utility, "utility"),
        }
        try:
            planner._model = open_bundle(Path(bundle), **planner._options)
        except BundleError as problem:
            if strict:
                raise
            # A path may hold what no text can; the reason of an action is text.
            said = str(problem).encode("utf-8", "backslashreplace").decode()
            logger.warning("falling back to '%s': %s", baseline, said)
            planner._model = Model(None, ActionSpace(), threshold or 0.0, None, said)
        return planner

    def reload(self, bundle: str | Path, *, digest: str | None = None) -> None:
        """Serve another bundle from now on, with the options given to :meth:`load`.

        Decisions under way finish with the old one; none mixes the two. A bundle that is missing or broken raises
        :class:`BundleError`, is logged, and leaves the old one serving. May be called from any thread. A planner
        loaded with a ``digest`` wants one here too (ValueError).
        """
        if digest is None and self._options.get("digest") is not None:
            raise ValueError("this planner was loaded with a digest; reload(bundle, digest=...) needs the new one's")
        options = {**self._options, "digest": checked_digest(digest)}
        try:
            model = open_bundle(Path(bundle), **options)
        except BundleError as problem:
            logger.warning("the bundle in use stays: %s", problem)
            raise
        self._model = model

    @property
    def model(self) -> dict[str, str] | None:
        """Identity of the model that serves, as actions carry it."""
        identity = self._model.identity
        return dict(identity) if identity else None

    @property
    def policy(self) -> str | None:
        """Name of the policy that the bundle in use was exported from; None without a bundle."""
        return self._model.policy

    @property
    def threshold(self) -> float:
        """Confidence below which the baseline decides."""
        return self._model.threshold

    @property
    def predictor(self) -> Predictor | None:
        """Where the probabilities come from; None where no bundle could be used."""
        return self._model.predictor

    def stats(self) -> dict[str, Any]:
        """What this planner has decided so far: ``decisions``, how many were the ``model``'s, and two counts by name.

        ``fallbacks`` are the baseline's decisions by reason, ``failures`` the session calls that failed by the type of
        their exception (one call decides a whole batch). Names that never occurred are absent.
        """
        return self._tally.snapshot()

    def decide(self, planner_input: Document) -> ActionDocument:
        """The ``planner_action.v1`` to execute for one ``planner_input.v1``, given as a dict, JSON bytes or str.

        Raises :class:`planner_core.errors.DataError` for an input that does not fit its contract, and
        :class:`planner_core.errors.PlannerError` where its own rules leave no action at all.
        """
        model = self._model
        request = read_request(planner_input)
        return self._conclude(model, request, self._consult(model, [request])[0])[0]

    def conclude(self, request: Request, probs: NDArray[np.float32]) -> ActionDocument:
        """The last step of :meth:`decide`: from the model's answer, float32 [n_joint], to the action."""
        model = self._model
        return self._conclude(model, request, most_probable(model, [request], probs[None])[0])[0]

    def plan(self, planner_input: Document) -> Plan:
        """:meth:`decide`, with the executed plan and the model's own prediction beside it."""
        model = self._model
        request = read_request(planner_input)
        predicted = self._consult(model, [request])[0]
        document, action = self._conclude(model, request, predicted)
        prediction = None
        if predicted.action is not None:
            own = Choice(predicted.action, predicted.confidence)
            prediction = _document(model, predicted.action, request.digest, own)
        return Plan(document, executed_plan(action, document["reason"]), prediction)

    def decide_batch(self, planner_inputs: Sequence[Document]) -> list[ActionDocument]:
        """The actions of many inputs, in their order, from one session call; nothing is decided if one is refused."""
        return list(self._answers([read_located(item) for item in planner_inputs]))

    @overload
    def decide_many(self, planner_inputs: Iterable[Located], batch: int = 64) -> Iterator[ActionDocument]: ...
    @overload
    def decide_many(
        self, planner_inputs: Iterable[Located], batch: int, on_error: Callable[[PlannerError], R] | None
    ) -> Iterator[ActionDocument | R]: ...
    @overload
    def decide_many(
        self, planner_inputs: Iterable[Located], *, on_error: Callable[[PlannerError], R]
    ) -> Iterator[ActionDocument | R]: ...
    def decide_many(
        self,
        planner_inputs: Iterable[Located],
        batch: int = 64,
        on_error: Callable[[PlannerError], R] | None = None,
    ) -> Iterator[ActionDocument | R]:
        """The actions of many inputs, in their order, ``batch`` of them a session call; holds one batch at a time.

        An input may come as (source, line, JSON), which is then named in errors. One that is refused raises after the
        answers of all before it; with ``on_error`` what that makes of the error takes the action's place instead.
        """
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        stream = iter(planner_inputs)
        refused: PlannerError | None = None
        while refused is None:
            places: list[Request | R] = []
            try:
                for item in islice(stream, batch):
                    try:
                        places.append(read_located(item))
                    except PlannerError as problem:
                        if on_error is None:
                            raise
                        places.append(on_error(problem))
            except PlannerError as problem:
                refused = problem
            if not places:
                break
            answers = self._answers([place for place in places if isinstance(place, Request)])
            for place in places:
                yield next(answers) if isinstance(place, Request) else place
        if refused is not None:
            raise refused

    def _answers(self, requests: Sequence[Request]) -> Iterator[ActionDocument]:
        """The actions of requests that go to the model together."""
        if not requests:
            return
        model = self._model
        for request, predicted in zip(requests, self._consult(model, requests), strict=True):
            yield self._conclude(model, request, predicted)[0]

    def _consult(self, model: Model, requests: Sequence[Request]) -> list[Choice]:
        """What the model would do with each request."""
        if self.mode == "off":
            return [Choice(None, None, MODE_OFF, "the heuristic decides")] * len(requests)
        if model.predictor is None:
            return [Choice(None, None, BUNDLE_UNUSABLE, str(model.unusable))] * len(requests)
        try:
            probs = model.predictor.action_probs([request.x for request in requests])
            if probs.shape != (len(requests), len(model.space.actions)) or probs.dtype.kind != "f":
                raise ValueError(f"the answer is {probs.dtype} {probs.shape}")
        except BROKEN as problem:
            if is_foreign(problem):
                raise
            return [self._failed(problem)] * len(requests)
        return most_probable(model, requests, probs)

    def _failed(self, problem: Exception) -> Choice:
        """Whatever the session raised, the issue still has to be decided."""
        kind, said = type(problem.__cause__ or problem).__name__, describe(problem)
        if self._tally.failed(kind):
            logger.warning("a session call failed, the baseline decides (%s; counted from now on)", said)
        return Choice(None, None, INFERENCE_FAILED, said)

    def _conclude(self, model: Model, request: Request, predicted: Choice) -> tuple[ActionDocument, Action]:
        choice, action = self._settle(model, request, predicted)
        document = _document(model, action, request.digest, choice)
        self._tally.decided(choice.reason)
        if self._on_decision is not None:
            self._on_decision(document)
        return document, action

    def _settle(self, model: Model, request: Request, predicted: Choice) -> tuple[Choice, Action]:
        """The action to execute: the model's where nothing speaks against it, else the baseline's."""
        offer = request.offer
        reason, detail = predicted.reason, predicted.detail
        action, confidence = predicted.action, predicted.confidence
        if reason is None and action is not None and confidence is not None:
            if self.mode == "log":
                reason, detail = MODE_LOG, f"the model chose {_text(action)}"
            elif confidence < model.threshold:
                reason, detail = LOW_CONFIDENCE, f"{confidence:.4f} < {model.threshold:.4f}"
            elif self.caps.any and action not in offer.within(self.caps):
                reason, detail = OVER_CAP, f"the model chose {_text(action)}"
            elif self.mode != "enforce_reductions":
                return predicted, action
        safe = offer.within(self.caps)
        # Where every action breaks a cap, the smallest one breaks it least.
        rules = self._baseline.nearest(request.x, safe) if safe else least(offer.actions)
        if reason is None and action is not None:
            if not uses_more(action, rules):
                return predicted, action
            reason, detail = WOULD_INCREASE, f"{_text(action)} against {_text(rules)}"
        return Choice(rules, confidence, reason, detail), rules


def _baseline(named: str | Baseline) -> Baseline:
    """The default rules by their name, any other registered policy by its own, an object as it is."""
    if not isinstance(named, str):
        if not callable(getattr(named, "nearest", None)):
            raise TypeError(
                f"baseline must be a policy's name or an object with nearest(x, allowed), not {named!r:.80}"
            )
        return named
    if named == BASELINE:
        return DefaultRules()
    # Through the package's door, which imports a name when it is first used: the runtime itself knows no plugin system,
    # and a frozen application without entry points never comes here.
    door: Any = sys.modules["planner_core"]
    return cast(Baseline, door.PolicyPredictor.untrained(named))


def _probability(threshold: float) -> float:
    if not isinstance(threshold, int | float):
        raise TypeError(f"threshold must be a number in [0, 1], not {threshold!r}")
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must lie in [0, 1], not {threshold}")
    return threshold


def _document(model: Model, action: Action, digest: str, choice: Choice) -> ActionDocument:
    """The ``planner_action.v1`` of a choice."""
    out: ActionDocument = {
        "schema_version": ACTION_SCHEMA,
        "created_at": now(),
        "swarm_id": action.swarm,
        "budgets": budgets(action),
        "abstain_to_default": choice.reason is not None,
        "reason": None if choice.reason is None else f"{choice.reason}: {choice.detail}",
        "input_hash": digest,
    }
    if choice.confidence is not None:
        out["confidence"] = choice.confidence
    if model.identity is not None:
        out["model"] = dict(model.identity)
    return out


def executed_plan(action: Action, fallback_reason: str | None = None) -> ExecutedPlanDocument:
    """The ``executed_plan.v1`` of an action; None for a budget that is not limited."""
    minutes = _limit(action.minutes)
    return {
        "schema_version": EXECUTED_PLAN_SCHEMA,
        "swarm_id_executed": action.swarm,
        "max_candidates_executed": _limit(action.candidates),
        "timeout_seconds_executed": None if minutes is None else minutes * 60,
        "max_iterations_executed": _limit(action.iterations),
        "fallback_applied": fallback_reason is not None,
        "fallback_reason": fallback_reason,
    }


def _limit(value: Bin) -> int | None:
    return value if isinstance(value, int) else None


def _text(action: Action) -> str:
    return "(" + ", ".join(map(str, action)) + ")"
