"""The conformance kit of swarm-planner on this policy."""

from __future__ import annotations

import pytest

from planner_core.testing import policy_checks


@pytest.mark.parametrize("check", policy_checks("transformer", values={"d_model": 32, "epochs": 6}))
def test_conformance(check):
    check()
