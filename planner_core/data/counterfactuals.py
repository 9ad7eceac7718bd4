"""What came of several actions that were all tried on the issue of one run, as a bench of candidates does.

They become ``candidates`` of the run's example, so that its outcomes are known for more than what was run, and the one
that won becomes its label: the best of k, which for outcomes of real runs is partly luck.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from planner_core.action_space import Action, ActionSpace, obeys
from planner_core.contracts import Candidate
from planner_core.errors import DataError

PATH = "$.counterfactuals"
_SPACE = ActionSpace()


def best_of(candidates: Sequence[Candidate], job_type: str, source: str, line: int | None) -> Action | None:
    """The action that won, None where none did.

    Raises :class:`DataError` for an action of another action space or one that the rules forbid ``job_type``, for one
    that stands there twice, and for a second winner.
    """
    winner: Action | None = None
    seen: set[Action] = set()
    for i, candidate in enumerate(candidates):
        action = Action(*candidate.action)
        found = "(" + ", ".join(map(str, action)) + ")"
        if action not in _SPACE.index or not obeys(action, job_type):
            expected = f"an action of the default action space that its rules allow for job type {job_type}"
            raise DataError(source, line=line, path=f"{PATH}[{i}].action", found=found, expected=expected)
        if action in seen:
            expected = "each action once"
            raise DataError(source, line=line, path=f"{PATH}[{i}].action", found=found, expected=expected)
        seen.add(action)
        if candidate.is_winner:
            if winner is not None:
                path, expected = f"{PATH}[{i}].is_winner", "one winner at most"
                raise DataError(source, line=line, path=path, found="a second one", expected=expected)
            winner = action
    return winner


def several_known(candidates: Sequence[Candidate] | None) -> bool:
    """Whether the outcomes of two or more actions are known."""
    return candidates is not None and len(candidates) >= 2


def won(candidates: Sequence[Candidate] | None) -> bool:
    """Whether one of them is the best of them."""
    return any(candidate.is_winner for candidate in candidates or ())


def candidates_json(candidates: Sequence[Candidate] | None) -> msgspec.Raw | None:
    """``candidates`` of an example, None where nothing is known beyond the run itself."""
    return msgspec.Raw(msgspec.json.encode(list(candidates))) if candidates else None
