"""Import times: what a kernel pays once, beside NumPy and onnxruntime, which it pays for anyway.

Every measurement is a fresh interpreter; the subjects take turns, so that whatever the machine does meets all of them
alike. The clock starts when the interpreter is up.

    python -m planner_bench.imports --repeats 15
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from typing import Any

from rich.table import Table

from planner_bench.environment import environment
from planner_core import PlannerError
from planner_core.cli.console import out, print_json

REFERENCE = "numpy + onnxruntime"
SUBJECTS = {
    REFERENCE: "import numpy, onnxruntime",
    "planner_core": "import planner_core",
    "runtime": "import planner_core, planner_core.runtime.planner, planner_core.runtime.session",
    "planner --help": (
        "import sys; sys.argv = ['planner', '--help']\n"
        "from planner_core.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code, done.code"
    ),
}
"""What is timed: the reference, the package by itself, everything ``Planner.load`` needs, and the command's help."""

TARGET_RATIO = 5.0
"""The runtime is to stay under this multiple of the reference."""

_TIMED = """
import time
started = time.perf_counter()
{code}
elapsed = time.perf_counter() - started
import sys
print(repr(elapsed), file=sys.stderr)
"""


def measure_imports(repeats: int = 9) -> dict[str, Any]:
    """Seconds a subject takes in a fresh process: ``{subjects: {name: {median, min, max, ratio}}, ...}``.

    ``ratio`` is the median over the rounds of a subject's time by the reference's in the same round. One round before
    them, untimed, fills the byte-code and disk caches. Raises :class:`PlannerError` where a subject cannot be imported.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    times: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    for turn in range(repeats + 1):
        for name, code in SUBJECTS.items():
            seconds = _seconds(name, code)
            if turn:
                times[name].append(seconds)
    subjects = {
        name: {
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "ratio": statistics.median(a / b for a, b in zip(values, times[REFERENCE], strict=True)),
        }
        for name, values in times.items()
    }
    return {
        "repeats": repeats,
        "reference": REFERENCE,
        "subjects": subjects,
        "target_ratio": TARGET_RATIO,
        "kept": subjects["runtime"]["ratio"] < TARGET_RATIO,
        "environment": environment(),
    }


def _seconds(name: str, code: str) -> float:
    """-P: the directory it is started in must not stand in for the installed packages."""
    command = [sys.executable, "-P", "-c", _TIMED.format(code=code)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    if done.returncode or not lines:
        raise PlannerError(f"{name} cannot be timed: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return float(lines[-1])


def main(arguments: list[str] | None = None) -> int:
    """Print a table, or JSON; 1 where the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m planner_bench.imports", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="fresh processes of each subject")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    result = measure_imports(options.repeats)
    if options.json:
        print_json(result)
    else:
        out.print(_table(result))
    return 0 if result["kept"] else 1


def _table(result: dict[str, Any]) -> Table:
    table = Table(title=f"import times, {result['repeats']} fresh processes each, in turns", title_justify="left")
    table.add_column("subject")
    for column in ("median ms", "min ms", "max ms", "x reference"):
        table.add_column(column, justify="right")
    for name, figures in result["subjects"].items():
        milliseconds = [f"{figures[key] * 1000:.0f}" for key in ("median", "min", "max")]
        table.add_row(name, *milliseconds, f"{figures['ratio']:.2f}")
    verdict = "kept" if result["kept"] else "MISSED"
    table.caption = f"target: the runtime under {result['target_ratio']:.0f} x the reference: {verdict}"
    return table


if __name__ == "__main__":
    sys.exit(main())
