"""Opening a bundle: what was read is put to work once, on the rows it brings along, before it may decide anything.

A manifest proves that the files are those that were written together. That graph, encoder and action space belong
together is shown here: the graphs carry the identity of what they were made for, and the golden rows are replayed
through the encoder and both of them.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.action_space import Action, ActionSpace, job_type_index
from planner_core.contracts import Label, PlannerInput
from planner_core.decision import UTILITY_TEMPERATURE
from planner_core.encoder import EncoderConfig, PlannerInputEncoder
from planner_core.errors import BundleError, DataError, describe
from planner_core.failures import UNREADABLE, is_foreign
from planner_core.runtime.bundle import INDEX_MODEL, MODEL, Bundle, read_bundle
from planner_core.runtime.choice import Model
from planner_core.runtime.onnx_bounds import graph_metadata
from planner_core.runtime.rollout import Arm, Rollout
from planner_core.utility import weight_table

__all__ = ["GOLDEN_ROWS", "GoldenRollout", "checked_digest", "graph_identity", "open_bundle"]

GOLDEN_ROWS = 16
TOLERANCE = 1e-4
"""Largest difference of a probability from the golden one: ten times the gate of an export, for another processor."""
MAX_DECISION_S = 2.0
"""Wall time of one session call at load; a decision takes some ten microseconds."""
IDENTITY = "swarm_planner."
"""What the keys of a graph's identity begin with."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class _Outputs(msgspec.Struct):
    action_probs: list[float]


class GoldenRollout(msgspec.Struct):
    """Where a rollout puts an issue: ``arm`` and ``draw`` of these options, issue and input hash."""

    salt: str
    issue_id: str
    input_hash: str
    share: float
    explore: float
    arm: Arm
    draw: float

    @classmethod
    def of(cls, row: int, issue_id: str, input_hash: str) -> GoldenRollout:
        """The vector of a golden row: all three arms are among them, and text outside ASCII."""
        rollout = Rollout(0.5, 0.5, f"größe {row}")
        arm, draw = rollout.arm(issue_id), rollout.draw(issue_id, input_hash)
        return cls(rollout.salt, issue_id, input_hash, rollout.share, rollout.explore, arm, draw)


class _GoldenRow(msgspec.Struct):
    """What is read of a line of ``golden.jsonl``; bundles of an earlier version have no ``rollout`` there."""

    planner_input: PlannerInput
    indices: list[int]
    job_type: int
    outputs: _Outputs
    action: Label
    figures: list[float] | None = None
    rollout: GoldenRollout | None = None


def graph_identity(policy: str, dataset_hash: str | None, encoder: EncoderConfig, space: ActionSpace) -> dict[str, str]:
    """What a graph says of itself in ``metadata_props``: its policy, data, feature layout and labels."""
    layout = hashlib.sha256(jsonio.canonical(encoder)).hexdigest()
    labels = hashlib.sha256(jsonio.canonical([list(action) for action in space.actions])).hexdigest()
    found = {"policy": policy, "dataset_hash": dataset_hash or "", "encoder": layout, "labels": labels}
    return {IDENTITY + name: value for name, value in found.items()}


def checked_digest(digest: str | None) -> str | None:
    """The hexadecimal digits of ``"sha256:..."``; ValueError for anything else."""
    if digest is None:
        return None
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        raise ValueError(f"digest must be 'sha256:' and 64 hexadecimal digits, as an export prints it, not {digest!r}")
    return digest.removeprefix("sha256:")


def open_bundle(
    path: Path,
    *,
    threshold: float | None = None,
    threads: int = 1,
    spinning: bool = False,
    digest: str | None = None,
    utility: NDArray[np.float64] | None = None,
) -> Model:
    """A bundle, ready to decide; whatever is wrong with it is a :class:`BundleError`.

    ``digest`` pins its content; ``utility`` as of :func:`planner_core.utility.weight_table` takes the place of what
    outcomes are worth in the graph.
    """
    try:
        bundle = read_bundle(path)
        if digest is not None and bundle.digest != digest:
            raise BundleError(f"{path}: found the digest sha256:{bundle.digest}, expected sha256:{digest}")
        return _open(bundle, threshold, threads, spinning, utility)
    except BundleError:
        raise
    except UNREADABLE as problem:
        if is_foreign(problem):
            raise
        raise BundleError(f"{path}: cannot be used ({describe(problem)})") from problem


