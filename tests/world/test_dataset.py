"""The dataset of a simulated world against what it promises."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from planner_core.action_space import Action, ActionSpace, resolve, valid_actions
from planner_core.clock import rfc3339
from planner_core.contracts import DatasetExample, DatasetMeta
from planner_core.data.retrieval import Query, similar_runs
from planner_core.data.writer import SPLITS, dataset_hash
from planner_core.encoder import PRIORITIES
from planner_core.errors import ConfigError, PlannerError
from planner_core.jsonio import read, read_file
from planner_core.rules import default_action as baseline
from planner_core.utility import best_actions, tie_order, utilities, weight_table
from planner_core.world.config import WORLDS, world_config
from planner_core.world.generate import synthesize

SPACE = ActionSpace()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("world") / "data"
    return out, synthesize(out, examples=400, seed=5, baseline=baseline)


@pytest.fixture(scope="module")
def examples(made: tuple[Path, dict[str, Any]]) -> list[DatasetExample]:
    lines = (made[0] / "dataset.jsonl").read_bytes().splitlines()
    return [read(line, DatasetExample, "dataset.jsonl", i) for i, line in enumerate(lines, 1)]


def test_same_seed_same_bytes(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    stages: set[str] = set()
    again = synthesize(
        tmp_path / "b", examples=400, seed=5, baseline=baseline, progress=lambda stage, done, total: stages.add(stage)
    )
    assert again == made[1]
    names = sorted(p.name for p in made[0].iterdir())
    assert names == ["dataset.jsonl", "meta.json", "outcomes.npz"]
    for name in names:
        assert (made[0] / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert stages == {"run logs", "similar runs", "expected outcomes", "examples"}
    other = synthesize(tmp_path / "c", examples=400, seed=6, baseline=baseline)
    assert other["dataset_hash"] != again["dataset_hash"]


def test_meta(made: tuple[Path, dict[str, Any]], examples: list[DatasetExample]) -> None:
    out, meta = made
    on_disk = read_file(out / "meta.json", DatasetMeta)
    assert on_disk.dataset_hash == meta["dataset_hash"] == dataset_hash(out)
    assert on_disk.label_source == "best_of_k"
    assert on_disk.split_counts == {"train": 320, "val": 40, "test": 40}
    assert [e.split for e in examples] == ["train"] * 320 + ["val"] * 40 + ["test"] * 40
    assert msgspec.json.decode((out / "meta.json").read_bytes()) == meta
    assert len(meta["world"]["difficulty"]["tag_fixed"]) == 40
    assert sum(meta["world"]["status_shares"].values()) == pytest.approx(1, abs=1e-3)
    dumped = msgspec.to_builtins(WORLDS["default"])
    difficulty = dumped.pop("difficulty")
    assert dumped.items() <= meta["world"].items()
    assert difficulty.items() <= meta["world"]["difficulty"].items()


def test_labels_ceiling_and_floor_follow_from_the_outcomes(
    made: tuple[Path, dict[str, Any]], examples: list[DatasetExample]
) -> None:
    out, meta = made
    with np.load(out / "outcomes.npz") as arrays:
        passed, minutes, cost = (arrays[name] for name in ("passed", "minutes", "cost_usd"))
    jobs = [("code", "fab-world", "fab-asset").index(e.planner_input.job_type) for e in examples]
    valid = SPACE.joint_masks[jobs]
    assert passed.dtype == np.float32
    assert passed.shape == (400, 150)
    for values in (passed, minutes, cost):
        assert (np.isnan(values) == ~valid).all()
    priority = np.array([PRIORITIES.index(e.planner_input.issue.dk_priority) for e in examples])
    score = utilities(passed, minutes, cost, priority, weight_table())
    winners = best_actions(passed, score, valid, tie_order(SPACE))
    labels = [joint(e) for e in examples]
    assert winners.tolist() == labels
    assert meta["n_labels"] == len(set(labels))
    floor = [
        SPACE.index[baseline(e.planner_input.job_type, e.planner_input.issue.dk_risk, e.planner_input.issue.dk_size)]
        for e in examples
    ]
    begin = 0
    for split in SPLITS:
        rows = np.arange(begin, begin + meta["split_counts"][split])
        begin = rows[-1] + 1
        chosen = score[rows, np.array(floor)[rows]]
        assert meta["floor"][split]["mean_utility"] == pytest.approx(chosen.mean())
        best = score[rows, winners[rows]].mean()
        assert meta["floor"][split]["mean_utility"] < meta["ceiling"][split]["mean_utility"] <= best
        assert meta["floor"][split]["exact_match_accuracy"] < meta["ceiling"][split]["exact_match_accuracy"] < 1


def joint(example: DatasetExample) -> int:
    label = example.label_action
    budgets = label.budgets
    action = Action(label.swarm_id, budgets.max_candidates_bin, budgets.max_minutes_bin, budgets.max_iterations_bin)
    return SPACE.index[action]


def test_history_is_that_of_the_reference_retrieval(
    made: tuple[Path, dict[str, Any]], examples: list[DatasetExample]
) -> None:
    runs = {run.run_id: run for e in examples for run in e.planner_input.history.last_n_similar_runs}
    assert len(runs) > 350
    for e in examples[::10]:
        shown = e.planner_input.history.last_n_similar_runs
        x = e.planner_input
        defaults = x.universe_defaults
        q = Query(e.started_ms, x.job_type, x.issue.tags, x.issue.issue_id, x.universe_id, defaults.objective_id)
        assert [run.run_id for run in shown] == [run.run_id for run in similar_runs(q, runs.values(), 8)]
        assert all(run.started_ms < e.started_ms for run in shown)


def test_runs_log_the_policy_and_attempts_follow_failures(examples: list[DatasetExample]) -> None:
    runs = {run.run_id: run for e in examples for run in e.planner_input.history.last_n_similar_runs}
    of_issue: dict[str, list[DatasetExample]] = {}
    usual = 0
    for e in examples:
        of_issue.setdefault(e.planner_input.issue.issue_id, []).append(e)
        assert rfc3339(e.started_ms) == e.planner_input.created_at.isoformat(timespec="milliseconds")[:-6] + "Z"
        if e.run_id not in runs:
            continue
        run = runs[e.run_id]
        assert (run.issue_id, run.tags) == (e.planner_input.issue.issue_id, e.planner_input.issue.tags)
        assert run.propensity is None  # evidence, not history
        usual += e.executed.propensity > 0.5
        gates_failed = [gate for gate in run.outcome.gates if not gate.passed]
        if run.outcome.status == "success":
            assert not gates_failed
            assert not run.outcome.fail_codes
        else:
            assert run.outcome.fail_codes
            assert bool(gates_failed) == (run.outcome.status == "failed")
        assert (run.universe_id is not None) == (run.job_type == "fab-world")
    assert 0.75 < usual / len(runs) < 0.9
    assert sum(len(own) > 1 for own in of_issue.values()) > 5
    for own in of_issue.values():
        assert [e.planner_input.issue.dk_attempts for e in own] == list(range(len(own)))
        assert all(runs[e.run_id].outcome.status != "success" for e in own[:-1] if e.run_id in runs)
    states = [e.planner_input.system_state is not None for e in examples]
    assert 0.4 < sum(states) / len(states) < 0.6


def raw_action(example: DatasetExample) -> Action:
    return Action(*("NA" if value is None else value for value in example.executed.action))


def test_executed_is_the_run_of_the_history(examples: list[DatasetExample]) -> None:
    runs = {run.run_id: run for e in examples for run in e.planner_input.history.last_n_similar_runs}
    assert {e.executed.status for e in examples} == {"success", "failed", "timeout"}
    for e in examples:
        done = e.executed
        swarm, k, minutes, _ = resolve(raw_action(e), e.planner_input.job_type)
        assert done.passed == (done.status == "success") == (not done.fail_codes)
        assert len(done.candidates) == k
        assert sum(c.cost_usd for c in done.candidates) == pytest.approx(done.cost_usd, abs=1e-4)
        passing = [c.duration_ms for c in done.candidates if c.passed]
        ended = min(passing) if passing else max(c.duration_ms for c in done.candidates)
        assert ended <= minutes * 60_000
        assert abs(done.duration_ms - ended - 120_000 * swarm) <= 1  # a millisecond of rounding
        assert done.passed <= bool(passing)
        assert (done.fail_codes == ["VOTE_NOT_REACHED"]) == (bool(passing) and not done.passed)
        if e.run_id not in runs:
            continue
        run = runs[e.run_id]
        assert tuple(msgspec.to_builtins(run.action_executed).values()) == done.action
        assert (run.outcome.status, run.outcome.fail_codes) == (done.status, done.fail_codes)
        assert (run.runtime.duration_ms, run.cost_usd_est) == (done.duration_ms, done.cost_usd)


def test_propensities_are_those_of_the_logging_policy(examples: list[DatasetExample]) -> None:
    """20 % are shared out over the 30, 120 or 150 valid actions, 80 % go to the rules' action; twins are one."""

    def key(action: Action, job: str) -> str:
        swarm, *numbers = resolve(action, job)
        return "|".join((SPACE.swarm_ids[swarm], *map(str, numbers)))

    for e in examples[::7]:
        job, issue, done = e.planner_input.job_type, e.planner_input.issue, e.executed
        valid = valid_actions(job)
        wanted = dict.fromkeys((key(action, job) for action in valid), 0.0)
        for action in valid:
            wanted[key(action, job)] += 0.2 / len(valid)
        wanted[key(baseline(job, issue.dk_risk, issue.dk_size), job)] += 0.8
        assert done.propensities == pytest.approx(wanted, rel=1e-5)
        assert done.propensity == done.propensities[key(raw_action(e), job)]


