"""Reading inputs whose parts came before.

A run is in the history of several issues, and an action space in the requests of a whole kernel. What such a part says,
and how it is written canonically, is kept by its bytes; the rest of an input is read as if it stood alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct

from planner_core import jsonio
from planner_core.bounds import MAX_HISTORY_RUNS, MAX_KEPT_PART, WORST_GROWTH, bounded_cache
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


def _reader(contract: type[T]) -> Callable[[bytes], tuple[T, Raw]]:
    """What reads a part: by its ``contract``, and as canonical JSON."""

    def read(part: bytes) -> tuple[T, Raw]:
        document = jsonio.decode(part, _SOURCE)
        return jsonio.convert(document, contract, _SOURCE), Raw(jsonio.canonical(document))

    return read


def _worst_size(value: Any) -> int:
    """Of a part before and after it is read; what is read of it counts with its text."""
    return WORST_GROWTH * len(value) if isinstance(value, bytes) else 0


_shared_run = bounded_cache(8192, 64, _worst_size)(_reader(SharedRun))
_shared_space = bounded_cache(256, 8, _worst_size)(_reader(RequestActionSpace))
_long_run, _long_space = _reader(RunSummary), _reader(RequestActionSpace)


def read_parts(document: bytes | str) -> tuple[PlannerInput, Any, bytes] | None:
    """A validated input, its ``created_at`` as it arrived, and the canonical JSON of everything else.

    None where anything does not fit, or is more than the contract knows: who reads the whole at once can tell what it
    is.
    """
    try:
        if isinstance(document, bytes):
            document.decode()  # text that a repeated key hides is not looked at below
        parts = _PARTS.decode(document)
        texts, space_text = list(map(bytes, parts.history.last_n_similar_runs)), bytes(parts.action_space)
        if len(texts) > MAX_HISTORY_RUNS:
            return None
        runs = [_shared_run(text) if len(text) <= MAX_KEPT_PART else _long_run(text) for text in texts]
        space, space_written = (
            _shared_space(space_text) if len(space_text) <= MAX_KEPT_PART else _long_space(space_text)
        )
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
