"""Rollout: who is in which arm, what may be explored, and that frequencies are the propensities that are told."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_support import BASELINE, SERIAL, SPACE, TAU, VOTE, Expects, Fails, chosen, key
from scipy.stats import binomtest

from planner_core.errors import ConfigError, PlannerError
from planner_core.runtime.limits import Caps
from planner_core.runtime.planner import Planner
from planner_core.runtime.rollout import Rollout

OWN, NEAR, FAR = (VOTE, 3, 45, 3), (VOTE, 3, 30, 3), (SERIAL, 1, 15, 1)
LONG, LESS = (VOTE, 3, 120, 3), (VOTE, 2, 45, 3)
UTILITIES = {OWN: 1.0, NEAR: 0.95, LESS: 0.92, LONG: 0.97, BASELINE: 0.8, FAR: 0.2}
SALT = "autumn"


@pytest.fixture(scope="module")
def large(make_input):
    """A large fab-asset issue of a given id: every action of the default space is valid for it."""

    def make(issue_id, **more):
        return make_input(job_type="fab-asset", issue={"dk_size": "L", "issue_id": issue_id, **more})

    return make


# -- the hash, written out again as the page has it


def specified(*parts):
    raw = b"".join(f"{len(part.encode())}:".encode() + part.encode() for part in parts)
    number = int.from_bytes(hashlib.sha256(raw).digest(), "big")
    return (number >> 203) / 2**53, ((number >> 128) % 2**64 >> 11) / 2**53


@pytest.mark.parametrize("salt", ["", "autumn", "größe", "a\x00b", "日本"])
@pytest.mark.parametrize("issue", ["dk-1", "", "std/ü 1", "1:a", "x" * 4096])
def test_the_hash_is_the_specified_one(salt, issue):
    first, second = specified("swarm_planner.arm.v1", salt, issue)
    for share in (0.0, 0.3, 0.7, 1.0):
        for explore in (0.0, 0.4, 1.0):
            arm = "baseline" if first >= share else "explore" if second < explore else "model"
            assert Rollout(share, explore, salt).arm(issue) == arm
    digest = "ab" * 32
    assert Rollout(0.5, 0.1, salt).draw(issue, digest) == specified("swarm_planner.draw.v1", salt, issue, digest)[0]


def test_texts_do_not_run_into_one_another():
    assert Rollout(0.5, 0.0, "ab").draw("c", "") != Rollout(0.5, 0.0, "a").draw("bc", "")


def test_a_share_of_one_and_of_none():
    assert {Rollout(1.0).arm(str(i)) for i in range(200)} == {"model"}
    assert {Rollout(1.0, 1.0).arm(str(i)) for i in range(200)} == {"explore"}
    assert {Rollout(0.0, 1.0).arm(str(i)) for i in range(200)} == {"baseline"}


def test_who_is_in_stays_in_when_the_share_grows():
    ids = [f"dk-{i}" for i in range(3000)]
    arms = {share: [Rollout(share, 0.3, SALT).arm(i) for i in ids] for share in (0.1, 0.5, 0.9)}
    for smaller, larger in ((0.1, 0.5), (0.5, 0.9)):
        kept = [(a, b) for a, b in zip(arms[smaller], arms[larger], strict=True) if a != "baseline"]
        assert len(kept) > 200 and all(a == b for a, b in kept)


def test_another_salt_throws_the_dice_anew():
    ids = [f"dk-{i}" for i in range(4000)]
    both = Counter((Rollout(0.5, 0.0, "a").arm(i), Rollout(0.5, 0.0, "b").arm(i)) for i in ids)
    assert len(both) == 4 and all(binomtest(n, len(ids), 0.25).pvalue > 1e-4 for n in both.values())


# -- frequencies are propensities


@dataclass(frozen=True)
class Case:
    """Options of a planner, and the propensities they lead to; ``reasons`` are all that may be told."""

    options: dict
    expected: dict
    reasons: set = field(default_factory=lambda: {None, "arm_baseline"})


def spread(share, explore, explored):
    """What the formula of the specification says for the model's action OWN."""
    out = Counter({key(BASELINE): 1 - share, key(OWN): share * (1 - explore)})
    for action in explored:
        out[key(action)] += share * explore / len(explored)
    return {name: p for name, p in out.items() if p > 0}


