"""Modes, caps and fallbacks with a scorer whose answer is known: what is executed, why, and what is told."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner_core.action_space import Action, ActionSpace
from planner_core.contracts import ExecutedPlan, PlannerAction
from planner_core.data.samples import sample_inputs
from planner_core.errors import DataError, PlannerError
from planner_core.jsonio import convert
from planner_core.plugins.predictor import PolicyPredictor
from planner_core.runtime.limits import Caps
from planner_core.runtime.planner import Plan, Planner, executed_plan
from planner_core.runtime.reasons import MODES, REASONS

SPACE = ActionSpace()
SERIAL, VOTE, NA = "serial_handoff", "speculate_vote", "NA"
BASELINE = (VOTE, 2, 60, 5)  # what the rules want for a large fab-asset issue


class Fixed:
    """A scorer that gives every input the same probabilities, and counts how often it was asked for how many."""

    def __init__(self, probs):
        self.asked = []
        self.row = np.zeros(150, np.float32)
        for action, probability in probs.items():
            self.row[SPACE.index[action]] = probability

    def action_probs(self, inputs):
        self.asked.append(len(inputs))
        return np.repeat(self.row[None], len(inputs), axis=0)


class Raising:
    def action_probs(self, inputs):
        raise RuntimeError("the session died")


@pytest.fixture(scope="session")
def large(make_input):
    """A large fab-asset issue: every action of the default space is valid for it."""
    return make_input(job_type="fab-asset", issue={"dk_size": "L"})


@pytest.fixture(scope="session")
def large_code(make_input):
    return make_input(issue={"dk_size": "L"})


@cache
def rules():
    """The default baseline, made once: looking it up among the plugins costs a tenth of a second."""
    return PolicyPredictor.untrained("heuristic")


def planner_for(scorer, **options):
    return Planner(scorer, baseline=rules(), **options)


def choice(action):
    return action["swarm_id"], *action["budgets"].values()


def word(action):
    """The reason's word, None without one; and the two signs of a fallback agree."""
    assert action["abstain_to_default"] is (action["reason"] is not None)
    if action["reason"] is None:
        return None
    reason, colon, detail = action["reason"].partition(": ")
    assert reason in REASONS and colon and detail
    return reason


# -- the table: what the model chose -> what is executed and why

