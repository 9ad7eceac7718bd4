"""Configuration of the ``mlp`` policy."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from planner_core import TrainingConfig


class MLPConfig(TrainingConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Widths d_hidden, d_hidden / 2, ... over ``n_layers``, and the options of the training loop."""

    d_hidden: Annotated[int, Meta(ge=1)] = 512
    n_layers: Annotated[int, Meta(ge=1, le=8)] = 3