def test_no_exploration(tmp_path: Path) -> None:
    synthesize(tmp_path / "w", examples=60, seed=1, baseline=baseline, config=world_config("default", 0.0))
    for i, line in enumerate((tmp_path / "w" / "dataset.jsonl").read_bytes().splitlines()):
        e = read(line, DatasetExample, "-", i)
        issue = e.planner_input.issue
        assert raw_action(e) == baseline(e.planner_input.job_type, issue.dk_risk, issue.dk_size)
        assert list(e.executed.propensities.values()) == [1.0] == [e.executed.propensity]


@pytest.mark.parametrize("n_similar", [0, 3])
def test_tiny_worlds(tmp_path: Path, n_similar: int) -> None:
    meta = synthesize(tmp_path / "one", examples=1, seed=0, baseline=baseline, n_similar=n_similar)
    assert meta["split_counts"] == {"train": 1, "val": 0, "test": 0}
    assert set(meta["ceiling"]) == {"train"}
    synthesize(tmp_path / "few", examples=30, seed=0, baseline=baseline, n_similar=n_similar)
    last = (tmp_path / "few" / "dataset.jsonl").read_bytes().splitlines()[-1]
    assert len(read(last, DatasetExample, "-").planner_input.history.last_n_similar_runs) == n_similar