TABLE = [
    # mode, caps, the model's action, executed, reason
    ("off", {}, (SERIAL, 1, 15, 1), BASELINE, "mode_off"),
    ("off", {"max_minutes": 30}, (SERIAL, 1, 15, 1), (VOTE, 2, 30, 5), "mode_off"),
    ("log", {}, (SERIAL, 1, 15, 1), BASELINE, "mode_log"),
    ("log", {}, BASELINE, BASELINE, "mode_log"),
    ("log", {"max_minutes": 30}, (SERIAL, 1, 15, 1), (VOTE, 2, 30, 5), "mode_log"),
    ("log", {"max_minutes": 30}, (VOTE, 3, 120, 5), (VOTE, 2, 30, 5), "mode_log"),  # over the cap, and only logged
    ("enforce", {}, (SERIAL, 1, 15, 1), (SERIAL, 1, 15, 1), None),
    ("enforce", {}, (VOTE, NA, NA, NA), (VOTE, NA, NA, NA), None),
    # A cap is the largest value that is still allowed.
    ("enforce", {"max_candidates": 3}, (VOTE, 3, 45, 3), (VOTE, 3, 45, 3), None),
    ("enforce", {"max_candidates": 2}, (VOTE, 3, 45, 3), BASELINE, "over_cap"),
    ("enforce", {"max_minutes": 120}, (VOTE, 3, 120, 3), (VOTE, 3, 120, 3), None),
    ("enforce", {"max_minutes": 119}, (VOTE, 3, 120, 3), BASELINE, "over_cap"),
    ("enforce", {"max_iterations": 3}, (VOTE, 3, 120, 3), (VOTE, 3, 120, 3), None),
    ("enforce", {"max_iterations": 2}, (VOTE, 3, 120, 3), (VOTE, 2, 60, 2), "over_cap"),  # the rules within it too
    # NA is no limit, so it breaks whatever cap there is, however high.
    ("enforce", {"max_candidates": 99}, (VOTE, NA, 45, 3), BASELINE, "over_cap"),
    ("enforce", {"max_minutes": 9999}, (VOTE, 2, NA, 3), BASELINE, "over_cap"),
    ("enforce", {"max_iterations": 99}, (VOTE, 2, 45, NA), BASELINE, "over_cap"),
    ("enforce", {"max_minutes": 9999}, (VOTE, NA, 45, NA), (VOTE, NA, 45, NA), None),  # each cap for its own budget
    ("enforce", {"max_candidates": 1, "max_minutes": 15, "max_iterations": 1}, BASELINE, (VOTE, 1, 15, 1), "over_cap"),
    # Below every bin: nothing is within, so the smallest action is executed.
    ("enforce", {"max_minutes": 14}, (SERIAL, 1, 15, 1), (SERIAL, 1, 15, 1), "over_cap"),
    ("off", {"max_minutes": 14}, BASELINE, (SERIAL, 1, 15, 1), "mode_off"),
    ("enforce_reductions", {}, BASELINE, BASELINE, None),
    ("enforce_reductions", {}, (VOTE, 2, 45, 5), (VOTE, 2, 45, 5), None),
    ("enforce_reductions", {}, (SERIAL, 1, 15, 1), (SERIAL, 1, 15, 1), None),
    ("enforce_reductions", {}, (VOTE, 3, 60, 5), BASELINE, "would_increase"),
    ("enforce_reductions", {}, (VOTE, 2, 120, 5), BASELINE, "would_increase"),
    ("enforce_reductions", {}, (VOTE, 2, 60, NA), BASELINE, "would_increase"),
    ("enforce_reductions", {}, (VOTE, NA, 15, 1), BASELINE, "would_increase"),  # less elsewhere does not make up for it
    ("enforce_reductions", {}, (VOTE, 1, NA, 1), BASELINE, "would_increase"),
    # The baseline itself stays within the caps, and it is that one which must not be exceeded.
    ("enforce_reductions", {"max_minutes": 45}, (VOTE, 2, 45, 5), (VOTE, 2, 45, 5), None),
    ("enforce_reductions", {"max_minutes": 45}, (VOTE, 3, 45, 5), (VOTE, 2, 45, 5), "would_increase"),
    ("enforce_reductions", {"max_minutes": 45}, (VOTE, 2, 60, 5), (VOTE, 2, 45, 5), "over_cap"),
    ("enforce_reductions", {"max_minutes": 14}, (SERIAL, 1, 15, 1), (SERIAL, 1, 15, 1), "over_cap"),
]


@pytest.mark.parametrize(("mode", "caps", "model", "executed", "reason"), TABLE)
def test_table(large, mode, caps, model, executed, reason):
    scorer = Fixed({model: 0.75, (SERIAL, 1, 30, 2): 0.25})
    planner = planner_for(scorer, mode=mode, caps=Caps(**caps))
    action = planner.decide(large)
    assert (choice(action), word(action)) == (executed, reason)
    convert(action, PlannerAction, "action")
    if mode == "off":
        assert scorer.asked == [] and "confidence" not in action
    else:
        assert action["confidence"] == pytest.approx(0.75)  # of what the model chose, also where it was not followed


def test_the_table_covers_every_mode():
    assert {row[0] for row in TABLE} == set(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_threshold_in_every_mode(large, mode):
    planner = planner_for(Fixed({(SERIAL, 1, 15, 1): 0.6, BASELINE: 0.4}), mode=mode, threshold=0.7)
    reason = {"off": "mode_off", "log": "mode_log"}.get(mode, "low_confidence")
    assert (choice(planner.decide(large)), word(planner.decide(large))) == (BASELINE, reason)


def test_the_threshold_speaks_before_the_caps(large):
    model = {(VOTE, 3, 120, 5): 0.6, BASELINE: 0.4}
    assert word(planner_for(Fixed(model), threshold=0.7, caps=Caps(max_minutes=30)).decide(large)) == "low_confidence"
    assert word(planner_for(Fixed(model), threshold=0.5, caps=Caps(max_minutes=30)).decide(large)) == "over_cap"


@pytest.mark.parametrize("mode", ["log", "enforce", "enforce_reductions"])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"scorer": None, "unusable": "it is gone"}, "bundle_unusable"),
        ({"scorer": Raising()}, "inference_failed"),
        ({"scorer": Fixed({(SERIAL, 1, 15, 1): 5.0})}, "inference_failed"),
        ({"scorer": Fixed({})}, "no_overlap"),
    ],
)
def test_a_model_that_gives_nothing(large, mode, broken, reason):
    """The caps hold for the baseline all the same, and the reason is the failure, not the mode."""
    action = planner_for(**broken, mode=mode, caps=Caps(max_minutes=30)).decide(large)
    assert (choice(action), word(action)) == ((VOTE, 2, 30, 5), reason)
    assert "confidence" not in action


