"""The torch-free runtime: always inside the request, the same in every form and from every thread."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fallback_checks import SPACE, Fixed, choice, plan
from hypothesis import given, settings
from hypothesis import strategies as st

from planner_core.contracts import PlannerAction
from planner_core.data.samples import sample_inputs
from planner_core.errors import DataError, PlannerError
from planner_core.jsonio import convert
from planner_core.runtime.planner import Planner
from planner_core.runtime.session import open_session


@pytest.fixture(scope="module")
def mlp_planner(bundles):
    return Planner.load(bundles["mlp"], strict=True)


# -- one decision


def test_dict_bytes_and_str_are_decided_alike(planner):
    for document in sample_inputs(20, seed=1):
        text = json.dumps(document)
        decided = [plan(planner.decide(form)) for form in (document, text, text.encode())]
        assert decided[0] == decided[1] == decided[2]


def test_a_decision_leaves_the_input_alone(planner):
    document = sample_inputs(1, seed=2)[0]
    before = copy.deepcopy(document)
    planner.decide(document)
    assert document == before


def test_output_fits_its_contract(planner):
    for document in sample_inputs(20, seed=3):
        action = planner.decide(document)
        assert json.loads(json.dumps(action)) == action
        checked = convert(action, PlannerAction, "action")  # closed: an unknown key would be refused
        assert checked.abstain_to_default is False and checked.reason is None
        assert 0.0 < checked.confidence <= 1.0
        assert checked.created_at.utcoffset().total_seconds() == 0


def test_action_names_its_model(bundles):
    digest = json.loads((bundles["mlp"] / "manifest.json").read_text())["digest"]
    action = Planner.load(bundles["mlp"]).decide(sample_inputs(1)[0])
    assert action["model"] == {"checkpoint_id": digest[:16], "version": "mlp"}  # the run directory's name


def test_unrestricted_decision_is_the_argmax_of_the_graph(bundles, mlp_planner):
    """On the full default space nothing is left for the runtime but to read the graph's answer."""
    for line in (bundles["mlp"] / "golden.jsonl").read_bytes().splitlines():
        row = json.loads(line)
        action = mlp_planner.decide(row["planner_input"])
        assert {key: action[key] for key in ("swarm_id", "budgets")} == row["action"]
        assert action["confidence"] == pytest.approx(row["outputs"]["confidence"], abs=1e-5)


def test_confidence_is_renormalised_over_the_request(make_input):
    """Probability 0.3 and 0.1 on the two allowed actions: 0.75 and 0.25 of what is possible."""
    probs = np.zeros(150, np.float32)
    probs[SPACE.index[("serial_handoff", 1, 30, "NA")]] = 0.3
    probs[SPACE.index[("serial_handoff", 1, 60, "NA")]] = 0.1
    probs[SPACE.index[("speculate_vote", 3, 60, "NA")]] = 0.6
    document = make_input()
    document["action_space"] |= {"swarm_ids": ["serial_handoff"], "max_minutes_bins": [30, 60]}
    action = Planner(Fixed(probs)).decide(document)
    assert choice(action) == ("serial_handoff", 1, 30, "NA")
    assert action["confidence"] == pytest.approx(0.75)


# -- always inside the request

