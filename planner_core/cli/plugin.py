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
        Literal["onnx", "torch", "heads", "outcomes"],
        typer.Option(help="What it begins with: see above."),
    ] = "onnx",
    json: JsonFlag = False,
) -> None:
    """Make a package with a policy that learns, its tests, and a README; ready to install.

    Kinds: "onnx", a scikit-learn forest in thirty lines, for whatever ends in an ONNX model; "torch", a module that the
    shared loop trains; "heads" and "outcomes", everything by hand in NumPy: logits of the parts of an action, learnt
    from labels, or what comes of every action, learnt from what happened.

    Example: planner plugin new my-policy --kind torch
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