def test_off_is_off_for_batches_and_plans(large):
    scorer = Fixed({BASELINE: 1.0})
    planner = planner_for(scorer, mode="off")
    assert planner.plan(large).prediction is None
    assert [word(action) for action in planner.decide_batch([large, large])] == ["mode_off", "mode_off"]
    assert [word(action) for action in planner.decide_many([large, large])] == ["mode_off", "mode_off"]
    assert scorer.asked == []


# -- caps where a budget does not apply


def test_na_is_no_breach_where_the_budget_does_not_apply(large_code):
    """Code jobs do not iterate: NA is all there is, and a cap on iterations means nothing to them."""
    model = (VOTE, 2, 45, NA)
    action = planner_for(Fixed({model: 1.0}), caps=Caps(max_iterations=1)).decide(large_code)
    assert (choice(action), word(action)) == (model, None)
    action = planner_for(Fixed({model: 1.0}), caps=Caps(max_iterations=1, max_minutes=30)).decide(large_code)
    assert (choice(action), word(action)) == ((VOTE, 2, 30, NA), "over_cap")


@pytest.mark.parametrize(("bins", "executed", "reason"), [([NA], NA, None), ([60, NA], 60, "over_cap")])
def test_na_among_numbers_is_a_breach(large, bins, executed, reason):
    document = {**large, "action_space": {**large["action_space"], "max_minutes_bins": bins}}
    action = planner_for(Fixed({(VOTE, 2, NA, 5): 1.0}), caps=Caps(max_minutes=60)).decide(document)
    assert (action["budgets"]["max_minutes_bin"], word(action)) == (executed, reason)


def test_nothing_within_the_caps_but_na(large):
    """60 is over the cap and NA is no limit at all: the smaller is taken."""
    document = {**large, "action_space": {**large["action_space"], "max_minutes_bins": [60, NA]}}
    action = planner_for(Fixed({(VOTE, 2, NA, 5): 1.0}), caps=Caps(max_minutes=30)).decide(document)
    assert (choice(action), word(action)) == ((SERIAL, 1, 60, 1), "over_cap")


@pytest.mark.parametrize("name", ["max_candidates", "max_minutes", "max_iterations"])
def test_caps_that_are_none(name):
    assert dataclasses.asdict(Caps()) == {"max_candidates": None, "max_minutes": None, "max_iterations": None}
    for value in (0, -1):
        with pytest.raises(ValueError, match=name):
            Caps(**{name: value})


@pytest.mark.parametrize("mode", ["on", "", "ENFORCE", None])
def test_modes_that_are_none(bundles, mode):
    with pytest.raises(ValueError, match="off, log, enforce, enforce_reductions"):
        Planner(None, mode=mode)
    with pytest.raises(ValueError, match="off, log, enforce, enforce_reductions"):
        Planner.load(bundles["heuristic"], mode=mode)


# -- properties over random requests and random models

MINUTES = [15, 20, 30, 45, 60, 120, 500, NA]


def bins(*values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=4, unique=True)


REQUESTS = st.fixed_dictionaries(
    {
        "swarm_ids": st.lists(st.sampled_from([SERIAL, VOTE, "hive_mind"]), min_size=1, max_size=3, unique=True),
        "max_candidates_bins": bins(1, 2, 3, 7, NA),
        "max_minutes_bins": bins(*MINUTES),
        "max_iterations_bins": bins(1, 2, 3, 5, 9, NA),
        "validity_rules": st.just([]),
    }
)
LIMITS = st.none() | st.sampled_from([1, 2, 3, 5, 20, 40, 60, 1000])
CAPS = st.builds(Caps, max_candidates=LIMITS, max_minutes=LIMITS, max_iterations=LIMITS)
JOBS = st.sampled_from(["code", "fab-world", "fab-asset", "research"])
SIZES = st.sampled_from(["XS", "S", "M", "L", "XL"])
WEIGHTS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).dirichlet(np.full(150, 0.1)))


class Weighted:
    def __init__(self, probs):
        self.probs = probs.astype(np.float32)

    def action_probs(self, inputs):
        return np.repeat(self.probs[None], len(inputs), axis=0)


