"""How value and choice vary with the worth of a pass, against whole evaluations and loops."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.action_space import ActionSpace
from planner_core.cli.reports import evaluation_blocks
from planner_core.harness.judging import Datasets, evaluate_source
from planner_core.harness.sources import open_path
from planner_core.utility import weight_table

SPACE = ActionSpace()


@pytest.fixture(scope="module")
def judged(registry, outcome_run):
    opened = open_path(outcome_run, registry)

    def run(directory, **options):
        return evaluate_source(opened, Datasets(directory), registry, **options)

    return run


@pytest.mark.parametrize("kind", ["world", "logs"])
def test_every_row_is_a_whole_evaluation_at_that_worth(judged, kind, request):
    directory = request.getfixturevalue(kind)
    found = judged(directory, sensitivity=True).sensitivity.fixed
    for row in (found.rows[0], found.rows[9]):
        whole = judged(directory, utility=weight_table() * [row.multiple, 1, 1])
        expected = whole.values[f"policy against {whole.against}"]
        gap = expected.value.difference.utility
        assert row.difference.estimate == pytest.approx(gap.estimate)
        assert (row.difference.low, row.difference.high) == (pytest.approx(gap.low), pytest.approx(gap.high))
        assert row.answer == expected.verdict.answer


def test_what_is_chosen_is_the_best_by_the_predictions(judged, world):
    found = judged(world, sensitivity=True)
    test, predicted = found.examples, found.own.decision.outcomes
    for choice in (found.sensitivity.choices[i] for i in (0, 6, 12)):
        passes, usd, changed = [], [], 0
        for row in range(len(test)):
            job = int(test.job_type[row])
            w = weight_table()[test.priority[row]] * [choice.multiple, 1, 1]
            utility = {
                a: w[0] * float(predicted["passed"][row, a])
                - w[1] * float(predicted["minutes"][row, a]) / 60
                - w[2] * float(predicted["cost_usd"][row, a])
                for a in range(len(SPACE.actions))
                if SPACE.joint_masks[job][a] and SPACE.canonical[job][a] == a
            }
            best = max(utility, key=utility.get)
            assert not np.isnan(test.outcomes.passed[row, best])
            passes.append(float(test.outcomes.passed[row, best]))
            usd.append(float(test.outcomes.cost_usd[row, best]))
            changed += best != found.own.decision.action[row]
        # Two actions whose utilities differ by less than float32 tells may change places.
        assert choice.pass_rate.estimate == pytest.approx(np.mean(passes), abs=1e-4)
        assert choice.cost_usd.estimate == pytest.approx(np.mean(usd), abs=1e-3)
        assert choice.changed == pytest.approx(changed / len(test), abs=1.01 / len(test))


def test_a_policy_without_predictions_has_no_choices_and_a_table_all_the_same(registry, world, runs):
    opened = open_path(runs["mlp"], registry)
    found = evaluate_source(opened, Datasets(world), registry, sensitivity=True)
    assert found.sensitivity.choices is None
    document = found.to_dict()
    assert document["sensitivity"]["choices"] is None and len(document["sensitivity"]["rows"]) == 13
    blocks = list(evaluation_blocks(document, details=True))
    titles = [block.title for block in blocks if not isinstance(block, str)]
    assert "if a pass were worth more or less: against the rules" in titles
    assert document["sensitivity"]["text"] in blocks


def test_an_evaluation_has_no_table_unless_it_is_asked_for(judged, world):
    assert "sensitivity" not in judged(world).to_dict()
