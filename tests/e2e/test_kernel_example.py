"""The example kernel: what it writes fits the contracts, a crash costs one run, and its log is a dataset."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from planner_core import NA, Action, ActionSpace, Caps, Planner, PlannerAction, PlannerInput, RunSummary, convert
from planner_core.contracts import ExecutedPlan

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kernel"
MODES = ("log", "enforce_reductions")
BUDGETS = ("max_candidates_executed", "timeout_seconds_executed", "max_iterations_executed")
ISSUES = [
    *(
        {
            "id": f"dk-{i}",
            "dk_priority": f"P{i % 4}",
            "dk_risk": risk,
            "dk_size": size,
            "tags": ["web", f"area:{i % 3}"],
        }
        for i, (risk, size) in enumerate((r, s) for r in ("low", "high", "critical") for s in ("XS", "M", "XL"))
    ),
    {"id": "dk-text", "dk_attempts": "3", "dk_size": "L", "dk_tool_hint": "claude", "tags": []},
    {"id": "std/ü 1", "priority": 4, "estimated_minutes": 600, "labels": ["risk:high", "web"], "issue_type": "bug"},
    {
        "id": "std-2",
        "priority": 0,
        "estimated_minutes": 10,
        "issue_type": "task",
        "universe_id": "u",
        "objective_id": "o",
    },
    {"id": "gone", "status": "tombstone"},
    {"_type": "memory", "text": "not an issue"},
]
DISPATCHED = [row["id"] for row in ISSUES[:12]]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def manifests(out):
    found = [json.loads(path.read_text()) for path in (out / "manifests").iterdir()]
    return sorted(found, key=lambda manifest: manifest["run"]["started_ms"])


def kernel(*args, code=0):
    command = [sys.executable, str(EXAMPLE / "kernel.py"), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import kernel as found

    yield found
    for name in ("kernel", "simulation"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def bundle(workshop):
    return workshop / "bundles" / "mlp"


@pytest.fixture(scope="module")
def place(tmp_path_factory, bundle):
    """``issues.jsonl``, and one run of the kernel in each mode, the second with the first one's log."""
    place = tmp_path_factory.mktemp("kernel")
    common = ("--issues", write_lines(place / "issues.jsonl", ISSUES), "--bundle", bundle)
    kernel(*common, "--out", place / "log", "--mode", "log")
    earlier = ("--runs", place / "log" / "runs.jsonl")
    kernel(*common, "--out", place / "enforce_reductions", "--mode", "enforce_reductions", *earlier)
    return place


@pytest.mark.parametrize("mode", MODES)
def test_everything_written_fits_its_contract(place, mode):
    found = manifests(place / mode)
    assert [manifest["issue_id"] for manifest in found] == DISPATCHED
    assert [manifest["run"] for manifest in found] == read_lines(place / mode / "runs.jsonl")
    for manifest in found:
        planner = manifest["planner"]
        assert list(planner) == [
            *(
                "planner_input",
                "planner_action",
                "planner_prediction",
                "executed_plan",
                "decision_id",
                "arm",
                "expected",
            ),
        ]
        convert(planner["planner_input"], PlannerInput, "planner_input")
        convert(planner["planner_action"], PlannerAction, "planner_action")
        convert(planner["planner_prediction"], PlannerAction, "planner_prediction")
        convert(planner["executed_plan"], ExecutedPlan, "executed_plan")
        convert(manifest["run"], RunSummary, "run")
        assert manifest["mode"] == mode and manifest["executor"] == "simulation"
        assert planner["planner_action"]["input_hash"] == planner["planner_prediction"]["input_hash"]
    assert not [path.name for path in (place / mode / "manifests").iterdir() if path.suffix != ".json"]


def plan_of(action):
    budgets = action["budgets"]
    return (action["swarm_id"], *budgets.values())


def test_log_mode_executes_the_rules_and_records_the_model(place, bundle):
    rules, model = Planner.load(bundle, mode="off"), Planner.load(bundle, strict=True)
    for manifest in manifests(place / "log"):
        planner = manifest["planner"]
        assert plan_of(planner["planner_action"]) == plan_of(rules.decide(planner["planner_input"]))
        assert plan_of(planner["planner_prediction"]) == plan_of(model.decide(planner["planner_input"]))
        assert planner["executed_plan"]["fallback_reason"].startswith("mode_log: ")


