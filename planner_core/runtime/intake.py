"""What arrives at a planner: an input, checked and hashed, and what it offers to choose from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.action_space import NA, Action, ActionSpace, job_type_index, request_actions
from planner_core.bounds import MAX_DOCUMENT_BYTES, bounded_cache, held_bytes
from planner_core.contracts import PlannerInput, RequestActionSpace
from planner_core.errors import DataError, PlannerError
from planner_core.runtime.limits import Caps, within
from planner_core.runtime.reading import read_parts

Document = Mapping[str, Any] | bytes | str
"""A ``planner_input.v1``, decoded or as JSON."""

Located = Document | tuple[str, int | None, Document] | PlannerError
"""A document, or (source, line, document) so that errors can name its place, or why there is none in its place."""


class Offer:
    """What requests of one kind allow, with what is derived from it kept for the next one of that kind.

    ``actions`` are in the order of :func:`planner_core.valid_actions`. Safe to share between threads.
    """

    __slots__ = ("_classes", "_job", "_safe", "actions")

    def __init__(self, actions: tuple[Action, ...], job_type: str = "other") -> None:
        self.actions, self._job = actions, job_type_index(job_type)
        # The latest answer beside its question: a process has one model and one set of caps, or few.
        self._classes: tuple[ActionSpace, bool, NDArray[np.int64], NDArray[np.int64]] | None = None
        self._safe: tuple[Caps, tuple[Action, ...]] | None = None

    def classes(self, space: ActionSpace, twins: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The joint classes of ``space`` that are offered, int64 [n] in their order, and where their mass stands.

        That is with themselves, unless a model gives ``twins`` one mass: then it stands with the one that stands for
        them, and of several twins that are offered only the first in order of explicit numbers counts.
        """
        known = self._classes
        if known is None or known[0] is not space or known[1] is not twins:
            found = [space.index[action] for action in self.actions if action in space.index]
            masses = found
            if twins:
                canonical = space.canonical[self._job]
                chosen: dict[int, int] = {}
                for i in sorted(found, key=lambda i: (i != canonical[i], space.actions[i].count(NA))):
                    chosen.setdefault(int(canonical[i]), i)
                masses, found = list(chosen), list(chosen.values())
            known = self._classes = (space, twins, np.array(found, np.int64), np.array(masses, np.int64))
        return known[2], known[3]

    def within(self, caps: Caps) -> tuple[Action, ...]:
        """The actions within the caps."""
        known = self._safe
        if known is None or known[0] is not caps:
            known = self._safe = (caps, within(caps, self.actions))
        return known[1]


class Request(NamedTuple):
    """One input to decide: validated, with the ``input_hash`` of its action and what it offers.

    ``created_at`` and ``rest``, the canonical JSON of everything else, are the input as it arrived.
    """

    x: PlannerInput
    digest: str
    offer: Offer
    created_at: Any
    rest: bytes


def read_request(document: Document, source: str = "planner_input", line: int | None = None) -> Request:
    """Decode, validate and hash one ``planner_input.v1``.

    Raises :class:`DataError` for an input that does not fit its contract, and :class:`PlannerError` where its own
    rules leave no action at all.
    """
    x, created_at, rest = parse_input(document, source, line)
    if len(rest) > MAX_DOCUMENT_BYTES:
        raise _too_large(len(rest), source, line)
    offer = offer_of(x.job_type, x.action_space)
    if not offer.actions:
        raise PlannerError(
            f"planner_input (issue {x.issue.issue_id}), at $.action_space: its bins and validity rules leave no action "
            f"for job type {x.job_type}"
        )
    return Request(x, hashlib.sha256(rest).hexdigest(), offer, created_at, rest)


def read_located(item: Located) -> Request:
    """:func:`read_request` of a document that may say where it comes from."""
    if isinstance(item, PlannerError):
        raise item
    if isinstance(item, tuple):
        source, line, document = item
        return read_request(document, source, line)
    return read_request(item)


def parse_input(
    document: Document, source: str = "planner_input", line: int | None = None
) -> tuple[PlannerInput, Any, bytes]:
    """A validated input, and as it arrived its ``created_at`` and the canonical JSON of everything else."""
    if isinstance(document, bytes | str):
        if len(document) > MAX_DOCUMENT_BYTES:
            raise _too_large(len(document), source, line)
        read = read_parts(document)
        if read is not None:
            return read
        raw = jsonio.decode(document, source, line)
    elif isinstance(document, Mapping):
        raw = dict(document)
    else:
        found = f"a value of the type {type(document).__name__}"
        raise DataError(
            source, line=line, found=found, expected="a planner input as a dict, or as JSON in bytes or str"
        )
    x = jsonio.convert(raw, PlannerInput, source, line)
    created_at = raw.pop("created_at")
    return x, created_at, jsonio.canonical_document(raw, source, line)


def _too_large(size: int, source: str, line: int | None) -> DataError:
    return DataError(source, line=line, found=f"{size} bytes", expected=f"at most {MAX_DOCUMENT_BYTES} for one input")


def _offer_bytes(value: Any) -> int:
    return held_bytes(value.actions if isinstance(value, Offer) else value)


@bounded_cache(1024, megabytes=16, size_of=_offer_bytes)
def offer_of(job_type: str, request: RequestActionSpace) -> Offer:
    """What a request of this job type and action space offers; perhaps nothing."""
    return Offer(request_actions(job_type, request), job_type)
