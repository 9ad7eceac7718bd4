"""``planner run --policy P ablate``, by the installed command: in this process, in many, on a cluster, and killed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PLANNER = Path(sys.executable).with_name("planner")
WORLD = ("--dataset", "data/world")
TINY = (*WORLD, "--set", "epochs=2", "--set", "d_hidden=16", "--set", "lr=0.01")

FRAGILE = """
import os, signal, time
import msgspec, numpy as np
from planner_core import HEADS, FitReport, PolicySpec, hookimpl

class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    d_hidden: int = 512
    nap: float = 0.0
    healthy: bool = False

class Fragile:
    score_kind = "heads"

    def __init__(self, config, context):
        self.config, self.context = config, context

    def predict(self, batch):
        sizes = self.context.action_space.head_sizes
        return {n: np.tile(np.linspace(0, 1, s, dtype=np.float32), (len(batch), 1)) for n, s in zip(HEADS, sizes)}

    def export_scorer(self):
        raise NotImplementedError

    def fit(self, session):
        print("a policy that talks")
        time.sleep(self.config.nap)
        if not self.config.healthy:
            if self.config.d_hidden == 128:
                os._exit(3)
            if self.config.d_hidden == 256:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.config.d_hidden == 1024:
                raise ValueError("too wide for me")
        return FitReport()

    def save(self, directory):
        (directory / "process.txt").write_text(f"{os.environ.get('OMP_NUM_THREADS')} {os.getpid()} {os.getppid()}")

    def load(self, directory):
        pass

@hookimpl
def planner_register_policies(register):
    register(PolicySpec("fragile", "Dies where it is told to.", Config, lambda: Fragile, trainable=True))
"""


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """Install a policy without torch that dies at width 128 and 256 and raises at 1024."""
    place = tmp_path / "plugin"
    info = place / "fragile-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[planner.policies]\nfragile = fragile\n")
    (place / "fragile.py").write_text(FRAGILE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH")))))
    return ("run", "-p", "fragile", "ablate", *WORLD)


def read(path):
    return json.loads(path.read_text())


def test_an_ablation_from_start_to_resume(planner, workshop, tmp_path):
    out = tmp_path / "out"
    command = ("run", "-p", "mlp", "ablate", *TINY, "--out", out, "--backend", "sequential")
    done = planner(*command, "--only", "heads", "--only", "history_slots", "--seeds", "1", cwd=workshop)
    assert {path.name for path in out.iterdir() if path.is_dir()} == {
        "base-seed0",
        "policy-joint-seed0",
        *(f"history_slots-{n}-seed0" for n in (0, 1, 4, 16)),
    }
    assert {path.name for path in out.iterdir() if path.is_file()} == {
        *("plan.json", "summary.json", "history_slots.png", "policy.png", ".lock"),
    }
    assert "8 *" in done.stdout
    assert "joint" in done.stdout
    assert "16 slots sees 8 of them" in done.stderr
    assert read(out / "policy-joint-seed0" / "config.json")["policy"] == "joint"
    assert read(out / "history_slots-16-seed0" / "config.json")["values"]["history_slots"] == 16
    base = read(out / "base-seed0" / "results.json")
    entry = next(e for e in read(out / "summary.json")["factors"]["history_slots"]["values"] if e["base"])
    for split in ("val", "test"):
        for name in ("exact_match_accuracy", "mean_utility", "gap_closed", "ece"):
            assert entry[split][name] == {"n": 1, "mean": base[split][name], "std": None}

    stamp = (out / "base-seed0" / "results.json").stat().st_mtime_ns
    again = json.loads(planner("run", "-p", "mlp", "ablate", "--resume", "--out", out, "--json", cwd=workshop).stdout)
    assert again["cells"] == {"planned": 6, "finished": 6, "failed": 0}
    assert (out / "base-seed0" / "results.json").stat().st_mtime_ns == stamp
    refused = planner(*command, "--set", "epochs=3", cwd=workshop, code=1)
    assert "another design" in refused.stderr
    assert "epochs 2, not 3" in refused.stderr


def where(run):
    """Threads, process and parent process of a run of ``fragile``."""
    return (run / "process.txt").read_text().split()


def failures(summary):
    return {failure["cell"]: failure["error"] for failure in summary["failures"]}


EXPECTED = {
    "d_hidden-128-seed0": "its process ended with exit code 3 and said nothing",
    "d_hidden-256-seed0": "its process was killed by SIGKILL, perhaps for want of memory",
    "d_hidden-1024-seed0": "policy 'fragile' (fragile 0.1) failed in fit: ValueError: too wide for me",
}


def test_failed_runs_are_named_and_do_not_lose_the_rest(planner, workshop, fragile, tmp_path):
    out = tmp_path / "out"
    command = (*fragile, "--out", out, "--only", "width", "--seeds", "1", "--jobs", "2")
    done = planner(*command, cwd=workshop, code=1)
    assert failures(read(out / "summary.json")) == EXPECTED
    assert "3 of 4 runs failed" in done.stderr
    for name in EXPECTED:
        assert name in done.stderr
    assert "Traceback" not in done.stderr
    summary = read(out / "summary.json")
    assert summary["cells"] == {"planned": 4, "finished": 1, "failed": 3}
    assert [entry["n"] for entry in summary["factors"]["d_hidden"]["values"]] == [0, 0, 1, 0]
    threads, process, parent = where(out / "base-seed0")
    assert threads == "1"
    assert process != parent


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="dask.distributed is not installed")
def test_a_dask_cluster_takes_over(planner, workshop, fragile, tmp_path):
    """A cluster of ours for the local case, and one of the user's with a single core by its address."""
    out = tmp_path / "out"
    command = (*fragile, "--out", out, "--only", "width", "--seeds", "1", "--backend", "dask", "--jobs", "2")
    planner(*command, cwd=workshop, code=1)
    assert failures(read(out / "summary.json")) == EXPECTED
    assert (out / "base-seed0" / "results.json").is_file()

    from distributed import LocalCluster

    plan = ("--out", tmp_path / "other", "--only", "width", "--seeds", "1", "--set", "healthy=true")
    with LocalCluster(1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None) as cluster:
        address = ("--backend", "dask", "--scheduler", cluster.scheduler_address)
        summary = json.loads(planner(*fragile, *plan, *address, "--json", cwd=workshop).stdout)
    assert summary["cells"] == {"planned": 4, "finished": 4, "failed": 0}
    # This process is the cluster's only worker.
    assert {where(path.parent)[2] for path in (tmp_path / "other").glob("*/results.json")} == {str(os.getpid())}


