"""Telling the training callbacks how a run goes; one that fails is left out from then on, and the training never is."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from planner_core.errors import describe, suggestion
from planner_core.plugins.collecting import handed
from planner_core.plugins.records import TrainingCallback, TrainingRun
from planner_core.training import EpochReport

logger = logging.getLogger("planner")

METHODS = tuple(name for name in vars(TrainingCallback) if name.startswith("on_"))


class Callbacks:
    """The callbacks of one run, each beside the name that a warning gives it."""

    def __init__(self, named: Iterable[tuple[str, Any]]) -> None:
        self._active = [(name, callback) for name, callback in named if _sound(name, callback)]

    @classmethod
    def collected(cls) -> Callbacks:
        """Those of the plugins, made anew by the hook ``planner_training_callbacks``."""
        given = handed("planner_training_callbacks")
        return cls((f"{type(callback).__name__} of {plugin.origin}", callback) for plugin, callback in given)

    def begin(self, run: TrainingRun) -> None:
        """Before the policy's ``fit``."""
        self._tell("on_train_begin", lambda: run)

    def epoch(self, report: EpochReport) -> None:
        """After an epoch. ``TypeError`` for what is no report: that is the policy's mistake, not a callback's."""
        if not isinstance(report, EpochReport):
            raise TypeError(f"on_epoch was given a {type(report).__name__}, expected an EpochReport")
        self._tell("on_epoch_end", lambda: report)

    def end(self, results: Mapping[str, Any]) -> None:
        """When the run is whole; each callback gets a copy, so that what it does to it stays with it."""
        self._tell("on_train_end", lambda: copy.deepcopy(results))

    def failed(self, problem: BaseException) -> None:
        """When the run ends by an exception, an interrupt included."""
        self._tell("on_train_failed", lambda: problem)

    def _tell(self, method: str, what: Callable[[], Any]) -> None:
        told = []
        for name, callback in self._active:
            call, given = getattr(callback, method, None), what()
            try:
                if call is not None:
                    call(given)
            except (Exception, SystemExit) as problem:
                said = f"the training callback {name} failed in {method} and is left out from here on"
                logger.warning("%s: %s", said, describe(problem))
                logger.debug("the traceback", exc_info=problem)
            else:
                told.append((name, callback))
        self._active = told


def _sound(name: str, callback: Any) -> bool:
    """Whether a callback has any method that will be called; a misspelt one would be silence."""
    given = [word for word in dir(callback) if word.startswith("on_") and _its_own(callback, word)]
    for word in given:
        if word not in METHODS:
            logger.warning("the training callback %s has no use for %s%s", name, word, suggestion(word, METHODS))
    if not set(given) & set(METHODS):
        logger.warning("the training callback %s has none of %s; it is left out", name, ", ".join(METHODS))
        return False
    return True


def _its_own(callback: Any, word: str) -> bool:
    """Whether a callback has a method, and not only from the base class, where it does nothing."""
    method = getattr(callback, word, None)
    return callable(method) and getattr(method, "__func__", None) is not vars(TrainingCallback).get(word, method)