WITHIN = [OWN, NEAR, LESS, LONG]
CASES = {
    "all the model's": Case({}, {key(OWN): 1.0}, {None}),
    "a tenth": Case({"share": 0.1}, spread(0.1, 0, [])),
    "half, exploring": Case({"share": 0.5, "explore": 0.4}, spread(0.5, 0.4, WITHIN)),
    "all explore": Case({"explore": 1.0}, spread(1.0, 1.0, WITHIN), {None}),
    "nothing is near": Case({"share": 0.7, "explore": 0.5, "explore_within": 0.0}, spread(0.7, 0.5, [OWN])),
    "the baseline is near": Case(
        {"share": 0.6, "explore": 0.5, "explore_within": 0.21}, spread(0.6, 0.5, [*WITHIN, BASELINE])
    ),
    "a cap on minutes": Case(
        {"share": 0.6, "explore": 0.5, "caps": Caps(max_minutes=60)}, spread(0.6, 0.5, [OWN, NEAR, LESS])
    ),
    "over a cap": Case(
        {"share": 0.6, "explore": 0.5, "caps": Caps(max_candidates=2)}, {key(BASELINE): 1.0}, {"over_cap"}
    ),
    "unsure": Case({"share": 0.6, "explore": 0.5, "threshold": 0.99}, {key(BASELINE): 1.0}, {"low_confidence"}),
    "only less": Case(
        {"share": 0.6, "explore": 0.5, "mode": "enforce_reductions"}, {key(BASELINE): 1.0}, {"would_increase"}
    ),
    "only logged": Case({"share": 0.6, "explore": 0.5, "mode": "log"}, {key(BASELINE): 1.0}, {"mode_log"}),
    "off": Case({"share": 0.6, "explore": 0.5, "mode": "off"}, {key(BASELINE): 1.0}, {"mode_off"}),
    "the kill switch": Case({"share": 0.0, "explore": 0.5}, {key(BASELINE): 1.0}, {"arm_baseline"}),
}


@pytest.mark.parametrize("name", CASES)
def test_frequencies_are_the_propensities(large, name):
    """Over many issues each action is executed as often as its propensity says (exact binomial tests)."""
    case = CASES[name]
    n = 1000 if len(case.expected) > 1 else 100
    planner = Planner(Expects(UTILITIES), salt=SALT, **case.options)
    counts, arms = Counter(), Counter()
    for i in range(n):
        plan = planner.plan(large(f"dk-{i}"))
        assert plan.propensities == pytest.approx(case.expected, abs=1e-12)
        assert math.fsum(plan.propensities.values()) == pytest.approx(1.0, abs=1e-12)
        executed = key(chosen(plan.action))
        assert plan.propensity == plan.propensities[executed] > 0
        reason = plan.action["reason"]
        assert (reason and reason.split(":")[0]) in case.reasons
        counts[executed] += 1
        arms[plan.arm] += 1
    assert counts.keys() <= case.expected.keys()
    for executed, p in case.expected.items():
        assert binomtest(counts[executed], n, min(p, 1.0)).pvalue > 1e-4, (executed, p, counts)
    assert planner.stats()["arms"] == dict(arms)


def test_reductions_explore_what_is_no_increase(large):
    """With a model that wants less: nothing is explored that uses more than the baseline on any budget."""
    utilities = {LESS: 1.0, (VOTE, 2, 60, 3): 0.98, LONG: 0.97, NEAR: 0.95, (SERIAL, 1, 45, 5): 0.93}
    planner = Planner(Expects(utilities), mode="enforce_reductions", explore=0.5, share=0.5, salt=SALT)
    plan = planner.plan(large("dk-1"))
    explored = [LESS, (VOTE, 2, 60, 3), (SERIAL, 1, 45, 5)]
    assert set(plan.propensities) == {key(a) for a in [*explored, BASELINE]}


def test_over_salts_too(large):
    """One issue, many experiments."""
    counts, n, model, document = Counter(), 1000, Expects(UTILITIES), json.dumps(large("dk-1"))
    for i in range(n):
        planner = Planner(model, action_space=SPACE, share=0.5, explore=0.4, salt=f"experiment {i}")
        counts[key(chosen(planner.decide(document)))] += 1
    for executed, p in spread(0.5, 0.4, WITHIN).items():
        assert binomtest(counts[executed], n, p).pvalue > 1e-4


