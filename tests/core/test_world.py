"""The simulated world: its model against hand-made simulation, its dataset against what it promises."""

from __future__ import annotations

import math
import random
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from planner_core.action_space import Action, ActionSpace
from planner_core.contracts import DatasetExample, DatasetMeta
from planner_core.data.retrieval import Query, similar_runs
from planner_core.data.writer import SPLITS, assign_splits, dataset_hash, rfc3339
from planner_core.encoder import PRIORITIES
from planner_core.errors import ConfigError, DataError, PlannerError
from planner_core.jsonio import read, read_file
from planner_core.utility import best_actions, tie_order, utilities, weight_table
from planner_core.world import model as world_model
from planner_core.world.generate import synthesize
from planner_core.world.model import WorldModel, normal_cdf, plan_of, plan_table, sample

SPACE = ActionSpace()
CODE, ASSET = 0, 2


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return world_model.world_model()


def outcome(model: WorldModel, job: int, size: int, z: float, action: Action) -> tuple[float, float, float]:
    expected = model.expected(np.array([size]), np.array([z]), np.array([job]))
    passed, minutes, cost = (float(values[0, SPACE.index[action]]) for values in expected)
    return passed, minutes, cost


# -- the model


def test_normal_cdf_error() -> None:
    x = np.linspace(-9.5, 9.5, 20_001)
    exact = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])
    assert np.abs(normal_cdf(x) - exact).max() < 1e-12


def test_plans_replace_na() -> None:
    assert plan_of(Action("speculate_vote", "NA", "NA", "NA"), True) == (True, 2, 240, 2)
    assert plan_of(Action("serial_handoff", 1, 15, 5), False) == (False, 1, 15, 1)


