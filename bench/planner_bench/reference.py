"""The reference that everything is measured against: a session whose graph does nothing but hand its input on.

It costs what any call of onnxruntime from Python costs on this machine at this moment, and nothing of ours.
"""

from __future__ import annotations

import numpy as np

from planner_bench.timing import Call
from planner_core.runtime.session import open_session

REFERENCE = "reference"

EMPTY_GRAPH = (
    b'\x08\x08\x12\rswarm-planner:;\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x05emptyZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12'
    b"\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
"""``y = Identity(x)``, float32 [1], opset 17, as bytes: measuring needs no onnx. A test builds the same with onnx."""


def reference_call() -> Call:
    """The call to be timed beside the others."""
    session = open_session(EMPTY_GRAPH, threads=1)
    names, feed = ["y"], {"x": np.zeros(1, np.float32)}
    return lambda turn: session.run(names, feed)
