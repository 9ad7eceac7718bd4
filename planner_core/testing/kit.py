"""Running checks on one policy: each on its own, whatever it raises is its own result."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from planner_core.errors import (
    CheckBlocked,
    CheckDoesNotApply,
    CheckFailed,
    ConfigError,
    MissingExtra,
    PlannerError,
    suggestion,
)
from planner_core.plugins.collecting import collect
from planner_core.plugins.loading import Plugin
from planner_core.plugins.records import CheckSetup, PolicyCheck
from planner_core.plugins.registry import load_registry
from planner_core.policy import PolicySpec
from planner_core.settings import make_settings
from planner_core.testing import (
    checks_actions,
    checks_files,
    checks_fit,
    checks_outcomes,
    checks_protocol,
    checks_scores,
    world,
)

logger = logging.getLogger("planner")

Status = Literal["passed", "failed", "expected failure", "unexpected pass", "does not apply", "cannot run"]
BAD: tuple[Status, ...] = ("failed", "unexpected pass", "cannot run")
"""What a policy that conforms has none of. A check that cannot run has shown nothing, so it does not count as good."""

EPOCHS = 12
"""A policy whose configuration counts ``epochs`` is trained for at most so many."""


@dataclass(frozen=True)
class CheckResult:
    """What one check gave: ``found`` says what was wrong, or what was measured, or why it did not run."""

    name: str
    reason: str
    status: Status
    found: str
    seconds: float


@dataclass(frozen=True)
class KitReport:
    """The results of all checks of one policy; ``expected`` holds the reason of every expected failure."""

    policy: str
    results: list[CheckResult] = field(default_factory=list)
    expected: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the policy conforms, expected failures aside."""
        return not any(result.status in BAD for result in self.results)

    def count(self, status: Status) -> int:
        """How many checks gave ``status``."""
        return sum(result.status == status for result in self.results)

    def summary(self) -> str:
        """One line: how many checks ran, and how they ended."""
        parts = [f"{self.count('passed')} passed", f"{self.count('failed')} failed"]
        reasons = [self.expected[r.name] for r in self.results if r.status == "expected failure"]
        if reasons:
            plural = "s" if len(reasons) > 1 else ""
            parts.append(f"{len(reasons)} expected failure{plural} ({'; '.join(dict.fromkeys(reasons))})")
        if count := self.count("unexpected pass"):
            parts.append(f"{count} passed that {'were' if count > 1 else 'was'} expected to fail")
        if count := self.count("cannot run"):
            parts.append(f"{count} cannot run")
        if count := self.count("does not apply"):
            parts.append(f"{count} {'do' if count > 1 else 'does'} not apply")
        return f"{len(self.results)} check{'s' if len(self.results) != 1 else ''} ran: {', '.join(parts)}"

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "policy": self.policy,
            "ok": self.ok,
            "summary": self.summary(),
            "checks": [{**asdict(r), "expected_failure": self.expected.get(r.name)} for r in self.results],
        }


