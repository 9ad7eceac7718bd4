"""Where figures were measured: what a reader needs to judge them, and a comparison to warn about."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from planner_core import __version__

SAME = ("machine", "processor", "cpus", "system", "python", "numpy", "onnxruntime")
"""What two runs must share for their figures to be comparable without a remark."""


def environment() -> dict[str, Any]:
    """Versions, processor, and how busy the machine was when asked."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "swarm_planner": __version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": cpus,
        "load_1min": load,
        "intra_op_threads": 1,
        "spinning": False,
    }


def _processor() -> str:
    """The model's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
