"""The trials of a study in Optuna's journal: one file that a killed process leaves whole, and that others read too.

What to try next is asked of a sampler that is made anew for every trial, from the seed of the study and the number of
the trial. So a study that was interrupted goes on as if it had not been, and the same command gives the same trials.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from planner_core import DataError, Dimension, IntegerRange, RealRange, SearchSpace, TrialResult

_NAME = "study"
_OURS = "result-{}"
DONE = (TrialState.COMPLETE, TrialState.FAIL)


def distribution(one: Dimension) -> BaseDistribution:
    """A dimension as Optuna has it."""
    if isinstance(one, RealRange):
        return FloatDistribution(float(one.low), float(one.high), log=one.log)
    if isinstance(one, IntegerRange):
        return IntDistribution(one.low, one.high, log=one.log)
    return CategoricalDistribution(one.values)


MAX_LINE = 1 << 20
"""Bytes of a line; the longest we cause are some hundred."""

_EXPECTED = "the journal of an Optuna study"


class _Entry(msgspec.Struct):
    """What every line of a journal has."""

    op_code: int


class Journal:
    """The study in the file ``path``, made where there is none; ``default`` is what is tried first.

    Raises :class:`DataError` where the file is no journal. The directory is claimed by whoever opens it.
    """

    def __init__(self, path: Path, space: SearchSpace, default: Mapping[str, Any], seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._seed = seed
        self._space = {key: distribution(one) for key, one in space.items()}
        _mend(path)
        try:
            storage = JournalStorage(JournalFileBackend(str(path)))
            self._study = optuna.create_study(
                storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True
            )
            known = self._study.get_trials(deepcopy=False)
        except OSError:
            raise
        except Exception as problem:  # whatever Optuna makes of lines that are none of its own
            expected = f"{_EXPECTED} ({type(problem).__name__}); choose another --out"
            raise DataError(str(path), expected=expected) from None
        if not known:
            self._study.enqueue_trial({key: default[key] for key in self._space})

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials that were begun, by number."""
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]

    def interrupted(self) -> list[FrozenTrial]:
        """Trials that were begun and not ended; nobody is at work on them while the directory is claimed."""
        return [trial for trial in self.trials if trial.state == TrialState.RUNNING]

    def ask(self) -> FrozenTrial:
        """The next trial, begun."""
        number = len(self.trials)
        state = np.random.SeedSequence([self._seed, number]).generate_state(1)
        self._study.sampler = optuna.samplers.TPESampler(seed=int(state[0]))
        asked = self._study.ask(fixed_distributions=self._space)
        return self.trials[asked.number]

    def values(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """What a trial tries, by dotted key; None where it was cut off before that was written down."""
        if set(trial.params) != set(self._space):
            return None
        return {key: trial.params[key] for key in self._space}

    def tell(self, number: int, result: TrialResult, same_as: int | None = None) -> None:
        """Write down how a trial ended."""
        found = result.value
        row: dict[str, Any] = {"error": result.error, "same_as": same_as}
        if found is not None:
            row |= {"low": found.low, "high": found.high, "supported": found.supported}
        self._study.set_user_attr(_OURS.format(number), row)
        if found is None:
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, found.utility)

    def told(self, number: int) -> dict[str, Any]:
        """What :meth:`tell` wrote beside the utility."""
        return dict(self._study.user_attrs.get(_OURS.format(number), {}))

    def looks(self) -> list[int]:
        """Numbers of the trials that were judged on the test split, in that order."""
        return list(self._study.user_attrs.get("looks", []))

    def look(self, number: int) -> list[int]:
        """Write down that a trial is about to be judged on the test split; returns all that were."""
        seen: Sequence[int] = self.looks()
        if number not in seen:
            self._study.set_user_attr("looks", [*seen, number])
        return self.looks()


def _mend(path: Path) -> None:
    """Remove what a killed process of ours left: half of the last line, and Optuna's lock.

    Raises :class:`DataError` for a file whose whole lines are none of a journal, before anything is written to it.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if not path.is_file():
        return
    whole = 0
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
            if not line.endswith(b"\n") and stream.read(1) == b"":
                break
            try:
                msgspec.json.decode(line, type=_Entry)
            except msgspec.DecodeError:
                raise DataError(str(path), line=number, expected=f"{_EXPECTED}; choose another --out") from None
            whole += len(line)
    if whole < path.stat().st_size:
        os.truncate(path, whole)