def amount(value):
    return float("inf") if value == NA else value


def decided(make_input, request, job, size, risk, probs, **options):
    """(action, the baseline's under the same caps), or None where the request allows nothing."""
    document = make_input(job_type=job, issue={"dk_size": size, "dk_risk": risk}, action_space=request)
    try:
        baseline = planner_for(None, **{**options, "mode": "off"}).decide(document)
    except PlannerError:
        assume(False)
    return planner_for(Weighted(probs), **options).decide(document), baseline


@settings(max_examples=150)
@given(REQUESTS, JOBS, SIZES, st.sampled_from(["low", "critical"]), WEIGHTS, CAPS)
def test_reductions_never_exceed_the_baseline(make_input, request_space, job, size, risk, probs, caps):
    action, baseline = decided(
        make_input, request_space, job, size, risk, probs, mode="enforce_reductions", caps=caps, threshold=0.05
    )
    for mine, theirs in zip(action["budgets"].values(), baseline["budgets"].values(), strict=True):
        assert amount(mine) <= amount(theirs)
    if word(action) is not None:
        assert choice(action) == choice(baseline)


def test_reductions_are_taken_and_refused(make_input):
    """The property above would hold as well if the model were never followed."""
    words = Counter()
    rng = np.random.default_rng(4)
    for document in sample_inputs(60, seed=31):
        planner = planner_for(Weighted(rng.dirichlet(np.full(150, 0.1))), mode="enforce_reductions")
        words[word(planner.decide(document))] += 1
    assert words[None] >= 5 and words["would_increase"] >= 5 and len(words) == 2


@settings(max_examples=150)
@given(REQUESTS, JOBS, SIZES, WEIGHTS, CAPS, st.sampled_from(MODES))
def test_caps_hold_in_every_mode(make_input, request_space, job, size, probs, caps, mode):
    """No executed budget is over its cap where the request offers anything within; the rule is written out again."""
    action, _ = decided(make_input, request_space, job, size, "low", probs, mode=mode, caps=caps)
    possible = [
        (swarm, c, m, i)
        for swarm in request_space["swarm_ids"]
        for c in request_space["max_candidates_bins"]
        for m in request_space["max_minutes_bins"]
        for i in request_space["max_iterations_bins"]
    ]
    usual = [
        (swarm, c, m, i)
        for swarm, c, m, i in possible
        if (swarm != SERIAL or c == 1) and (job != "code" or i == NA) and (job != "fab-world" or c != NA)
    ]
    allowed = usual or possible
    limits = (caps.max_candidates, caps.max_minutes, caps.max_iterations)
    bound = [h for h in range(3) if limits[h] is not None and any(a[h + 1] != NA for a in allowed)]
    within = [a for a in allowed if all(amount(a[h + 1]) <= limits[h] for h in bound)]
    if within:
        assert choice(action) in within
    else:
        smallest = min([amount(v) for v in a[1:]] for a in allowed)
        assert [amount(v) for v in choice(action)[1:]] == smallest


# -- plans


@pytest.mark.parametrize(
    ("action", "candidates", "seconds", "iterations"),
    [
        ((SERIAL, 1, 15, 1), 1, 900, 1),
        ((VOTE, 3, 120, NA), 3, 7200, None),
        ((VOTE, NA, NA, NA), None, None, None),
    ],
)
def test_executed_plan(action, candidates, seconds, iterations):
    document = executed_plan(Action(*action))
    assert document == {
        "schema_version": "cyntra.executed_plan.v1",
        "swarm_id_executed": action[0],
        "max_candidates_executed": candidates,
        "timeout_seconds_executed": seconds,
        "max_iterations_executed": iterations,
        "fallback_applied": False,
        "fallback_reason": None,
    }
    convert(document, ExecutedPlan, "plan")
    told = executed_plan(Action(*action), "over_cap: because")
    assert (told["fallback_applied"], told["fallback_reason"]) == (True, "over_cap: because")


