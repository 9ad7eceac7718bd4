"""Small cells of the coverage study, on a synthetic world of these tests."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pytest
import toy_world as synthetic
from coverage_cells import AS_RUN, RULES, Redraw, Tally, at_most, failures, judge

from planner_core.value import Predictions

TARGETS = {
    "short": {0: (1, 2, 30, 1), 1: (0, 1, 30, 2), 2: (0, 1, 15, 2)},
    "lavish": {0: (1, 3, 120, 1), 1: (1, 3, 120, 2), 2: (1, 3, 120, 2)},
}


class Toy:
    """The synthetic world; ``seen`` gives every estimate the mean outcomes of an earlier log as its model."""

    def __init__(self, seen: bool) -> None:
        self.seen = seen

    @cached_property
    def people(self) -> synthetic.World:
        return synthetic.draw(np.random.default_rng(12345), 100_000)

    @cached_property
    def table(self) -> np.ndarray:
        """Mean (passed, minutes, USD) of each job type and class, [3, 3, 150]."""
        world = synthetic.draw(np.random.default_rng(54321), 2000)
        out = np.empty((3, 3, 150))
        for column in range(150):
            outcome = synthetic.outcome(world, np.full(len(world), column))[:3]
            for job in range(3):
                out[:, job, column] = [values[world.job_type == job].mean() for values in outcome]
        return out

    def action(self, world: synthetic.World, name: str) -> np.ndarray:
        return np.array([synthetic.find(job, TARGETS[name][job]) for job in range(3)])[world.job_type]

    def redraw(self, exploration: float, n: int, seed: int) -> Redraw:
        rng = np.random.default_rng([seed, n])
        world = synthetic.draw(rng, n, per_issue=2)
        p = synthetic.distribution(world, exploration)
        executed = synthetic.log(world, synthetic.sample(rng, p), p)
        targets = {name: self.action(world, name) for name in TARGETS}
        model = Predictions(*self.table[:, world.job_type]) if self.seen else None
        weights = np.tile(synthetic.WEIGHTS, (n, 1))
        return Redraw(executed, world.job_type, weights, targets, synthetic.baseline(world), model)

    def truth(self, target: str, against: str, exploration: float) -> float:
        world = self.people
        utility = synthetic.utility(world, self.action(world, target)).mean()
        rules = synthetic.utility(world, synthetic.baseline(world)).mean()
        if against == RULES:
            return float(utility - rules)
        explored = 0.0
        for job in range(3):
            of_job = world.take(np.flatnonzero(world.job_type == job)[:10_000])
            columns = np.unique(synthetic.TABLE.canonical[job][synthetic.TABLE.valid[job]])
            each = [synthetic.utility(of_job, np.full(len(of_job), column)).mean() for column in columns]
            explored += (world.job_type == job).mean() * np.mean(each)
        return float(utility - (1 - exploration) * rules - exploration * explored)


@pytest.mark.parametrize(("seen", "redraws"), [(False, 100), (True, 200)])
def test_intervals_and_verdicts_are_honest(seen, redraws):
    tallies, _ = judge(Toy(seen), 0.5, 600, redraws)
    assert failures(tallies) == []
    told = sum(tally.told for tally in tallies.values())
    assert told > redraws  # it does not win by refusing
    assert any(tally.truth <= 0 and tally.told > 0.25 * redraws for tally in tallies.values())
    assert any(t.answers["better"] + t.answers["worse"] > 0.25 * redraws for t in tallies.values())


def test_the_judge_would_notice():
    """A tally of intervals that are too short, and one of verdicts that are too bold, fail."""
    short = Tally(0.1, refused=20, covered=140, answers={"better": 20, "worse": 0, "cannot_tell": 180})
    bold = Tally(-0.1, refused=0, covered=190, answers={"better": 12, "worse": 0, "cannot_tell": 188})
    fine = Tally(-0.1, refused=100, covered=92, answers={"better": 3, "worse": 50, "cannot_tell": 147})
    found = failures({("short", AS_RUN): short, ("bold", AS_RUN): bold, ("fine", AS_RUN): fine})
    assert [text.split(" ")[0] for text in found] == ["short", "bold"]
    assert at_most(2, 3, 0.5) == pytest.approx(7 / 8)
