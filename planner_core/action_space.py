"""The discrete action space: swarm x candidates x minutes x iterations, and the rules between them.

The default space has 2 x 4 x 6 x 5 bins. Under the general rule (serial_handoff means one candidate) 150 of the 240
combinations remain; these are the classes of a joint classifier, numbered in the order of :func:`valid_actions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from planner_core.bounds import bounded_cache
from planner_core.contracts import (
    Bin,
    BudgetsDocument,
    Label,
    PlannerAction,
    RequestActionSpace,
    RuleCondition,
    RuleConsequence,
    ValidityRule,
)
from planner_core.errors import DataError
from planner_core.jsonio import convert

NA: Literal["NA"] = "NA"
HEADS = ("swarm", "candidates", "minutes", "iterations")
JOB_TYPES = ("code", "fab-world", "fab-asset", "other")

SWARM_IDS = ("serial_handoff", "speculate_vote")
CANDIDATES_BINS: tuple[Bin, ...] = (1, 2, 3, NA)
MINUTES_BINS: tuple[Bin, ...] = (15, 30, 45, 60, 120, NA)
ITERATIONS_BINS: tuple[Bin, ...] = (1, 2, 3, 5, NA)

DEFAULT_RULES = (
    ValidityRule(
        "serial_handoff runs exactly one candidate",
        RuleCondition(swarm_id="serial_handoff"),
        RuleConsequence(max_candidates_bin=1),
    ),
    ValidityRule("code jobs do not iterate", RuleCondition(job_type="code"), RuleConsequence(max_iterations_bin=NA)),
    ValidityRule(
        "fab-world jobs name their number of candidates",
        RuleCondition(job_type="fab-world"),
        RuleConsequence(max_candidates_bin_not=NA),
    ),
)

NA_STANDS_FOR = {"candidates": 2, "minutes": 240, "iterations": 2}
"""What an executor does with a budget that is NA; minutes are those after which any run is cut."""

_BIN_FIELDS = ("swarm_id", "max_candidates_bin", "max_minutes_bin", "max_iterations_bin")


class Action(NamedTuple):
    """One point of the action space, in the order of the joint classes."""

    swarm: str
    candidates: Bin
    minutes: Bin
    iterations: Bin


@dataclass(frozen=True)
class EncodedAction:
    """An action as one class index a head."""

    swarm_idx: int
    max_candidates_idx: int
    max_minutes_idx: int
    max_iterations_idx: int

    def __iter__(self) -> Any:
        return iter((self.swarm_idx, self.max_candidates_idx, self.max_minutes_idx, self.max_iterations_idx))


@dataclass(frozen=True)
class ActionSpace:
    """Bins of each head and the rules between them. Hashable, so that masks can be cached by it."""

    swarm_ids: tuple[str, ...] = SWARM_IDS
    max_candidates_bins: tuple[Bin, ...] = CANDIDATES_BINS
    max_minutes_bins: tuple[Bin, ...] = MINUTES_BINS
    max_iterations_bins: tuple[Bin, ...] = ITERATIONS_BINS

    @classmethod
    def from_request(cls, request: RequestActionSpace) -> ActionSpace:
        """The bins of a request, in its own order and without repetitions. Its rules are read apart."""
        return cls(
            tuple(dict.fromkeys(request.swarm_ids)),
            tuple(dict.fromkeys(request.max_candidates_bins)),
            tuple(dict.fromkeys(request.max_minutes_bins)),
            tuple(dict.fromkeys(request.max_iterations_bins)),
        )

    @property
    def head_bins(self) -> tuple[tuple[Any, ...], ...]:
        """The bins of the four heads, in the order of :data:`HEADS`."""
        return (self.swarm_ids, self.max_candidates_bins, self.max_minutes_bins, self.max_iterations_bins)

    @property
    def head_sizes(self) -> tuple[int, int, int, int]:
        """Number of classes of each head; (2, 4, 6, 5) by default."""
        a, b, c, d = (len(bins) for bins in self.head_bins)
        return a, b, c, d

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """The joint classes: every action the general rules allow, 150 by default."""
        return valid_actions("other", self)

    @cached_property
    def index(self) -> dict[Action, int]:
        """Joint class of an action."""
        return {action: i for i, action in enumerate(self.actions)}

    @cached_property
    def head_index(self) -> NDArray[np.int64]:
        """Head classes of every joint class, int64 [n_joint, 4]."""
        positions = [{value: i for i, value in enumerate(bins)} for bins in self.head_bins]
        rows = [[positions[h][action[h]] for h in range(4)] for action in self.actions]
        return np.array(rows, np.int64).reshape(-1, 4)

    @cached_property
    def incidence(self) -> NDArray[np.float32]:
        """0/1 float32 [sum(head_sizes), n_joint]: which head classes make up each joint class."""
        offsets = np.cumsum((0, *self.head_sizes))[:4]
        matrix = np.zeros((sum(self.head_sizes), len(self.actions)), np.float32)
        for head in range(4):
            matrix[offsets[head] + self.head_index[:, head], np.arange(len(self.actions))] = 1.0
        return matrix

    @cached_property
    def joint_masks(self) -> NDArray[np.bool_]:
        """bool [job types, n_joint]: the joint classes valid for each of :data:`JOB_TYPES`."""
        masks = np.zeros((len(JOB_TYPES), len(self.actions)), bool)
        for row, job_type in enumerate(JOB_TYPES):
            masks[row, [self.index[action] for action in valid_actions(job_type, self)]] = True
        return masks

    @cached_property
    def head_masks(self) -> dict[str, NDArray[np.bool_]]:
        """bool [job types, classes] a head: the classes that occur in some valid action of the job type."""
        out = {}
        for head, (name, size) in enumerate(zip(HEADS, self.head_sizes, strict=True)):
            mask = np.zeros((len(JOB_TYPES), size), bool)
            for row in range(len(JOB_TYPES)):
                mask[row, self.head_index[self.joint_masks[row], head]] = True
            out[name] = mask
        return out

    @cached_property
    def resolved(self) -> NDArray[np.int64]:
        """int64 [job types, n_joint, 4]: every joint class as :func:`resolve` gives it for each job type."""
        return np.array([[resolve(a, job, self.swarm_ids) for a in self.actions] for job in JOB_TYPES], np.int64)

    @cached_property
    def canonical(self) -> NDArray[np.int64]:
        """int64 [job types, n_joint]: of the joint classes that resolve alike (twins), the one that stands for them.

        It is a valid one where there is one, and of those the one with the most explicit numbers.
        """
        out = np.zeros(self.resolved.shape[:2], np.int64)
        for job, rows in enumerate(self.resolved):
            rank = [(not self.joint_masks[job, i], a.count(NA), i) for i, a in enumerate(self.actions)]
            best: dict[tuple[int, ...], int] = {}
            for _, _, i in sorted(rank):
                best.setdefault(tuple(rows[i]), i)
            out[job] = [best[tuple(row)] for row in rows]
        return out

    def to_dict(self) -> dict[str, Any]:
        """The space as the ``action_space`` of a ``planner_input.v1``, with the default rules."""
        return {
            "swarm_ids": list(self.swarm_ids),
            "max_candidates_bins": list(self.max_candidates_bins),
            "max_minutes_bins": list(self.max_minutes_bins),
            "max_iterations_bins": list(self.max_iterations_bins),
            "validity_rules": default_rules(),
        }


def default_rules() -> list[dict[str, Any]]:
    """The validity rules in their JSON form: ``{description, if, then}``."""
    rules = [msgspec.to_builtins(rule) for rule in DEFAULT_RULES]
    return [{key: value for key, value in rule.items() if value is not None} for rule in rules]


def action_space_for_swarms(swarm_ids: Iterable[str]) -> ActionSpace:
    """The default bins for these swarms; repetitions and empty names are dropped."""
    return ActionSpace(swarm_ids=tuple(dict.fromkeys(name for name in swarm_ids if name)))


def job_type_index(job_type: str) -> int:
    """Position in :data:`JOB_TYPES`; any unknown job type is ``other``."""
    return JOB_TYPES.index(job_type) if job_type in JOB_TYPES else len(JOB_TYPES) - 1


def resolve(action: Action, job_type: str, swarm_ids: Sequence[str] = SWARM_IDS) -> tuple[int, int, int, int]:
    """(position of the swarm or -1, candidates, minutes, tries): what an action means once it is run.

    NA is the number it stands for; serial runs one candidate, and ``code`` makes one try whatever its iterations say.
    Actions of one meaning are twins: 96 of the 150 default actions differ, and 24 of the 30 for ``code``.
    """
    swarm = swarm_ids.index(action.swarm) if action.swarm in swarm_ids else -1
    numbers = zip(HEADS[1:], action[1:], strict=True)
    candidates, minutes, iterations = (NA_STANDS_FOR[name] if value == NA else int(value) for name, value in numbers)
    if action.swarm == SWARM_IDS[0]:
        candidates = 1
    return swarm, candidates, minutes, 1 if job_type == "code" else iterations


def obeys(action: Action, job_type: str, rules: Iterable[ValidityRule] = DEFAULT_RULES) -> bool:
    """Whether an action satisfies every rule that applies to it."""
    return all(
        _grants(rule.consequence, name, value)
        for rule in rules
        if rule.consequence is not None and _applies(rule, action.swarm, job_type)
        for name, value in zip(_BIN_FIELDS, action, strict=True)
    )


def _applies(rule: ValidityRule, swarm: str, job_type: str) -> bool:
    condition = rule.condition
    return condition is None or (condition.swarm_id in (UNSET, swarm) and condition.job_type in (UNSET, job_type))


def _grants(demand: RuleConsequence, name: str, value: Any) -> bool:
    """Whether a rule that applies lets the field ``name`` have this value."""
    return getattr(demand, name) in (UNSET, value) and getattr(demand, name + "_not") != value


def bin_key(value: Any) -> float:
    """Sort key of a bin: numbers ascending, NA last."""
    return float("inf") if value == NA else float(value)


def valid_actions(
    job_type: str, space: ActionSpace | None = None, rules: Iterable[ValidityRule] = DEFAULT_RULES
) -> tuple[Action, ...]:
    """Every action of ``space`` that obeys ``rules``, by (swarm, candidates, minutes, iterations).

    A rule's condition looks at job type and swarm only, so what the rules leave to one swarm is a product of bins: the
    work is one look at each rule and bin a swarm, and the actions themselves.
    """
    space = space or ActionSpace()
    rules = tuple(rules)
    scales = [sorted(bins, key=bin_key) for bins in space.head_bins[1:]]
    out: list[Action] = []
    for swarm in space.swarm_ids:
        demands = [rule.consequence for rule in rules if rule.consequence and _applies(rule, swarm, job_type)]
        left = [
            [value for value in bins if all(_grants(demand, name, value) for demand in demands)]
            for name, bins in zip(_BIN_FIELDS, ([swarm], *scales), strict=True)
        ]
        out += map(Action, *zip(*product(*left), strict=True)) if all(left) else ()
    return tuple(out)


def request_actions(job_type: str, request: RequestActionSpace) -> tuple[Action, ...]:
    """What a request allows: its own bins under its own rules, and under the default rules where that leaves anything.

    Empty where its rules contradict its bins.
    """
    return _request_actions(job_type, ActionSpace.from_request(request).head_bins, request.validity_rules)


@bounded_cache(1024, megabytes=8)
def _request_actions(
    job_type: str, bins: tuple[tuple[Any, ...], ...], rules: tuple[ValidityRule, ...]
) -> tuple[Action, ...]:
    space = ActionSpace(*bins)
    return valid_actions(job_type, space, (*rules, *DEFAULT_RULES)) or valid_actions(job_type, space, rules)


@bounded_cache(4096, megabytes=1)
def nearest_bin(value: int | None, bins: tuple[Bin, ...]) -> Bin:
    """The bin nearest to ``value``, the lower on a tie. None means no limit: NA, or the largest bin without NA."""
    numbers: list[int] = sorted(b for b in bins if isinstance(b, int))
    if not bins:
        raise ValueError("there is no bin to choose from")
    if value is None:
        return NA if NA in bins else numbers[-1]
    distances = [(abs(number - value), number) for number in numbers]
    return min(distances)[1] if distances else NA


def nearest_action(wanted: Action, allowed: Sequence[Action]) -> Action:
    """The allowed action nearest to ``wanted``; raises ValueError when nothing is allowed.

    Another swarm counts before anything else, then the bin steps summed over the three budgets. On a tie the one
    with fewer resources wins: candidates, then minutes, then iterations, then the order of the actions.
    """
    if wanted in allowed:
        return wanted
    scales = {head: sorted({a[head] for a in allowed} | {wanted[head]}, key=bin_key) for head in (1, 2, 3)}

    def cost(item: tuple[int, Action]) -> tuple[float, ...]:
        order, action = item
        steps = sum(abs(scale.index(action[h]) - scale.index(wanted[h])) for h, scale in scales.items())
        return (float(action.swarm != wanted.swarm), steps, *(bin_key(action[h]) for h in scales), order)

    return min(enumerate(allowed), key=cost)[1]


class ActionEncoder:
    """Between ``planner_action.v1`` and class indices."""

    def __init__(self, action_space: ActionSpace | None = None) -> None:
        self.action_space = action_space or ActionSpace()
        self._positions = [{value: i for i, value in enumerate(bins)} for bins in self.action_space.head_bins]

    def encode_label(self, label: Mapping[str, Any] | PlannerAction | Label) -> EncodedAction:
        """Class indices of a label; a value that is no bin of the space is a :class:`DataError`."""
        if not isinstance(label, PlannerAction | Label):
            label = convert(label, Label, "label_action")
        budgets = label.budgets
        values = (
            label.swarm_id,
            budgets.max_candidates_bin,
            budgets.max_minutes_bin,
            budgets.max_iterations_bin,
        )
        indices = []
        for head, value in enumerate(values):
            position = self._positions[head].get(value)
            if position is None:
                choices = ", ".join(str(b) for b in self.action_space.head_bins[head])
                raise DataError(
                    "label_action", path=_LABEL_PATHS[head], found=repr(value), expected=f"one of {choices}"
                )
            indices.append(position)
        return EncodedAction(*indices)

    def decode_action(
        self, swarm_idx: int, max_candidates_idx: int, max_minutes_idx: int, max_iterations_idx: int
    ) -> dict[str, Any]:
        """``{swarm_id, budgets}`` of four class indices."""
        space = self.action_space
        return action_dict(
            Action(
                space.swarm_ids[swarm_idx],
                space.max_candidates_bins[max_candidates_idx],
                space.max_minutes_bins[max_minutes_idx],
                space.max_iterations_bins[max_iterations_idx],
            )
        )

    def joint_index(self, encoded: EncodedAction) -> int | None:
        """Joint class of head indices, or None where the general rules forbid the combination."""
        bins = self.action_space.head_bins
        values = (bins[head][i] for head, i in enumerate(encoded))
        return self.action_space.index.get(Action(*values))


_LABEL_PATHS = ("$.swarm_id", *(f"$.budgets.{name}" for name in _BIN_FIELDS[1:]))


def action_dict(action: Action) -> dict[str, Any]:
    """An action as the ``swarm_id`` and ``budgets`` of a ``planner_action.v1``."""
    return {"swarm_id": action.swarm, "budgets": budgets(action)}


def budgets(action: Action) -> BudgetsDocument:
    """An action's bins as the ``budgets`` of a ``planner_action.v1``."""
    _, candidates, minutes, iterations = action
    return {"max_candidates_bin": candidates, "max_minutes_bin": minutes, "max_iterations_bin": iterations}


class ValidityMaskBuilder:
    """Validity masks of a job type under the default rules."""

    def __init__(self, action_space: ActionSpace | None = None) -> None:
        self.action_space = action_space or ActionSpace()

    def build_mask(self, job_type: str) -> dict[str, NDArray[np.bool_]]:
        """bool [classes] a head: True where some valid action has the class."""
        row = job_type_index(job_type)
        return {name: mask[row].copy() for name, mask in self.action_space.head_masks.items()}

    def build_joint_mask(self, job_type: str) -> NDArray[np.bool_]:
        """bool [swarms, candidates, minutes, iterations]: True where the combination is valid."""
        space = self.action_space
        mask = np.zeros(space.head_sizes, bool)
        valid = space.head_index[space.joint_masks[job_type_index(job_type)]]
        mask[tuple(valid.T)] = True
        return mask
