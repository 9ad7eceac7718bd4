"""``planner data import`` as it is typed: what it prints, what it writes, and how it goes on from there."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

LOGS = Path(__file__).resolve().parents[2] / "examples" / "logs"


@pytest.fixture
def logs(tmp_path):
    shutil.copytree(LOGS, tmp_path / "logs")
    return tmp_path


def test_a_trial_fits_80_columns_and_writes_nothing(planner, logs):
    text = planner("data", "import", "logs/runs.csv", "--dry-run", cwd=logs, columns=80).stdout
    assert max(map(len, text.splitlines())) <= 80
    said = " ".join(text.split())
    assert "logs/runs.csv: read as tables (160 issues, 194 runs)" in said
    assert "timeout_min -> action_executed.limit_min" in said
    assert "result: ok = success (128), timeout = timeout (37), failed = failed (29)" in said
    assert "several agents: speculate_vote (84)" in said
    assert "- propensity in 194 of 194 runs: estimated from how often each action was run" in said
    assert "160 issues and 194 runs; nothing written" in said
    assert "next: the same without --dry-run, and then planner data build --issues data/logs/issues.jsonl" in said
    assert sorted(p.name for p in logs.iterdir()) == ["logs"]


def test_the_whole_way_to_a_dataset(planner, logs):
    (logs / "runs.csv.gz").write_bytes(gzip.compress((logs / "logs" / "runs.csv").read_bytes()))
    report = json.loads(planner("data", "import", "runs.csv.gz", "--out", "in", "--json", cwd=logs).stdout)
    assert report["files"] == ["issues.jsonl", "mapping.json", "runs.jsonl"] and report["written"] is True
    words = report["next"].split()
    assert words[:3] == ["planner", "data", "build"]
    build = json.loads(planner(*words[1:], "--json", cwd=logs).stdout)
    assert build["examples"] == 194 and build["rounded"]["minutes"] == {"90 as 60": 56}
    assert planner("data", "validate", "data/mine", cwd=logs).stdout.startswith(
        "data/mine: valid dataset, 194 examples"
    )
    for name, found in (("issues", "issue, 160"), ("runs", "run_summary, 194"), ("mapping", "import_mapping, 1")):
        file = next(p.name for p in (logs / "in").iterdir() if p.stem == name)
        assert planner("data", "validate", f"in/{file}", cwd=logs).stdout == f"in/{file}: valid {found} documents\n"
    first = (logs / "in" / "runs.jsonl").read_bytes()
    piped = (logs / "logs" / "runs.csv").read_text()
    planner("data", "import", "-", "--map", "in/mapping.json", "--out", "again", cwd=logs, stdin=piped)
    assert (logs / "again" / "runs.jsonl").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "name at least one file or folder"),
        (("logs/runs.csv",), 2, "say where to write, or --dry-run"),
        (("logs/none.csv", "--out", "x"), 1, "logs/none.csv: found nothing of this name"),
        (("logs/runs.csv", "--as", "table", "--out", "x"), 1, "did you mean 'tables'?"),
        (("logs/runs.csv", "--out", "logs"), 1, "already exists and is not empty"),
        (("logs/runs.csv", "--out", "x", "--map-value", "result:ok=good"), 1, "line 2, at column 'result': found 'ok'"),
    ],
)
def test_what_cannot_be_done(planner, logs, arguments, code, said):
    assert said in " ".join(planner("data", "import", *arguments, cwd=logs, code=code).stderr.split())
    assert sorted(p.name for p in logs.iterdir()) == ["logs"]


def test_a_build_of_other_files_points_here(planner, logs):
    (logs / "issues.jsonl").write_text('{"id": "x"}\n')
    (logs / "gh.json").write_text('[{"number": 1, "title": "t"}]\n')
    build = ("data", "build", "--out", "d")
    said = planner(*build, "--issues", "issues.jsonl", "--runs", "logs/runs.csv", cwd=logs, code=1).stderr
    assert "logs/runs.csv, line 1: found a file that begins with 'ticket,started,result" in said
    assert "'planner data import' makes it of tables" in said
    said = planner(*build, "--issues", "gh.json", "--runs", "issues.jsonl", cwd=logs, code=1).stderr
    assert 'gh.json, line 1: found a file that begins with \'[{"number": 1' in said and "planner data import" in said


def test_the_list_names_sources_and_options(planner, tmp_path):
    found = json.loads(planner("data", "import", "--list", "--json", cwd=tmp_path).stdout)
    tables = next(row for row in found if row["name"] == "tables")
    assert tables["distribution"].startswith("swarm-planner ") and set(tables["options"]) == {
        "decimal",
        "job_type",
        "timezone",
    }
