"""An onnxruntime session that stays on its threads, the check of the graph interface, and its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from planner_core.action_space import HEADS, JOB_TYPES, ActionSpace, job_type_index
from planner_core.contracts import PlannerInput
from planner_core.decision import ScoreKind, decide
from planner_core.encoder import PRIORITIES, PlannerInputEncoder
from planner_core.errors import BundleError, PlannerError, describe
from planner_core.examples import OUTCOME_ARRAYS
from planner_core.runtime.bundle import INDEX_MODEL, MODEL
from planner_core.runtime.choice import Answer

__all__ = [
    *("EXPECTED", "FEATURES", "INDICES", "JOB_TYPE", "OUTPUTS", "PROBABILITIES", "Feed", "OnnxPredictor", "Worth"),
    *("check_interface", "graph_outputs", "open_session", "padded_indices"),
]

FEATURES, INDICES, JOB_TYPE = "input", "indices", "job_type"
PROBABILITIES = "action_probs"
OUTPUTS = (*HEADS, PROBABILITIES, "action", "confidence")
"""What every graph has; :func:`graph_outputs` adds what a kind of scores has besides."""
EXPECTED = {name: f"expected_{name}" for name in OUTCOME_ARRAYS}
"""The further outputs for policies that predict outcomes, by what they hold; ``minutes`` alone is a head."""


SESSION_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(onnxruntime_pybind11_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""onnxruntime's own exceptions, which share no base class."""
_OPENING_ERRORS: tuple[type[Exception], ...] = (*SESSION_ERRORS, RuntimeError, ValueError)


