"""Every registered policy conforms, whoever registered it."""

from __future__ import annotations

import pytest

from planner_core.plugins.registry import load_registry
from planner_core.testing import policy_checks

POLICIES = [entry.name for entry in load_registry().entries if entry.status == "ok"]


def test_the_built_in_policies_are_registered():
    assert {"heuristic", "joint", "mlp"} <= set(POLICIES)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(*param.values, id=f"{policy}-{param.id}", marks=param.marks)
        for policy in POLICIES
        for param in policy_checks(policy)
    ],
)
def test_conformance(check):
    check()
