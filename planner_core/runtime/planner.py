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

from planner_core.action_space import ActionSpace
from planner_core.contracts import ActionDocument, ExecutedPlanDocument, ExpectedDocument
from planner_core.errors import BundleError, ConfigError, PlannerError, describe
from planner_core.failures import BROKEN, is_foreign
from planner_core.rules import BASELINE, Baseline, DefaultRules
from planner_core.runtime.choice import Choice, Model, OutcomePredictor, Predictor, expected_of, most_probable
from planner_core.runtime.decision_log import LOG_BYTES, Decided, DecisionLog, new_decision_id
from planner_core.runtime.documents import action_document, executed_plan
from planner_core.runtime.intake import Document, Located, Request, read_located, read_request
from planner_core.runtime.limits import Caps, checked_caps
from planner_core.runtime.opening import checked_digest, open_bundle
from planner_core.runtime.reasons import ARM_BASELINE, BUNDLE_UNUSABLE, INFERENCE_FAILED, MODE_OFF, MODES, Mode
from planner_core.runtime.rollout import EXPLORE_WITHIN, Arm, Rollout, action_key
from planner_core.runtime.settling import Settled, Settlement
from planner_core.runtime.tally import Tally
from planner_core.utility import weight_table

__all__ = ["DecisionCallback", "Plan", "Planner", "executed_plan"]

logger = logging.getLogger("planner")

R = TypeVar("R")

DecisionCallback = Callable[[ActionDocument], None]
"""Called with a ``planner_action.v1`` that was decided."""


