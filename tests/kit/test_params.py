"""The kit in a test suite: parameters, expected failures, and what it does where something is missing."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from broken_policies import BROKEN
from honest_policy import Table, spec_of

from planner_core import CheckDoesNotApply, CheckFailed, ConfigError, PlannerError, PolicyCheck, RegistryError
from planner_core.errors import CheckBlocked
from planner_core.testing import all_checks, kit, policy_checks, run_kit

SUITE = """
import pytest
from planner_core.testing import policy_checks

CHOSEN = ("protocol", "scores", "learns")


def chosen(expected):
    return [p for p in policy_checks("heuristic", expected) if p.id in CHOSEN]


@pytest.mark.parametrize("check", chosen({}))
def test_plain(check):
    check()


@pytest.mark.parametrize("check", chosen({"scores": "they are said to be wrong"}))
def test_expectation_that_is_not_met(check):
    check()
"""


def param(spec, name, expected=None):
    return next(p for p in policy_checks(spec, expected) if p.id == name)


def test_one_parameter_a_check_named_after_it():
    params = policy_checks(spec_of(Table))
    assert [p.id for p in params] == list(all_checks())
    assert not any(p.marks for p in params)
    assert repr(params[0].values[0]) == "<check protocol of table>"


def test_a_check_that_passes_returns_and_one_that_fails_says_what_and_why():
    param(spec_of(Table), "scores").values[0]()
    with pytest.raises(CheckFailed, match=r"^scores \(Calibration .*\): 1 inputs: 'joint' is float64, not float32$"):
        param(BROKEN["scores"], "scores").values[0]()


def test_a_check_that_cannot_run_is_an_error_and_not_a_skip():
    with pytest.raises(CheckBlocked, match="graph-parity: cannot run: the check 'graph-export' failed"):
        param(BROKEN["graph-export"], "graph-parity").values[0]()


def test_a_suite_skips_passes_and_fails_as_it_should(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "test_suite.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "PASSED test_suite.py::test_plain[scores]" in done.stdout
    assert "the policy does not learn" in done.stdout  # a skip with its reason
    assert "FAILED test_suite.py::test_expectation_that_is_not_met[scores]" in done.stdout
    assert "[XPASS(strict)] they are said to be wrong" in done.stdout
    assert "1 failed, 3 passed, 2 skipped" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("check", [param(BROKEN["scores"], "scores", {"scores": "doubles are dear to its author"})])
def test_an_expected_failure_is_an_xfail(check):
    check()  # this very test must come out as xfailed; a pass would be strict's failure


def test_the_mark_is_strict_and_expects_a_failure_only():
    [mark] = param(BROKEN["scores"], "scores", {"scores": "doubles"}).marks
    assert (mark.name, mark.kwargs) == ("xfail", {"strict": True, "raises": CheckFailed, "reason": "doubles"})


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"score": "why"}, "no check is called 'score' (did you mean 'scores'?)"),
        ({"scores": ""}, "expected failure 'scores': say why"),
        ({"scores": "  "}, "say why"),
        ({"scores": None}, "say why"),
    ],
)
def test_an_expectation_without_a_check_or_a_reason_is_refused(expected, said):
    with pytest.raises(ConfigError) as problem:
        policy_checks(spec_of(Table), expected)
    assert said in str(problem.value)


def test_a_policy_or_a_key_that_does_not_exist_is_refused():
    with pytest.raises(RegistryError, match="did you mean 'mlp'"):
        policy_checks("mpl")
    with pytest.raises(ConfigError, match="did you mean 'strength'"):
        policy_checks(spec_of(Table), values={"strenght": 2})


def test_values_reach_the_policy():
    seen = []

    class Watching(Table):
        def __init__(self, config, context):
            seen.append(config.strength)
            super().__init__(config, context)

    run_kit(spec_of(Watching), only=["learns"], values={"strength": 9.0})
    assert set(seen) == {9.0}


def test_epochs_are_cut_where_the_default_is_long():
    import msgspec

    class Long(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        epochs: int = 500
        strength: float = 4.0
        label_smoothing: float = 0.0

    seen = []

    class Watching(Table):
        def __init__(self, config, context):
            seen.append(config.epochs)
            super().__init__(config, context)

    run_kit(spec_of(Watching, config=Long), only=["learns"])
    run_kit(spec_of(Watching, config=Long), only=["learns"], values={"epochs": 40})
    assert seen == [kit.EPOCHS, 40]


# -- reports


def test_the_summary_counts_everything():
    expected = {"scores": "doubles", "protocol": "not yet"}
    report = run_kit(BROKEN["scores"], only=["protocol", "scores", "repeatable"], expected_failures=expected)
    assert [r.status for r in report.results] == ["unexpected pass", "expected failure", "passed"]
    assert report.summary() == (
        "3 checks ran: 1 passed, 0 failed, 1 expected failure (doubles), 1 passed that was expected to fail"
    )
    assert not report.ok
    document = report.to_dict()
    assert document["ok"] is False and document["policy"] == "table"
    assert document["checks"][1]["expected_failure"] == "doubles"
    assert document["checks"][1]["found"].startswith("doubles (found: ")
    assert run_kit(BROKEN["scores"], only=["scores"], expected_failures={"scores": "doubles"}).ok


def test_a_report_says_what_does_not_apply_and_what_cannot_run():
    report = run_kit("heuristic", only=["learns", "protocol"])
    assert report.summary() == "2 checks ran: 1 passed, 0 failed, 1 does not apply"
    assert report.ok
    report = run_kit(BROKEN["graph-export"], only=["graph-export", "graph-parity", "latency"])
    assert report.summary() == "3 checks ran: 0 passed, 1 failed, 2 cannot run"


def test_every_check_has_a_one_line_reason_and_a_name_of_its_own():
    for name, check in all_checks().items():
        assert check.name == name
        assert check.reason.endswith(".") and len(check.reason) < 90, check.reason
    assert len({check.reason for check in all_checks().values()}) == len(all_checks())


# -- checks of plugins


def passes(setup):
    setup.note(f"{len(setup.train)} examples in {setup.directory.name[:6]}")


@pytest.fixture
def with_plugin_checks(plugged):
    return lambda *checks: plugged("planner_policy_checks", *checks)


def test_a_plugin_adds_a_check(with_plugin_checks):
    with_plugin_checks(PolicyCheck("kind", "Be kind.", passes))
    [result] = run_kit("heuristic", only=["kind"]).results
    assert (result.status, result.reason, result.found) == ("passed", "Be kind.", "1280 examples in check-")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("a string", "registered a str, not a PolicyCheck"),
        (PolicyCheck("kind", "", passes), "'kind' of acme-planner 1.2 is left out: it has no one-line reason"),
        (PolicyCheck("kind", "one\ntwo", passes), "'kind' of acme-planner 1.2 is left out: it has no one-line reason"),
        (PolicyCheck("scores", "Mine.", passes), "shadows the built-in 'scores' of swarm-planner"),
    ],
)
def test_an_unsound_check_is_left_out_with_a_warning(with_plugin_checks, caplog, check, said):
    before = all_checks()["scores"]
    with_plugin_checks(check)
    with caplog.at_level(logging.WARNING, "planner"):
        found = all_checks()
    assert said in caplog.text
    assert "kind" not in found and found["scores"] is before


@pytest.mark.parametrize(
    ("problem", "status", "found"),
    [
        (CheckFailed("it hurts"), "failed", "it hurts"),
        (CheckDoesNotApply("no"), "does not apply", "no"),
        (CheckBlocked("the check 'x' failed"), "cannot run", "the check 'x' failed"),
        (ZeroDivisionError("by\nzero"), "failed", "raised ZeroDivisionError: by zero"),
        (PlannerError("no such thing"), "failed", "raised PlannerError: no such thing"),
        (SystemExit(0), "failed", "raised SystemExit: 0"),
    ],
)
def test_whatever_a_check_raises_is_its_result(with_plugin_checks, problem, status, found):
    def run(setup):
        raise problem

    with_plugin_checks(PolicyCheck("kind", "Be kind.", run), PolicyCheck("next", "Goes on.", passes))
    first, second = run_kit("heuristic", only=["kind", "next"]).results
    assert (first.status, first.found) == (status, found)
    assert second.status == "passed"


def test_an_interrupt_is_the_users(with_plugin_checks):
    def run(setup):
        raise KeyboardInterrupt

    with_plugin_checks(PolicyCheck("kind", "Be kind.", run))
    with pytest.raises(KeyboardInterrupt):
        run_kit("heuristic", only=["kind"])


def test_what_one_check_does_to_its_examples_does_not_reach_the_next(with_plugin_checks):
    def spoil(setup):
        setup.train.action[:] = 0
        setup.valid.features.indices[:] = 0

    def look(setup):
        assert setup.train.action.any() and setup.valid.features.indices.any()
        assert not any(setup.directory.iterdir())

    with_plugin_checks(PolicyCheck("a", "Spoils.", spoil), PolicyCheck("b", "Looks.", look))
    assert run_kit("heuristic", only=["a", "b"]).ok


# -- what is missing


def test_without_pytest_the_parameters_say_so_and_the_kit_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(PlannerError, match=r"pip install pytest .*'planner check' does without"):
        policy_checks("heuristic")
    assert run_kit("heuristic", only=["protocol"]).ok


def test_without_onnx_the_graph_cannot_be_checked_and_the_policy_has_not_passed(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    report = run_kit("heuristic", only=["protocol", "graph-export", "graph-parity", "latency"])
    assert report.count("passed") == 1 and report.count("cannot run") == 3
    assert all("'train' extra" in r.found for r in report.results if r.status == "cannot run")
    assert not report.ok


def test_without_the_policys_framework_it_cannot_run(monkeypatch):
    def load():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    report = run_kit(spec_of(Table, load=load), only=["protocol", "fit", "scores", "config-defaults"])
    assert {r.name: r.status for r in report.results} == {
        "protocol": "cannot run",
        "config-defaults": "passed",
        "fit": "cannot run",
        "scores": "cannot run",
    }
    assert "torch is not installed" in report.results[0].found
