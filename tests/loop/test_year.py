"""The simulated year: what the arms share, what is counted, and a whole small year on the product's own path."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "loop"


@pytest.fixture(scope="module")
def example():
    """The modules of the example by name; they import each other by it."""
    sys.path.insert(0, str(EXAMPLE))
    found = {}
    for name in ("desk", "year", "report"):
        spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
        sys.modules[name] = found[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
    yield found
    sys.path.remove(str(EXAMPLE))
    for name in found:
        del sys.modules[name]


@pytest.fixture(scope="module")
def small(example, tmp_path_factory):
    """Two months of 60 issues, with a model that was fitted in a moment."""
    out = tmp_path_factory.mktemp("year") / "y"
    quick = ["rounds=1", "steps=5", "residuals=false"]
    options = [word for value in quick for word in ("--set", value)]
    arguments = ["--out", str(out), "--months", "2", "--issues", "60", "--seed", "1", *options]
    assert example["year"].main(arguments) == 0
    return out, json.loads((out / "year.json").read_text())


def test_all_arms_meet_the_same_issues(small):
    _, year = small
    sizes = {arm: [len(month) for month in figures["utility"]] for arm, figures in year["arms"].items()}
    assert sizes["rules"] == sizes["once"] == sizes["loop"] and sum(sizes["rules"]) > 80
    first = {arm: figures["utility"][0] for arm, figures in year["arms"].items()}
    assert first["rules"] == first["once"] == first["loop"]  # a month of the rules
    assert year["arms"]["rules"]["utility"][1] != year["arms"]["loop"]["utility"][1]
    assert year["arms"]["once"] == year["arms"]["loop"]  # as the loop until something was promoted


def test_the_loop_logs_watches_and_decides(small):
    out, year = small
    first, second = year["events"]
    assert first["candidate"] is None and second["candidate"] == "bundle-00"
    assert isinstance(second["promoted"], bool) and second["why"] and second["watch"]
    decisions = [json.loads(line) for line in (out / "decisions-01.jsonl").read_text().splitlines()]
    runs = [json.loads(line) for line in (out / "runs-01.jsonl").read_text().splitlines()]
    assert [d["decision_id"] for d in decisions] == [r["decision_id"] for r in runs]
    assert {d["arm"] for d in decisions} == {"baseline", "model", "explore"}
    assert all(d["time"].startswith(("2026-01-31", "2026-02", "2026-03-01")) for d in decisions)
    meta = json.loads((out / "data-01-1" / "meta.json").read_text())
    assert meta["decisions"]["joined by decision_id"] == len(runs)
    assert (out / "serving-01").exists() is second["promoted"]


def test_the_ledger_is_what_the_runs_say(small):
    out, year = small
    runs = [json.loads(line) for m in (0, 1) for line in (out / f"runs-{m:02d}.jsonl").read_text().splitlines()]
    loop = {key: np.concatenate(months) for key, months in year["arms"]["loop"].items()}
    assert loop["usd"].sum() == pytest.approx(sum(run["cost_usd_est"] for run in runs))
    assert loop["passed"].sum() == sum(run["outcome"]["status"] == "success" for run in runs)
    assert loop["passed"].max() == 1.0


def test_the_report_of_two_years(example, small, tmp_path, capsys):
    out, year = small
    other = tmp_path / "other.json"
    shifted = {**year, "arms": {**year["arms"]}}
    shifted["arms"]["loop"] = {k: [[v + 1.0 for v in m] for m in months] for k, months in year["arms"]["loop"].items()}
    other.write_text(json.dumps(shifted))
    picture = tmp_path / "year.svg"
    assert example["report"].main([str(out / "year.json"), str(other), "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    gap = np.mean(np.concatenate(year["arms"]["loop"]["utility"][1:])) - np.mean(
        np.concatenate(year["arms"]["once"]["utility"][1:])
    )
    assert f"{gap + 0.5:+.3f} ± 0.500" in printed  # means of gap and gap + 1, whose standard error is a half
    assert picture.read_text().startswith("<?xml") and "trained once" in printed


def test_a_bundle_as_the_baseline(example, small):
    """It decides as the bundle does, and takes the nearest where that is not allowed."""
    from planner_core import Planner, PlannerInput, convert

    out, _ = small
    line = (out / "decisions-01.jsonl").read_text().splitlines()[0]
    given = json.loads(line)["planner_input"]
    baseline = example["desk"].BundleAsBaseline(out / "bundle-00")
    own = example["desk"].action_of(Planner.load(out / "bundle-00").decide(given))
    x = convert(given, PlannerInput, "input")
    assert baseline.nearest(x, (own,)) == own
    other = own._replace(minutes=15 if own.minutes != 15 else 30)
    assert baseline.nearest(x, (other,)) == other


@pytest.mark.slow
def test_a_year_in_pieces_is_the_same_year(example, small, tmp_path, capsys):
    """The first month is that of the small year; the rest is made in a second piece, from what the first one kept."""
    _, year = small
    arguments = ["--out", str(tmp_path / "y"), "--months", "2", "--issues", "60", "--seed", "1"]
    arguments += [word for value in year["set"] for word in ("--set", value)]
    assert example["year"].main([*arguments, "--stop-after", "0.001"]) == 0
    assert "1 of 2 months" in capsys.readouterr().out and not (tmp_path / "y" / "year.json").exists()
    assert example["year"].main([*arguments[:-1], "residuals=true"]) == 1
    assert "there is another year" in capsys.readouterr().err
    assert example["year"].main(arguments) == 0
    pieces = json.loads((tmp_path / "y" / "year.json").read_text())
    assert pieces["arms"] == year["arms"]
    assert [event["promoted"] for event in pieces["events"][1:]] == [event["promoted"] for event in year["events"][1:]]


def test_wrong_usage_and_a_place_that_is_taken(example, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        example["year"].main(["--out", str(tmp_path / "y"), "--months", "0"])
    assert stop.value.code == 2
    (tmp_path / "taken").write_text("a file")
    assert example["year"].main(["--out", str(tmp_path / "taken"), "--issues", "10", "--months", "1"]) == 1
    assert "taken" in capsys.readouterr().err


@pytest.mark.slow
def test_half_a_year_as_the_page_has_it(example, tmp_path):
    """Half of the year of docs/loop.md in smaller months, with the policy as it is: the models beat the rules."""
    assert example["year"].main(["--out", str(tmp_path / "y"), "--months", "6", "--issues", "500"]) == 0
    year = json.loads((tmp_path / "y" / "year.json").read_text())
    means = {arm: np.mean(np.concatenate(f["expected"][1:])) for arm, f in year["arms"].items()}
    assert min(means["once"], means["loop"]) > means["rules"]