class Plan(NamedTuple):
    """One decision and what goes into a manifest.

    ``action`` is the ``planner_action.v1`` to execute, ``executed`` its ``executed_plan.v1``. ``prediction`` is the
    model's own ``planner_action.v1``, before mode, threshold and caps; None where there was none.

    ``arm`` is where the rollout put the issue, ``propensity`` the probability of the action and ``propensities`` that
    of every action there was, by ``"swarm|candidates|minutes|iterations"`` in resolved numbers. ``decision_id`` names
    this decision in the decision log. ``expected`` is what the model predicts of the action and of the baseline's;
    None for a policy that predicts no outcomes.
    """

    action: ActionDocument
    executed: ExecutedPlanDocument
    prediction: ActionDocument | None
    arm: Arm
    propensity: float
    propensities: dict[str, float]
    decision_id: str
    expected: ExpectedDocument | None


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
        share: float = 1.0,
        explore: float = 0.0,
        salt: str = "",
        explore_within: float = EXPLORE_WITHIN,
        log: str | Path | None = None,
        log_bytes: int = LOG_BYTES,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        self.mode, self.caps = mode, checked_caps(caps)
        self.rollout = Rollout(share, explore, salt, explore_within)
        self._settlement = Settlement(mode, self.caps, baseline or DefaultRules(), self.rollout)
        self._tally, self._on_decision = Tally(), on_decision
        self._log = None if log is None else DecisionLog(log, mode, self.rollout, log_bytes)
        self._options: dict[str, Any] = {}
        identity, weights = dict(model) if model else None, getattr(predictor, "weights", None)
        self._model = self._fitting(
            Model(
                predictor,
                action_space or ActionSpace(),
                _probability(threshold),
                identity,
                unusable,
                twins=weights is not None,
                weights=weights,
            )
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
        share: float = 1.0,
        explore: float = 0.0,
        salt: str = "",
        explore_within: float = EXPLORE_WITHIN,
        log: str | Path | None = None,
        log_bytes: int = LOG_BYTES,
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

        ``share`` of the issues are the model's, the others the baseline's (0: the model is not asked at all). Of the
        model's issues the share ``explore`` gets an action drawn from those whose predicted utility is at most
        ``explore_within`` below that of the model's own; ConfigError where the bundle's policy predicts no outcomes.
        ``salt`` names the experiment: who is in which arm depends on it and on the issue's id alone.

        ``log`` is a file to which a line is added for every decision. A line that cannot be written is counted in
        :meth:`stats` and fails no decision. A log of ``log_bytes`` is set aside under a number of its own and a new one
        begun; none is ever removed.

        ``on_decision`` is called with every action before it is returned, from the thread that decided it; what it
        raises reaches the caller. ValueError and TypeError are for options that are none, whatever the bundle.
        """
        if threshold is not None:
            _probability(threshold)
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads must be an integer of at least 1, not {threads!r}")
        if on_decision is not None and not callable(on_decision):
            raise TypeError(f"on_decision must be callable, not {on_decision!r:.80}")
        planner = cls(
            None,
            mode=mode,
            caps=caps,
            baseline=_baseline(baseline),
            on_decision=on_decision,
            share=share,
            explore=explore,
            salt=salt,
            explore_within=explore_within,
            log=log,
            log_bytes=log_bytes,
        )
        planner._options = {
            **{"threshold": threshold, "threads": threads, "spinning": spinning},
            "digest": checked_digest(digest),
            "utility": None if utility is None else weight_table(utility, "utility"),
        }
        try:
            planner._model = planner._fitting(open_bundle(Path(bundle), **planner._options))
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
        :class:`BundleError`, is logged, and leaves the old one serving; so does the ConfigError of a policy that
        cannot explore. May be called from any thread. A planner loaded with a ``digest`` wants one here too
        (ValueError).
        """
        if digest is None and self._options.get("digest") is not None:
            raise ValueError("this planner was loaded with a digest; reload(bundle, digest=...) needs the new one's")
        options = {**self._options, "digest": checked_digest(digest)}
        try:
            model = self._fitting(open_bundle(Path(bundle), **options))
        except (BundleError, ConfigError) as problem:
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
        """What this planner has decided so far: ``decisions``, how many were the ``model``'s, and counts by name.

        ``fallbacks`` are the baseline's decisions by reason, ``failures`` the session calls that failed by the type of
        their exception (one call decides a whole batch), ``arms`` the decisions by arm. Names that never occurred are
        absent. ``unlogged`` counts the decisions whose line could not be added to the log.
        """
        return self._tally.snapshot()

    def decide(self, planner_input: Document) -> ActionDocument:
        """The ``planner_action.v1`` to execute for one ``planner_input.v1``, given as a dict, JSON bytes or str.

        Raises :class:`planner_core.errors.DataError` for an input that does not fit its contract, and
        :class:`planner_core.errors.PlannerError` where its own rules leave no action at all.
        """
        model = self._model
        request = read_request(planner_input)
        predicted = self._consult(model, [request], self._log is not None)[0]
        return self._conclude(model, request, predicted, self._log is not None).action

    def conclude(self, request: Request, probs: NDArray[np.float32]) -> ActionDocument:
        """The last step of :meth:`decide`: from the model's answer, float32 [n_joint], to the action.

        Probabilities alone do not say what is hardly worse, so an issue that explores gets the model's own action.
        """
        model = self._model
        return self._conclude(model, request, most_probable(model, [request], probs[None])[0]).action

    def plan(self, planner_input: Document) -> Plan:
        """:meth:`decide`, with the executed plan, the model's own prediction and the odds of the decision beside it."""
        model = self._model
        request = read_request(planner_input)
        predicted = self._consult(model, [request], True)[0]
        decided = self._conclude(model, request, predicted, True)
        prediction = None
        if predicted.action is not None:
            own = Choice(predicted.action, predicted.confidence)
            prediction = action_document(model, predicted.action, request.digest, own)
        settled, propensities = decided.settled, decided.settled.propensities or {}
        return Plan(
            decided.action,
            executed_plan(settled.action, decided.action["reason"]),
            prediction,
            settled.arm,
            propensities[action_key(settled.action, request.x.job_type)],
            propensities,
            decided.decision_id,
            decided.expected,
        )

    def decide_batch(self, planner_inputs: Sequence[Located]) -> list[ActionDocument]:
        """The actions of many inputs, in their order, from one session call; nothing is decided if one is refused.

        An input may come as (source, line or None, document), which is then named in errors.
        """
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

        An input may come as (source, line or None, document), which is then named in errors. One that is refused raises
        after the answers of all before it; with ``on_error`` what that makes of the error takes the action's place
        instead.
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
        model, whole = self._model, self._log is not None
        for request, predicted in zip(requests, self._consult(model, requests, whole), strict=True):
            yield self._conclude(model, request, predicted, whole).action

    def _consult(self, model: Model, requests: Sequence[Request], whole: bool = False) -> list[Choice]:
        """What the model would do with each request, and for the ``whole`` of a decision what it expects."""
        if not self._settlement.asks:
            off = self.mode == "off"
            reason, detail = (MODE_OFF, "the heuristic decides") if off else (ARM_BASELINE, "the share is 0")
            return [Choice(None, None, reason, detail)] * len(requests)
        predictor, inputs = model.predictor, [request.x for request in requests]
        if predictor is None:
            return [Choice(None, None, BUNDLE_UNUSABLE, str(model.unusable))] * len(requests)
        outcomes = None
        try:
            if model.weights is not None and (whole or self.rollout.explore > 0.0):
                probs, outcomes = cast(OutcomePredictor, predictor).answer(inputs)
                _check(outcomes, (len(inputs), 3, len(model.space.actions)))
            else:
                probs = predictor.action_probs(inputs)
            _check(probs, (len(inputs), len(model.space.actions)))
        except BROKEN as problem:
            if is_foreign(problem):
                raise
            return [self._failed(problem)] * len(requests)
        choices = most_probable(model, requests, probs)
        if outcomes is None:
            return choices
        return [choice._replace(outcomes=row) for choice, row in zip(choices, outcomes, strict=True)]

    def _failed(self, problem: Exception) -> Choice:
        """Whatever the session raised, the issue still has to be decided."""
        kind, said = type(problem.__cause__ or problem).__name__, describe(problem)
        if self._tally.failed(kind):
            logger.warning("a session call failed, the baseline decides (%s; counted from now on)", said)
        return Choice(None, None, INFERENCE_FAILED, said)

    def _conclude(self, model: Model, request: Request, predicted: Choice, whole: bool = False) -> Decided:
        """One decision, counted, logged and told; ``whole`` as of :meth:`Settlement.settle`."""
        settled = self._settlement.settle(model, request, predicted, whole)
        document = action_document(model, settled.action, request.digest, settled.choice)
        decided = Decided(document, settled)
        if whole:
            decided = Decided(document, settled, new_decision_id(), _expected(model, request, predicted, settled))
        if self._log is not None and not self._log.add(request, decided):
            self._tally.unlogged()
        self._tally.decided(settled.choice.reason, settled.arm)
        if self._on_decision is not None:
            self._on_decision(document)
        return decided

    def _fitting(self, model: Model) -> Model:
        """``model``, unless this planner is to explore and it cannot say what it expects."""
        if self.rollout.explore > 0.0 and model.predictor is not None and model.weights is None:
            raise ConfigError(
                f"explore = {self.rollout.explore:g}: policy '{model.policy or 'given'}' predicts no outcomes, so it "
                "cannot be said which actions are hardly worse than its own; set explore to 0 or use a policy that does"
            )
        return model


def _check(answer: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    if answer.shape != shape or answer.dtype.kind != "f":
        raise ValueError(f"the answer is {answer.dtype} {answer.shape}")


def _expected(model: Model, request: Request, predicted: Choice, settled: Settled) -> ExpectedDocument | None:
    if predicted.outcomes is None or settled.baseline is None:
        return None
    return {
        "action": expected_of(model, request, settled.action, predicted.outcomes),
        "baseline": expected_of(model, request, settled.baseline, predicted.outcomes),
    }


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
