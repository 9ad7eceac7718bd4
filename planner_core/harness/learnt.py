"""Which rows a run or a bundle learnt from, so that it is judged on later ones only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.data.dataset import Dataset
from planner_core.errors import NothingLater, PlannerError
from planner_core.examples import Examples

LATER = "later"
"""The split of a dataset that holds the rows later than those something learnt from."""


class _Recorded(msgspec.Struct):
    hash: str
    until_ms: int | None = None
    directory: str | None = None


@dataclass(frozen=True)
class Learnt:
    """What a run or bundle says of its data: the hash, and when the last run started that it learnt from or was chosen
    by, in milliseconds since 1970; None where that was not recorded or its dataset does not say when runs started."""

    hash: str
    until_ms: int | None
    directory: str | None = None

    @classmethod
    def of_run(cls, document: Mapping[str, Any], source: str) -> Learnt:
        """From the ``dataset`` of ``provenance.json`` or ``results.json``."""
        found = jsonio.convert(document, _Recorded, source)
        return cls(found.hash, found.until_ms, found.directory)

    @classmethod
    def of_bundle(cls, metadata: Mapping[str, Any]) -> Learnt | None:
        """From ``metadata.json``; None for a policy that was not trained."""
        given, until = metadata.get("dataset_hash"), metadata.get("learnt_until_ms")
        if not isinstance(given, str):
            return None
        return cls(given, until if isinstance(until, int) else None)


def last_start(*parts: Examples) -> int | None:
    """When the last of some examples started, in milliseconds; None where the dataset does not say."""
    starts = [int(p.executed.started_ms.max()) for p in parts if p.executed is not None and len(p)]
    return max(starts) if starts else None


def later_rows(dataset: Dataset, learnt: Learnt, what: str) -> NDArray[np.int64]:
    """The rows of ``dataset.everything`` later than those that ``what`` learnt from, int64 [m].

    Raises :class:`PlannerError` where it cannot be known, :class:`NothingLater` where there is none.
    """
    executed = dataset.everything.executed
    if learnt.hash == dataset.meta.dataset_hash and (learnt.until_ms is None or executed is None):
        return np.flatnonzero(dataset.split_of == 2)
    if learnt.until_ms is None or executed is None:
        whose = "it" if learnt.until_ms is None else "the dataset"
        raise PlannerError(
            f"{what} on {dataset.directory}: {whose} does not say when runs started, so that rows it learnt from might "
            "be among those it is judged on; train or build it anew"
        )
    rows = np.flatnonzero(executed.started_ms > learnt.until_ms)
    if not len(rows):
        raise NothingLater(f"{what} on {dataset.directory}: no run is later than those it learnt from")
    return rows


def judged_elsewhere(dataset: Dataset, learnt: Learnt | None, what: str) -> str | None:
    """The sentence for something that is judged on another dataset than its own; None where it is its own."""
    if learnt is None or learnt.hash == dataset.meta.dataset_hash:
        return None
    own = f"{learnt.hash[:12]}..." + (f" ({learnt.directory})" if learnt.directory else "")
    return f"{what} was trained on another dataset, {own}: judged here on runs later than those it learnt from"
