"""The kit finds what it is there for: each check fails on the policy that was broken for it, and no other does."""

from __future__ import annotations

import broken_outcomes
import pytest
from broken_policies import ALSO, BROKEN, CannotFit, Exits, ReportsNothing
from honest_outcomes import OutcomeTable
from honest_policy import HeadTable, Table, spec_of

from planner_core.testing import all_checks, run_kit

OF_OUTCOMES = {"twins", "utility-weights"}
"""Checks that ask nothing of a policy whose scores are logits."""


def by_status(spec, **options):
    report = run_kit(spec, **options)
    found = {}
    for result in report.results:
        found.setdefault(result.status, {})[result.name] = result.found
    return found


@pytest.mark.parametrize(
    ("policy", "asks_nothing"), [(Table, OF_OUTCOMES), (HeadTable, OF_OUTCOMES), (OutcomeTable, set())]
)
def test_the_honest_policy_passes(policy, asks_nothing):
    report = run_kit(spec_of(policy))
    assert report.ok
    assert {r.name for r in report.results if r.status == "does not apply"} == asks_nothing
    assert {r.name for r in report.results if r.status == "passed"} == set(all_checks()) - asks_nothing


def test_there_is_a_broken_policy_for_every_check():
    of_outcomes = set().union(*(checks for _, checks in broken_outcomes.BROKEN.values()))
    assert set(BROKEN) == set(all_checks()) - OF_OUTCOMES
    assert of_outcomes >= OF_OUTCOMES
    assert len(all_checks()) >= 30  # the hook's are among them


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.parametrize("check", BROKEN)
def test_a_check_fails_on_its_broken_policy_and_no_other_does(check):
    found = by_status(BROKEN[check])
    assert set(found["failed"]) == {check} | ALSO.get(check, set())
    assert all(found["failed"].values())  # each says what was wrong
    assert set(found) <= {"failed", "passed", "cannot run", "does not apply"}
    assert set(found.get("does not apply", {})) <= OF_OUTCOMES
    for reason in found.get("cannot run", {}).values():
        blamed = [name for name in all_checks() if f"'{name}' failed" in reason]
        assert blamed and set(blamed) <= set(found["failed"]) | set(found["cannot run"])


@pytest.mark.parametrize("name", broken_outcomes.BROKEN)
def test_what_is_wrong_with_outcomes_is_found_where_it_belongs(name):
    spec, checks = broken_outcomes.BROKEN[name]
    found = by_status(spec)
    assert set(found["failed"]) == checks
    assert "does not apply" not in found
    cannot = set(found.get("cannot run", {}))
    assert all(check.startswith(("graph-", "latency")) for check in cannot)


def test_what_builds_on_a_failure_cannot_run_and_names_it():
    found = by_status(spec_of(CannotFit))
    assert found["failed"]["fit"] == "raised RuntimeError: no luck today"
    assert set(found["cannot run"].values()) == {"the check 'fit' failed"}
    assert {"learns", "scores", "save-load", "graph-parity", "latency"} <= set(found["cannot run"])
    assert set(found["passed"]) == {name for name in all_checks() if name.startswith(("protocol", "import", "config"))}


def test_a_policy_that_exits_does_not_end_the_kit():
    found = by_status(spec_of(Exits))
    assert found["failed"]["scores"] == "raised SystemExit: 3"
    assert sum(len(names) for names in found.values()) == len(all_checks())


def test_a_fit_without_a_report_is_named():
    assert by_status(spec_of(ReportsNothing), only=["fit"])["failed"]["fit"] == (
        "fit returns a NoneType, not a FitReport"
    )


def test_what_an_unfitted_predict_owes_is_said_where_it_is_not_given():
    class NoModelYet(Table):
        def __init__(self, config, context):
            super().__init__(config, context)
            self.framework = None

        def fit(self, session):
            self.framework = "some framework's"
            return super().fit(session)

        def load(self, directory):
            self.framework = "some framework's"
            super().load(directory)

        def predict(self, batch):
            self.framework.upper()
            return super().predict(batch)

    found = by_status(spec_of(NoModelYet))
    assert set(found["failed"]) == {"determinism"}
    said = found["failed"]["determinism"]
    assert "learnt nothing yet raises AttributeError" in said and "raise a planner_core.PlannerError" in said
