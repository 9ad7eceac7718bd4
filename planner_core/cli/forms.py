"""Commands of one policy in their two forms: ``planner train mlp``, and ``planner run --policy mlp train``.

A command is written once, with the policy as its first argument; the long form is made of it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from planner_core.cli import run
from planner_core.cli.ablate import ablate
from planner_core.cli.console import JsonFlag
from planner_core.cli.groups import Group
from planner_core.cli.predict import predict
from planner_core.cli.usage import WrongUsage, known_policies

COMMANDS: dict[str, Callable[..., None]] = {
    "train": run.train,
    "evaluate": run.evaluate,
    "predict": predict,
    "ablate": ablate,
    "config": run.show_config,
}
PANEL = "One policy: planner train POLICY is planner run --policy POLICY train"

PolicyOption = Annotated[
    str | None, typer.Option("--policy", "-p", help="Name of the policy; before or after the command.")
]

app = typer.Typer(cls=Group, no_args_is_help=True)


@app.callback()
def _policy(context: typer.Context, policy: PolicyOption = None, json: JsonFlag = False) -> None:
    """The commands of one policy in their long form, with its name as an option.

    Example: planner run --policy mlp train
    """
    context.obj = policy


def with_option(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with its argument ``policy`` as an option, of itself or of the group; the help says so too."""

    @functools.wraps(command)
    def call(context: typer.Context, policy: str | None = None, **given: Any) -> None:
        command(_settled(context, policy), **given)

    (_, *rest) = inspect.signature(command, eval_str=True).parameters.values()
    own = inspect.signature(_form, eval_str=True).parameters.values()
    signature = inspect.Signature([*own, *rest])
    call.__dict__["__signature__"] = signature
    call.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    call.__doc__ = (command.__doc__ or "").replace(f"planner {name} mlp", f"planner run --policy mlp {name}")
    return call


def _form(context: typer.Context, policy: PolicyOption = None) -> None:
    """The parameters that a long form has in the place of the policy."""


def _settled(context: typer.Context, policy: str | None) -> str:
    """The policy that is named before the command or after it."""
    before: str | None = context.obj
    if before is not None and policy is not None and before != policy:
        raise WrongUsage(f"two policies, '{before}' and '{policy}'; name one", param_hint="--policy")
    settled = policy or before
    if settled is None:
        name = context.info_name
        forms = f"planner run --policy POLICY {name}, or planner {name} POLICY"
        raise WrongUsage(f"say which policy: {forms}{known_policies()}", param_hint="--policy")
    return settled


def add_commands(root: typer.Typer) -> None:
    """The group ``run``, and the short forms of its commands."""
    for name, command in COMMANDS.items():
        app.command(name)(with_option(name, command))
        root.command(name, rich_help_panel=PANEL)(command)
    root.add_typer(app, name="run")
