"""What is printed fits 80 columns, with whole numbers and words; and zero has no sign."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from planner_core.cli.console import number, table
from planner_core.cli.reports import counts_blocks, evaluation_blocks
from planner_core.harness.judging import Datasets, evaluate_source
from planner_core.harness.sources import open_path
from planner_core.utility import weight_table

PLANNER = Path(sys.executable).with_name("planner")


def printed(blocks):
    """The lines of ``blocks`` in a terminal of 80 columns."""
    from rich.console import Console

    console = Console(width=80)
    with console.capture() as capture:
        for block in blocks:
            console.print(block)
    return capture.get().splitlines()


@pytest.fixture(scope="module")
def judged(registry, world, runs):
    opened = open_path(runs["mlp"], registry)
    return evaluate_source(opened, Datasets(world), registry, sensitivity=True).to_dict()


def titles(document, **options):
    return [block.title for block in evaluation_blocks(document, **options) if not isinstance(block, str)]


def test_an_evaluation_is_a_sentence_and_three_blocks(judged):
    blocks = list(evaluation_blocks(judged))
    assert judged["verdict"]["text"] in blocks[0]
    assert titles(judged) == ["what it is worth", "what it predicts: is its confidence right?", "how it decides"]
    rows = [block.row_count for block in blocks if not isinstance(block, str)]
    assert sum(rows) <= 16 and max(rows) <= 6
    assert judged["sensitivity"]["text"] in blocks


def test_details_are_the_rest_of_it(judged):
    assert "if a pass were worth more or less: against the rules" in titles(judged, details=True)
    short, long = "\n".join(printed(evaluation_blocks(judged))), "\n".join(printed(evaluation_blocks(judged, True)))
    for row in ("regret ↓", "swarm ↑", "action entropy", "is the best ↑"):
        assert row in long and row not in short


@pytest.mark.parametrize("name", ["mlp", "a-policy-with-a-long-name"])
@pytest.mark.parametrize("details", [False, True])
def test_an_evaluation_fits(judged, name, details):
    lines = printed(evaluation_blocks({**judged, "policy": name}, details))
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)
    row = next(line for line in lines if line.startswith("utility a run ↑"))
    for part in (judged["mean_utility"], judged["heuristic"]["mean_utility"]):
        assert number(part, 3) in row.split()
    assert number(judged["mean_minutes"], 2) in "\n".join(lines)


def test_what_a_log_says_fits(registry, world_lines, write_lines, tmp_path, runs):
    opened = open_path(runs["mlp"], registry)
    lines = [{k: v for k, v in line.items() if k != "candidates"} for line in world_lines(60)]
    for i, line in enumerate(lines):
        line["split"] = "train" if i < 30 else "test"
        line["started_ms"] += 10**12  # later than the run learnt from
    write_lines(tmp_path / "log", lines)
    found = evaluate_source(
        opened, Datasets(tmp_path / "log"), registry, sensitivity=True, utility=weight_table() * 1e3
    )
    document = found.to_dict()
    assert document["known"] == "executed" and titles(document)[0] == "what it is worth (utility a run)"
    lines = printed(evaluation_blocks(document, True))
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [
        (-0.0, 2, "", "0.00"),
        (-0.004, 2, "", "0.00"),
        (-0.004, 2, "+", "+0.00"),
        (-0.006, 2, "", "-0.01"),
        (1234.5, 1, "", "1,234.5"),
        (3, 4, "", "3"),
        (None, 2, "", "-"),
    ],
)
def test_numbers(value, digits, sign, text):
    assert number(value, digits, sign) == text


def test_numbers_are_never_broken():
    found = table("<name", *(f"column {i}" for i in range(5)))
    found.add_row("a long text of many words that has to fold somewhere", *["123,456.78"] * 5)
    lines = printed([found])
    assert "\n".join(lines).count("123,456.78") == 5 and max(map(len, lines)) <= 80


COUNTS = {
    "decisions": 3,
    "decided_by": [
        {"policy": "mlp", "reason": None, "count": 2},
        {"policy": "heuristic", "reason": "over_cap", "count": 1},
    ],
    "actions": [
        {
            "swarm_id": "speculate_vote",
            "max_candidates_bin": 3,
            "max_minutes_bin": "NA",
            "max_iterations_bin": 5,
            "abstain_to_default": True,
            "count": 3,
        }
    ],
}


def test_counts_fit():
    text = "\n".join(printed(counts_blocks("mlp", COUNTS)))
    assert "mlp: 3 decisions" in text and "over_cap" in text and "speculate_vote" in text
    assert "66.7%" in text and "…" not in text
    assert printed(counts_blocks("mlp", {"decisions": 0, "decided_by": [], "actions": []}))


def test_counts_and_ids_of_one_stream(planner, bundles, world_lines, tmp_path):
    lines = world_lines(5)
    bad = {"issue": {"issue_id": "known by name"}}
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in [*lines[:2], bad, *lines[2:]]) + "[]\n"
    )
    call = ("predict", "mlp", "--from", bundles["mlp"], "in.jsonl", "--keep-going")
    counts = planner(*call, "--counts", "--json", "--threshold", "1")
    found = json.loads(counts.out)
    assert found["decisions"] == 5 == sum(row["count"] for row in found["actions"])
    assert found["decided_by"] == [{"policy": "heuristic", "reason": "low_confidence", "count": 5}]
    assert (
        counts.code == 1
        and json.loads(counts.err.splitlines()[-1])["error"]["message"] == "2 of the inputs were refused"
    )

    plain, named = planner(*call), planner(*call, "--ids")
    actions = [json.loads(line) for line in plain.out.splitlines()]
    rows = [json.loads(line) for line in named.out.splitlines()]
    ids = [line["planner_input"]["issue"]["issue_id"] for line in lines]
    assert [row["id"] for row in rows] == [*ids[:2], "known by name", *ids[2:], None]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    for row, action in zip(rows, actions, strict=True):
        if "error" in action:
            assert row == {"id": row["id"], **action}
        else:
            assert {**row["action"], "created_at": ""} == {**action, "created_at": ""} and len(row) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_output_that_cannot_be_written_is_named(tmp_path, monkeypatch, more):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with open("/dev/full", "w") as full:
        done = subprocess.run([PLANNER, "policies", *more], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and "standard output (/dev/full): No space left on device" in done.stderr
    if more:
        assert json.loads(done.stderr)["error"]["place"] == {"source": "standard output (/dev/full)"}
