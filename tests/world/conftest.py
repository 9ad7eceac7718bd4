"""Issues as an outcome model sees them."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.world.outcomes import Cases


def _make_cases(job, size, z):
    """Cases of one job type and size (or one each) at the difficulties z, the noise of which is 0."""
    z = np.asarray(z, np.float64)
    fill = {name: np.zeros(len(z), np.int64) for name in ("risk", "priority", "tool", "attempts")}
    each = {"job": np.broadcast_to(job, len(z)), "size": np.broadcast_to(size, len(z))}
    return Cases(**each, **fill, tags=np.full((len(z), 4), -1), known_z=z, z=z)


@pytest.fixture(scope="session")
def make_cases():
    return _make_cases
