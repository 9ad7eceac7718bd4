"""The hand-written rules: section 5.2 written a second time, and Python, policy and graph held against it."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest

from planner_core import (
    HEADS,
    JOB_TYPES,
    ActionSpace,
    Batch,
    PlannerAction,
    PlannerError,
    PlannerInput,
    PlannerInputEncoder,
    PolicyContext,
    convert,
    decide,
)
from planner_core.data.samples import sample_inputs
from planner_core.decision import temperatures_for
from planner_core.runtime.session import OUTPUTS, open_session
from planner_export.bundle import export_bundle
from planner_heuristic import HeuristicBaseline, HeuristicConfig, HeuristicPolicy
from planner_heuristic.config import ExplorationControl, RoutingMatch, RoutingRule

SPACE = ActionSpace()
JOBS = ("code", "fab-world", "fab-asset", "research")
RISKS = ("low", "medium", "high", "critical")
SIZES = ("XS", "S", "M", "L", "XL")
COMBINATIONS = list(product(JOBS, RISKS, SIZES))
MINUTES = {"XS": 15, "S": 30, "M": 45, "L": 60, "XL": 120}
ITERATIONS = {"XS": 1, "S": 2, "M": 3, "L": 5, "XL": 5}


def by_the_table(job, risk, size):
    if risk == "high" or risk == "critical":
        plan = ("speculate_vote", 3)
    elif size == "L" or size == "XL":
        plan = ("speculate_vote", 2)
    else:
        plan = ("serial_handoff", 1)
    return (*plan, MINUTES[size], "NA" if job == "code" else ITERATIONS[size])


def request(job="code", risk="low", size="M", *, issue=None, state=None, **space):
    """An input that differs from an arbitrary one in the fields under test only."""
    document = copy.deepcopy(sample_inputs(1, seed=5, history_runs=2)[0])
    document["job_type"] = job
    document["issue"] |= {"dk_risk": risk, "dk_size": size, "dk_tool_hint": None, "tags": [], **(issue or {})}
    document["system_state"] = state
    document["action_space"] |= space
    return document


def choice(action):
    return action["swarm_id"], *action["budgets"].values()


def policy_choice(document, config=None):
    """The same decision through the policy: scores, mask and argmax."""
    x = convert(document, PlannerInput, "test")
    context = PolicyContext()
    batch = Batch.from_inputs([x], PlannerInputEncoder(context.encoder))
    scores = HeuristicPolicy(config or HeuristicConfig(), context).predict(batch)
    return tuple(SPACE.actions[decide(scores, batch.job_type, temperatures_for("heads"), SPACE).action[0]])


# -- the default rules


@pytest.mark.parametrize(("job", "risk", "size"), COMBINATIONS)
def test_default_rules(job, risk, size):
    expected = by_the_table(job, risk, size)
    document = request(job, risk, size)
    assert choice(HeuristicBaseline().predict(document)) == expected
    assert policy_choice(document) == expected


def test_graph_on_every_combination(bundles):
    """All 80 in one batch; the graph shares no code with the table above and none with the Python's look-up."""
    encoder = PlannerInputEncoder()
    session = open_session((bundles["heuristic"] / "model.onnx").read_bytes())
    feed = {
        "input": encoder.encode_batch([request(*combination) for combination in COMBINATIONS]),
        "job_type": np.array([JOBS.index(job) for job, _, _ in COMBINATIONS], np.int64),
    }
    assert JOB_TYPES[:3] == JOBS[:3]
    outputs = dict(zip(OUTPUTS, session.run(list(OUTPUTS), feed), strict=True))
    chosen = [tuple(SPACE.actions[i]) for i in outputs["action"]]
    assert chosen == [by_the_table(*combination) for combination in COMBINATIONS]
    assert outputs["confidence"] == pytest.approx(1.0)


def test_rules_read_nothing_else():
    """History, priority, attempts, hint, tags and load do not matter."""
    for document in sample_inputs(40, seed=9):
        expected = by_the_table(document["job_type"], document["issue"]["dk_risk"], document["issue"]["dk_size"])
        assert choice(HeuristicBaseline().predict(document)) == expected
        assert policy_choice(document) == expected


