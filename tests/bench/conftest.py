"""Bundles measured once for all tests of the bench."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from planner_bench import stages
from planner_bench.latency import bench_bundle
from planner_bench.results import Place, make_table
from planner_bench.stages import make_inputs, open_subject
from planner_bench.timing import Noise, Timed
from planner_core.harness.run_dir import load_run


@pytest.fixture(scope="session")
def wide(tmp_path_factory, dataset, quick_train, registry):
    """(bundle, run) of an ``mlp`` wide enough to be served by the index graph."""
    from planner_export.bundle import export_bundle

    root = tmp_path_factory.mktemp("wide")
    quick_train("mlp", dataset, root / "run", epochs=1, n_layers=1, d_hidden=512)
    export_bundle("mlp", registry, root / "mlp", run=root / "run")
    return root / "mlp", root / "run"


@pytest.fixture(scope="session")
def result(wide, registry):
    return bench_bundle(wide[0], repeats=20, policy=load_run(wide[1], registry).policy)


@pytest.fixture(scope="session")
def rules(bundles):
    """Of the smallest bundle, and without the policy in Python."""
    return bench_bundle(bundles["heuristic"], repeats=20)


@pytest.fixture(scope="session")
def subject(wide):
    return open_subject(wide[0])


@pytest.fixture(scope="session")
def inputs():
    return make_inputs(0)


@pytest.fixture(scope="session")
def table():
    """Makes a table of the stages with given figures."""

    def table(p99=0.5, encode=0.05, session=0.2, quiet=True):
        """A table of made-up times, most of them half of ``p99``."""
        whole = np.full(1000, p99 / 2)
        whole[-50:] = p99
        times = {Place("reference"): np.full(1000, 0.01), Place("encode"): np.full(1000, encode)}
        times |= {Place("JSON to action"): whole, Place(stages.BARE_DENSE): np.full(1000, session)}
        made = make_table("stages", Timed(times, 0.0), bare=stages.BARE_DENSE)
        return msgspec.structs.replace(made, noise=Noise(1.0, 1.0, 0.0, quiet))

    return table
