"""Where figures were measured: what a reader needs to judge them, and a comparison to warn about."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
import onnxruntime

from planner_core import __version__, processor_name, usable_cpus

SAME = ("machine", "processor", "cpus", "system", "python", "numpy", "onnxruntime")
"""What two runs must share for their figures to be comparable without a remark."""


def environment() -> dict[str, Any]:
    """Versions, processor, and how busy the machine was when asked."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "swarm_planner": __version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": processor_name(),
        "cpus": usable_cpus(),
        "load_1min": load,
        "intra_op_threads": 1,
        "spinning": False,
    }
