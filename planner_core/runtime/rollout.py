"""Which issues a model decides: arms by a hash, draws by a hash, and the exact probability of every action.

Nothing here is random: the same salt and issue give the same arm in every process, on every machine and in every
language (``docs/rollout.md`` specifies the bytes that are hashed). Who chooses the salt has thrown the dice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from planner_core.action_space import Action, resolve
from planner_core.bounds import bounded_cache

Arm = Literal["baseline", "model", "explore"]
ARMS: tuple[Arm, ...] = get_args(Arm)

EXPLORE_WITHIN = 0.1
"""Predicted loss of utility that an explored action may have, unless another is given: a twentieth of a P2 pass."""

ARM_KEY, DRAW_KEY = "swarm_planner.arm.v1", "swarm_planner.draw.v1"
"""What the hashes begin with, so that an arm and a draw have nothing to do with one another."""


def hashed(*parts: str) -> bytes:
    """SHA-256 of texts, each as its length in UTF-8 bytes (decimal), a colon, and those bytes."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode()
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return digest.digest()


def fraction(eight: bytes) -> float:
    """The first 53 bits of eight bytes, big-endian, as a multiple of 2**-53 in [0, 1)."""
    return (int.from_bytes(eight, "big") >> 11) * 2.0**-53


@dataclass(frozen=True)
class Rollout:
    """How much of the work a model decides.

    ``share`` of the issues go to the model, the others to the baseline; of the model's, the share ``explore`` gets an
    action drawn evenly from those whose predicted utility is at most ``explore_within`` below that of the model's own.
    ``salt`` names the experiment: another one throws the dice anew. ValueError and TypeError for what is no such value.
    """

    share: float = 1.0
    explore: float = 0.0
    salt: str = ""
    explore_within: float = EXPLORE_WITHIN

    def __post_init__(self) -> None:
        for name in ("share", "explore"):
            number = _number(name, getattr(self, name))
            if not 0.0 <= number <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], not {number}")
        within = _number("explore_within", self.explore_within)
        if not 0.0 <= within < float("inf"):
            raise ValueError(f"explore_within must be a finite number of at least 0 (utility), not {within}")
        if not isinstance(self.salt, str):
            raise TypeError(f"salt must be text, not {self.salt!r:.80}")
        try:
            self.salt.encode()
        except UnicodeEncodeError:
            raise ValueError(f"salt is no valid Unicode: {self.salt!r:.80}") from None

    @property
    def undivided(self) -> bool:
        """Whether every decision is the model's own, so that nothing need be hashed."""
        return self.share == 1.0 and self.explore == 0.0

    def arm(self, issue_id: str) -> Arm:
        """The arm of an issue, whatever is known of it."""
        if self.undivided:
            return "model"
        digest = hashed(ARM_KEY, self.salt, issue_id)
        if fraction(digest[:8]) >= self.share:
            return "baseline"
        return "explore" if fraction(digest[8:16]) < self.explore else "model"

    def draw(self, issue_id: str, input_hash: str) -> float:
        """A number in [0, 1) for one input of an issue; ``floor(draw x n)`` picks one of n actions."""
        return fraction(hashed(DRAW_KEY, self.salt, issue_id, input_hash)[:8])

    def propensities(
        self, job_type: str, baseline: Action, own: Action | None, explored: Iterable[Action]
    ) -> dict[str, float]:
        """The probability of every action that may be executed, by :func:`action_key`; they sum to 1.

        ``own`` is what the model's arm executes, None where that is the baseline's; ``explored`` are what the arm that
        explores draws from, nothing where that executes what the model's arm does.
        """
        if own is None:
            return {action_key(baseline, job_type): 1.0}
        drawn = tuple(explored) or (own,)
        terms = [(own, self.share * (1.0 - self.explore)), (baseline, 1.0 - self.share)]
        terms += [(action, self.share * self.explore / len(drawn)) for action in drawn]
        out: dict[str, float] = {}
        for action, probability in terms:
            if probability > 0.0:
                key = action_key(action, job_type)
                out[key] = min(out.get(key, 0.0) + probability, 1.0)  # the last bit of a sum may lie above
        return out

    def document(self) -> dict[str, Any]:
        """The four values by name, as a decision log has them."""
        return asdict(self)


@bounded_cache(4096, megabytes=2)
def action_key(action: Action, job_type: str) -> str:
    """``swarm|candidates|minutes|iterations`` in resolved numbers, as ``propensities`` of a run have it."""
    return "|".join((action.swarm, *map(str, resolve(action, job_type)[1:])))


def _number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r:.80}")
    return float(value)