def within(plan, baseline):
    """Whether no budget of ``plan`` is above the baseline's; null is no limit."""
    pairs = [(plan[name], baseline[name]) for name in BUDGETS]
    return all(theirs is None or (ours is not None and ours <= theirs) for ours, theirs in pairs)


def test_enforce_reductions_never_exceeds_the_rules(place, bundle):
    rules = Planner.load(bundle, mode="off")
    for manifest in manifests(place / "enforce_reductions"):
        planner = manifest["planner"]
        assert within(planner["executed_plan"], rules.plan(planner["planner_input"]).executed)


class Always:
    """A model that is certain of one action."""

    def __init__(self, action):
        self.row = np.zeros(150, np.float32)
        self.row[ActionSpace().index[action]] = 1.0

    def action_probs(self, inputs):
        return np.tile(self.row, (len(inputs), 1))


def dispatched(module, place, out, planner, executor=None):
    issues = module.read_issues(place / "issues.jsonl")
    out.mkdir(exist_ok=True)
    log = module.RunLog(out / "runs.jsonl")
    chosen = executor or module.Simulation()
    return list(module.dispatch(issues, planner, chosen, log, out, "code", max(1_000, log.end_ms())))


@pytest.mark.parametrize(
    ("action", "taken"), [(Action("serial_handoff", 1, 15, NA), 12), (Action("speculate_vote", NA, NA, NA), 0)]
)
def test_less_is_executed_and_more_is_not(module, place, tmp_path, action, taken):
    rules = Planner(None, mode="off")
    found = dispatched(module, place, tmp_path, Planner(Always(action), mode="enforce_reductions"))
    plans = [manifest["planner"] for manifest in found]
    assert sum(plan_of(plan["planner_action"]) == tuple(action) for plan in plans) == taken
    assert sum(not plan["executed_plan"]["fallback_applied"] for plan in plans) == taken
    baselines = [rules.plan(plan["planner_input"]).executed for plan in plans]
    assert all(within(plan["executed_plan"], baseline) for plan, baseline in zip(plans, baselines, strict=True))
    assert any(plan["executed_plan"]["max_candidates_executed"] == 3 for plan in plans) == (taken == 0)


def test_no_limit_is_read_back_as_na(module, place, tmp_path, planner):
    """What has no limit is null in the plan and the log, and NA in the dataset."""
    unlimited = Action("speculate_vote", NA, NA, NA)
    found = dispatched(module, place, tmp_path / "out", Planner(Always(unlimited), caps=Caps()))
    assert {tuple(m["run"]["action_executed"].values()) for m in found} == {("speculate_vote", None, None, None)}
    files = ("--issues", place / "issues.jsonl", "--runs", tmp_path / "out" / "runs.jsonl")
    planner("data", "build", *files, "--out", "D", cwd=tmp_path)
    labels = {plan_of(row["label_action"]) for row in read_lines(tmp_path / "D" / "dataset.jsonl")}
    assert labels == {tuple(unlimited)}


def test_the_loop_closes(place, planner, tmp_path):
    """The dataset built from both logs holds exactly the inputs that were planned and the plans that were executed."""
    logs = [read_lines(place / mode / "runs.jsonl") for mode in MODES]
    everything = write_lines(tmp_path / "all.jsonl", [*logs[0], *logs[1]])
    files = ("--issues", place / "issues.jsonl", "--runs", everything)
    built = json.loads(planner("data", "build", *files, "--out", "D", "--json", cwd=tmp_path).stdout)
    assert built["examples"] == 24 and built["runs_left_out"] == {}
    planner("data", "validate", "D", cwd=tmp_path)
    by_id = {m["run_id"]: m["planner"] for mode in MODES for m in manifests(place / mode)}
    rows = read_lines(tmp_path / "D" / "dataset.jsonl")
    assert len(by_id) == len(rows) == 24
    for row in rows:
        planned = by_id[row["run_id"]]
        # The kernel asks without log figures; the dataset has those that it might have asked with.
        assert {k: v for k, v in row["planner_input"].items() if k != "log_figures"} == planned["planner_input"]
        assert plan_of(row["label_action"]) == plan_of(planned["planner_action"])