def open_session(
    model: bytes, *, threads: int = 1, spinning: bool = False, name: str = MODEL
) -> onnxruntime.InferenceSession:
    """A CPU session with ``threads`` intra-op threads, which give their core back between calls unless ``spinning``.

    Raises :class:`BundleError`, which calls the model ``name``, where onnxruntime refuses it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.log_severity_level = 3
    # Without this onnxruntime guesses, and a file may be its own .ort format dressed up as ONNX for the checks before.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _OPENING_ERRORS as problem:
        raise BundleError(f"{name}: onnxruntime refuses it: {(str(problem).splitlines() or [''])[0]}") from None


def graph_outputs(kind: ScoreKind, space: ActionSpace) -> dict[str, int | None]:
    """The outputs of a graph for policies of a kind: how many columns each has, None for one number a row."""
    joint = len(space.actions)
    outcomes = EXPECTED.values() if kind == "outcomes" else ()
    return {
        **dict(zip(HEADS, space.head_sizes, strict=True)),
        **{PROBABILITIES: joint, "action": None, "confidence": None},
        **dict.fromkeys(outcomes, joint),
    }


def check_interface(
    session: onnxruntime.InferenceSession,
    d_in: int,
    space: ActionSpace,
    name: str = MODEL,
    kind: ScoreKind = "heads",
) -> None:
    """Raise :class:`BundleError` where names, types or shapes are not those of the graph interface.

    ``name`` says which of a bundle's two graphs it is, ``kind`` what its policy's scores are.
    """
    features = {FEATURES: ("tensor(float)", [None, d_in])}
    indices = {INDICES: ("tensor(int64)", [None, None])}
    wanted_in = {**(indices if name == INDEX_MODEL else features), JOB_TYPE: ("tensor(int64)", [None])}
    wanted_out = {
        output: ("tensor(int64)" if output == "action" else "tensor(float)", [None] if size is None else [None, size])
        for output, size in graph_outputs(kind, space).items()
    }
    for side, given, wanted in (
        ("inputs", session.get_inputs(), wanted_in),
        ("outputs", session.get_outputs(), wanted_out),
    ):
        found = {item.name: (item.type, _shape(item.shape)) for item in given}
        if found != wanted:
            raise BundleError(f"{name}: found {side} {found}, expected {wanted} (None is a size that may vary)")


def _shape(shape: list[Any]) -> list[int | None]:
    """Named and unknown dimensions as None."""
    return [size if isinstance(size, int) else None for size in shape]


def padded_indices(rows: Sequence[Sequence[int]], d_in: int) -> NDArray[np.int64]:
    """Positions of the features that are on, int64 [n, longest row], the rest of a row filled with ``d_in``."""
    if len(rows) == 1:
        return np.array(rows, np.int64)
    out = np.full((len(rows), max(map(len, rows), default=0)), d_in, np.int64)
    for row, on in zip(out, rows, strict=True):
        row[: len(on)] = on
    return out


class SessionFailed(PlannerError):
    """A session call that onnxruntime refused or broke off; ``__cause__`` is what it raised."""


class Worth(NamedTuple):
    """What outcomes are worth to a caller who does not take the graph's own weights.

    ``table`` float64 [4 priorities, (pass, time, cost)], ``temperature`` in units of what a pass is worth.
    """

    table: NDArray[np.float64]
    temperature: float
    space: ActionSpace


Feed = dict[str, NDArray[Any]]
"""The inputs of a session by name."""


class OnnxPredictor:
    """Action probabilities of planner inputs from a bundle's graphs. Safe to share between threads.

    A single input goes through the graph that reads ``indices``, where there is one; several at once go through the
    dense one, whose matrix product they share. ``weights`` is what the graph takes outcomes to be worth, None where its
    policy predicts none.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        encoder: PlannerInputEncoder,
        by_indices: onnxruntime.InferenceSession | None = None,
        worth: Worth | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.session, self.encoder, self.by_indices, self.worth = session, encoder, by_indices, worth
        self._outputs = [PROBABILITIES] if worth is None else list(EXPECTED.values())
        self.weights = weights if worth is None else worth.table

    def encode(self, inputs: Sequence[PlannerInput]) -> Feed:
        """What :meth:`run` takes for n inputs."""
        if len(inputs) == 1 and self.by_indices is not None:
            x = inputs[0]
            return {INDICES: self.encoder.row(x)[None], JOB_TYPE: _JOB_TYPES[job_type_index(x.job_type)]}
        jobs = np.array([job_type_index(x.job_type) for x in inputs], np.int64)
        return {FEATURES: self.encoder.encode_batch(inputs), JOB_TYPE: jobs}

    def run(self, feed: Feed) -> NDArray[np.float32]:
        """float32 [n, n_joint]: the session call alone (with a worth of the caller's own, its first output)."""
        return self._call(feed)[0]

    def _call(self, feed: Feed, outputs: list[str] | None = None) -> list[NDArray[np.float32]]:
        session = self.session if self.by_indices is None or FEATURES in feed else self.by_indices
        try:
            found: list[NDArray[np.float32]] = session.run(outputs or self._outputs, feed)
        except SESSION_ERRORS as problem:
            raise SessionFailed(describe(problem)) from problem
        return found

    def action_probs(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32]:
        """float32 [n, n_joint] for n inputs."""
        feed = self.encode(inputs)
        return self.run(feed) if self.worth is None else self._decided(self.worth, inputs, feed, self._call(feed))

    def answer(self, inputs: Sequence[PlannerInput]) -> Answer:
        """The same with the expected outcomes, which the policy of the bundle must predict."""
        feed = self.encode(inputs)
        outputs = self._call(feed, [PROBABILITIES, *EXPECTED.values()])
        probs, outcomes = outputs[0], outputs[1:]
        if self.worth is not None:
            probs = self._decided(self.worth, inputs, feed, outcomes)
        return Answer(probs, np.stack(outcomes, axis=1))

    def _decided(
        self, worth: Worth, inputs: Sequence[PlannerInput], feed: Feed, outcomes: list[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """The probabilities by another worth than the graph's."""
        scores = dict(zip(EXPECTED, outcomes, strict=True))
        weights = worth.table[[PRIORITIES.index(x.issue.dk_priority) for x in inputs]]
        return decide(scores, feed[JOB_TYPE], {"utility": worth.temperature}, worth.space, weights).action_probs


def _one_job(index: int) -> NDArray[np.int64]:
    out = np.array([index], np.int64)
    out.flags.writeable = False  # every decision shares it
    return out


_JOB_TYPES = tuple(_one_job(index) for index in range(len(JOB_TYPES)))
