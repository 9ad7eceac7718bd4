"""Configuration of the ``mlp`` policy."""

from __future__ import annotations

from planner_core import TrunkConfig


class MLPConfig(TrunkConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The trunk's widths and the options of the training loop."""
