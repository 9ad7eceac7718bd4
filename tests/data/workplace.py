"""Issue and run files of a test, and what is built from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planner_core.action_space import Action
from planner_core.contracts import DatasetExample
from planner_core.data.build import BuildReport, build_dataset
from planner_core.jsonio import read

START = 1_770_000_000_000


def run(run_id: str, issue_id: str | None, *, at: int = 0, action: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "issue_id": issue_id,
        "started_ms": START + at * 60_000,
        "job_type": "code",
        "domain": "code",
        "action_executed": action or {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30},
        "outcome": {"status": "success", "fail_codes": [], "gates": []},
        "runtime": {"duration_ms": 1000},
        "tags": ["a"],
        **more,
    }


class Workplace:
    """A directory with issue and run files, and what was built from them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.issues, self.runs, self.out = path / "issues.jsonl", path / "runs.jsonl", path / "out"

    def build(self, issues: list[Any], runs: list[Any], **options: Any) -> BuildReport:
        for target, rows in ((self.issues, issues), (self.runs, runs)):
            target.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return build_dataset([self.issues], [self.runs], self.out, **options)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "dataset.jsonl").read_text().splitlines()]

    @property
    def examples(self) -> list[DatasetExample]:
        lines = (self.out / "dataset.jsonl").read_bytes().splitlines()
        return [read(line, DatasetExample, "dataset.jsonl", i) for i, line in enumerate(lines, 1)]

    def issue(self, row: dict[str, Any]) -> dict[str, Any]:
        self.build([{"id": "x", **row}], [run("r", "x")], replace=True)
        issue: dict[str, Any] = self.lines[0]["planner_input"]["issue"]
        return issue

    def label(self, action: dict[str, Any], **more: Any) -> Action:
        self.build([{"id": "x"}], [run("r", "x", action=action, **more)], replace=True)
        label = self.examples[0].label_action
        budgets = label.budgets
        return Action(label.swarm_id, budgets.max_candidates_bin, budgets.max_minutes_bin, budgets.max_iterations_bin)