def whole(out):
    """The results of the cells that are finished; one that is being published stands in a ``.partial`` still."""
    return [path for path in out.glob("*/results.json") if path.parent.suffix != ".partial"]


def test_a_killed_ablation_goes_on_where_it_stopped(planner, workshop, fragile, tmp_path):
    out = tmp_path / "out"
    command = (*fragile, "--only", "history", "--seeds", "1", "--jobs", "2", "--set", "nap=0.3", "--out", out)
    process = subprocess.Popen([PLANNER, *command], cwd=workshop, stderr=subprocess.DEVNULL, start_new_session=True)
    finished = []
    deadline = time.monotonic() + 60
    while not finished and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        finished = whole(out)
    assert process.poll() is None, "it was over before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    stamps = {path: path.stat().st_mtime_ns for path in whole(out)}
    assert 0 < len(stamps) < 5
    assert not (out / "summary.json").exists()
    summary = json.loads(
        planner("run", "-p", "fragile", "ablate", "--resume", "--out", out, "--json", cwd=workshop).stdout
    )
    assert summary["cells"] == {"planned": 5, "finished": 5, "failed": 0}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert not list(out.glob("*.partial"))


def test_an_unreachable_scheduler_is_a_clear_error(planner, workshop, fragile, tmp_path):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    where_to = ("--backend", "dask", "--scheduler", "nonsense://127.0.0.1:9", "--out", tmp_path / "out")
    done = planner(*fragile, *where_to, cwd=workshop, code=1)
    assert "no Dask scheduler answers there" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "widht"), "did you mean"),
        (("--backend", "lokky"), "did you mean"),
        (("--seeds", "many"), "expected how many"),
        (("--scheduler", "tcp://127.0.0.1:9"), "takes no"),
        (("--jobs", "0"), "--jobs"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_writes_nothing(planner, workshop, tmp_path, arguments, message):
    done = planner("run", "-p", "mlp", "ablate", *WORLD, "--out", tmp_path / "out", *arguments, cwd=workshop, code=2)
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_policy_that_does_not_learn_is_refused(planner, workshop, tmp_path):
    done = planner("run", "-p", "heuristic", "ablate", *WORLD, "--out", tmp_path / "out", cwd=workshop, code=1)
    assert "nothing to ablate" in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_has_an_example_and_needs_no_heavy_import(planner, tmp_path):
    text = planner("run", "-p", "mlp", "ablate", "--help", cwd=tmp_path).stdout
    assert "Example: planner run --policy mlp ablate" in text
    check = "import sys, planner_core.cli.app; print({'torch', 'joblib', 'matplotlib', 'distributed'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
