"""Configuration of the ``lookup`` policy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class LookupConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a cell's action is chosen by, and how far thin cells lean on coarser ones.

    ``objective`` "utility" takes the action of the highest mean utility, "label" the most frequent label; "auto" is
    "utility" where the training examples have outcomes and "label" where they have none. ``shrinkage`` is the number of
    examples that a coarser cell's estimate weighs as much as.
    """

    objective: Literal["auto", "utility", "label"] = "auto"
    shrinkage: Annotated[float, Meta(gt=0.0)] = 20.0