def test_an_exploring_issue_draws_anew_for_another_input(large):
    planner = Planner(Expects(UTILITIES), explore=1.0, salt=SALT)
    counts = Counter(chosen(planner.decide(large("dk-1", tags=[str(i)]))) for i in range(1000))
    assert set(counts) == set(WITHIN)
    assert all(binomtest(n, 1000, 1 / len(WITHIN)).pvalue > 1e-4 for n in counts.values())


def test_a_model_that_fails_leaves_the_baseline_and_the_arm(large):
    working = Planner(Expects(UTILITIES), share=0.5, explore=0.5, salt=SALT)
    failing = Planner(Fails(), share=0.5, explore=0.5, salt=SALT)
    for i in range(50):
        plan = failing.plan(large(f"dk-{i}"))
        assert plan.propensities == {key(BASELINE): 1.0} and plan.expected is None
        assert plan.action["reason"].startswith("inference_failed")
        assert plan.arm == working.plan(large(f"dk-{i}")).arm


def test_the_kill_switch_asks_no_model(large):
    model = Expects(UTILITIES)
    planner = Planner(model, share=0.0)
    planner.plan(large("dk-1")), planner.decide(large("dk-1")), planner.decide_batch([large("dk-1")])
    assert model.asked == 0 and planner.stats()["arms"] == {"baseline": 3}


def test_one_meaning_has_one_probability(large):
    """Where model and baseline mean the same by different words, their probabilities are one."""
    document = large("dk-1")
    document["action_space"] |= {"max_candidates_bins": ["NA", 3], "max_minutes_bins": [60], "max_iterations_bins": [5]}
    document["action_space"]["swarm_ids"] = [VOTE]
    plan = Planner(Expects({BASELINE: 1.0}), share=0.5).plan(document)
    assert chosen(plan.action)[1] in ("NA", 3) and math.fsum(plan.propensities.values()) == pytest.approx(1.0)
    assert set(plan.propensities) <= {"speculate_vote|2|60|5", "speculate_vote|3|60|5"}


# -- the same everywhere


def test_every_way_of_deciding_agrees(large):
    planner = Planner(Expects(UTILITIES), share=0.6, explore=0.6, salt=SALT)
    documents = [large(f"dk-{i}") for i in range(60)]
    plans = [chosen(planner.plan(x).action) for x in documents]
    assert plans == [chosen(planner.decide(x)) for x in documents]
    assert plans == [chosen(a) for a in planner.decide_batch(documents)]
    assert plans == [chosen(a) for a in planner.decide_many(documents, 7)]
    again = Planner(Expects(UTILITIES), share=0.6, explore=0.6, salt=SALT)
    assert plans == [chosen(again.plan(json.dumps(x)).action) for x in documents]
    assert len(set(plans)) == 5


def test_a_fresh_process_agrees():
    code = (
        "from planner_core.runtime.rollout import Rollout; r = Rollout(0.5, 0.5, 'größe');"
        "print([[r.arm(f'dk-{i}'), r.draw(f'dk-{i}', 'ff' * 32)] for i in range(64)])"
    )
    told = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
        for env in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    }
    rollout = Rollout(0.5, 0.5, "größe")
    expected = [[rollout.arm(f"dk-{i}"), rollout.draw(f"dk-{i}", "ff" * 32)] for i in range(64)]
    assert [json.loads(line.replace("'", '"')) for line in told] == [expected]
    assert {arm for arm, _ in expected} == {"baseline", "model", "explore"}


# -- what is expected


def test_what_is_expected_of_both(large):
    plan = Planner(Expects(UTILITIES)).plan(large("dk-1"))
    assert plan.expected == {
        "action": pytest.approx({"passed": 1.0, "minutes": 0, "cost_usd": 0}),
        "baseline": pytest.approx({"passed": 0.8, "minutes": 0, "cost_usd": 0}),
    }


def test_decisions_have_names_of_their_own(large):
    planner = Planner(Expects(UTILITIES))
    names = [planner.plan(large("dk-1")).decision_id for _ in range(100)]
    assert len(set(names)) == 100 and all(len(name) == 32 and int(name, 16) for name in names)
    assert [name[:12] for name in names] == sorted(name[:12] for name in names)