def test_answer_fits_its_contract():
    action = HeuristicBaseline().predict(request())
    checked = convert(action, PlannerAction, "action")
    assert (checked.confidence, checked.abstain_to_default) == (1.0, False)
    assert HeuristicBaseline().predict(convert(request(), PlannerInput, "test")).keys() == action.keys()


@pytest.mark.parametrize(
    ("fields", "space", "expected"),
    [
        # 45 minutes between 30 and 60: one step each way, so the one that costs less
        (("code", "low", "M"), {"max_minutes_bins": [30, 60]}, ("serial_handoff", 1, 30, "NA")),
        (("code", "low", "XL"), {"max_minutes_bins": [15, 30]}, ("speculate_vote", 2, 30, "NA")),
        (("code", "low", "XS"), {"max_minutes_bins": ["NA", 60, 120]}, ("serial_handoff", 1, 60, "NA")),
        (("code", "low", "M"), {"max_minutes_bins": ["NA"]}, ("serial_handoff", 1, "NA", "NA")),
        # 3 candidates between 2 and NA, and NA is the dearest
        (("code", "high", "M"), {"max_candidates_bins": [1, 2, "NA"]}, ("speculate_vote", 2, 45, "NA")),
        # without the swarm the rules want, the rules of the other one hold
        (("code", "critical", "M"), {"swarm_ids": ["serial_handoff"]}, ("serial_handoff", 1, 45, "NA")),
        (("code", "low", "S"), {"swarm_ids": ["speculate_vote"]}, ("speculate_vote", 1, 30, "NA")),
        (("fab-asset", "low", "L"), {"max_iterations_bins": [2, 3]}, ("speculate_vote", 2, 60, 3)),
    ],
)
def test_nearest_where_the_request_lacks_it(fields, space, expected):
    assert choice(HeuristicBaseline().predict(request(*fields, **space))) == expected


def test_request_that_allows_nothing():
    rule = {"description": "", "if": {}, "then": {"max_minutes_bin": 15}}
    with pytest.raises(PlannerError, match="no action"):
        HeuristicBaseline().predict(request(max_minutes_bins=[30], validity_rules=[rule]))


# -- the kernel rules: each clause of section 5.2

SERIAL = ("serial_handoff", 1)
HINT = RoutingRule(RoutingMatch(dk_tool_hint=("codex",)), speculate=True)


def vote(candidates):
    return "speculate_vote", candidates


def routed(speculate=True, parallelism=None, **match):
    return {"routing_rules": (RoutingRule(RoutingMatch(**match), speculate, parallelism),)}