def test_history_is_what_ran_before(place):
    first = manifests(place / "log")
    assert first[0]["planner"]["planner_input"]["history"]["last_n_similar_runs"] == []
    second = manifests(place / "enforce_reductions")[0]["planner"]["planner_input"]
    known = {manifest["run_id"]: manifest["run"] for manifest in first}
    shown = second["history"]["last_n_similar_runs"]
    # Evidence is for those who learn: no input shows with what probability a run was chosen.
    hidden = ("propensity", "propensities")
    seen = {name: {k: v for k, v in run.items() if k not in hidden} for name, run in known.items()}
    assert len(shown) == 8 and all(seen[run["run_id"]] == run for run in shown)
    assert all(run["propensity"] == 1.0 and list(run["propensities"].values()) == [1.0] for run in known.values())
    starts = [run["started_ms"] for run in shown]
    assert starts == sorted(starts, reverse=True)


def test_a_share_of_the_issues_and_the_decision_log(place, bundle, planner, tmp_path):
    """Half of the issues are the model's; the decision log and the run log make the dataset, every run joined."""
    common = ("--issues", place / "issues.jsonl", "--bundle", bundle, "--mode", "enforce")
    for out in ("ab", "again"):
        kernel(*common, "--out", tmp_path / out, "--share", "0.5", "--salt", "spring")
    found = manifests(tmp_path / "ab")
    arms = [manifest["planner"]["arm"] for manifest in found]
    assert set(arms) == {"baseline", "model"}
    assert arms == [manifest["planner"]["arm"] for manifest in manifests(tmp_path / "again")]
    decisions = read_lines(tmp_path / "ab" / "decisions.jsonl")
    assert [row["decision_id"] for row in decisions] == [m["run"]["decision_id"] for m in found]
    assert [row["arm"] for row in decisions] == arms
    shown = planner("log", "ab/decisions.jsonl", cwd=tmp_path).stdout
    assert "dk-0" in shown and max(map(len, shown.splitlines())) <= 80
    # Without what the runs say themselves, the decision log says it.
    runs = [{k: v for k, v in m["run"].items() if not k.startswith("propensit")} for m in found]
    bare = write_lines(tmp_path / "bare.jsonl", runs)
    files = ("--issues", place / "issues.jsonl", "--runs", bare, "--decisions", "ab/decisions.jsonl")
    built = json.loads(planner("data", "build", *files, "--out", "D", "--json", cwd=tmp_path).stdout)
    assert built["decisions"] == {"decisions": 12, "joined by decision_id": 12}
    rows = read_lines(tmp_path / "D" / "dataset.jsonl")
    assert [row["executed"]["propensities"] for row in rows] == [row["propensities"] for row in decisions]
    assert [row["planner_input"] for row in rows] == [m["planner"]["planner_input"] for m in found]
    kernel(*common, "--out", tmp_path / "no", "--share", "1.5", code=2)
    assert "predicts no outcomes" in kernel(*common, "--out", tmp_path / "no", "--explore", "0.1", code=1).stderr


def test_same_seed_same_log_and_another_seed_another(place, bundle, tmp_path):
    common = ("--issues", place / "issues.jsonl", "--bundle", bundle, "--mode", "log")
    kernel(*common, "--out", tmp_path / "again")
    kernel(*common, "--out", tmp_path / "other", "--seed", "1")
    before, again, other = (
        [{**row, "decision_id": None} for row in read_lines(out / "runs.jsonl")]
        for out in (place / "log", tmp_path / "again", tmp_path / "other")
    )
    assert again == before != other


class Dies:
    """An executor that is killed in its sixth run."""

    name = "dies"

    def __init__(self, inner):
        self.inner, self.calls = inner, 0

    def run(self, *args):
        self.calls += 1
        if self.calls == 6:
            raise KeyboardInterrupt
        return self.inner.run(*args)