def test_refusals_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no world 'flat'; there are default, gives-up"):
        world_config("flat")
    with pytest.raises(ConfigError, match=r"between 0 and 1, not 1\.5"):
        world_config("default", 1.5)
    with pytest.raises(ConfigError, match="examples >= 1"):
        synthesize(tmp_path / "a", examples=0, seed=0, baseline=baseline)
    with pytest.raises(ConfigError, match="fab-world, low, XS is not valid"):
        synthesize(
            tmp_path / "a",
            examples=5,
            seed=0,
            baseline=lambda job, risk, size: Action("speculate_vote", "NA", 15, "NA"),
        )
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    for replace in (False, True):  # only a dataset gives way to another one
        with pytest.raises(PlannerError, match="is not empty"):
            synthesize(tmp_path / "there", examples=5, seed=0, baseline=baseline, replace=replace)
    assert (tmp_path / "there" / "file").read_text() == "mine"
    (tmp_path / "there" / "file").unlink()
    synthesize(tmp_path / "there", examples=5, seed=0, baseline=baseline)
    meta = synthesize(tmp_path / "there", examples=6, seed=0, baseline=baseline, replace=True)
    assert dataset_hash(tmp_path / "there") == meta["dataset_hash"]


def test_memory_grows_by_columns_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is some hundred bytes of columns while a world is made, not its 1,800 bytes of outcomes and its JSON."""
    for name in ("world.generate.ROWS", "world.log.ROWS", "world.lines.ROWS", "data.retrieval_index._QUESTIONS"):
        monkeypatch.setattr(f"planner_core.{name}_AT_ONCE", 128)
    monkeypatch.setattr("planner_core.data.retrieval_scan._BLOCK", 128)

    def peak(examples: int) -> int:
        tracemalloc.start()
        try:
            synthesize(tmp_path / str(examples), examples=examples, seed=1, baseline=baseline)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(200)  # the tables of the world are made once
    short, long = peak(1_500), peak(4_500)
    assert (long - short) / 3_000 < 1_000
