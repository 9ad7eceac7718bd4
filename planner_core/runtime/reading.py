"""Reading inputs whose parts came before.

A run is in the history of several issues, and an action space in the requests of a whole kernel. What such a part says,
and how it is written canonically, is kept by its bytes; the rest of an input is read as if it stood alone.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct

from planner_core import jsonio
from planner_core.bounds import MAX_HISTORY_RUNS, MAX_KEPT_PART, WORST_GROWTH
from planner_core.contracts import History, PlannerInput, RequestActionSpace, RunSummary, SharedRun
from planner_core.errors import DataError

T = TypeVar("T")


class _Runs(Struct, forbid_unknown_fields=True, gc=False):
    """A history whose runs are still text."""

    last_n_similar_runs: list[Raw]


class _Parts(Struct, forbid_unknown_fields=True, gc=False):
    """An input whose history and action space are still text, and all else is as it arrived."""

    schema_version: Any
    created_at: Any
    universe_id: Any
    job_type: Any
    universe_defaults: Any
    issue: Any
    history: _Runs
    action_space: Raw
    system_state: Any = UNSET
    log_figures: Any = UNSET


_PARTS = msgspec.json.Decoder(_Parts)
_SOURCE = "planner_input"

MOST_MET = 65_536
"""Parts of which it is remembered that they came, by their hash: some 5 MB."""


class _Kept(Generic[T]):
    """Parts of one contract by their text. Safe to share between threads, and with signal handlers.

    A part is kept from the second time on that it comes, as ``shared``: what comes once is not worth keeping, and costs
    little more than if nothing were kept. Both memories are emptied before they hold too much.
    """

    def __init__(self, contract: type[T], shared: type[T], megabytes: int) -> None:
        self._all: type[list[T]] = list[contract]  # type: ignore[valid-type]  # made at run time
        self._shared, self._limit = shared, megabytes << 20
        self._known: dict[bytes, tuple[T, Any]] = {}
        self._met: set[int] = set()
        self._spent = 0

    def read(self, texts: list[Raw]) -> list[tuple[T, Any]]:
        """The parts, each beside what canonical JSON has in its place; :class:`DataError` where one does not fit."""
        plain = list(map(bytes, texts))
        found = [self._known.get(text) or self._keep(text) for text in plain]
        odd = [i for i, part in enumerate(found) if part is None]
        if odd:  # all at once: what comes once costs what it would cost as a part of the whole
            documents = jsonio.decode(b"[%b]" % b",".join([plain[i] for i in odd]), _SOURCE)
            parts = jsonio.convert(documents, self._all, _SOURCE)
            for i, part, document in zip(odd, parts, documents, strict=True):
                found[i] = part, document
        return [part for part in found if part is not None]

    def _keep(self, text: bytes) -> tuple[T, Any] | None:
        """Read and keep a part that came before; None where it did not, or is too long."""
        if len(text) > MAX_KEPT_PART:
            return None
        if hash(text) not in self._met:
            if len(self._met) >= MOST_MET:
                self._met.clear()
            self._met.add(hash(text))
            return None
        document = jsonio.decode(text, _SOURCE)
        part = jsonio.convert(document, self._shared, _SOURCE)
        self._spent += WORST_GROWTH * len(text)
        if self._spent > self._limit:
            self._known = {}
            self._spent = WORST_GROWTH * len(text)
        kept = self._known[text] = part, Raw(jsonio.canonical(document))
        return kept


_runs = _Kept(RunSummary, SharedRun, megabytes=64)
_action_spaces = _Kept(RequestActionSpace, RequestActionSpace, megabytes=8)


def read_parts(document: bytes | str) -> tuple[PlannerInput, Any, bytes] | None:
    """A validated input, its ``created_at`` as it arrived, and the canonical JSON of everything else.

    None where anything does not fit, or is more than the contract knows: who reads the whole at once can tell what it
    is.
    """
    try:
        if isinstance(document, bytes):
            document.decode()  # text that a repeated key hides is not looked at below
        parts = _PARTS.decode(document)
        texts = parts.history.last_n_similar_runs
        if len(texts) > MAX_HISTORY_RUNS:
            return None
        runs = _runs.read(texts)
        ((space, space_written),) = _action_spaces.read([parts.action_space])
        known = {
            "schema_version": parts.schema_version,
            "created_at": parts.created_at,
            "universe_id": parts.universe_id,
            "job_type": parts.job_type,
            "universe_defaults": parts.universe_defaults,
            "issue": parts.issue,
            "history": History([run for run, _ in runs]),
            "action_space": space,
        }
        if parts.system_state is not UNSET:
            known["system_state"] = parts.system_state
        if parts.log_figures is not UNSET:
            known["log_figures"] = parts.log_figures
        x = jsonio.convert(known, PlannerInput, _SOURCE)
    except (DataError, msgspec.MsgspecError, UnicodeError, RecursionError, TypeError):
        return None
    created_at, parts.created_at = parts.created_at, UNSET
    parts.history.last_n_similar_runs = [written for _, written in runs]
    parts.action_space = space_written
    return x, created_at, jsonio.canonical(parts)