def _open(
    bundle: Bundle, threshold: float | None, threads: int, spinning: bool, utility: NDArray[np.float64] | None
) -> Model:
    from planner_core.runtime.session import OnnxPredictor, Worth, check_interface, open_session

    outcomes = bundle.score_kind == "outcomes"
    if utility is not None and not outcomes:
        raise BundleError(f"{bundle.path}: its policy predicts no outcomes, so they cannot be given another worth")
    wanted = graph_identity(
        str(bundle.metadata["policy"]), bundle.metadata.get("dataset_hash"), bundle.encoder, bundle.action_space
    )

    def session(graph: bytes, name: str) -> Any:
        _check_identity(graph, wanted, name)
        opened = open_session(graph, threads=threads, spinning=spinning, name=name)
        check_interface(opened, bundle.encoder.d_in, bundle.action_space, name, bundle.score_kind)
        return opened

    by_indices = None if bundle.index_model is None else session(bundle.index_model, INDEX_MODEL)
    encoder = PlannerInputEncoder(bundle.encoder)
    dense = session(bundle.model, MODEL)
    _replay(bundle, encoder, dense, by_indices)
    temperature = bundle.calibration["temperatures"].get("utility", UTILITY_TEMPERATURE)
    worth = None if utility is None else Worth(utility, temperature, bundle.action_space)
    # Those that an export makes constants of the graph.
    weights = weight_table(bundle.calibration.get("utility"), "calibration.json") if outcomes else None
    predictor = OnnxPredictor(dense, encoder, by_indices, worth, weights)
    return Model(
        predictor,
        bundle.action_space,
        float(bundle.calibration.get("threshold", 0.0)) if threshold is None else threshold,
        {"checkpoint_id": bundle.digest[:16], "version": str(bundle.metadata["version"])},
        None,
        str(bundle.metadata["policy"]),
        twins=outcomes,
        weights=predictor.weights,
    )


def _check_identity(graph: bytes, wanted: dict[str, str], name: str) -> None:
    """A graph of an earlier version says nothing of itself; one that says anything says all of it."""
    said = {key: value for key, value in graph_metadata(graph).items() if key.startswith(IDENTITY)}
    if said and said != wanted:
        key = next(key for key in (*wanted, *said) if said.get(key) != wanted.get(key))
        raise BundleError(
            f"{name}: found {key} = {said.get(key)!r} in the graph, expected {wanted.get(key)!r} as in the bundle; "
            "the graph was made for another"
        )


def _replay(bundle: Bundle, encoder: PlannerInputEncoder, dense: Any, by_indices: Any) -> None:
    """Raise :class:`BundleError` where encoder, action space or a graph does not give what the golden rows say."""
    from planner_core.runtime.session import FEATURES, INDICES, JOB_TYPE, padded_indices

    rows = _golden(bundle)
    inputs = [row.planner_input for row in rows]
    positions = [encoder.positions(x) for x in inputs]
    for line, (row, found) in enumerate(zip(rows, positions, strict=True), 1):
        same = found == row.indices and job_type_index(row.planner_input.job_type) == row.job_type
        if not same or not _same_figures(encoder, row):
            raise BundleError(
                f"{bundle.path}: golden row {line}: the encoder gives other features; the bundle is mixed"
            )
        if row.rollout is not None and row.rollout != _rollout_again(row.rollout):
            raise BundleError(f"{bundle.path}: golden row {line}: the rollout gives another arm or draw")
    expected = _expected(bundle, rows)
    features = encoder.encode_batch(inputs)
    jobs = np.array([row.job_type for row in rows], np.int64)
    feeds: list[tuple[str, Any, str, NDArray[Any]]] = [(MODEL, dense, FEATURES, features)]
    if by_indices is not None:
        feeds.append((INDEX_MODEL, by_indices, INDICES, padded_indices(positions, bundle.encoder.d_in)))
    for name, session, key, values in feeds:
        answer = _timed(session, {key: values, JOB_TYPE: jobs}, name)
        _timed(session, {key: values[:1], JOB_TYPE: jobs[:1]}, name)
        # Written so that a difference that is no number is wrong too; the interface has fixed the shape.
        wrong = ~(np.abs(answer - expected) <= TOLERANCE).all(axis=1)
        if wrong.any():
            line = int(np.argmax(wrong)) + 1
            raise BundleError(f"{name}: golden row {line}: the graph gives other probabilities; the bundle is mixed")


