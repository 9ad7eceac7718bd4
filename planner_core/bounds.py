"""How much work an input may ask for: the limits of everything that is read, and caches bounded in bytes.

A limit is checked before the work that it bounds, and what breaks it is an error that names place, found and expected.
Each is many times what a planner input needs; ``docs/modes-and-fallbacks.md`` lists them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

MAX_DOCUMENT_BYTES = 1 << 20
"""Bytes of one planner input as JSON; a usual one has about 6,000."""
MAX_STRING = 4096
"""Characters of one string: an id, a tag, a fail code, the description of a rule."""
MAX_INTEGER = 2**63 - 1
MAX_BUDGET = 10**9
"""Largest integer, and the negative of the smallest: what an int64 array holds."""
MAX_LIST = 256
"""Entries of a list in an issue or a run: tags, fail codes, gates, candidates, toolchains."""
MAX_HISTORY_RUNS = 256
MAX_BINS = 64
"""Swarms, or bins of one budget, of an action space."""
MAX_ACTIONS = 4096
"""Combinations of an action space's swarms and bins before its rules; the default space has 240."""
MAX_RULES = 64
MAX_PROPENSITIES = 4096
"""Actions of a logged distribution: one for each action there may be."""
MAX_FEATURES = 1 << 18
"""Features of an encoder; 3779 by default. A batch of 64 dense rows is then at most 64 MiB."""
MAX_HISTORY_SLOTS = 256
MAX_KEPT_PART = 1024
"""Bytes of a part of an input, as JSON, that is kept for the next input that has it; a usual run has about 500."""
WORST_GROWTH = 25
"""Bytes in memory for a byte of JSON, at the worst: a mapping of short names to numbers."""


_ENTRY = 200
"""Bytes of a cache's own for an entry: its key, its place in the order of use, its slot in the table."""


def held_bytes(value: Any) -> int:
    """About how many bytes a value made of strings, numbers, tuples and structs takes; what it shares counts again."""
    size = sys.getsizeof(value)
    if isinstance(value, tuple):
        return size + sum(map(held_bytes, value))
    names = getattr(type(value), "__struct_fields__", ())
    return size + sum(held_bytes(getattr(value, name)) for name in names)


def bounded_cache(
    entries: int, megabytes: int, size_of: Callable[[Any], int] = held_bytes
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """``functools.lru_cache`` of ``entries`` answers that is emptied before it holds more than ``megabytes``.

    What is counted is ``size_of`` every argument and answer since it was last emptied, so a cache never holds more,
    save for a single answer that is larger by itself. A miss pays for the counting; a hit costs what it always did.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        spent, limit = 0, megabytes << 20

        # Without a lock: a signal handler that raises or decides here must not leave one behind, and what two threads
        # lose of the count is some entries.
        @lru_cache(maxsize=entries)
        def cached(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal spent
            answer = function(*args, **kwargs)
            size = _ENTRY + sum(map(size_of, args)) + size_of(answer)
            spent += size
            if spent > limit:
                cached.cache_clear()
                spent = size
            return answer

        return cast(Callable[P, R], update_wrapper(cached, function))

    return decorate
