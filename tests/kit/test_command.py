"""``planner check``: the table, the JSON, the exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from broken_policies import BROKEN
from honest_policy import Table, spec_of
from typer.testing import CliRunner

from planner_core.cli.app import app
from planner_core.errors import ConfigError, RegistryError
from planner_core.plugins.registry import Entry, Registry
from planner_core.testing import all_checks, kit


@pytest.fixture
def check(monkeypatch):
    """``check(*arguments)``: the command in this process, with some policies of ours registered."""

    class Loud(Table):
        def predict(self, batch):
            print("scoring!")
            return super().predict(batch)

    specs = {"honest": spec_of(Table), "loud": spec_of(Loud), "doubles": BROKEN["scores"]}
    entries = [Entry(name, "ours", "1.0", "ok", spec) for name, spec in specs.items()]
    monkeypatch.setattr(kit, "load_registry", lambda: Registry(entries))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments, code=0):
        done = CliRunner().invoke(app, ["check", *arguments])
        assert done.exit_code == code, done.output
        return done

    return call


def test_a_policy_that_conforms(check):
    lines = check("honest").stdout.splitlines()
    of_outcomes = {"twins", "utility-weights"}  # this policy's scores are logits
    for name in all_checks():
        wanted = "does not apply" if name in of_outcomes else "passed"
        assert any(name in line and wanted in line for line in lines), name
    count = len(all_checks())
    assert lines[-1] == f"{count} checks ran: {count - 2} passed, 0 failed, 2 do not apply"


def test_a_failure_is_exit_code_1_and_says_what_was_found(check):
    done = check("doubles", "--only", "scores", "--only", "repeatable", code=1)
    assert "'joint' is float64, not float32" in done.stdout
    *_, failure, again, summary = done.stdout.splitlines()
    assert failure.startswith("failed scores: ") and "'joint' is float64, not float32" in failure
    assert again == "again: planner check doubles --only scores"
    assert summary == "2 checks ran: 1 passed, 1 failed"


def test_failures_are_not_repeated_where_there_are_none(check):
    assert not any(line.startswith("again") for line in check("honest", "--only", "scores").stdout.splitlines())


def test_an_expected_failure_is_exit_code_0_with_its_reason(check):
    done = check("doubles", "--only", "scores", "--expect", "scores=doubles are dear to us")
    assert (
        done.stdout.splitlines()[-1] == "1 check ran: 0 passed, 0 failed, 1 expected failure (doubles are dear to us)"
    )


def test_an_expected_failure_that_passes_is_exit_code_1(check):
    done = check("honest", "--only", "scores", "--expect", "scores=once it was so", code=1)
    assert "drop the expectation" in done.stdout


def test_json_is_all_there_is_on_standard_output(check):
    document = json.loads(check("loud", "--only", "scores", "--json").stdout)
    assert document["policy"] == "table" and document["ok"] is True
    [result] = document["checks"]
    assert set(result) == {"name", "reason", "status", "found", "seconds", "expected_failure"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("honest", "--only", "score"),
        ("honest", "--expect", "scores"),
        ("honest", "--expect", "scores="),
        ("honest", "--expect", "score=why"),
        ("honest", "--seed", "-1"),
        (),
    ],
)
def test_wrong_usage_is_exit_code_2(check, arguments):
    check(*arguments, code=2)


def test_an_unknown_policy_or_key_is_an_error_of_the_product(check):
    assert isinstance(check("nobody", code=1).exception, RegistryError)  # main prints it, and ends with 1
    assert isinstance(check("honest", "--set", "strenght=2", code=1).exception, ConfigError)


@pytest.mark.parametrize("arguments", ["check --help", "plugin --help", "plugin new --help"])
def test_help_has_an_example_and_imports_nothing_heavy(arguments, tmp_path):
    code = (
        f"import sys; sys.argv = ['planner', *{arguments.split()!r}]\n"
        "from planner_core.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Example: planner" in done.stdout or arguments == "plugin --help"
    assert not {"torch", "onnx", "onnxruntime", "numpy", "pytest"} & set(eval(done.stderr.splitlines()[-1]))


def test_the_command_needs_no_pytest(tmp_path):
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "sys.argv = ['planner', 'check', 'heuristic', '--only', 'protocol']\n"
        "from planner_core.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1 check ran: 1 passed, 0 failed"
    assert list(tmp_path.iterdir()) == []