class Subject:
    """A policy under test: gives every check a setup of its own, and keeps what checks share.

    ``policy`` is a registered name or a :class:`PolicySpec`; ``values`` are configuration keys to test it with, beside
    which ``epochs`` is cut to :data:`EPOCHS`. Raises :class:`RegistryError` or :class:`ConfigError`.
    """

    def __init__(self, policy: str | PolicySpec, values: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.spec = load_registry().spec(policy) if isinstance(policy, str) else policy
        if values:
            make_settings(self.spec.name, self.spec.config_type, values)
        self.values = {**_quick(self.spec.config_type), **(values or {})}
        self.seed = seed
        self._shared: dict[str, Any] = {}
        self._place: Path | None = None

    def setup(self) -> CheckSetup:
        """A setup with an empty directory of its own."""
        if self._place is None:
            self._place = Path(tempfile.mkdtemp(prefix="policy-", dir=world.directory()))
        directory = Path(tempfile.mkdtemp(prefix="check-", dir=self._place))
        train, valid = (part.take(np.arange(len(part))) for part in world.examples())
        return CheckSetup(self.spec, train, valid, directory, self.seed, self.values, self._shared)


def _quick(config_type: type[msgspec.Struct]) -> dict[str, Any]:
    defaults = {f.name: f.default for f in msgspec.structs.fields(config_type)}
    epochs = defaults.get("epochs")
    return {"epochs": EPOCHS} if isinstance(epochs, int) and epochs > EPOCHS else {}


def all_checks() -> dict[str, PolicyCheck]:
    """Every check by its name: the core's, then those of the hook ``planner_policy_checks``.

    A record of a plugin that is no sound check, or takes a name that is taken, is left out with a warning.
    """
    modules = (checks_protocol, checks_fit, checks_scores, checks_outcomes, checks_actions, checks_files)
    ours = {check.name: check for module in modules for check in module.CHECKS}
    theirs = collect("planner_policy_checks", PolicyCheck, _problem, taken=ours)
    return {**ours, **{offer.name: offer.record for offer in theirs}}


def _problem(check: PolicyCheck, plugin: Plugin) -> str | None:
    return None if check.reason.strip() and "\n" not in check.reason else "it has no one-line reason"


def check_expectations(expected: Mapping[str, str], known: Iterable[str]) -> None:
    """Raise :class:`ConfigError` for an expected failure of no known check, or without a reason."""
    known = list(known)
    for name, reason in expected.items():
        if name not in known:
            raise ConfigError(f"expected failure: no check is called '{name}'{suggestion(name, known)}")
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(f"expected failure '{name}': say why it is expected")


def select(names: Sequence[str] | None) -> list[PolicyCheck]:
    """The checks of these names, in the kit's order; all of them for None. :class:`ConfigError` for an unknown one."""
    checks = all_checks()
    for name in names or ():
        if name not in checks:
            raise ConfigError(f"no check is called '{name}'{suggestion(name, checks)}; there are: {', '.join(checks)}")
    return [check for check in checks.values() if not names or check.name in names]


def run_check(check: PolicyCheck, subject: Subject) -> CheckResult:
    """One check on one policy; whatever it raises becomes the result."""
    setup = subject.setup()
    started = time.perf_counter()
    status: Status = "passed"
    found = ""
    try:
        check.run(setup)
    except (CheckBlocked, MissingExtra) as problem:
        status, found = "cannot run", str(problem)
    except CheckDoesNotApply as problem:
        status, found = "does not apply", str(problem)
    except CheckFailed as problem:
        status, found = "failed", str(problem)
    except PlannerError as problem:
        status, found = "failed", f"raised {type(problem).__name__}: {problem}"
    except (Exception, SystemExit) as problem:  # a stranger's code: its failure is this check's, and the others go on
        status, found = "failed", " ".join(f"raised {type(problem).__name__}: {problem}".split())
        logger.debug("check '%s' of policy '%s'", check.name, subject.spec.name, exc_info=True)
    else:
        found = "; ".join(setup.notes)
    return CheckResult(check.name, check.reason, status, found, time.perf_counter() - started)


def judged(result: CheckResult, expected: Mapping[str, str]) -> CheckResult:
    """The result in the light of what was expected."""
    reason = expected.get(result.name)
    if reason is None or result.status not in ("passed", "failed"):
        return result
    if result.status == "failed":
        return CheckResult(
            result.name, result.reason, "expected failure", f"{reason} (found: {result.found})", result.seconds
        )
    found = f"expected to fail ({reason}), and it passed: drop the expectation"
    return CheckResult(result.name, result.reason, "unexpected pass", found, result.seconds)


def run_kit(
    policy: str | PolicySpec,
    *,
    only: Sequence[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
    seed: int = 0,
    on_result: Callable[[CheckResult], None] = lambda result: None,
) -> KitReport:
    """Run the checks on a policy, all of them or ``only`` those of these names.

    ``expected_failures`` maps the names of checks to the reasons why they fail; ``values`` are configuration keys to
    test the policy with. Raises :class:`ConfigError` for an unknown name, a missing reason or a wrong key, and
    :class:`RegistryError` for a policy that cannot be used; never what a check raises.
    """
    expected = dict(expected_failures or {})
    check_expectations(expected, all_checks())
    checks, subject = select(only), Subject(policy, values, seed)
    report = KitReport(subject.spec.name, [], expected)
    for result in results(checks, subject, expected):
        report.results.append(result)
        on_result(result)
    return report


def results(checks: Iterable[PolicyCheck], subject: Subject, expected: Mapping[str, str]) -> Iterator[CheckResult]:
    """The judged result of every check, one after the other."""
    for check in checks:
        yield judged(run_check(check, subject), expected)
