"""Configuration of the ``lookup`` policy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class LookupConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a cell's action is chosen by, and how far thin cells lean on coarser ones.

    ``objective`` "utility" takes the action of the highest mean utility, "label" the most frequent label; "auto" is
    "label" where the labels are the best of expected outcomes, or where nothing else is known, and "utility" elsewhere.
    ``shrinkage`` is the number of examples that a coarser cell's estimate weighs as much as.
    """

    objective: Literal["auto", "utility", "label"] = "auto"
    shrinkage: Annotated[float, Meta(gt=0.0)] = 20.0
