"""The losses by their definition, in float64 NumPy."""

from __future__ import annotations

import numpy as np

from planner_core import ActionSpace

SPACE = ActionSpace()


def expected_rows(logits, labels, mask=None, smoothing=0.0, gamma=0.0):
    """The definition, row by row: target (1 - e) on the label plus e / |V| on every valid class."""
    out = []
    for row, (z, label) in enumerate(zip(logits.astype(np.float64), labels, strict=True)):
        valid = [k for k in range(len(z)) if mask is None or mask[row, k]]
        top = max(z[k] for k in valid)
        log_p = {k: z[k] - top - np.log(sum(np.exp(z[j] - top) for j in valid)) for k in valid}
        target = {k: smoothing / len(valid) + (1 - smoothing) * (k == label) for k in valid}
        loss = -sum(target[k] * log_p[k] for k in valid)
        out.append(loss * (1 - np.exp(log_p[label])) ** gamma)
    return np.array(out)
