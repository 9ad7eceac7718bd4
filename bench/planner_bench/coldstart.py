"""What a process pays once: from its start to its first decision, its memory, and the files it needs.

Every measurement is a fresh interpreter with the byte code and the files in the system's cache (one process before the
measured ones, untimed, puts them there): a process is cold, the disk is not.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from planner_bench.results import ColdStart, Memory
from planner_core import PlannerError

PARTS = ("interpreter", "numpy and onnxruntime", "planner", "load the bundle", "first decision")

_CHILD = """
import time
marks = [time.perf_counter()]
import sys
def peak():
    # Read by hand: importing a helper would itself add to the peak.
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
with open(sys.argv[2], "rb") as stream:
    raw = stream.read().splitlines()
memory = []
import numpy, onnxruntime
marks.append(time.perf_counter())
memory.append(peak())
import planner_core.runtime.session
from planner_core.runtime.planner import Planner
marks.append(time.perf_counter())
planner = Planner.load(sys.argv[1], strict=True)
marks.append(time.perf_counter())
planner.decide(raw[0])
marks.append(time.perf_counter())
memory.append(peak())
if len(raw) > 1:
    for document in raw[1:]:
        planner.decide(document)
    planner.decide_batch(raw)
    memory.append(peak())
import json
print(json.dumps({"marks": marks, "memory": memory}))
"""


def cold_start(
    bundle: Path,
    document: bytes,
    processes: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> ColdStart:
    """The parts of a start: the median of each over ``processes`` processes, which decide ``document``.

    Raises :class:`PlannerError` where a process fails.
    """
    parts: list[list[float]] = []
    for turn in range(processes + 1):
        tell(turn, processes + 1)
        started = time.perf_counter()  # the clock of all processes of a machine
        marks = [started, *_child(bundle, [document])["marks"]]
        if turn:
            parts.append([(after - before) * 1000 for before, after in pairwise(marks)])
    tell(processes + 1, processes + 1)
    totals = [sum(values) for values in parts]
    medians = {name: statistics.median(column) for name, column in zip(PARTS, zip(*parts, strict=True), strict=True)}
    return ColdStart(processes, medians, statistics.median(totals), min(totals), max(totals))


def memory(bundle: Path, documents: Sequence[bytes]) -> Memory:
    """Peak resident memory of a process that decides ``documents`` (two or more) one by one and as one batch."""
    base, loaded, peak = _child(bundle, documents)["memory"]
    return Memory(base, loaded, peak, len(documents) - 1)


def file_sizes(bundle: Path) -> dict[str, int]:
    """Bytes of every file of the bundle, largest first."""
    sizes = {path.name: path.stat().st_size for path in bundle.iterdir() if path.is_file()}
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def _child(bundle: Path, documents: Sequence[bytes]) -> Any:
    with tempfile.NamedTemporaryFile() as lines:
        lines.write(b"\n".join(documents))
        lines.flush()
        # -P: the directory it is started in must not stand in for the installed packages.
        command = [sys.executable, "-P", "-c", _CHILD, str(bundle.resolve()), lines.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise PlannerError(f"{bundle}: a fresh process cannot decide ({reason[-1] if reason else done.returncode})")
    return json.loads(done.stdout)