def test_single_candidate_by_hand(model: WorldModel) -> None:
    """One try, by the closed form: q Phi, m minus what passing early saves, and the price of those minutes."""
    z, size, m = 0.3, 2, 30
    q = 1 / (1 + math.exp(z - 0.5))
    mu, sd = math.log(18) + 0.25 * z, 0.4

    def cdf(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    done = q * cdf((math.log(m) - mu) / sd)
    early = q * math.exp(mu + sd * sd / 2) * cdf((math.log(m) - mu - sd * sd) / sd)
    minutes = m * (1 - done) + early
    passed, got_minutes, cost = outcome(model, CODE, size, z, Action("serial_handoff", 1, m, "NA"))
    assert passed == pytest.approx(done, abs=1e-5)
    assert got_minutes == pytest.approx(minutes, abs=1e-3)
    assert cost == pytest.approx(0.05 * minutes + 0.02, abs=1e-4)


def by_hand(rng: random.Random, size: int, z: float, action: Action, iterates: bool) -> tuple[float, float, float]:
    """One run of the world of the specification, written as it is told there."""
    vote, k, m, tries = plan_of(action, iterates)
    passing, cost = [], 0.0
    for _ in range(k):
        t = rng.lognormvariate(math.log((6, 11, 18, 28, 50)[size]) + 0.25 * z, 0.4)
        end, pass_time = t, math.inf
        for _ in range(tries):
            if rng.random() < 1 / (1 + math.exp(z - 0.5)):
                pass_time = end
                break
            end += 0.6 * t
        spent = pass_time if pass_time <= m else m
        if pass_time <= m:
            passing.append(pass_time)
        cost += 0.05 * spent + 0.02
    picked = rng.random() < 0.97 if vote else True
    return float(bool(passing) and picked), min(passing, default=m) + (2 if vote else 0), cost


@pytest.mark.parametrize(
    ("job", "size", "z", "action"),
    [
        (CODE, 1, -0.7, Action("serial_handoff", 1, 15, "NA")),
        (CODE, 3, 0.6, Action("speculate_vote", 3, 45, "NA")),
        (ASSET, 4, 1.5, Action("speculate_vote", "NA", 120, 5)),
        (ASSET, 2, 0.2, Action("speculate_vote", 1, "NA", "NA")),
        (ASSET, 2, 2.5, Action("serial_handoff", 1, 60, 3)),
    ],
)
def test_tables_and_samples_agree_with_simulation(
    model: WorldModel, job: int, size: int, z: float, action: Action
) -> None:
    rng, n = random.Random(3), 20_000
    told = np.array([by_hand(rng, size, z, action, job != CODE) for _ in range(n)])
    plans = np.tile(plan_table(job != CODE)[SPACE.index[action]], (n, 1))
    drawn = sample(np.random.default_rng(4), np.full(n, size), np.full(n, z), plans)
    sampled = np.stack([drawn.passed, drawn.minutes, drawn.cost_usd], axis=1)
    expected = outcome(model, job, size, z, action)
    for simulated in (told, sampled):
        error = simulated.std(axis=0) / math.sqrt(n)
        assert (np.abs(simulated.mean(axis=0) - expected) < 4.5 * error + 1e-3).all()
    failed = ~drawn.passed
    assert not (drawn.out_of_time & drawn.passed).any()
    assert not (drawn.outvoted & ~failed).any()


def test_quadrature_and_interpolation_error(model: WorldModel) -> None:
    z = np.linspace(-4, 4, 41)
    for minutes in (6.0, 50.0):
        coarse, fine = (world_model._curves(minutes, z, nodes) for nodes in (16, 32))
        assert np.abs(coarse[1] - fine[1]).max() < 1e-9
    halved = WorldModel(z_step=0.02, z_limit=4.0)
    between = np.round(np.linspace(-3, 3, 31), 2) + 0.005
    finer = WorldModel(z_step=0.005, z_limit=4.0)
    args = np.full(31, 3), between, np.full(31, ASSET)
    usual, exact, rough = (m.expected(*args) for m in (model, finer, halved))
    for i, limit in enumerate((1e-5, 1e-3, 1e-3)):
        assert np.abs(usual[i] - exact[i]).max() < limit
        assert np.abs(rough[i] - exact[i]).max() < 10 * limit


def test_equivalent_actions_are_bitwise_equal(model: WorldModel) -> None:
    rng = np.random.default_rng(0)
    expected = model.expected(rng.integers(0, 5, 50), rng.normal(0, 2, 50), np.full(50, ASSET))
    noisy = model.expected_over_noise(rng.integers(0, 5, 50), rng.normal(0, 2, 50), np.full(50, ASSET))
    two = SPACE.index[Action("speculate_vote", 2, 60, 2)]
    for candidates, iterations in (("NA", 2), (2, "NA"), ("NA", "NA")):
        other = SPACE.index[Action("speculate_vote", candidates, 60, iterations)]
        for values in (*expected, *noisy):
            assert (values[:, two] == values[:, other]).all()


def test_code_does_not_iterate(model: WorldModel) -> None:
    size, z = np.array([2]), np.array([0.4])
    code = model.expected(size, z, np.array([CODE]))
    one, five = (SPACE.index[Action("serial_handoff", 1, 60, i)] for i in (1, 5))
    assert code.passed[0, one] == code.passed[0, five]
    other = model.expected(size, z, np.array([3]))
    assert other.passed[0, five] > other.passed[0, one] == code.passed[0, one]


def test_noise_is_integrated_out(model: WorldModel) -> None:
    z, size, job = 0.8, np.array([3]), np.array([ASSET])
    grid = np.linspace(-6 * 0.35, 6 * 0.35, 2001)
    weights = np.exp(-0.5 * (grid / 0.35) ** 2)
    many = model.expected(np.full(2001, 3), z + grid, np.full(2001, ASSET))
    averaged = model.expected_over_noise(size, np.array([z]), job)
    for values, mean, limit in zip(many, averaged, (1e-5, 1e-3, 1e-3), strict=True):
        assert np.abs(weights @ values / weights.sum() - mean[0]).max() < limit


def test_a_difficulty_off_the_grid_counts_as_its_end(model: WorldModel) -> None:
    def at(z: float) -> np.ndarray[Any, Any]:
        return model.expected(np.array([0]), np.array([z]), np.array([CODE])).passed

    assert (at(40.0) == at(12.0)).all()
    assert (at(-40.0) == at(-12.0)).all()
    assert not np.isnan(at(12.0)).any()


# -- the dataset


def baseline(job_type: str, risk: str, size: str) -> Action:
    minutes = {"XS": 15, "S": 30, "M": 45, "L": 60, "XL": 120}[size]
    iterations: Any = "NA" if job_type == "code" else 2
    if risk in ("high", "critical"):
        return Action("speculate_vote", 3, minutes, iterations)
    return Action("serial_handoff", 1, minutes, iterations)


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
    n_valid = {"code": 30, "fab-world": 120, "fab-asset": 150}
    of_issue: dict[str, list[DatasetExample]] = {}
    usual = 0
    for e in examples:
        of_issue.setdefault(e.planner_input.issue.issue_id, []).append(e)
        assert rfc3339(e.started_ms) == e.planner_input.created_at.isoformat(timespec="milliseconds")[:-6] + "Z"
        if e.run_id not in runs:
            continue
        run = runs[e.run_id]
        assert (run.issue_id, run.tags) == (e.planner_input.issue.issue_id, e.planner_input.issue.tags)
        assert run.propensity is not None
        explored = 0.2 / n_valid[run.job_type]
        assert run.propensity in (pytest.approx(explored), pytest.approx(explored + 0.8))
        usual += run.propensity > 0.5
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


@pytest.mark.parametrize("n_similar", [0, 3])
def test_tiny_worlds(tmp_path: Path, n_similar: int) -> None:
    meta = synthesize(tmp_path / "one", examples=1, seed=0, baseline=baseline, n_similar=n_similar)
    assert meta["split_counts"] == {"train": 1, "val": 0, "test": 0}
    assert set(meta["ceiling"]) == {"train"}
    synthesize(tmp_path / "few", examples=30, seed=0, baseline=baseline, n_similar=n_similar)
    last = (tmp_path / "few" / "dataset.jsonl").read_bytes().splitlines()[-1]
    assert len(read(last, DatasetExample, "-").planner_input.history.last_n_similar_runs) == n_similar


def test_refusals_write_nothing(tmp_path: Path) -> None:
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
    with pytest.raises(PlannerError, match="already exists"):
        synthesize(tmp_path / "there", examples=5, seed=0, baseline=baseline)
    synthesize(tmp_path / "there", examples=5, seed=0, baseline=baseline, replace=True)
    assert not (tmp_path / "there" / "file").exists()


# -- the writer


@pytest.mark.parametrize(("n", "counts"), [(1, "100"), (2, "101"), (5, "401"), (6, "411"), (10, "811"), (25, "20/2/3")])
def test_splits_of_small_datasets(n: int, counts: str) -> None:
    splits = assign_splits(list(range(n, 0, -1)), [f"r{i}" for i in range(n)])
    wanted = [int(c) for c in (counts.split("/") if "/" in counts else counts)]
    assert [splits.count(split) for split in SPLITS] == wanted
    assert splits == sorted(splits, key=SPLITS.index, reverse=True)


def test_splits_break_ties_by_run_id() -> None:
    assert assign_splits([7, 7], ["b", "a"]) == ["test", "train"]


def test_hash_covers_lines_names_and_arrays(tmp_path: Path) -> None:
    (tmp_path / "dataset.jsonl").write_bytes(b"{}\n")
    plain = dataset_hash(tmp_path)
    arrays = {name: np.zeros((1, 150), np.float32) for name in ("passed", "minutes", "cost_usd")}
    np.savez(tmp_path / "outcomes.npz", **arrays)
    zeros = dataset_hash(tmp_path)
    np.savez_compressed(tmp_path / "outcomes.npz", **{**arrays, "more": np.ones(3)})
    assert dataset_hash(tmp_path) == zeros != plain
    arrays["minutes"][0, 3] = 1
    np.savez(tmp_path / "outcomes.npz", **arrays)
    assert dataset_hash(tmp_path) != zeros


def test_hash_of_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.jsonl: expected a readable file"):
        dataset_hash(tmp_path)
    (tmp_path / "dataset.jsonl").write_bytes(b"{}\n")
    (tmp_path / "outcomes.npz").write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match=r"outcomes\.npz: .*npz file with the arrays passed, minutes, cost_usd"):
        dataset_hash(tmp_path)


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