@pytest.mark.parametrize(("mode", "caps", "model", "executed", "reason"), TABLE)
def test_plan_is_the_decision_with_its_papers(large, mode, caps, model, executed, reason):
    planner = planner_for(Fixed({model: 1.0}), mode=mode, caps=Caps(**caps), model={"checkpoint_id": "c"})
    plan = planner.plan(large)
    assert isinstance(plan, Plan)
    decided = planner.decide(large)
    assert {**plan.action, "created_at": 0} == {**decided, "created_at": 0}
    papers = convert(plan.executed, ExecutedPlan, "plan")
    assert (papers.swarm_id_executed, papers.fallback_applied) == (executed[0], reason is not None)
    assert papers.fallback_reason == plan.action["reason"]
    assert papers.timeout_seconds_executed == (None if executed[2] == NA else executed[2] * 60)
    if mode == "off":
        assert plan.prediction is None
        return
    prediction = convert(plan.prediction, PlannerAction, "prediction")
    assert choice(plan.prediction) == model  # whatever the mode, the caps and the baseline made of it
    assert prediction.abstain_to_default is False and prediction.reason is None
    assert prediction.confidence == 1.0 and prediction.model.checkpoint_id == "c"
    assert prediction.input_hash == plan.action["input_hash"]


def test_plan_below_the_threshold_still_tells_the_prediction(large):
    plan = planner_for(Fixed({(SERIAL, 1, 15, 1): 0.6, BASELINE: 0.4}), threshold=0.9).plan(large)
    assert (choice(plan.action), word(plan.action)) == (BASELINE, "low_confidence")
    assert choice(plan.prediction) == (SERIAL, 1, 15, 1)
    assert plan.executed["fallback_reason"] == plan.action["reason"]


@pytest.mark.parametrize("scorer", [None, Raising(), Fixed({})], ids=["none", "raises", "no mass"])
def test_plan_without_a_prediction(large, scorer):
    plan = planner_for(scorer, unusable="gone").plan(large)
    assert plan.prediction is None and plan.executed["fallback_applied"] is True


# -- batches


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("caps", [Caps(), Caps(max_candidates=2, max_minutes=45)], ids=["free", "capped"])
def test_batch_equals_one_by_one(bundles, mode, caps):
    planner = Planner.load(bundles["mlp"], strict=True, mode=mode, caps=caps, threshold=0.2)
    documents = sample_inputs(40, seed=41)
    together = planner.decide_batch(documents)
    for one, many in zip((planner.decide(x) for x in documents), together, strict=True):
        # The last bits of a confidence, and with them those told in a reason, depend on the batch.
        assert one.get("confidence") == pytest.approx(many.get("confidence"), abs=1e-5)
        assert (choice(one), word(one), one["input_hash"]) == (choice(many), word(many), many["input_hash"])


def test_a_batch_is_one_session_call(large):
    scorer = Fixed({BASELINE: 1.0})
    assert len(planner_for(scorer).decide_batch([large] * 100)) == 100
    assert scorer.asked == [100]


def test_an_empty_batch(large):
    scorer = Fixed({BASELINE: 1.0})
    assert planner_for(scorer).decide_batch([]) == [] and scorer.asked == []


def test_one_bad_input_spoils_its_batch(large):
    """Raised before anything is decided; no half of an answer."""
    with pytest.raises(DataError, match=r"\$\.job_type"):
        planner_for(Fixed({BASELINE: 1.0})).decide_batch([large, {**large, "job_type": 3}])


# -- every reason can be reached, and only those


@pytest.fixture
def ways(bundles, tmp_path, large):
    """{reason: a planner that gives it for the large issue}."""
    more, less = (VOTE, 3, 120, NA), (SERIAL, 1, 15, 1)
    altered = shutil.copytree(bundles["mlp"], tmp_path / "altered")
    (altered / "config.json").write_text("{}")
    return {
        "mode_off": Planner(Fixed({less: 1.0}), mode="off"),
        "mode_log": Planner(Fixed({less: 1.0}), mode="log"),
        "low_confidence": Planner(Fixed({less: 0.6, more: 0.4}), threshold=0.61),
        "no_overlap": Planner(Fixed({})),
        "over_cap": Planner(Fixed({more: 1.0}), caps=Caps(max_candidates=2)),
        "would_increase": Planner(Fixed({more: 1.0}), mode="enforce_reductions"),
        "bundle_unusable": Planner.load(altered),
        "inference_failed": Planner(Raising()),
        "arm_baseline": Planner(Fixed({less: 1.0}), share=0.0),
    }


def test_every_reason(ways, large):
    assert set(ways) == set(REASONS)
    for reason, planner in ways.items():
        action = planner.decide(large)
        assert (word(action), choice(action)) == (reason, BASELINE)
        assert planner.plan(large).executed["fallback_reason"] == action["reason"]
