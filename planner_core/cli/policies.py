"""``planner policies``: every registered policy, and every one that could not be."""

from __future__ import annotations

from planner_core.cli.console import JsonFlag, out, print_json, table


def policies(json: JsonFlag = False) -> None:
    """List the registered policies.

    Example: planner policies --json
    """
    from planner_core.plugins.registry import load_registry

    entries = load_registry().entries
    if json:
        print_json(
            [
                {
                    "name": e.name,
                    "distribution": e.distribution,
                    "version": e.version,
                    "trainable": e.trainable,
                    "status": e.status,
                    "summary": e.spec.summary if e.spec else None,
                }
                for e in entries
            ]
        )
        return
    from rich.markup import escape

    shown = table("<name", "<distribution", "<version", "<trainable", "<status")
    for e in entries:
        trainable = {True: "yes", False: "no", None: "-"}[e.trainable]
        # A status repeats what a stranger's exception says, and a name is whatever they chose: neither is markup.
        cells = (e.name, e.distribution, e.version, trainable, e.status)
        shown.add_row(*map(escape, cells), style=None if e.status == "ok" else "red")
    out.print(shown)
