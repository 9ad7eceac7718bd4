"""An input asks for a bounded amount of work: limits are checked before it, and no cache grows with what it is fed."""

from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner_core import bounds
from planner_core.action_space import DEFAULT_RULES, Action, ActionSpace, obeys, valid_actions
from planner_core.bounds import bounded_cache, held_bytes
from planner_core.contracts import RequestActionSpace, RuleCondition, RuleConsequence, ValidityRule
from planner_core.data.samples import sample_inputs
from planner_core.encoder import EncoderConfig
from planner_core.errors import DataError, PlannerError
from planner_core.jsonio import convert
from planner_core.runtime.intake import read_request
from planner_core.runtime.planner import Planner

SECONDS = 0.8
"""Of the processor: far above what a decision takes, busy machines allowed for, and below what these took without
limits (0.9 to 14 s)."""


@pytest.fixture(scope="module")
def planner(bundles):
    return Planner.load(bundles["mlp"], strict=True)


def space_of(**changes):
    return ActionSpace().to_dict() | changes


def numbers(count):
    return list(range(1, count + 1))


BUDGETS = ("max_candidates_bins", "max_minutes_bins", "max_iterations_bins")
TOO_MUCH = {
    "40 x 40 x 40 x 2": (
        {
            "action_space": space_of(
                max_candidates_bins=numbers(40), max_minutes_bins=numbers(40), max_iterations_bins=numbers(40)
            )
        },
        r"at \$\.action_space: .*expected at most 4096 combinations",
    ),
    "bins": (
        {"action_space": space_of(max_minutes_bins=numbers(65))},
        r"max_minutes_bins.*length <= 64",
    ),
    "swarms": ({"action_space": space_of(swarm_ids=[str(i) for i in range(65)])}, r"swarm_ids.*length <= 64"),
    "rules": ({"action_space": space_of(validity_rules=[{}] * 100_000)}, r"validity_rules.*length <= 64"),
    "a bin": ({"action_space": space_of(max_minutes_bins=[10**309])}, r"max_minutes_bins\[0\].*found 1000.*expected"),
    "a long number": ({"action_space": space_of(max_minutes_bins=[10**5000])}, r"max_minutes_bins\[0\].*expected"),
    "a job type": ({"job_type": "x" * 4097}, r"\$\.job_type.*length <= 4096"),
    "runs": ({"runs": 257}, r"last_n_similar_runs.*length <= 256"),
    "tags": ({"issue": {"tags": ["x"] * 257}}, r"\$\.issue\.tags.*length <= 256"),
    "a tag": ({"issue": {"tags": ["x" * 4097]}}, r"\$\.issue\.tags\[0\].*length <= 4096"),
    "attempts": ({"issue": {"dk_attempts": 2**63}}, r"\$\.issue\.dk_attempts.*found 9223372036854775808"),
    "bytes": ({"extra": "x" * bounds.MAX_DOCUMENT_BYTES}, r"found \d+ bytes; expected at most 1048576"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_is_refused_before_the_work(planner, make_input, make_run, name):
    changes, words = TOO_MUCH[name]
    changes = dict(changes)
    runs = [make_run()] * changes.pop("runs", 0)
    document = make_input(runs=runs, **changes)
    forms = [document] if name == "a long number" else [document, json.dumps(document).encode()]  # json refuses it too
    for form in forms:
        started = time.process_time()
        with pytest.raises(DataError, match=words):
            planner.decide(form)
        assert time.process_time() - started < SECONDS


def largest(make_input, make_run, **changes):
    """As much of everything as the limits allow, within the bytes of one document."""
    texts = [f"{i:x}" for i in range(bounds.MAX_LIST)]
    rule = {"if": {"swarm_id": "0"}, "then": {"max_minutes_bin_not": 3, "max_candidates_bin_not": 5}}
    space = {
        "swarm_ids": [str(i) for i in range(16)],
        "max_candidates_bins": numbers(16),
        "max_minutes_bins": numbers(16),
        "max_iterations_bins": ["NA"],
        "validity_rules": [rule] * bounds.MAX_RULES,
    }
    runs = [make_run(outcome={"fail_codes": texts[:40]}, tags=texts[:40])] * bounds.MAX_HISTORY_RUNS
    return make_input(issue={"tags": texts}, runs=runs, action_space=space, **changes)


def test_the_most_that_is_allowed_is_decided_soon(planner, make_input, make_run):
    document = largest(make_input, make_run, job_type="fab-asset")
    raw = json.dumps(document).encode()
    assert len(raw) > bounds.MAX_DOCUMENT_BYTES / 8
    started = time.process_time()
    action = planner.decide(raw)
    assert time.process_time() - started < SECONDS
    assert action["budgets"]["max_iterations_bin"] == "NA"
    assert len(read_request(raw).offer.actions) == 16 * 16 * 16 - (2 * 16 - 1)  # the rules are read, not skipped


@pytest.mark.parametrize("kind", ["deep list", "deep dict", "cyclic"])
def test_nesting_without_an_end(planner, make_input, kind):
    deep = []
    if kind == "cyclic":
        deep.append(deep)
    for _ in range(100_000 if kind != "cyclic" else 0):
        deep = [deep] if kind == "deep list" else {"a": deep}
    with pytest.raises(DataError, match="recursion"):
        planner.decide(make_input(extra=deep))
    if kind == "deep list":
        text = json.dumps(make_input(extra=0))[:-2] + "[" * 100_000 + "]" * 100_000 + "}"
        with pytest.raises(DataError, match="recursion"):
            planner.decide(text)


ODD = {
    "nothing": None,
    "a number": 3,
    "a list": [],
    "bytearray": bytearray(b"{}"),
    "no text": b"\xff\xfe",
    "surrogates": '"\ud800"',
    "half a surrogate": b'{"a": "\\ud800"}',
    "not a number": b"NaN",
    "5,000 digits": b'{"a": ' + b"1" * 5000 + b"}",
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_input(planner, name):
    with pytest.raises(DataError):
        planner.decide(ODD[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"job_type": "\ud800"},
        {"schema_version": "\ud800"},
        {"universe_defaults": {"\ud800": 1}},
        {"issue": {"dk_attempts": np.int64(3)}},
        {"extra": np.int64(3)},
        {"extra": {1: 2}},
        {"extra": 10**5000},
        {"issue": {"tags": np.array(["a"])}},
        {3: 4},
    ],
    ids=["surrogate", "enum", "key", "count", "extra", "keys", "digits", "array", "number key"],
)
def test_values_that_json_cannot_hold(planner, make_input, changes):
    changes = dict(changes)
    document = make_input(issue=changes.pop("issue", None)) | changes
    with pytest.raises(DataError):
        planner.decide(document)


def test_a_wrong_value_among_many_is_found_soon(make_input, make_run, planner):
    """It was looked for one after the other, each time converting the whole document."""
    chances = {f"s|{i}|1|1": 0.0 for i in range(4000)}
    runs = [make_run() for _ in range(200)]
    runs[100]["propensities"] = chances | {"s|777|1|1": 2.0}
    started = time.process_time()
    with pytest.raises(DataError, match=r"runs\[100\]\.propensities\.s\|777\|1\|1: found 2\.0"):
        planner.decide(make_input(runs=runs))
    assert time.process_time() - started < SECONDS


def test_limits_of_an_encoder():
    assert EncoderConfig(history_slots=16, tag_buckets=4096).d_in < bounds.MAX_FEATURES
    for values in (
        {"history_slots": 10**9},
        {"tag_buckets": 10**12},
        {"history_slots": 256, "fail_code_buckets": 4096},
    ):
        with pytest.raises(ValueError, match="at most"):
            EncoderConfig(**values)


# -- the valid actions, found as a product and by trying each

NAMES = st.sampled_from(["serial_handoff", "speculate_vote", "hive"])
BIN = st.sampled_from([1, 2, 15, 60, "NA"])
CONSEQUENCES = st.builds(
    RuleConsequence,
    **{
        f"{name}{ending}": values | st.just(RuleConsequence().swarm_id)
        for name, values in (("swarm_id", NAMES), ("max_candidates_bin", BIN), ("max_minutes_bin", BIN))
        for ending in ("", "_not")
    },
)
CONDITIONS = st.builds(
    RuleCondition,
    swarm_id=NAMES | st.just(RuleCondition().swarm_id),
    job_type=st.sampled_from(["code", "other"]) | st.just(RuleCondition().job_type),
)
RULES = st.lists(
    st.builds(ValidityRule, condition=CONDITIONS | st.none(), consequence=CONSEQUENCES | st.none()), max_size=3
)


@settings(max_examples=200)
@given(RULES, st.sampled_from(["code", "other"]), st.booleans())
def test_valid_actions_are_those_that_obey(rules, job_type, with_default):
    rules = (*rules, *DEFAULT_RULES) if with_default else tuple(rules)
    space = ActionSpace(("speculate_vote", "serial_handoff"), ("NA", 2, 1), (60, 15), ("NA", 1))
    everything = [
        Action(s, c, m, i) for s in space.swarm_ids for c in (1, 2, "NA") for m in (15, 60) for i in (1, "NA")
    ]
    assert list(valid_actions(job_type, space, rules)) == [a for a in everything if obeys(a, job_type, rules)]


def test_an_empty_list_of_bins_leaves_nothing():
    assert valid_actions("code", ActionSpace(max_minutes_bins=())) == ()


# -- caches


def test_a_cache_stays_within_its_bytes():
    @bounded_cache(100_000, megabytes=1)
    def twice(text):
        return text + text

    tracemalloc.start()
    try:
        for i in range(2_000):
            assert twice(f"{i}" * 500).startswith(str(i))
        assert tracemalloc.get_traced_memory()[0] < 1.5 * 2**20
    finally:
        tracemalloc.stop()
    assert 0 < twice.cache_info().currsize < 500
    hits = twice.cache_info().hits
    twice("1999" * 500)
    assert twice.cache_info().hits == hits + 1  # what is in it is found


def test_bytes_are_counted_through_tuples_and_structs():
    small = convert(ActionSpace().to_dict(), RequestActionSpace, "space")
    rule = {"description": "x" * 4000}
    large = convert(ActionSpace().to_dict() | {"validity_rules": [rule] * 10}, RequestActionSpace, "space")
    assert held_bytes(large) - held_bytes(small) > 9 * 4000
    assert held_bytes(("x" * 1000, ("y" * 1000,))) > 2000


@pytest.mark.slow
def test_long_tags_do_not_fill_the_memory(bundles):
    """Requests whose long tags never come again; 24,000 of them took 950 MB."""
    planner = Planner.load(bundles["mlp"], strict=True)
    documents = sample_inputs(8, seed=9)
    tracemalloc.start()
    try:
        for i in range(6_000):
            document = documents[i % 8]
            document["issue"] |= {"tags": [f"{i}:{j}:" + "x" * 3_000 for j in range(8)], "dk_tool_hint": f"{i}" * 200}
            document["job_type"] = f"{i}" * 500
            document["action_space"]["swarm_ids"] = ["serial_handoff", f"{i}" * 500]
            planner.decide(document)
        assert tracemalloc.get_traced_memory()[0] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_a_request_is_refused_by_its_own_rules_alone(planner, make_input):
    """No limit speaks where nothing is left; that has a message of its own."""
    document = make_input(action_space=space_of(max_minutes_bins=[]))
    with pytest.raises(PlannerError, match="leave no action"):
        planner.decide(document)
