"""The conformance kit of swarm-planner on this policy."""

from __future__ import annotations

import pytest

from planner_core.testing import policy_checks


@pytest.mark.parametrize("check", policy_checks("gbdt", values={"rounds": 40, "blind_rounds": 10}))
def test_conformance(check):
    check()