def test_a_crash_costs_one_run(module, place, tmp_path):
    out, planner = tmp_path / "out", Planner(None, mode="off")
    with pytest.raises(KeyboardInterrupt):
        dispatched(module, place, out, planner, Dies(module.Simulation()))
    assert [row["issue_id"] for row in read_lines(out / "runs.jsonl")] == DISPATCHED[:5]
    unfinished = [json.loads(path.read_text()) for path in (out / "manifests").iterdir()]
    (lost,) = [manifest for manifest in unfinished if manifest["run"] is None]
    assert lost["issue_id"] == DISPATCHED[5] and lost["planner"]["executed_plan"]
    # The same crash while the fifth line was being written.
    content = (out / "runs.jsonl").read_bytes()
    (out / "runs.jsonl").write_bytes(content[:-40])
    assert len(module.RunLog(out / "runs.jsonl").runs) == 4
    assert (out / "runs.jsonl").read_bytes() == b"".join(content.splitlines(keepends=True)[:4])


def test_a_second_start_retries_what_failed(place, bundle, tmp_path):
    common = ("--issues", place / "issues.jsonl", "--bundle", bundle, "--out", tmp_path / "out", "--mode", "log")
    kernel(*common, "--limit", "5")
    assert [row["issue_id"] for row in read_lines(tmp_path / "out" / "runs.jsonl")] == DISPATCHED[:5]
    kernel(*common)
    first, second = (rows := read_lines(tmp_path / "out" / "runs.jsonl"))[:5], rows[5:]
    passed = {row["issue_id"] for row in first if row["outcome"]["status"] == "success"}
    assert passed and [row["issue_id"] for row in second] == [name for name in DISPATCHED if name not in passed]
    assert len({row["run_id"] for row in rows}) == len(rows)


def test_mistakes_are_told_and_write_nothing(place, bundle, tmp_path):
    common = ("--bundle", bundle, "--out", tmp_path / "out")
    assert "nothing.jsonl" in kernel("--issues", tmp_path / "nothing.jsonl", *common, code=1).stderr
    bad = write_lines(tmp_path / "bad.jsonl", [{"id": "1", "dk_size": "huge"}])
    assert "bad.jsonl, line 1, at $.dk_size" in kernel("--issues", bad, *common, code=1).stderr
    log = place / "log" / "runs.jsonl"
    twice = write_lines(tmp_path / "twice.jsonl", read_lines(log) * 2)
    told = kernel("--issues", place / "issues.jsonl", *common, "--runs", twice, code=1).stderr
    assert "twice.jsonl, line 13, at $.run_id" in told
    kernel("--issues", place / "issues.jsonl", *common, "--start", "yesterday", code=2)
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_is_not_there_leaves_the_rules(place, tmp_path):
    common = ("--issues", place / "issues.jsonl", "--out", tmp_path / "out", "--limit", "3")
    done = kernel(*common, "--bundle", tmp_path / "none", "--mode", "enforce_reductions")
    assert "falling back" in done.stderr and "3 bundle_unusable" in done.stdout
    assert all(manifest["planner"]["planner_prediction"] is None for manifest in manifests(tmp_path / "out"))


def test_every_issue_of_a_real_tracker(reverend, bundle, planner, tmp_path):
    issues = reverend / "issues.jsonl"
    common = ("--issues", issues, "--bundle", bundle)
    kernel(*common, "--out", tmp_path / "log", "--mode", "log", "--runs", reverend / "runs.jsonl")
    recorded, ours = (reverend / "runs.jsonl").read_text(), (tmp_path / "log" / "runs.jsonl").read_text()
    (tmp_path / "all.jsonl").write_text(recorded + ours)
    kernel(*common, "--out", tmp_path / "less", "--mode", "enforce_reductions", "--runs", tmp_path / "all.jsonl")
    for out in ("log", "less"):
        assert [m["issue_id"] for m in manifests(tmp_path / out)] == [row["id"] for row in read_lines(issues)]
    baseline = Planner.load(bundle, mode="off")
    for manifest in manifests(tmp_path / "less"):
        planned = manifest["planner"]
        assert within(planned["executed_plan"], baseline.plan(planned["planner_input"]).executed)
    files = ("--issues", issues, "--runs", tmp_path / "all.jsonl")
    built = json.loads(planner("data", "build", *files, "--out", "D", "--json", cwd=tmp_path).stdout)
    assert built["examples"] == 183 + 218
    planner("data", "validate", "D", cwd=tmp_path)
