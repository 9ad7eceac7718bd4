"""``planner data build`` and ``info`` on logs in several files, one of them packed."""

from __future__ import annotations

import gzip
import json

import pytest

START = 1_770_000_000_000


def run(i, action, outcome, **more):
    return {
        "run_id": f"r{i}",
        "issue_id": "xy"[i % 2],
        "started_ms": START + i * 60_000,
        "job_type": "code",
        "domain": "code",
        "action_executed": action,
        "outcome": outcome,
        "runtime": {"duration_ms": 120_000},
        **more,
    }


@pytest.fixture
def logs(tmp_path):
    success = {"status": "success", "fail_codes": [], "gates": []}
    failed = {"status": "failed", "fail_codes": ["gpu_lost"], "gates": []}
    vote = {"swarm_id": "best_of_n", "max_candidates": 3, "max_minutes": 90}
    serial = {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30}
    runs = [
        run(i, (serial, vote)[i % 2], failed if i < 3 else success, propensity=0.25, cost_usd_est=1.0)
        for i in range(12)
    ]
    (tmp_path / "issues.jsonl").write_text('{"id": "x"}\n{"id": "y"}\n')
    packed = "".join(json.dumps(row) + "\n" for row in runs[:7]).encode()
    (tmp_path / "may.jsonl.gz").write_bytes(gzip.compress(packed))
    (tmp_path / "june.jsonl").write_text("".join(json.dumps(row) + "\n" for row in runs[6:]))
    return tmp_path


BUILD = ("data", "build", "--issues", "issues.jsonl", "--runs", "may.jsonl.gz", "--runs", "june.jsonl", "--out", "D")


def test_a_repeated_option_adds_and_everything_is_said(planner, logs):
    said = " ".join(planner(*BUILD, cwd=logs).stdout.split())
    assert "wrote D: 12 examples of 13 runs and 2 issues" in said
    assert "1 repeated, the same" in said
    assert "labels have minutes 90 as 60 (6)" in said
    assert "best_of_n as speculate_vote (6)" in said
    assert "missing of 12 runs: propensities in 12, candidates in 12" in said


def test_codes_add_to_the_default_ones_and_none_drops_those(planner, logs):
    def build(*options):
        directory = options[-1]
        report = json.loads(planner(*BUILD[:-1], directory, *options[:-1], "--json", cwd=logs).stdout)
        return report["evidence"], report["not_evidence"]

    evidence, default = build("D1")
    assert evidence == 12
    assert build("--not-evidence", "gpu_*", "D2") == (9, [*default, "gpu_*"])
    assert build("--not-evidence", "none", "--not-evidence", "gpu_lost", "D3") == (9, ["gpu_lost"])


def test_info_fits_80_columns(planner, logs):
    planner(*BUILD, "--not-evidence", "gpu_*", cwd=logs)
    text = planner("data", "info", "D", cwd=logs).stdout
    rows = [line.split("  ") for line in text.splitlines()]
    facts = {row[0]: row[-1].strip() for row in ([part for part in row if part.strip()] for row in rows) if row}
    assert facts["runs"] == "12 of 2 issues"
    assert facts["no evidence"].startswith("3 (")
    assert facts["pass rate"].startswith("100.0%")
    assert facts["minutes a run"] == "2 min (mean of 9)"
    assert facts["cost a run"] == "1 USD (mean of 9)"
    assert facts["propensity"] == "0.25 to 0.25 (of 9 runs)"
    assert facts["actions tried"].startswith("2 distinct")
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_an_older_dataset_gets_a_note(planner, logs):
    planner(*BUILD, cwd=logs)
    meta = json.loads((logs / "D/meta.json").read_text())
    del meta["meta_hash"]
    (logs / "D/meta.json").write_text(json.dumps(meta))
    for command in ("info", "validate"):
        assert "note: meta.json has no meta_hash" in planner("data", command, "D", cwd=logs).stdout
    (logs / "D/meta.json").write_text(json.dumps({**meta, "meta_hash": "0" * 64}))
    assert "$.meta_hash" in planner("data", "info", "D", cwd=logs, code=1).stderr


def test_a_contradiction_names_both_places_and_leaves_nothing(planner, logs):
    line = json.loads((logs / "june.jsonl").read_text().splitlines()[0])
    (logs / "june.jsonl").write_text(json.dumps({**line, "started_ms": START}) + "\n")
    said = " ".join(planner(*BUILD, cwd=logs, code=1).stderr.split())
    assert "june.jsonl, line 1, at $.run_id: found r6" in said and "may.jsonl.gz, line 7" in said
    assert not (logs / "D").exists()
