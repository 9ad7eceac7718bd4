"""The examples from install to bundle, through the commands, and each one's own tests where it is installed."""

from __future__ import annotations

import json
from functools import cache

import pytest

from planner_core import Planner

SMALL = {
    "lookup": (),
    "gbdt": ("--set", "rounds=15"),
    "transformer": ("--set", "epochs=3", "--set", "d_model=32"),
    "forest": ("--set", "trees=10"),
}
DISTRIBUTIONS = {name: f"planner-{'sklearn' if name == 'forest' else name}" for name in SMALL}


def test_they_are_found_by_their_entry_points(strangers):
    listed = {entry["name"]: entry for entry in json.loads(strangers.planner("policies", "--json").stdout)}
    for name in SMALL:
        entry = listed[name]
        assert (entry["distribution"], entry["status"]) == (DISTRIBUTIONS[name], "ok")
        assert entry["trainable"] is True
    assert listed["mlp"]["status"] == "ok"


@pytest.fixture(scope="module")
def made(strangers):
    """``made(name)`` -> (results of training, report of the export), each made once."""

    @cache
    def make(name):
        trained = strangers.planner("run", "--policy", name, "train", *SMALL[name], "--json")
        exported = strangers.planner("export", "--policy", name, "--json")
        return json.loads(trained.stdout), json.loads(exported.stdout)

    return make


@pytest.mark.parametrize("name", SMALL)
def test_train_evaluate_and_export(strangers, made, world_lines, name):
    trained, exported = made(name)
    judged = json.loads(strangers.planner("run", "--policy", name, "evaluate", "--json").stdout)
    assert judged["n"] == 40
    assert judged["exact_match_accuracy"] == trained["test"]["exact_match_accuracy"]
    assert judged["mean_utility"] > judged["heuristic"]["mean_utility"]
    assert exported["parity"]["passed"]
    assert exported["model_bytes"] < 10_000_000
    bundle = strangers.work / "bundles" / name
    metadata = json.loads((bundle / "metadata.json").read_text())
    assert (metadata["policy"], metadata["distribution"]) == (name, DISTRIBUTIONS[name])
    # The runtime needs nothing of the example: this process does not have it.
    planner = Planner.load(bundle, strict=True)
    for line in world_lines(5):
        assert not planner.decide(line["planner_input"])["abstain_to_default"]


@pytest.mark.parametrize(
    "name",
    [
        "lookup",
        pytest.param("gbdt", marks=pytest.mark.slow),
        pytest.param("transformer", marks=pytest.mark.slow),
        pytest.param("forest", marks=pytest.mark.slow),
    ],
)
def test_from_a_log_they_learn_utilities(strangers, name):
    """Of the world's outcomes they get only those of what was run; what comes of it is a bundle like any other."""
    run = f"logged/{name}"
    log_alone = ("--set", "evidence=executed", "--out", run)
    named = ("run", "--policy", name, "train", *SMALL[name], *log_alone)
    trained = json.loads(strangers.planner(*named, "--json").stdout)
    assert trained["known"] == "executed"
    assert any("imputed" in note for note in trained["notes"])
    to = ("--run", run, "--out", f"logged-bundles/{name}")
    assert json.loads(strangers.planner("export", "--policy", name, *to, "--json").stdout)["parity"]["passed"]
    if name == "lookup":  # a few hundred runs are too few for more than means
        for split in ("val", "test"):
            assert trained[split]["mean_utility"] > trained[split]["heuristic"]["mean_utility"]


@pytest.mark.slow
def test_bench_measures_them(strangers, made):
    for name in SMALL:
        made(name)
    bundles = [part for name in SMALL for part in ("--bundle", f"bundles/{name}")]
    # Exit code 1 is a broken promise, which on a machine that is busy with other tests says nothing about a policy.
    done = strangers.planner("bench", *bundles, "--repeats", "100", "--json", codes=(0, 1))
    assert all(f'"{name}"' in done.stdout for name in SMALL)


@pytest.mark.parametrize(
    "name",
    [
        "lookup",
        pytest.param("gbdt", marks=pytest.mark.slow),
        pytest.param("transformer", marks=pytest.mark.slow),
        pytest.param("sklearn", marks=pytest.mark.slow),
    ],
)
def test_its_own_tests_pass(strangers, name):
    """The kit, and what the example says about itself."""
    arguments = ("-q", "-rA", "-p", "no:cacheprovider", "tests")
    done = strangers.run("pytest", *arguments, cwd=strangers.source / name)
    assert "test_conformance[learns]" in done.stdout
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all("its scores are logits, no outcomes" in line for line in skipped), skipped