WANTS = {"dk_speculate": True}
CRITICAL = {"on_critical_path": True}
RATES = {"code": 0.3, "fab_world": 0.9, "fab_asset": 0.05}
KERNEL = {
    "nothing asks for it": ({}, {}, {}, SERIAL),
    "the issue asks": (WANTS, {}, {}, vote(2)),
    "the issue declines": ({"dk_speculate": False}, {}, {}, SERIAL),
    "the kernel forces": ({}, {"force_speculate": True}, {}, vote(2)),
    "speculation is disabled": (WANTS, {"force_speculate": True}, {"speculation_enabled": False}, SERIAL),
    "high risk alone": ({"dk_risk": "high"}, {}, {}, SERIAL),
    "critical path, low risk": (CRITICAL | {"dk_risk": "low"}, {}, {}, SERIAL),
    "critical path, medium risk": (CRITICAL | {"dk_risk": "medium"}, {}, {}, SERIAL),
    "critical path, high risk": (CRITICAL | {"dk_risk": "high"}, {}, {}, vote(2)),
    "critical path, critical risk": (CRITICAL | {"dk_risk": "critical"}, {}, {}, vote(2)),
    "configured levels, in": (CRITICAL | {"dk_risk": "medium"}, {}, {"speculate_on_risk": ("medium",)}, vote(2)),
    "configured levels, out": (CRITICAL | {"dk_risk": "high"}, {}, {"speculate_on_risk": ("medium",)}, SERIAL),
    "critical path, not by itself": (
        CRITICAL | {"dk_risk": "high"},
        {},
        {"auto_trigger_on_critical_path": False},
        SERIAL,
    ),
    "critical path, not by itself, but asked": (
        CRITICAL | WANTS | {"dk_risk": "high"},
        {},
        {"auto_trigger_on_critical_path": False},
        vote(2),
    ),
    "rule on the hint": ({"dk_tool_hint": "codex"}, {}, {"routing_rules": (HINT,)}, vote(2)),
    "rule on another hint": ({"dk_tool_hint": "claude"}, {}, {"routing_rules": (HINT,)}, SERIAL),
    "rule on a hint, none given": ({}, {}, {"routing_rules": (HINT,)}, SERIAL),
    "rule on the risk": ({"dk_risk": "high"}, {}, routed(dk_risk=("medium", "high")), vote(2)),
    "rule on another risk": ({"dk_risk": "low"}, {}, routed(dk_risk=("medium", "high")), SERIAL),
    "rule on the size": ({"dk_size": "L"}, {}, routed(dk_size=("L",)), vote(2)),
    "rule on another size": ({"dk_size": "S"}, {}, routed(dk_size=("L",)), SERIAL),
    "rule on any tag, one there": ({"tags": ["b", "x"]}, {}, routed(tags_any=("a", "b")), vote(2)),
    "rule on any tag, none there": ({"tags": ["x"]}, {}, routed(tags_any=("a", "b")), SERIAL),
    "rule on all tags, all there": ({"tags": ["a", "b", "x"]}, {}, routed(tags_all=("a", "b")), vote(2)),
    "rule on all tags, one missing": ({"tags": ["a"]}, {}, routed(tags_all=("a", "b")), SERIAL),
    "rule of two fields, both": ({"dk_size": "L", "tags": ["a"]}, {}, routed(dk_size=("L",), tags_any=("a",)), vote(2)),
    "rule of two fields, one": ({"dk_size": "L"}, {}, routed(dk_size=("L",), tags_any=("a",)), SERIAL),
    "rule that does not speculate": ({"dk_size": "L"}, {}, routed(False, 3, dk_size=("L",)), SERIAL),
    "rule's own parallelism": ({"dk_size": "L"}, {}, routed(True, 3, dk_size=("L",)), vote(3)),
    "its parallelism where the issue asks": (WANTS | {"dk_size": "L"}, {}, routed(False, 3, dk_size=("L",)), vote(3)),
    "parallelism of a rule that does not match": (WANTS, {}, routed(True, 3, dk_tool_hint=("codex",)), vote(2)),
    "configured default": (WANTS, {}, {"default_parallelism": 3}, vote(3)),
    "a parallelism that is no bin": (WANTS, {}, {"default_parallelism": 7}, vote(3)),
    "rate low": (WANTS, {"action_rate": 0.05}, {}, vote(3)),
    "rate zero": (WANTS, {"action_rate": 0.0}, {}, vote(3)),
    "rate low, at the maximum": (WANTS, {"action_rate": 0.05}, {"default_parallelism": 3}, vote(3)),
    "rate low, configured maximum": (
        WANTS,
        {"action_rate": 0.05},
        {"exploration": ExplorationControl(max_parallelism=2)},
        vote(2),
    ),
    "rate high": (WANTS, {"action_rate": 0.6}, {}, vote(1)),
    "rate high, at the minimum": (WANTS, {"action_rate": 0.6}, {"default_parallelism": 1}, vote(1)),
    "rate between": (WANTS, {"action_rate": 0.3}, {}, vote(2)),
    "rate at the low threshold": (WANTS, {"action_rate": 0.1}, {}, vote(2)),
    "rate at the high threshold": (WANTS, {"action_rate": 0.5}, {}, vote(2)),
    "configured thresholds": (
        WANTS,
        {"action_rate": 0.3},
        {"exploration": ExplorationControl(action_low=0.35, action_high=0.9)},
        vote(3),
    ),
    "rate between, and a rule's own": ({}, {"action_rate": 0.3}, routed(True, 3, dk_size=("M",)), vote(2)),
    "no rate, and a rule's own": ({}, {}, routed(True, 3, dk_size=("M",)), vote(3)),
    "control disabled, and a rule's own": (
        {},
        {"action_rate": 0.6},
        routed(True, 3, dk_size=("M",)) | {"exploration": ExplorationControl(enabled=False)},
        vote(3),
    ),
    "rate low, a larger step": (
        WANTS,
        {"action_rate": 0.05},
        {"default_parallelism": 1, "exploration": ExplorationControl(parallelism_step=2)},
        vote(3),
    ),
    "rate high, a larger step": (
        WANTS,
        {"action_rate": 0.6},
        {"default_parallelism": 3, "exploration": ExplorationControl(parallelism_step=2)},
        vote(1),
    ),
    "rate of the domain": (WANTS, {"action_rate": 0.3, "action_rates": {"code": 0.05}}, {}, vote(3)),
    "rate of a world": (WANTS | {"tags": ["asset:a", "asset:world"]}, {"action_rates": RATES}, {}, vote(1)),
    "rate of an asset": (WANTS | {"tags": ["asset:tree"]}, {"action_rates": RATES}, {}, vote(3)),
    "rate of code": (WANTS | {"tags": ["assets"]}, {"action_rates": RATES}, {}, vote(2)),
    "rate of another domain": (
        WANTS,
        {"action_rate": 0.05, "action_rates": {"fab_world": 0.9}},
        {},
        vote(3),
    ),
    "a rate does not start a speculation": ({}, {"action_rate": 0.05}, {}, SERIAL),
}


