"""Configuration of the ``joint`` policy."""

from __future__ import annotations

from planner_core import TrunkConfig


class JointConfig(TrunkConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The trunk's widths and the options of the training loop."""
