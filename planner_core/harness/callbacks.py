"""Telling the training callbacks how a run goes; one that fails is left out from then on, and the training never is."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

from planner_core.errors import describe, suggestion
from planner_core.plugins.loading import collect_with_origin
from planner_core.plugins.records import TrainingRun
from planner_core.training import EpochReport

logger = logging.getLogger("planner")

METHODS = ("on_train_begin", "on_epoch_end", "on_train_end", "on_train_failed")


class Callbacks:
    """The callbacks of one run, each with the name that a warning gives it."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._active = {name: callback for name, callback in named.items() if _sound(name, callback)}

    @classmethod
    def collected(cls) -> Callbacks:
        """Those of the plugins, made anew by the hook ``planner_training_callbacks``."""
        named: dict[str, Any] = {}
        for plugin, callback in collect_with_origin("planner_training_callbacks"):
            name = f"{type(callback).__name__} of {plugin.origin}"
            named[name if name not in named else f"{name} ({len(named)})"] = callback
        return cls(named)

    def begin(self, run: TrainingRun) -> None:
        """Before the policy's ``fit``."""
        self._tell("on_train_begin", run)

    def epoch(self, report: EpochReport) -> None:
        """After an epoch. ``TypeError`` for what is no report: that is the policy's mistake, not a callback's."""
        if not isinstance(report, EpochReport):
            raise TypeError(f"on_epoch was given a {type(report).__name__}, expected an EpochReport")
        self._tell("on_epoch_end", report)

    def end(self, results: Mapping[str, Any]) -> None:
        """When the run is whole; callbacks get a copy, so that what they do to it stays with them."""
        for name in list(self._active):
            self._tell_one(name, "on_train_end", copy.deepcopy(results))

    def failed(self, problem: BaseException) -> None:
        """When the run ends by an exception, an interrupt included."""
        self._tell("on_train_failed", problem)

    def _tell(self, method: str, what: Any) -> None:
        for name in list(self._active):
            self._tell_one(name, method, what)

    def _tell_one(self, name: str, method: str, what: Any) -> None:
        call = getattr(self._active[name], method, None)
        if call is None:
            return
        try:
            call(what)
        except (Exception, SystemExit) as problem:
            logger.warning(
                "the training callback %s failed in %s and is left out from here on: %s",
                name,
                method,
                describe(problem),
            )
            logger.debug("the traceback", exc_info=problem)
            del self._active[name]


def _sound(name: str, callback: Any) -> bool:
    """Whether a callback has only methods that will be called; a misspelt one would be silence."""
    given = [word for word in dir(callback) if word.startswith("on_") and callable(getattr(callback, word, None))]
    for word in given:
        if word not in METHODS:
            logger.warning("the training callback %s has no use for %s%s", name, word, suggestion(word, METHODS))
    if not any(word in METHODS for word in given):
        logger.warning("the training callback %s has none of %s; it is left out", name, ", ".join(METHODS))
        return False
    return True
