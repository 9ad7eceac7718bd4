"""``planner data validate`` and ``planner data schema``: whether a file follows a contract, and what a contract is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner_core.cli.console import JsonFlag, counted, out, print_json, step_progress

PathArgument = Annotated[Path, typer.Argument(metavar="PATH", help="Dataset directory, or a file of any contract.")]
NameArgument = Annotated[str | None, typer.Argument(metavar="NAME", help="A contract; all are listed if not given.")]


def validate(path: PathArgument, json: JsonFlag = False) -> None:
    """Check a dataset (every line, its counts, its hashes) or a file of any contract, gzip or not.

    Example: planner data validate data/world
    """
    if not path.is_dir():
        _validate_file(path, json)
        return
    from planner_core.data.dataset import load_dataset
    from planner_core.data.describe import describe

    with step_progress(quiet=json) as progress:
        found = describe(load_dataset(path, progress=progress, cache=False))
    if json:
        print_json({"valid": True, "contract": "dataset", **found})
    else:
        out.print(f"{path}: valid dataset, {found['example_count']} examples, {counted(found['split_counts'])}")
        if found["meta_hash"] is None:
            out.print("note: meta.json has no meta_hash, as in older datasets; a change of it would go unnoticed")


def _validate_file(path: Path, json: bool) -> None:
    import msgspec

    from planner_core.data.documents import validate_file

    report = validate_file(path)
    if json:
        print_json({"valid": True, **msgspec.to_builtins(report)})
        return
    left_out = "".join(f", {count} left out: {reason}" for reason, count in report.left_out.items())
    out.print(f"{path}: valid {report.contract}, {report.documents} documents{left_out}", markup=False)


def schema(name: NameArgument = None, json: JsonFlag = False) -> None:
    """Print the JSON Schema of a contract; without a name, list the contracts there are.

    Example: planner data schema run_summary
    """
    from planner_core.data.documents import CONTRACTS, contract_named

    if name is not None:
        print_json(contract_named(name).schema())
    elif json:
        print_json([{"name": contract.name, "summary": contract.summary} for contract in CONTRACTS])
    else:
        for contract in CONTRACTS:
            out.print(f"{contract.name}: {contract.summary}", markup=False)
