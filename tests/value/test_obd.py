"""Real logged feedback with known truth: click rates of a uniform policy from the logs of another one."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from planner_core.value import plain_value

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "obd"
HERE = [path for path in (DATA, Path(__file__).resolve().parents[2] / "shared" / "data" / "obd") if path.is_dir()]
pytestmark = pytest.mark.skipif(
    not HERE, reason="the Open Bandit sample is not beside the repository (shared/data/obd)"
)
ITEMS = {"men": 34, "women": 46}


def columns(name):
    with gzip.open(HERE[0] / f"{name}.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))
    return np.array([float(row["click"]) for row in rows]), np.array([float(row["propensity"]) for row in rows])


def judged(campaign):
    click, propensity = columns(f"bts-{campaign}")
    return plain_value(click, propensity, np.full(len(click), 1 / ITEMS[campaign]))


def test_men_the_interval_holds_the_truth():
    truth = columns("random-men")[0].mean()
    assert truth == pytest.approx(0.0046)
    value = judged("men")
    assert value.known
    assert value.reasons == []
    assert value.value == value.snips
    assert value.value.low < truth < value.value.high
    assert value.mean_weight == pytest.approx(0.943, abs=5e-4)
    assert value.ess == pytest.approx(656, abs=1)
    assert value.snips.estimate == pytest.approx(0.0032, abs=5e-5)


def test_women_these_logs_cannot_tell():
    value = judged("women")
    assert not value.known
    assert value.mean_weight == pytest.approx(3.13, abs=5e-3)
    assert value.ess == pytest.approx(2.1, abs=0.05)
    assert len(value.reasons) == 2
