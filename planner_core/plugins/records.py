"""What a plugin may add beside policies: training callbacks, metrics, bench stages and policy checks.

Each is a small record that a hook of :mod:`planner_core.plugins.hookspecs` hands over.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.decision import Decision
from planner_core.errors import CheckBlocked, CheckDoesNotApply, MissingExtra
from planner_core.plugins.guard import policy_class
from planner_core.policy import BasePolicy, PolicyContext, PolicySpec, TrainablePolicy
from planner_core.settings import make_settings
from planner_core.training import EpochReport, FitReport, TrainingSession

if TYPE_CHECKING:
    from planner_core.examples import Examples
    from planner_core.runtime.planner import Planner

T = TypeVar("T")


@dataclass(frozen=True)
class TrainingRun:
    """What a callback learns of a run before it begins.

    ``directory`` is where the run will stand when it is whole, ``work_directory`` where it is being made; what a
    callback writes there (under a name of its own) is in the finished run, and is found again when the run is resumed.
    ``config`` is the effective configuration and ``dataset`` the directory, hash and sizes of the data, both as
    written to the run. ``resumed``: an interrupted run is taken up, so the first epoch reported need not be 1.
    ``show_progress``: somebody watches a terminal; a callback that draws must not where this is False.
    """

    policy: str
    directory: Path
    work_directory: Path
    seed: int
    config: Mapping[str, Any]
    dataset: Mapping[str, Any]
    resumed: bool = False
    show_progress: bool = False


class TrainingCallback:
    """Told of a training run as it goes; may watch, must not change anything. A subclass overrides what it wants.

    One that raises costs a warning and is told nothing more of that run; the training goes on. There is no time limit:
    the training waits for every call. A class of its own with some of these methods will do as well.
    """

    def on_train_begin(self, run: TrainingRun) -> None:
        """Before the first epoch."""

    def on_epoch_end(self, report: EpochReport) -> None:
        """After every epoch, or whatever the policy counts; its checkpoint, if it keeps one, is written by then."""

    def on_train_end(self, results: Mapping[str, Any]) -> None:
        """After the run is whole, in its ``directory``; ``results`` is a copy of its ``results.json``."""

    def on_train_failed(self, problem: BaseException) -> None:
        """Instead of :meth:`on_train_end` where the run ends by an exception (no ``Exception``: by the user).

        A process that is killed says nothing; its run may be resumed by another.
        """


@dataclass(frozen=True)
class Metric:
    """One more figure of an evaluation, under its own ``name`` in ``results.json``, ``--json`` and the table.

    ``compute`` gets the decisions of a split, its examples and the action space (``decision.action`` indexes its
    ``actions``), and returns a finite number, or None where it does not apply. It is called for the policy and for the
    heuristic on the same rows. ``better`` is the arrow in the table: 1 more, -1 less, 0 neither.
    """

    name: str
    summary: str
    compute: Callable[[Decision, Examples, ActionSpace], float | None]
    better: int = 0


@dataclass(frozen=True)
class BenchSetup:
    """What a bench stage may use: a loaded planner and the same inputs in both forms, as many of each."""

    planner: Planner
    bundle: Path
    raw: Sequence[bytes]
    features: NDArray[np.float32]
    job_type: NDArray[np.int64]


@dataclass(frozen=True)
class BenchStage:
    """One more thing that ``planner bench`` measures, in turns with the others.

    ``prepare`` returns the call to be timed, which gets the number of the turn, or None where it does not apply.
    """

    name: str
    summary: str
    prepare: Callable[[BenchSetup], Callable[[int], object] | None]


@dataclass(frozen=True)
class CheckSetup:
    """What a policy check may use: the policy under test, a small world for it, and a place to write.

    ``directory``, ``train`` and ``valid`` are the check's own; the directory is empty. ``values`` are the
    configuration keys the policy is tested with, ``shared`` is what the checks of one policy keep for each other (see
    :meth:`once`), ``notes`` what a check found that is worth reading where it passes.
    """

    spec: PolicySpec
    train: Examples
    valid: Examples
    directory: Path
    seed: int
    values: Mapping[str, Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def context(self) -> PolicyContext:
        """Default encoder and action space, and the seed of this run of the kit."""
        return PolicyContext(seed=self.seed)

    def note(self, text: str) -> None:
        """Report what was found, measured figures for instance."""
        self.notes.append(text)

    def once(self, check: str, make: Callable[[], T]) -> T:
        """``make()``, called once for a policy; what it gave, or raised, is kept under the name of a check."""
        if check not in self.shared:
            try:
                self.shared[check] = (make(), None)
            except Exception as raised:
                self.shared[check] = (None, raised)
        made, problem = self.shared[check]
        if problem is not None:
            raise problem
        return cast(T, made)

    def after(self, check: str, make: Callable[[], T]) -> T:
        """:meth:`once`, for the other checks: where ``check`` fails they cannot run, and say which one to look at."""
        try:
            return self.once(check, make)
        except (MissingExtra, CheckBlocked, CheckDoesNotApply):
            raise
        except Exception:  # whatever it was, the check of that name reports it
            raise CheckBlocked(f"the check '{check}' failed") from None

    def config(self, **wanted: Any) -> Any:
        """The configuration under test. ``wanted`` replaces values, where the policy has such a key."""
        known = self.spec.config_type.__struct_fields__
        values = {**self.values, **{key: value for key, value in wanted.items() if key in known}}
        try:
            return make_settings(self.spec.name, self.spec.config_type, values).policy
        except Exception:  # the configuration is the plugin's code; the check of that name reports what it raised
            raise CheckBlocked("the check 'config-defaults' failed") from None

    def make(self, context: PolicyContext | None = None, **wanted: Any) -> BasePolicy:
        """A fresh policy, not trained; ``wanted`` as in :meth:`config`.

        It is the plugin's own class, without the guard that the harness puts around it, so that a check sees what the
        policy itself does.
        """
        config = self.config(**wanted)
        try:
            return policy_class(self.spec)(config, context or self.context)
        except MissingExtra:
            raise
        except Exception:  # so is the class
            raise CheckBlocked("the check 'protocol' failed") from None

    def fitted(self) -> tuple[BasePolicy, FitReport | None]:
        """The policy trained on ``train``, once for all checks, and the report of its fit; raises what ``fit`` raised.

        A policy that does not learn comes as it is made, without a report. The policy must not be changed.
        """
        return self.once("fit", self._fit)

    def trained(self) -> BasePolicy:
        """The policy of :meth:`fitted`, for checks that are not about fitting."""
        return self.after("fit", self._fit)[0]

    def _fit(self) -> tuple[BasePolicy, FitReport | None]:
        policy = self.make()
        if not self.spec.trainable:
            return policy, None
        place = Path(tempfile.mkdtemp(prefix="fit-", dir=self.directory.parent))  # lives as long as the policy
        # Copies: what one policy does to its examples is one check's affair, and not to spoil the rest.
        train, valid = (part.take(np.arange(len(part))) for part in (self.train, self.valid))
        return policy, cast(TrainablePolicy, policy).fit(TrainingSession(train, valid, place))


@dataclass(frozen=True)
class PolicyCheck:
    """One check of the conformance kit: its ``name``, the one-line ``reason`` it exists, and how it runs.

    ``run`` raises :class:`planner_core.errors.CheckFailed` with what was found where the policy does not conform, and
    :class:`planner_core.errors.CheckDoesNotApply` where the question makes no sense for this policy.
    """

    name: str
    reason: str
    run: Callable[[CheckSetup], None]
