"""The conformance kit: what a policy has to do, as checks that anyone can run on theirs.

On the command line it is ``planner check my-policy``. In a test suite::

    import pytest
    from planner_core.testing import policy_checks

    @pytest.mark.parametrize("check", policy_checks("my-policy"))
    def test_conformance(check):
        check()

The checks of the core are here; graphs and latency are checked by the packages that know of them, through the hook
``planner_policy_checks``, as any plugin may.
"""

from __future__ import annotations

from planner_core.testing.checks_actions import temperatures
from planner_core.testing.kit import CheckResult, KitReport, Subject, all_checks, run_check, run_kit
from planner_core.testing.params import policy_checks
from planner_core.testing.support import mixed_batch, require

__all__ = [
    "CheckResult",
    "KitReport",
    "Subject",
    "all_checks",
    "mixed_batch",
    "policy_checks",
    "require",
    "run_check",
    "run_kit",
    "temperatures",
]
