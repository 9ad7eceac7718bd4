"""Whatever arrives, a decision is legal or an error of ours: random documents against an oracle of its own.

The suite runs about a minute of it; ``make fuzz`` goes on for an hour, from a new seed each time.
"""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner_core.data.samples import sample_inputs
from planner_core.errors import PlannerError
from planner_core.runtime.planner import Planner
from planner_core.runtime.reasons import REASONS

EXAMPLES = int(os.environ.get("PLANNER_FUZZ_EXAMPLES", "600"))
ALWAYS = settings(
    max_examples=EXAMPLES,
    derandomize="PLANNER_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
BUDGETS = ("max_candidates", "max_minutes", "max_iterations")
BASES = sample_inputs(12, seed=77)


def legal(document, action):
    """Whether an action is one of the request's, read off section 3 without a line of the product's code."""
    space, job = document["action_space"], document["job_type"]

    def number(value):  # "3" is a number too
        return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value

    facts = {"swarm_id": action["swarm_id"], **{f"{b}_bin": action["budgets"][f"{b}_bin"] for b in BUDGETS}}
    if facts["swarm_id"] not in space["swarm_ids"]:
        return False
    if any(facts[f"{b}_bin"] not in [number(v) for v in space[f"{b}_bins"]] for b in BUDGETS):
        return False
    for rule in space["validity_rules"]:
        asked, demanded = rule.get("if") or {}, rule.get("then") or {}
        if asked.get("swarm_id", facts["swarm_id"]) != facts["swarm_id"] or asked.get("job_type", job) != job:
            continue
        for key, value in demanded.items():
            name = key.removesuffix("_not")
            if (facts[name] == number(value)) == key.endswith("_not"):
                return False
    return True


def budgets_are_some(space):
    """Whether every budget that a request names, in bins or rules, is NA or a number from one to a thousand million."""
    named = [value for b in BUDGETS for value in space[f"{b}_bins"]]
    for rule in space["validity_rules"]:
        named += [value for key, value in (rule.get("then") or {}).items() if not key.startswith("swarm_id")]
    return all(value == "NA" or 1 <= int(value) <= 10**9 for value in named)


@pytest.fixture(scope="module")
def planners(bundles):
    """Every policy, with and without something that makes it fall back."""
    return [
        Planner.load(bundles["mlp"], strict=True),
        Planner.load(bundles["joint"], strict=True, threshold=0.5),
        Planner.load(bundles["heuristic"], strict=True, mode="enforce_reductions"),
        Planner.load(bundles["mlp"].parent / "none"),
    ]


def outcome_of(planner, given_form, document):
    """Decide; None where it was refused by an error of ours. Anything else that is raised fails the test."""
    started = time.process_time()
    try:
        action = planner.decide(given_form)
    except PlannerError as problem:
        assert str(problem)
        str(problem).encode()
        action = None
    assert time.process_time() - started < 2.0
    if action is not None:
        json.dumps(action).encode()
        assert action["abstain_to_default"] == (action["reason"] is not None)
        assert action["reason"] is None or action["reason"].split(":")[0] in REASONS
        assert 0.0 <= action.get("confidence", 0.0) <= 1.0
        assert legal(document, action)
    return action


# -- any JSON at all, and any Python object in its place

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**309, -(10**400), 2**63, 2**64, 0, -1]),
    st.builds(pow, st.just(10), st.just(5000)),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["NA", "3", "-1", "\ud800", "\x00", "\x1b[31m", "x" * 5000, "serial_handoff", "P0", "1e400"]),
)
ODD = st.sampled_from([np.int64(3), np.float32(2.5), np.array([1]), bytearray(b"{}"), {1, 2}, object(), b"x", 3j])


def nested(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )


ANYTHING = nested(SCALARS | ODD)


@ALWAYS
@given(ANYTHING | st.binary(max_size=200) | st.text(max_size=200))
def test_anything(planners, value):
    for planner in planners[:2]:
        with pytest.raises(PlannerError):
            planner.decide(value)


# -- a valid document with something changed in some places


def places(value, at=()):
    """Every place in a document."""
    yield at
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*at, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*at, index))


PLACES = [(base, at) for base, document in enumerate(BASES) for at in places(document) if at]


@ALWAYS
@given(st.sampled_from(PLACES), ANYTHING, st.sampled_from(["replace", "delete", "add"]), st.integers(0, 3))
def test_one_place_changed(planners, where, value, how, which):
    base, at = where
    document = json.loads(json.dumps(BASES[base]))
    holder = document
    for step in at[:-1]:
        holder = holder[step]
    if how == "delete":
        del holder[at[-1]]
    elif how == "add" and isinstance(holder, dict):
        holder["extra"] = value
    else:
        holder[at[-1]] = value
    outcome_of(planners[which], document, document)
    try:
        text = json.dumps(document)
    except (TypeError, ValueError):
        return
    outcome_of(planners[which], text, document)


# -- requests of every kind, most of them valid

SWARM = st.sampled_from(["serial_handoff", "speculate_vote", "hive_mind", ""])
BIN = st.sampled_from([1, 2, 3, 5, 15, 30, 45, 60, 120, "NA", 0, -4, 7, "2", 2**62])
RULE = st.fixed_dictionaries(
    {},
    optional={
        "description": st.text(max_size=5),
        "if": st.none()
        | st.fixed_dictionaries({}, optional={"swarm_id": SWARM, "job_type": st.sampled_from(["code", "fab-world"])}),
        "then": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                f"{name}{ending}": values
                for name, values in (("swarm_id", SWARM), *((f"{b}_bin", BIN) for b in BUDGETS))
                for ending in ("", "_not")
            },
        ),
    },
)
SPACES = st.fixed_dictionaries(
    {
        "swarm_ids": st.lists(SWARM, max_size=4),
        **{f"{b}_bins": st.lists(BIN, max_size=8) for b in BUDGETS},
        "validity_rules": st.lists(RULE, max_size=4),
    }
)


@ALWAYS
@given(st.sampled_from(range(len(BASES))), SPACES, st.sampled_from(["code", "fab-world", "x"]), st.integers(0, 3))
def test_every_action_is_legal(planners, base, space, job, which):
    document = {**BASES[base], "action_space": space, "job_type": job}
    action = outcome_of(planners[which], document, document)
    everything = [
        {"swarm_id": s, "budgets": dict(zip((f"{b}_bin" for b in BUDGETS), values, strict=True))}
        for s in space["swarm_ids"]
        for c in space["max_candidates_bins"]
        for m in space["max_minutes_bins"]
        for i in space["max_iterations_bins"]
        if (values := [int(v) if v == "2" else v for v in (c, m, i)])
    ]
    decidable = budgets_are_some(space) and any(legal(document, other) for other in everything)
    assert (action is not None) == decidable


def test_the_oracle_can_say_no():
    document = {**BASES[0], "job_type": "code"}
    good = {
        "swarm_id": "serial_handoff",
        "budgets": {"max_candidates_bin": 1, "max_minutes_bin": 15, "max_iterations_bin": "NA"},
    }
    assert legal(document, good)
    for name, value in (("max_candidates_bin", 2), ("max_minutes_bin", 16), ("max_iterations_bin", 1)):
        assert not legal(document, {**good, "budgets": {**good["budgets"], name: value}})
    assert not legal(document, {**good, "swarm_id": "hive_mind"})
