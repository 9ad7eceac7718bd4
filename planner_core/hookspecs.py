"""The hooks a plugin may implement. Each hands the plugin a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from planner_core.policy import PolicySpec

POLICY_GROUP = "planner.policies"
COMMAND_GROUP = "planner.commands"

hookspec = pluggy.HookspecMarker("planner")
hookimpl = pluggy.HookimplMarker("planner")


@hookspec
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Call ``register`` once for each policy. Read from the entry point group ``planner.policies``."""


@hookspec
def planner_register_commands(app: typer.Typer) -> None:
    """Add commands to the ``planner`` command line. Read from the entry point group ``planner.commands``.

    Must not import a framework: commands import what they need when they run.
    """
