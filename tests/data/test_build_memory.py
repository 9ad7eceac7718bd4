"""What a build needs for one more run, measured in processes of their own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data.workplace import run

FEW, MANY = 20_000, 100_000
RUNS_AN_ISSUE = 4
MOST_BYTES_A_RUN = 1_200
"""830 were measured on x86-64, of which the index of similar runs is the largest part; an object a run takes 4,000."""

BUILD = """
import sys
from pathlib import Path
from planner_core.data.build import build_dataset
from planner_core.system.process import peak_memory_mib

place = Path(sys.argv[1])
build_dataset([place / "issues.jsonl"], [place / "runs.jsonl"], place / "out")
print(peak_memory_mib())
"""


def rows_of(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Issues with one to three tags of 40, and ``count`` runs of them that now and then failed."""
    chosen = random.Random(7)
    tags = [f"tag-{i}" for i in range(40)]
    issues = [
        {"id": f"issue-{i}", "labels": chosen.sample(tags, chosen.randrange(1, 4)), "issue_type": "task"}
        for i in range(count // RUNS_AN_ISSUE)
    ]
    runs = []
    for i in range(count):
        codes = chosen.choice([[], [], ["tests"], ["lint"]])
        outcome = {"status": "failed" if codes else "success", "fail_codes": codes, "gates": []}
        tagged = [*chosen.sample(tags, chosen.randrange(1, 4)), f"tool:{chosen.choice('abc')}"]
        runs.append(run(f"run-{i}", f"issue-{chosen.randrange(len(issues))}", at=i, outcome=outcome, tags=tagged))
    return issues, runs


def peak_mib(place: Path, count: int) -> float:
    place.mkdir()
    for name, rows in zip(("issues.jsonl", "runs.jsonl"), rows_of(count), strict=True):
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = subprocess.run([sys.executable, "-c", BUILD, str(place)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak counts pages that are kept for other reasons")
def test_one_more_run_costs_little_memory(tmp_path: Path) -> None:
    few, many = peak_mib(tmp_path / "few", FEW), peak_mib(tmp_path / "many", MANY)
    print(f"{FEW} runs: {few:.0f} MiB, {MANY}: {many:.0f} MiB")
    assert (many - few) * (1 << 20) / (MANY - FEW) < MOST_BYTES_A_RUN
