"""An onnxruntime session that stays on its threads, and the check of the graph interface."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from planner_core.action_space import HEADS, ActionSpace, job_type_index
from planner_core.contracts import PlannerInput
from planner_core.encoder import PlannerInputEncoder
from planner_core.errors import BundleError

INPUTS = ("input", "job_type")
OUTPUTS = (*HEADS, "action_probs", "action", "confidence")


def open_session(model: bytes, *, threads: int = 1, spinning: bool = False) -> onnxruntime.InferenceSession:
    """A CPU session with ``threads`` intra-op threads, which give their core back between calls unless ``spinning``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.log_severity_level = 3
    # Without this onnxruntime guesses, and a file may be its own .ort format dressed up as ONNX for the checks before.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime raises a family of its own without a public base class
        raise BundleError(f"model.onnx: onnxruntime refuses it: {str(problem).splitlines()[0]}") from None


def check_interface(session: onnxruntime.InferenceSession, d_in: int, space: ActionSpace) -> None:
    """Raise :class:`BundleError` where names, types or shapes are not those of the graph interface."""
    joint = len(space.actions)
    wanted_in = {"input": ("tensor(float)", [None, d_in]), "job_type": ("tensor(int64)", [None])}
    sizes = dict(zip(HEADS, space.head_sizes, strict=True))
    wanted_out = {
        **{name: ("tensor(float)", [None, sizes[name]]) for name in HEADS},
        "action_probs": ("tensor(float)", [None, joint]),
        "action": ("tensor(int64)", [None]),
        "confidence": ("tensor(float)", [None]),
    }
    for kind, given, wanted in (
        ("inputs", session.get_inputs(), wanted_in),
        ("outputs", session.get_outputs(), wanted_out),
    ):
        found = {item.name: (item.type, _shape(item.shape)) for item in given}
        if found != wanted:
            raise BundleError(f"model.onnx: found {kind} {found}, expected {wanted} (None is the batch)")


def _shape(shape: list[Any]) -> list[int | None]:
    """Named and unknown dimensions as None."""
    return [size if isinstance(size, int) else None for size in shape]


class OnnxScorer:
    """Action probabilities of planner inputs from a session. Safe to share between threads."""

    def __init__(self, session: onnxruntime.InferenceSession, encoder: PlannerInputEncoder) -> None:
        self.session, self.encoder = session, encoder
        self._outputs = ["action_probs"]
        self._local = threading.local()

    def action_probs(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32]:
        """float32 [n, n_joint] for n inputs."""
        features = self._one(inputs[0]) if len(inputs) == 1 else self.encoder.encode_batch(inputs)
        jobs = np.array([job_type_index(x.job_type) for x in inputs], np.int64)
        probs: NDArray[np.float32] = self.session.run(self._outputs, {"input": features, "job_type": jobs})[0]
        return probs

    def _one(self, x: PlannerInput) -> NDArray[np.float32]:
        """Dense features, float32 [1, d_in], in a buffer of this thread that is cleared bit by bit."""
        local = self._local
        if not hasattr(local, "buffer"):
            local.buffer, local.on = np.zeros((1, self.encoder.config.d_in), np.float32), []
        buffer: NDArray[np.float32] = local.buffer
        buffer[0, local.on] = 0.0
        local.on = self.encoder.positions(x)
        buffer[0, local.on] = 1.0
        return buffer