@pytest.mark.parametrize(("issue", "state", "config", "expected"), KERNEL.values(), ids=KERNEL)
def test_kernel_rules(issue, state, config, expected):
    document = request(issue=issue, state=state or None)
    config = HeuristicConfig(rules="kernel", **config)
    expected = (*expected, MINUTES[document["issue"]["dk_size"]], "NA")
    assert choice(HeuristicBaseline(config=config).predict(document)) == expected
    assert policy_choice(document, config) == expected


def test_a_later_rule_may_still_speculate():
    """Speculation needs *a* matching rule that asks for it, not the first; its parallelism goes with it."""
    first = RoutingRule(RoutingMatch(dk_size=("M",)), speculate=False)
    second = RoutingRule(RoutingMatch(dk_risk=("low",)), speculate=True, parallelism=3)
    config = HeuristicConfig(rules="kernel", routing_rules=(first, second))
    assert choice(HeuristicBaseline(config=config).predict(request())) == ("speculate_vote", 3, 45, "NA")


def test_kernel_rules_stay_inside_the_request():
    document = request(issue=WANTS, swarm_ids=["serial_handoff"])
    action = HeuristicBaseline(config=HeuristicConfig(rules="kernel")).predict(document)
    assert choice(action) == ("serial_handoff", 1, 45, "NA")
    assert "kernel" in action["reason"]


def test_kernel_iterations_of_other_jobs():
    config = HeuristicConfig(rules="kernel")
    assert choice(HeuristicBaseline(config=config).predict(request("fab-world", size="L"))) == (*SERIAL, 60, 5)


def test_kernel_rules_need_the_inputs():
    batch = Batch.from_inputs([convert(request(), PlannerInput, "test")], PlannerInputEncoder())
    bare = Batch(batch.features, batch.job_type)
    with pytest.raises(PlannerError, match="planner inputs themselves"):
        HeuristicPolicy(HeuristicConfig(rules="kernel"), PolicyContext()).predict(bare)


def test_kernel_export_is_refused(registry, tmp_path):
    with pytest.raises(PlannerError, match=r"kernel rules cannot be exported.*dk_speculate.*rules=default"):
        export_bundle("heuristic", registry, tmp_path / "b", values={"rules": "kernel"})
    assert list(tmp_path.iterdir()) == []


def test_scores_have_the_shapes_of_heads():
    batch = Batch.from_inputs([convert(request(), PlannerInput, "test")] * 3, PlannerInputEncoder())
    scores = HeuristicPolicy(HeuristicConfig(), PolicyContext()).predict(batch)
    assert {name: scores[name].shape for name in HEADS} == dict(
        zip(HEADS, [(3, 2), (3, 4), (3, 6), (3, 5)], strict=True)
    )
    assert all(values.dtype == np.float32 for values in scores.values())
