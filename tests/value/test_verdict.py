"""Every rule of the verdict, on grounds made for it and on logs that provoke it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import toy_world as synthetic

from planner_core.value import PARTIAL_LABEL, estimate_value, holm, holm_verdicts, read_log, runs_needed
from planner_core.value.intervals import Mean
from planner_core.value.verdict import Grounds, decide, refusals


def grounds(**changes) -> Grounds:
    usual = Grounds(
        difference=(Mean(0.04, 0.01, 99), Mean(-3.0, 1.0, 99), Mean(-0.38, 0.05, 99), Mean(0.3, 0.1, 99)),
        rows=1000,
        issues=800,
        differing=500,
        changed=400,
        unsupported=0,
        n_full=100,
        ess=90.0,
        ess_reference=None,
        mean_weight=1.02,
        mean_weight_reference=None,
        replay="holds",
        on_trust=False,
        propensities="logged",
        spread=1.5,
        against="what was run",
    )
    return replace(usual, **changes)


def utility(estimate, error=0.1, df=99):
    return (*grounds().difference[:3], Mean(estimate, error, df))


def test_a_sentence_says_whose_cost_is_assumed_whatever_the_answer():
    for found in (grounds(usd_assumed=1200), grounds(usd_assumed=1200, difference=utility(0.0))):
        assert "; the cost of 1,200 of the runs is assumed, which the interval takes for seen." in decide(found).text
    assert "assumed, which" not in decide(grounds()).text


def test_better_is_said_with_dollars_passes_and_n():
    verdict = decide(grounds())
    assert verdict.answer == "better"
    assert verdict.reasons == []
    for part in (
        "better than what was run",
        "4.0 more passes",
        "$38.00 less",
        "300 less minutes",
        "1,000 runs",
        "100 of",
    ):
        assert part in verdict.text
    assert "0.102 to 0.498" in verdict.text
    assert verdict.p_value == pytest.approx(0.00342, abs=1e-4)


def test_passes_are_counted_and_minutes_measured():
    passes, *rest = utility(0.3)
    found = decide(grounds(difference=(Mean(-passes.estimate, passes.error, passes.df), *rest)))
    assert "4.0 fewer passes" in found.text and "300 less minutes" in found.text


def test_worse_is_the_mirror():
    verdict = decide(grounds(difference=utility(-0.3)))
    assert verdict.answer == "worse"
    assert "is worse than" in verdict.text


@pytest.mark.parametrize(("estimate", "answer"), [(0.1985, "better"), (0.1983, "cannot_tell"), (-0.1985, "worse")])
def test_the_bound_is_the_t_quantile(estimate, answer):
    # t(0.975, 99) = 1.98422
    assert decide(grounds(difference=utility(estimate))).answer == answer


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unsupported": 3}, "3 of 1,000 runs"),
        ({"n_full": 19}, "only 19 issues"),
        ({"ess": 19.9}, "worth 19.9 issues"),
        ({"ess_reference": 5.0, "mean_weight_reference": 1.0}, "the reference is worth 5.0"),
        ({"mean_weight": 0.79}, "mean weight of it is 0.79"),
        ({"mean_weight": 1.26}, "mean weight of it is 1.26"),
        ({"mean_weight": math.nan}, "mean weight of it is nan"),
        ({"ess_reference": 50.0, "mean_weight_reference": 1.3}, "mean weight of the reference is 1.30"),
        ({"replay": "contradicted"}, "do not behave alike"),
        ({"propensities": "unknown"}, "cannot be estimated"),
        ({"replay": "assumed, not checked", "on_trust": True}, "assumed, not checked"),
        ({"rows": 0, "differing": 0}, "no run to judge by"),
        ({"difference": utility(0.3, df=0)}, "no interval"),
    ],
)
def test_each_refusal(changes, words):
    assert any(words in reason for reason in refusals(grounds(**changes)))
    verdict = decide(grounds(**changes))
    assert verdict.answer == "cannot_tell"
    assert words in verdict.text
    assert verdict.text.startswith("Your logs cannot tell")


@pytest.mark.parametrize(
    "changes",
    [
        {"n_full": 20},
        {"ess": 20.0},
        {"mean_weight": 0.8},
        {"mean_weight": 1.25},
        {"n_full": None},
        {"replay": "assumed, not checked"},
        {"propensities": "estimated"},
    ],
)
def test_what_is_no_refusal(changes):
    assert refusals(grounds(**changes)) == []
    assert decide(grounds(**changes)).answer == "better"


def test_no_differing_row():
    verdict = decide(grounds(differing=0, changed=0, against="the rules"))
    assert verdict.answer == "cannot_tell"
    assert "decides as the reference does (the rules), on all 1,000 runs" in verdict.text


def test_an_interval_that_holds_zero_says_what_would_tell():
    verdict = decide(grounds(difference=utility(0.05)), ab_share=0.1, ab_difference=0.2)
    assert verdict.answer == "cannot_tell"
    assert "holds 0" in verdict.text
    assert (verdict.ab_share, verdict.ab_difference) == (0.1, 0.2)
    assert verdict.runs_needed == runs_needed(0.2, 0.1, 1.5, differing=0.4)
    assert f"{verdict.runs_needed:,} runs" in verdict.text


def test_power_of_an_ab_by_simulation():
    """As many runs as promised show the difference in about 80 % of simulated A/B tests."""
    share, gap, sd, differing = 0.25, 0.5, 1.3, 0.6
    n = runs_needed(gap * differing, share, sd**2, differing=differing)
    rng = np.random.default_rng(0)
    shown = 0
    for _ in range(2000):
        differs = rng.random(n) < differing
        arm = rng.random(n) < share
        u = rng.normal(0, sd, n) + gap * arm
        a, b = u[differs & arm], u[differs & ~arm]
        z = (a.mean() - b.mean()) / math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
        shown += z > 1.96
    assert 0.76 < shown / 2000 < 0.84
    assert runs_needed(0.1, 0.5, 1.0) == math.ceil((1.959964 + 0.841621) ** 2 * 4 / 0.01)
    for wrong in (
        runs_needed(0.0, 0.5, 1.0),
        runs_needed(0.1, 0.0, 1.0),
        runs_needed(0.1, 0.5, 0.0),
        runs_needed(0.1, 0.5, math.nan),
        runs_needed(0.1, 0.5, 1.0, differing=0.0),
    ):
        assert wrong is None


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.04]) == [True]
    assert holm([0.02, 0.03]) == [True, True]
    assert holm([0.03, 0.04]) == [False, False]
    assert holm([None, math.nan, 0.04]) == [False, False, True]
    assert holm([]) == []
    sure = decide(grounds())
    unsure = decide(grounds(n_full=3))
    assert holm_verdicts([sure, unsure]) == [True, False]


@pytest.fixture(scope="module")
def unexplored():
    """A log that always does as the baseline says."""
    rng = np.random.default_rng(2)
    world = synthetic.draw(rng, 1000)
    p = synthetic.distribution(world, 0.0)
    action = synthetic.baseline(world)
    executed = synthetic.log(world, action, p)
    return world, read_log(executed, world.job_type, np.tile(synthetic.WEIGHTS, (1000, 1)), use="assumed")


def answer_of(utility):
    return "better" if utility.low > 0 else "worse" if utility.high < 0 else "cannot_tell"


def test_what_the_log_always_does_cannot_differ_from_it(unexplored):
    world, log = unexplored
    value = estimate_value(log, synthetic.baseline(world))
    assert value.verdict.answer == "cannot_tell"
    assert "decides as the reference does (what was run)" in value.verdict.text
    assert value.value.difference.utility.estimate == pytest.approx(0.0, abs=1e-6)
    assert value.value.utility.estimate == pytest.approx(value.as_run.utility.estimate, abs=1e-6)
    assert value.differing == 0.0


def test_without_support_there_is_no_figure(unexplored):
    world, log = unexplored
    target = np.array([synthetic.find(job, (1, 3, 120, 1)) for job in world.job_type])
    value = estimate_value(log, target)
    assert value.support == 0.0
    assert value.verdict.answer == "cannot_tell"
    assert "could not have shown it" in value.verdict.text
    assert value.value.utility.estimate is None
    assert value.value.difference.utility.estimate is None
    assert value.partial is None


def test_replay_supports_shorter_budgets_even_without_exploration(unexplored):
    """What was run for 45 minutes tells what 30 would have done: exactly, here."""
    world, log = unexplored
    rows = world.job_type == 0
    target = np.where(
        rows,
        synthetic.find(0, (1, 2, 30, 1)),
        np.array([synthetic.find(job, (0, 1, 120, 1)) for job in world.job_type]),
    )
    value = estimate_value(log, target, name="shorter votes")
    assert value.verdict.answer == "cannot_tell"
    partial = value.partial
    assert partial is not None
    assert partial.label == PARTIAL_LABEL
    assert value.support == pytest.approx(rows.mean())
    mixed = np.where(rows, target, synthetic.baseline(world))
    truth = synthetic.utility(world, mixed)
    assert partial.value.utility.estimate == pytest.approx(truth.mean(), abs=1e-4)
    was = synthetic.utility(world, synthetic.baseline(world))
    assert partial.value.difference.utility.estimate == pytest.approx((truth - was).mean(), abs=1e-4)
    assert partial.n_full == rows.sum()
    assert partial.verdict.answer == answer_of(partial.value.difference.utility)
    assert f"shorter votes on the {100 * rows.mean():.0f} % of runs".lower() in partial.verdict.text.lower()
    assert value.value.utility.estimate is None


def test_rows_where_both_decide_alike_need_no_support(unexplored):
    world, log = unexplored
    other = np.array([synthetic.find(job, (1, 3, 120, 1)) for job in world.job_type])
    target = other.copy()
    code = world.job_type == 0
    target[code] = synthetic.find(0, (1, 2, 30, 1))
    reference = other.copy()
    reference[code] = synthetic.find(0, (1, 2, 45, 1))
    value = estimate_value(log, target, against=reference, against_name="the other")
    assert value.value.utility.estimate is None
    assert value.value.difference.utility.estimate is not None
    assert value.verdict.answer == answer_of(value.value.difference.utility)
    assert value.verdict.reasons == [] or "holds 0" in value.verdict.reasons[0]
    assert value.verdict.against == "the other"


def test_a_log_that_says_nothing_of_its_chances(unexplored):
    world, _ = unexplored
    n = len(world)
    action = synthetic.sample(np.random.default_rng(0), synthetic.distribution(world, 0.5))
    executed = synthetic.log(world, action, synthetic.distribution(world, 0.5), whole=False)
    silent = replace(executed, propensity=np.full(n, np.nan, np.float32))
    value = estimate_value(read_log(silent, world.job_type, np.tile(synthetic.WEIGHTS, (n, 1))), action)
    assert value.propensities == "unknown"
    assert "cannot be estimated" in value.verdict.text


def test_one_action_and_nothing_else():
    """All runs alike, all successes, no probabilities (as of the reverend tracker): nothing can be told."""
    rng = np.random.default_rng(0)
    world = synthetic.draw(rng, 120)
    world.job_type[:] = 0
    action = np.full(120, synthetic.find(0, (0, 1, 60, 1)))
    executed = replace(
        synthetic.log(world, action, synthetic.distribution(world, 0.0) * 0 + 1 / 150, whole=False, detail=False),
        propensity=np.full(120, np.nan, np.float32),
        passed=np.ones(120, np.float32),
        status=np.zeros(120, np.int8),
    )
    log = read_log(executed, world.job_type, np.tile(synthetic.WEIGHTS, (120, 1)), strata=np.zeros(120, int))
    other = estimate_value(log, np.full(120, synthetic.find(0, (1, 2, 60, 1))))
    assert other.verdict.answer == "cannot_tell"
    assert "120 of 120 runs the log could not have shown it" in other.verdict.text
    same = estimate_value(log, action)
    assert "decides as the reference does (what was run)" in same.verdict.text