def test_predictions_that_are_no_numbers_are_never_explored(large):
    model = Expects(UTILITIES)
    model.passed = np.where(model.passed > 0.9, np.nan, model.passed).astype(np.float32)
    plan = Planner(model, explore=1.0).plan(large("dk-1"))
    assert plan.propensities == {key(OWN): 1.0} and plan.expected["action"] is None


# -- options


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        *(("share", value, ValueError) for value in (-0.1, 1.1, float("nan"))),
        *(("explore", value, ValueError) for value in (-0.1, 1.1, float("nan"))),
        *(("explore_within", value, ValueError) for value in (-0.1, float("nan"), float("inf"))),
        *((name, value, TypeError) for name in ("share", "explore", "explore_within") for value in ("0.1", True, None)),
        ("salt", 3, TypeError),
        ("salt", None, TypeError),
        ("salt", "\ud800", ValueError),
    ],
)
def test_options_that_are_none(bundles, option, value, error):
    with pytest.raises(error, match=option):
        Planner(Expects(UTILITIES), **{option: value})
    with pytest.raises(error, match=option):
        Planner.load(bundles["heuristic"], **{option: value})


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("policy", ["mlp", "joint", "heuristic"])
def test_a_policy_that_expects_nothing_cannot_explore(bundles, policy, strict):
    with pytest.raises(ConfigError, match=f"explore = 0.05: policy '{policy}' predicts no outcomes"):
        Planner.load(bundles[policy], explore=0.05, strict=strict)
    assert Planner.load(bundles[policy], share=0.5, strict=True).rollout.share == 0.5


def test_nor_after_a_reload(bundles, tmp_path, make_input, caplog):
    planner = Planner.load(tmp_path / "none", explore=0.05)
    assert planner.plan(make_input()).action["reason"].startswith("bundle_unusable")
    with pytest.raises(ConfigError, match="explore"):
        planner.reload(bundles["mlp"])
    assert planner.model is None and "the bundle in use stays" in caplog.text


# -- properties

BINS = st.lists(st.sampled_from([1, 2, 3, 15, 30, 60, "NA"]), min_size=1, max_size=4, unique=True)
LIMIT = st.none() | st.sampled_from([1, 2, 3, 20, 60])


@settings(max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(BINS, BINS, BINS),
    st.builds(Caps, LIMIT, LIMIT, LIMIT),
    st.sampled_from(["off", "log", "enforce", "enforce_reductions"]),
    st.sampled_from(["code", "fab-world", "fab-asset", "research"]),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.0, 0.1, 1.0])),
)
def test_whatever_is_asked(make_input, seed, bins, caps, mode, job, odds):
    """Propensities sum to 1, hold the executed action, and name nothing that the request does not allow."""
    model = Expects({})
    model.passed = np.random.default_rng(seed).normal(0.0, 0.1, 150).astype(np.float32)
    model.probs = np.exp(model.passed / TAU) / np.exp(model.passed / TAU).sum()
    space = dict(zip(("max_candidates_bins", "max_minutes_bins", "max_iterations_bins"), bins, strict=True))
    document = make_input(job_type=job)
    document["action_space"] |= space
    share, explore, within = odds
    try:
        planner = Planner(
            model, mode=mode, caps=caps, share=share, explore=explore, explore_within=within, salt=str(seed)
        )
        plan = planner.plan(document)
    except PlannerError as problem:
        assert "leave no action" in str(problem)
        return
    assert math.fsum(plan.propensities.values()) == pytest.approx(1.0, abs=1e-9)
    assert 0.0 < plan.propensity == plan.propensities[plan_key(plan.action, job)] <= 1.0 + 1e-12
    allowed = {plan_key({"swarm_id": a.swarm, "budgets": dict(enumerate(a[1:]))}, job) for a in offered(document)}
    assert set(plan.propensities) <= allowed
    if share == 0.0 or mode in ("off", "log"):
        assert plan.arm == "baseline" and len(plan.propensities) == 1


def plan_key(action, job):
    swarm, c, m, i = key(chosen(action)).split("|")
    return "|".join((swarm, c, m, "1" if job == "code" else i))


def offered(document):
    from planner_core.runtime.intake import read_request

    return read_request(document).offer.actions