def _same_figures(encoder: PlannerInputEncoder, row: _GoldenRow) -> bool:
    if not encoder.config.n_figures:
        return row.figures is None
    found = np.array(encoder.figures(row.planner_input), np.float32)
    return row.figures is not None and found.tolist() == row.figures


def _rollout_again(given: GoldenRollout) -> GoldenRollout:
    """The same vector, worked out here."""
    rollout = Rollout(given.share, given.explore, given.salt)
    arm, draw = rollout.arm(given.issue_id), rollout.draw(given.issue_id, given.input_hash)
    return msgspec.structs.replace(given, arm=arm, draw=draw)


def _golden(bundle: Bundle) -> list[_GoldenRow]:
    lines = bundle.golden.splitlines()
    if len(lines) != GOLDEN_ROWS:
        raise BundleError(f"{bundle.path}: golden.jsonl: found {len(lines)} rows, expected {GOLDEN_ROWS}")
    if len(set(lines)) != GOLDEN_ROWS:
        raise BundleError(f"{bundle.path}: golden.jsonl: found a row that stands there twice, expected {GOLDEN_ROWS}")
    source = str(bundle.path / "golden.jsonl")
    try:
        return [jsonio.read(line, _GoldenRow, source, number) for number, line in enumerate(lines, 1)]
    except DataError as problem:
        raise BundleError(f"{problem}; the bundle cannot be read") from None


def _expected(bundle: Bundle, rows: list[_GoldenRow]) -> NDArray[np.float64]:
    """float64 [rows, n_joint]: the golden probabilities, whose largest must be those of the golden actions."""
    actions = bundle.action_space.actions
    for line, row in enumerate(rows, 1):
        probs, label = row.outputs.action_probs, row.action
        named = Action(label.swarm_id, *msgspec.structs.astuple(label.budgets))
        if len(probs) != len(actions) or actions[int(np.argmax(probs))] != named:
            raise BundleError(
                f"{bundle.path}: golden row {line}: the action {tuple(named)} is not the one that action_space.json "
                "gives its place; the bundle is mixed"
            )
    return np.array([row.outputs.action_probs for row in rows])


def _timed(session: Any, feed: dict[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    """One session call, which is told to stop where it takes longer than :data:`MAX_DECISION_S`."""
    import onnxruntime

    from planner_core.runtime.session import SESSION_ERRORS

    options = onnxruntime.RunOptions()
    timer = threading.Timer(MAX_DECISION_S, lambda: setattr(options, "terminate", True))
    timer.daemon = True
    started = time.perf_counter()
    timer.start()
    try:
        found: NDArray[np.float32] = session.run(["action_probs"], feed, options)[0]
    except SESSION_ERRORS as problem:
        raise BundleError(f"{name}: does not answer a golden row ({describe(problem)})") from None
    finally:
        timer.cancel()
    taken = time.perf_counter() - started
    if taken > MAX_DECISION_S:
        raise BundleError(f"{name}: a decision takes {taken:.1f} s, expected at most {MAX_DECISION_S:.1f} s")
    return found
