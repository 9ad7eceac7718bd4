"""The kit as parameters of a pytest test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner_core.errors import CheckBlocked, CheckFailed, PlannerError
from planner_core.plugins.records import PolicyCheck
from planner_core.policy import PolicySpec
from planner_core.testing.kit import Subject, all_checks, check_expectations, run_check


class BoundCheck:
    """One check on one policy, to be called in a test: returns, raises :class:`CheckFailed`, or skips the test."""

    def __init__(self, check: PolicyCheck, subject: Subject) -> None:
        self.check, self.subject = check, subject

    def __repr__(self) -> str:
        return f"<check {self.check.name} of {self.subject.spec.name}>"

    def __call__(self) -> None:
        """Run the check.

        Raises :class:`CheckFailed` with what was found and :class:`CheckBlocked` where it could not run. A check that
        does not apply to the policy is a skipped test.
        """
        import pytest

        result = run_check(self.check, self.subject)
        if result.status == "does not apply":
            pytest.skip(result.found)
        if result.status == "cannot run":
            raise CheckBlocked(f"{result.name}: cannot run: {result.found}")
        if result.status == "failed":
            raise CheckFailed(f"{result.name} ({result.reason}): {result.found}")


def policy_checks(
    spec: str | PolicySpec,
    expected_failures: Mapping[str, str] | None = None,
    *,
    values: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[Any]:
    """One pytest parameter a check, named after it; its value is to be called without arguments.

    ``spec`` is a registered policy's name or its :class:`PolicySpec`, ``values`` are configuration keys to test it with
    (fewer trees, say). ``expected_failures`` maps names of checks to the reason why they fail: these become strict
    ``xfail`` marks, so that one that passes after all fails the suite.

    Raises :class:`ConfigError` for an unknown check, an empty reason or a wrong key, :class:`RegistryError` for a
    policy that is not registered, and :class:`PlannerError` without pytest.
    """
    try:
        import pytest
    except ModuleNotFoundError:
        raise PlannerError(
            "policy_checks makes pytest parameters, and pytest is not installed: pip install pytest "
            "('planner check' does without)"
        ) from None
    expected = dict(expected_failures or {})
    checks, subject = all_checks(), Subject(spec, values, seed)
    check_expectations(expected, checks)

    def marks(name: str) -> list[Any]:
        # Only a failure is expected: a check that cannot run stays an error.
        return [pytest.mark.xfail(strict=True, raises=CheckFailed, reason=expected[name])] if name in expected else []

    return [pytest.param(BoundCheck(check, subject), id=name, marks=marks(name)) for name, check in checks.items()]
