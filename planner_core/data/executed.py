"""What was run of an example, from the words of a log to numbers: its swarm, its class, its propensities.

A log may name a swarm we do not know and budgets that are no bins. What is made of them is decided here, once, for the
label of an example, for its arrays and for the keys of a logging distribution.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import (
    NA,
    NA_STANDS_FOR,
    SWARM_IDS,
    Action,
    ActionSpace,
    job_type_index,
    nearest_action,
    nearest_bin,
    resolve,
    valid_actions,
)
from planner_core.errors import DataError

NOT_EVIDENCE = ("infra*", "sandbox*", "rate_limit*", "ratelimit*", "overloaded*", "service_unavailable*")
"""Patterns of the fail codes that say nothing of the agent: the machine room, the sandbox, a provider's limits."""

PROPENSITY_SLACK = 1e-3
"""How far the sum of logged probabilities may lie above 1, since loggers round."""

_SPACE = ActionSpace()
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_KEY_FORM = '"swarm|candidates|minutes|iterations" in whole numbers'

Resolved = tuple[int, int, int, int]
"""(position of the swarm in SWARM_IDS, candidates, minutes, iterations)."""


def swarm_of(name: str | None, candidates: int | None) -> str:
    """The swarm that ran: ``name`` where we know it, else serial for one agent (or an unknown number), else a vote."""
    if name in SWARM_IDS:
        return name
    return SWARM_IDS[0] if candidates is None or candidates <= 1 else SWARM_IDS[1]


@lru_cache(maxsize=4096)
def label_of(swarm: str, candidates: int | None, minutes: int | None, iterations: int | None, job_type: str) -> Action:
    """The executed action on the bins: None is NA; then the rules (serial runs one candidate, code iterates not)."""
    action = Action(
        swarm,
        1 if swarm == SWARM_IDS[0] else nearest_bin(candidates, _SPACE.max_candidates_bins),
        nearest_bin(minutes, _SPACE.max_minutes_bins),
        NA if job_type == "code" else nearest_bin(iterations, _SPACE.max_iterations_bins),
    )
    return nearest_action(action, valid_actions(job_type, _SPACE))


@lru_cache(maxsize=4096)
def resolved_run(
    swarm: str, candidates: int | None, minutes: int | None, iterations: int | None, job_type: str
) -> Resolved:
    """What a run's raw budgets mean; None is the number that NA stands for."""
    budgets = (NA if value is None else value for value in (candidates, minutes, iterations))
    return resolve(Action(swarm, *budgets), job_type)


@lru_cache(maxsize=4096)
def nearest_class(resolved: Resolved, job_type: str) -> int:
    """The canonical joint class nearest to a resolved action; NA takes part as the 240 minutes it stands for."""
    swarm, candidates, minutes, iterations = resolved
    below_na = max(b for b in _SPACE.max_minutes_bins if b != NA)
    unlimited = abs(NA_STANDS_FOR["minutes"] - minutes) < abs(minutes - below_na)
    action = label_of(SWARM_IDS[swarm], candidates, None if unlimited else minutes, iterations, job_type)
    return int(_SPACE.canonical[job_type_index(job_type), _SPACE.index[action]])


def not_evidence(fail_codes: Iterable[str], patterns: Sequence[str]) -> bool:
    """Whether a fail code matches a pattern (``*`` for any characters; case, ``-`` and blanks do not count)."""
    return any(_matches(code, tuple(patterns)) for code in fail_codes)


@lru_cache(maxsize=4096)
def _matches(code: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(_plain(code), _plain(pattern)) for pattern in patterns)


def _plain(code: str) -> str:
    return re.sub(r"[\s-]+", "_", code.strip().lower())


# ------------------------------------------------------------------------------------------------------- propensities


@dataclass(frozen=True)
class Distribution:
    """A logging distribution over resolved actions: ``actions`` int64 [k, 4], ``values`` float32 [k], all above 0."""

    actions: NDArray[np.int64]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.values)

    def of(self, action: Resolved) -> float:
        """Probability of a resolved action, 0 where it is not among them."""
        return float(self.values[(self.actions == np.array(action)).all(axis=1)].sum())


UNKNOWN = Distribution(np.zeros((0, 4), np.int64), np.zeros(0, np.float32))


def read_propensities(
    given: Mapping[str, float] | None, job_type: str, source: str, line: int | None, path: str
) -> Distribution:
    """The distribution of ``{"swarm|candidates|minutes|iterations": p}``, twins summed, ordered by resolved action.

    ``NA`` is accepted for the number it stands for. Raises :class:`DataError` at ``path`` for a key that cannot be read
    and for probabilities whose sum is above 1.
    """
    if not given:
        return UNKNOWN
    try:
        return _distribution(tuple(given.items()), job_type == "code")
    except _Unreadable as problem:
        where = path + problem.path
        raise DataError(source, line=line, path=where, found=problem.found, expected=problem.expected) from None


class _Unreadable(Exception):
    def __init__(self, path: str, found: str, expected: str) -> None:
        super().__init__(path)
        self.path, self.found, self.expected = path, found, expected


@lru_cache(maxsize=1024)  # few policies are logged, and each has few distributions
def _distribution(items: tuple[tuple[str, float], ...], code: bool) -> Distribution:
    summed: dict[Resolved, float] = {}
    for key, value in items:
        action = _read_key(key, "code" if code else "other")
        summed[action] = summed.get(action, 0.0) + value
    if (total := sum(summed.values())) > 1.0 + PROPENSITY_SLACK:
        raise _Unreadable("", f"probabilities that sum to {total:.6g}", "a sum of at most 1")
    kept = sorted((action, value) for action, value in summed.items() if value > 0.0)
    actions = np.array([action for action, _ in kept], np.int64).reshape(-1, 4)
    return Distribution(actions, np.array([value for _, value in kept], np.float32))


def _read_key(key: str, job_type: str) -> Resolved:
    name, *numbers = key.rsplit("|", 3)
    if len(numbers) != 3 or not name or not all(n == NA or _NUMBER.match(n) for n in numbers):
        raise _Unreadable(f"[{key[:60]!r}]", "that key", f"a key {_KEY_FORM}")
    candidates, minutes, iterations = (None if n == NA else int(n) for n in numbers)
    return resolved_run(swarm_of(name, candidates), candidates, minutes, iterations, job_type)


Note = Literal["contradicted", "corrected", "from the distribution"]


def propensity_of(
    logged: float | None, distribution: Distribution, action: Resolved
) -> tuple[float | None, Distribution, Note | None]:
    """What is known of a run's propensity: that of its action (None: nothing), the distribution, and what was done.

    The distribution counts where there is one, since it sums twins. Where it gives what was run no probability the plan
    was not the policy's (``contradicted``: a fallback, a change by hand), so that nothing is known of either.
    """
    if not len(distribution):
        return (None, UNKNOWN, "contradicted") if logged == 0.0 else (logged, UNKNOWN, None)
    own = distribution.of(action)
    if own <= 0.0:
        return None, UNKNOWN, "contradicted"
    if logged is None:
        return own, distribution, "from the distribution"
    return own, distribution, "corrected" if abs(own - logged) > PROPENSITY_SLACK else None
