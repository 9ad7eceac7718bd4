"""What starting up costs: no framework, and for a kernel not even the command line's packages."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {
    *("torch", "onnx", "onnxscript", "onnxruntime", "scipy", "pandas", "sklearn", "matplotlib", "yaml"),
    *("starlette", "uvicorn", "opentelemetry"),
}
TERMINAL = {"typer", "click", "rich"}

PROBE = """
import json, sys
try:
    exec(sys.argv[1])
except SystemExit as stop:
    assert not stop.code, stop.code
sys.stdout.flush()
json.dump(sorted({name.split(".")[0] for name in sys.modules}), sys.stderr)
"""
MAIN = "import sys; sys.argv = ['planner', *{!r}.split()]; from planner_core.cli.app import main; main()"


def imported(code, cwd):
    """(top-level modules a fresh process has imported after ``code``, what it printed)."""
    done = subprocess.run([sys.executable, "-c", PROBE, code], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr)), done.stdout


def test_the_probe_sees_what_is_imported(tmp_path):
    found, _ = imported("import numpy, onnxruntime, torch", tmp_path)
    assert {"numpy", "onnxruntime", "torch"} <= found


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ("--help", "policies"),
        ("policies", "heuristic"),
        ("policies --json", '"name": "mlp"'),
        ("run --help", "train"),
        ("run --policy mlp train --help", "--dataset"),
        ("data --help", "synth"),
        ("export --help", "--policy"),
        ("bench --help", "--bundle"),
        ("serve --help", "--socket"),
    ],
)
def test_commands_that_only_talk(tmp_path, arguments, printed):
    found, output = imported(MAIN.format(arguments), tmp_path)
    assert printed in output  # it did run
    assert "typer" in found and "planner_export" in found
    assert not found & FRAMEWORKS
    assert ("numpy" in found) == ("policies" in arguments)  # a help page needs not even that
    assert list(tmp_path.iterdir()) == []


def test_listing_reads_every_plugin_without_a_framework(tmp_path):
    found, output = imported(MAIN.format("policies --json"), tmp_path)
    assert {"planner_mlp", "planner_joint", "planner_heuristic"} <= found
    assert {entry["status"] for entry in json.loads(output)} == {"ok"}


def test_the_package_itself_is_nearly_nothing(tmp_path):
    found, _ = imported("import planner_core", tmp_path)
    assert "planner_core" in found
    assert not found & (FRAMEWORKS | TERMINAL | {"numpy", "msgspec", "pluggy"})


def test_a_kernel_gets_no_framework_and_no_terminal(tmp_path):
    found, _ = imported("import planner_core.runtime.planner", tmp_path)
    assert {"numpy", "msgspec"} <= found
    assert not found & (FRAMEWORKS | TERMINAL)


def test_a_decision_needs_onnxruntime_and_nothing_else(tmp_path, bundles):
    code = (
        "import json; from planner_core import Planner; "
        f"row = json.loads(open({str(bundles['mlp'] / 'golden.jsonl')!r}).readline()); "
        f"planner = Planner.load({str(bundles['mlp'])!r}, strict=True); "
        "assert not planner.decide(row['planner_input'])['abstain_to_default']"
    )
    found, _ = imported(code, tmp_path)
    assert "onnxruntime" in found
    assert not found & ((FRAMEWORKS - {"onnxruntime"}) | TERMINAL)


def test_every_public_name_resolves():
    import planner_core

    for name in planner_core.__all__:
        assert getattr(planner_core, name) is not None
    assert set(planner_core.__all__) <= set(dir(planner_core))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = planner_core.no_such_name
