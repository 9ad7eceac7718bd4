"""``planner plugin new NAME``: a policy package of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from planner_core.cli.console import JsonFlag, out, print_json
from planner_core.cli.groups import Group

app = typer.Typer(cls=Group, no_args_is_help=True)


@app.callback()
def _group(json: JsonFlag = False) -> None:
    """Write a policy of your own.

    Example: planner plugin new my-policy
    """


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the policy: lower-case words joined by hyphens.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Directory to make; planner-NAME in this one if not given.")
    ] = None,
    kind: Annotated[
        Literal["heads", "outcomes"],
        typer.Option(help="What it answers: logits of the parts of an action, or outcomes of every action."),
    ] = "heads",
    json: JsonFlag = False,
) -> None:
    """Make a package with a policy that learns, its tests, and a README; ready to install.

    A policy of the kind "outcomes" learns what comes of actions, one of the kind "heads" what was done.

    Example: planner plugin new my-policy --kind outcomes
    """
    from planner_core.scaffold import new_policy

    made = new_policy(name, out_dir, kind)
    if json:
        print_json(
            {
                "policy": made.policy,
                "distribution": made.distribution,
                "package": made.package,
                "directory": str(made.directory),
                "files": list(made.files),
            }
        )
        return
    for path in made.files:
        out.print(f"  {path}", soft_wrap=True, markup=False)
    out.print(f"wrote {made.directory}; next:", soft_wrap=True, markup=False)
    out.print(f"  pip install -e '{made.directory}[test]'", soft_wrap=True, markup=False)
    out.print(f"  planner check {made.policy}", soft_wrap=True, markup=False)