SWARMS = st.lists(st.sampled_from(["serial_handoff", "speculate_vote", "hive_mind"]), min_size=1, max_size=3)
BINS = st.lists(st.one_of(st.just("NA"), st.sampled_from([1, 2, 3, 5, 7, 15, 20, 30, 60, 500])), min_size=1, max_size=5)
VALUES = {
    "swarm_id": st.sampled_from(["serial_handoff", "speculate_vote", "hive_mind"]),
    **{f"max_{name}_bin": st.sampled_from([1, 2, 15, 60, "NA"]) for name in ("candidates", "minutes", "iterations")},
}
CONDITION = st.fixed_dictionaries(
    {}, optional={"swarm_id": VALUES["swarm_id"], "job_type": st.sampled_from(["code", "fab-world"])}
)
CONSEQUENCE = st.fixed_dictionaries({}, optional=VALUES | {f"{name}_not": values for name, values in VALUES.items()})
RULES = st.lists(st.fixed_dictionaries({"description": st.just("r"), "if": CONDITION, "then": CONSEQUENCE}), max_size=2)
SPACES = st.fixed_dictionaries(
    {
        "swarm_ids": SWARMS,
        "max_candidates_bins": BINS,
        "max_minutes_bins": BINS,
        "max_iterations_bins": BINS,
        "validity_rules": RULES,
    }
)
DEFAULT_RULES = [
    {"if": {"swarm_id": "serial_handoff"}, "then": {"max_candidates_bin": 1}},
    {"if": {"job_type": "code"}, "then": {"max_iterations_bin": "NA"}},
    {"if": {"job_type": "fab-world"}, "then": {"max_candidates_bin_not": "NA"}},
]


def allows(rules, facts):
    """The meaning of the rules, read off section 3 and written a second time."""
    for rule in rules:
        if all(facts[key] == value for key, value in rule["if"].items()):
            for key, value in rule["then"].items():
                if key.endswith("_not") and facts[key.removesuffix("_not")] == value:
                    return False
                if not key.endswith("_not") and facts[key] != value:
                    return False
    return True


@settings(max_examples=200)
@given(SPACES, st.sampled_from(["code", "fab-world", "fab-asset", "research"]), st.sampled_from(["low", "critical"]))
def test_every_action_obeys_its_request(mlp_planner, make_input, space, job_type, risk):
    names = list(VALUES)
    everything = [
        dict(zip(names, values, strict=True), job_type=job_type)
        for swarm in space["swarm_ids"]
        for values in (
            (swarm, candidates, minutes, iterations)
            for candidates in space["max_candidates_bins"]
            for minutes in space["max_minutes_bins"]
            for iterations in space["max_iterations_bins"]
        )
    ]
    possible = [facts for facts in everything if allows(space["validity_rules"], facts)]
    usual = [facts for facts in possible if allows(DEFAULT_RULES, facts)]
    document = make_input(issue={"dk_risk": risk}, job_type=job_type, action_space=space)
    if not possible:
        with pytest.raises(PlannerError, match=r"\$\.action_space"):
            mlp_planner.decide(document)
        return
    action = mlp_planner.decide(document)
    facts = {"swarm_id": action["swarm_id"], **action["budgets"], "job_type": job_type}
    assert facts in (usual or possible)


def test_a_single_allowed_action_is_taken(planner, make_input):
    document = make_input(job_type="fab-asset")
    document["action_space"] |= {
        "swarm_ids": ["speculate_vote"],
        "max_candidates_bins": ["NA"],
        "max_minutes_bins": [120],
        "max_iterations_bins": [5],
    }
    action = planner.decide(document)
    assert choice(action) == ("speculate_vote", "NA", 120, 5)
    assert action["confidence"] == pytest.approx(1.0) and action["abstain_to_default"] is False


def test_rules_that_leave_nothing(planner, make_input):
    document = make_input()
    document["action_space"]["swarm_ids"] = ["serial_handoff"]
    document["action_space"]["max_candidates_bins"] = [2, 3]
    rule = {"description": "", "if": {"swarm_id": "serial_handoff"}, "then": {"max_candidates_bin": 1}}
    document["action_space"]["validity_rules"] = [rule]
    with pytest.raises(PlannerError, match=r"issue-1.*leave no action for job type code"):
        planner.decide(document)


# -- bad requests


def test_bad_input_names_its_path(planner, make_input):
    with pytest.raises(DataError, match=r"\$\.issue\.dk_risk.*severe") as caught:
        planner.decide(make_input(issue={"dk_risk": "severe"}))
    assert caught.value.path == "$.issue.dk_risk"
    for form in (b"{", "[]", b"\xff", "null"):
        with pytest.raises(DataError):
            planner.decide(form)


def test_text_that_is_no_unicode(planner, make_input):
    with pytest.raises(DataError):
        planner.decide(json.dumps(make_input(universe_id="X")).replace("X", "\ud800"))


