"""The hooks a plugin may implement. Each hands the plugin a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from planner_core.plugins.log_sources import LogSource
    from planner_core.plugins.records import BenchStage, Metric, PolicyCheck, TrainingCallback
    from planner_core.policy import PolicySpec

POLICY_GROUP = "planner.policies"
COMMAND_GROUP = "planner.commands"
EXTENSION_GROUP = "planner.extensions"

HOOKS = {
    "planner_register_policies": ("policy", POLICY_GROUP),
    "planner_register_commands": ("command", COMMAND_GROUP),
    "planner_training_callbacks": ("training callback", EXTENSION_GROUP),
    "planner_metrics": ("metric", EXTENSION_GROUP),
    "planner_bench_stages": ("stage", EXTENSION_GROUP),
    "planner_policy_checks": ("policy check", EXTENSION_GROUP),
    "planner_log_sources": ("log source", EXTENSION_GROUP),
}
"""What each hook hands over, in the words of messages, and the entry point group it is read from."""

hookspec = pluggy.HookspecMarker("planner")
hookimpl = pluggy.HookimplMarker("planner")


@hookspec
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Call ``register`` once for each policy. Read from the entry point group ``planner.policies``."""


@hookspec
def planner_register_commands(app: typer.Typer) -> None:
    """Add commands to the ``planner`` command line. Read from the entry point group ``planner.commands``.

    ``app`` is the plugin's own; what it holds afterwards is moved into ``planner``, where a name that is taken stays
    whose it is. Must not import a framework: commands import what they need when they run.
    """


@hookspec
def planner_training_callbacks(register: Callable[[TrainingCallback], None]) -> None:
    """Call ``register`` once for each callback that is to follow a training run.

    Called anew for every run, so that a callback may keep the state of one. Read from ``planner.extensions``.
    """


@hookspec
def planner_metrics(register: Callable[[Metric], None]) -> None:
    """Call ``register`` once for each metric to compute in every evaluation. Read from ``planner.extensions``."""


@hookspec
def planner_bench_stages(register: Callable[[BenchStage], None]) -> None:
    """Call ``register`` once for each stage that ``planner bench`` is to measure. Read from ``planner.extensions``."""


@hookspec
def planner_policy_checks(register: Callable[[PolicyCheck], None]) -> None:
    """Call ``register`` once for each check that the conformance kit is to run. Read from ``planner.extensions``."""


@hookspec
def planner_log_sources(register: Callable[[LogSource], None]) -> None:
    """Call ``register`` once for each kind of logs that ``planner data import`` can read.

    Read from ``planner.extensions``. Must not import what reading needs: a library is imported in ``read``, when a file
    of its kind was found.
    """
