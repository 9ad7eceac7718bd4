"""What is measured of a server, and that it is measured; never how fast it is."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("httptools", reason="the serve extra is not installed")

from planner_bench.serving.contest import ALONE, ANSWERED, SERVED, contest, grid  # after the skip
from planner_bench.serving.launch import CONSTANT, started
from planner_bench.serving.load import load, post
from planner_core import BundleError, PlannerAction, PlannerError, read


def test_a_contest(bundles):
    told = []
    result = contest(bundles["mlp"], connections=(1, 3), rounds=2, requests=20, tell=told.append)
    assert json.loads(json.dumps(result)) == result
    assert [cell["connections"] for cell in result["load"]] == [1, 3]
    for cell in result["load"]:
        for name in (SERVED, ANSWERED, ALONE):
            figures = cell[name]
            assert figures["requests"] == 40 and 0 < figures["p50_ms"] <= figures["p99_ms"]
        for other in (ANSWERED, ALONE):
            for ratio in cell[SERVED][f"to {other}"].values():
                assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert result["batch"]["decisions_per_second"] > 0
    assert told == ["warming up", "1 connection", "3 connections", "batches of 64"]
    table = grid(result)
    assert [row[:2] for row in table.rows] == [
        ["decide", "1"],
        ["constant", "1"],
        ["no server", ""],
        ["decide", "3"],
        ["constant", "3"],
    ]


def test_the_constant_is_an_action():
    assert read(json.dumps(CONSTANT), PlannerAction, "constant").confidence == 0.5


def test_every_request_is_made_and_only_good_answers_count(bundles):
    with started(None) as port:
        asked = [post("/v1/decide", b"{}")]
        for connections, count in ((1, 7), (3, 7)):
            assert len(load(port, asked, connections, count).times) == count
        with pytest.raises(PlannerError, match="404"):
            load(port, [post("/v1/nothing", b"{}")], 2, 8)


def test_what_cannot_be_measured_says_why(tmp_path):
    with pytest.raises(BundleError, match="the bundle is incomplete"):
        contest(tmp_path)
    with pytest.raises(PlannerError, match=r"did not start: .*the bundle is incomplete"), started(tmp_path):
        pass