# -- the hash of an input


def expected_hash(document):
    rest = {key: value for key, value in document.items() if key != "created_at"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_input_hash_is_the_sha256_of_the_canonical_json(planner, make_input):
    document = make_input(issue={"tags": ["größe", "a"]}, note={"z": 1, "a": [1, 2.5, None]})
    assert planner.decide(document)["input_hash"] == expected_hash(document)


def test_input_hash_ignores_time_and_order_and_nothing_else(planner, make_input):
    document = make_input()
    digest = planner.decide(document)["input_hash"]
    later = {**document, "created_at": "2026-01-01T00:00:00Z"}
    turned = {key: document[key] for key in reversed(document)}
    spaced = json.dumps(document, indent=4)
    assert {planner.decide(form)["input_hash"] for form in (later, turned, spaced)} == {digest}
    others = (make_input(issue={"tags": ["x"]}), make_input(extra=1), make_input(universe_id="universe-2"))
    assert digest not in {planner.decide(form)["input_hash"] for form in others}


# -- many decisions


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_decide_many_equals_decide(planner, batch):
    documents = sample_inputs(10, seed=5)
    many = list(planner.decide_many((json.dumps(x) for x in documents), batch=batch))
    one = [planner.decide(x) for x in documents]
    for a, b in zip(many, one, strict=True):
        # The last bits of a confidence depend on the batch the session is given.
        assert a.pop("confidence") == pytest.approx(b.pop("confidence"), abs=1e-5)
        assert plan(a) == plan(b)


def test_decide_many_reads_no_further_than_it_must(planner):
    taken = []

    def stream():
        for i, document in enumerate(sample_inputs(10, seed=6)):
            taken.append(i)
            yield document

    next(planner.decide_many(stream(), batch=4))
    assert taken == [0, 1, 2, 3]


def test_decide_many_names_the_place_of_an_error(planner, make_input):
    good, bad = json.dumps(make_input()).encode(), json.dumps(make_input(issue={"dk_size": "XXL"})).encode()
    with pytest.raises(DataError, match=r"inputs\.jsonl, line 9, at \$\.issue\.dk_size"):
        list(planner.decide_many([("inputs.jsonl", 8, good), ("inputs.jsonl", 9, bad)]))


def test_threads_decide_alike(planner):
    """The feature buffer belongs to a thread; were it shared, bits of one input would reach another's decision."""
    documents = sample_inputs(40, seed=8)
    expected = [plan(planner.decide(x)) for x in documents]

    def work(seed):
        rows = np.random.default_rng(seed).integers(0, len(documents), 200)
        return all(plan(planner.decide(documents[row])) == expected[row] for row in rows)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


# -- the session


def test_threads_and_spinning_are_settable(bundles):
    model = (bundles["mlp"] / "model.onnx").read_bytes()
    entry = "session.intra_op.allow_spinning"
    usual = open_session(model).get_session_options()
    assert (usual.intra_op_num_threads, usual.get_session_config_entry(entry)) == (1, "0")
    busy = open_session(model, threads=2, spinning=True).get_session_options()
    assert (busy.intra_op_num_threads, busy.get_session_config_entry(entry)) == (2, "1")


def test_decides_where_torch_and_onnx_are_not_installed(bundles, tmp_path):
    """A None in sys.modules makes an import fail exactly as a missing package does."""
    code = """
import json, sys
for name in ("torch", "onnx", "onnxscript", "yaml", "typer.main"):
    sys.modules[name] = None
from planner_core.runtime.planner import Planner
row = json.loads(open(sys.argv[1] + "/golden.jsonl").readline())
action = Planner.load(sys.argv[1], strict=True).decide(row["planner_input"])
assert {key: action[key] for key in row["action"]} == row["action"], action
assert action["abstain_to_default"] is False
print("decided")
"""
    command = [sys.executable, "-c", code, str(bundles["joint"])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ})
    assert done.stdout == "decided\n", done.stderr
