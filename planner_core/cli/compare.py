"""``planner compare`` and ``planner runs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner_core.cli.console import (
    AgainstOption,
    DatasetOption,
    JsonFlag,
    ReplayOption,
    ValueOption,
    print_json,
    replay_use,
    show,
    step_progress,
)


def compare(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="POLICY|RUN|BUNDLE", help="What to compare; every registered policy if not given."),
    ] = None,
    dataset: DatasetOption = None,
    worth: ValueOption = None,
    against: AgainstOption = None,
    replay: ReplayOption = "checked",
    json: JsonFlag = False,
) -> None:
    """Compare policies, runs, bundles, constants, the rules and what was run, best first, with a verdict each.

    On a log a policy is fitted on earlier runs and judged by later ones, several times; a run or bundle is judged by
    runs later than those it learnt from. Where the outcomes of many actions are known, the test split is what is judged
    on, and a policy without a run is trained first.

    Example: planner compare --dataset data/mine outcome runs/mlp/20260101T000000Z
    """
    from planner_core.cli.compare_table import comparison_blocks
    from planner_core.harness.compare import compare as compare_all
    from planner_core.harness.judging import Datasets
    from planner_core.plugins.registry import load_registry
    from planner_core.utility import parse_value, weight_table

    use = replay_use(replay)
    with step_progress(json) as progress:
        datasets = Datasets(dataset, progress)
        utility = parse_value(worth or [], weight_table(datasets.encoded().meta.utility))
        found = compare_all(
            datasets,
            load_registry(),
            words or (),
            against=against,
            utility=utility,
            replay=use,
            progress=progress,
            show_progress=not json,
        )
    if json:
        print_json(found.to_dict())
        return
    show(comparison_blocks(found))


def runs(
    root: Annotated[Path, typer.Option("--root", help="Directory of run directories.")] = Path("runs"),
    json: JsonFlag = False,
) -> None:
    """List run directories, the newest first: policy, dataset, date, utility, verdict; and what is wrong with bad ones.

    Example: planner runs --json
    """
    import msgspec

    from planner_core.cli.compare_table import runs_blocks
    from planner_core.harness.run_list import list_runs

    found = list_runs(root)
    if json:
        print_json(msgspec.to_builtins(found))
        return
    show(runs_blocks(found, root))
