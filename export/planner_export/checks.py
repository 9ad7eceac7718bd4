"""The kit's checks of an exported graph: self-contained, of the common interface, and equal to its Python policy.

They build on each other: what fails in one is not reported again by those after it. onnx is imported when one runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from planner_core import (
    Batch,
    CheckFailed,
    CheckSetup,
    MissingExtra,
    ParityError,
    PlannerError,
    PolicyCheck,
    hookimpl,
    score_sizes,
)
from planner_core.testing import mixed_batch, require, temperatures

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from planner_export.parity import Comparison

OLDEST_OPSET = 17
MAX_MEGABYTES = 10
UNSEEN_BATCHES = (1, 3, 17, 130)
"""None of them is a size that an exporter or the parity gate uses, save the one every kernel uses."""


@dataclass(frozen=True)
class Exported:
    """The graphs of the trained policy as a bundle holds them, open in sessions.

    ``dense`` reads the features, ``by_indices`` their positions; None where the policy's graph has no such form.
    """

    dense: onnxruntime.InferenceSession
    by_indices: onnxruntime.InferenceSession | None
    temperatures: dict[str, float]

    @property
    def sessions(self) -> dict[str, onnxruntime.InferenceSession]:
        """Both, by the name of their file."""
        from planner_core.runtime.bundle import INDEX_MODEL, MODEL

        return {MODEL: self.dense, **({} if self.by_indices is None else {INDEX_MODEL: self.by_indices})}


def scorer_of(setup: CheckSetup) -> onnx.ModelProto:
    """What ``export_scorer`` gives for the trained policy, accepted by the ONNX checker."""
    policy = setup.trained()

    def export() -> onnx.ModelProto:
        try:
            import onnx

            scorer = policy.export_scorer()
        except ModuleNotFoundError as problem:
            raise MissingExtra("a check of the graph", "train", str(problem.name)) from None
        if not isinstance(scorer, onnx.ModelProto):
            raise CheckFailed(f"export_scorer returns a {type(scorer).__name__}, not an onnx.ModelProto")
        try:
            onnx.checker.check_model(scorer, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
            raise CheckFailed(f"the ONNX checker refuses it: {str(problem).strip().splitlines()[0]}") from None
        return scorer

    return setup.once("graph-export", export)


def _scorer(setup: CheckSetup) -> onnx.ModelProto:
    return setup.after("graph-export", lambda: scorer_of(setup))


def graph_export(setup: CheckSetup) -> None:
    """``export_scorer`` works on the trained policy and the ONNX checker accepts what it returns."""
    scorer_of(setup)


def graph_self_contained(setup: CheckSetup) -> None:
    """No weights in other files, no operators of a foreign domain, a recent opset."""
    setup.note(_self_contained(setup, _scorer(setup)))


def _self_contained(setup: CheckSetup, scorer: onnx.ModelProto) -> str:
    def check() -> str:
        from onnx import external_data_helper

        outside = [t.name for t in _tensors(scorer) if external_data_helper.uses_external_data(t)]
        require(not outside, f"{', '.join(outside[:3])}: kept outside the model; a bundle's graph holds its weights")
        local = {function.domain for function in scorer.functions}
        used = {node.domain for node in scorer.graph.node}
        foreign = sorted(used - local - {"", "ai.onnx", "ai.onnx.ml"})
        require(not foreign, f"it uses operators of {', '.join(foreign)}, which a kernel's onnxruntime may not have")
        opset = next((o.version for o in scorer.opset_import if o.domain in ("", "ai.onnx")), 0)
        require(opset >= OLDEST_OPSET, f"it is of opset {opset}, older than {OLDEST_OPSET}")
        return f"opset {opset}, {len(scorer.graph.node)} nodes"

    return setup.once("graph-self-contained", check)


def _tensors(scorer: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Every constant of a model: its initializers, and the values of constant nodes."""
    nodes = [*scorer.graph.node, *(node for function in scorer.functions for node in function.node)]
    return [*scorer.graph.initializer, *(a.t for node in nodes for a in node.attribute if a.HasField("t"))]


def graph_interface(setup: CheckSetup) -> None:
    """With the decision appended it has the interface that every runtime knows, and onnxruntime opens it."""
    scorer = _scorer(setup)
    setup.after("graph-self-contained", lambda: _self_contained(setup, scorer))
    made = setup.once("graph-interface", lambda: _build(setup, scorer))
    setup.note(" and ".join(made.sessions))


def exported(setup: CheckSetup) -> Exported:
    """The graph of the trained policy, for checks that need one."""
    scorer = _scorer(setup)
    setup.after("graph-self-contained", lambda: _self_contained(setup, scorer))
    return setup.after("graph-interface", lambda: _build(setup, scorer))


def _build(setup: CheckSetup, scorer: onnx.ModelProto) -> Exported:
    from planner_core.runtime.bundle import INDEX_MODEL, MODEL
    from planner_core.runtime.session import check_interface, open_session
    from planner_export.first_layer import bundle_graphs
    from planner_export.graph import build_graph

    policy, context, fitted = setup.trained(), setup.context, temperatures(setup)
    wanted = score_sizes(policy.score_kind, context.action_space)
    for value in scorer.graph.output:
        _check_output(value, wanted)
    try:
        graph = build_graph(scorer, policy.score_kind, context, fitted)
        sessions = {}
        for name, model in bundle_graphs(graph, context.encoder.n_figures).items():
            content = model.SerializeToString()
            megabytes = len(content) / 1e6
            require(megabytes < MAX_MEGABYTES, f"{name} has {megabytes:.1f} MB, more than {MAX_MEGABYTES} MB")
            sessions[name] = open_session(content, name=name)
            check_interface(sessions[name], context.encoder.d_in, context.action_space, name, policy.score_kind)
    except CheckFailed:
        raise
    except PlannerError as problem:
        raise CheckFailed(str(problem)) from None
    return Exported(sessions[MODEL], sessions.get(INDEX_MODEL), fitted)


def _check_output(value: onnx.ValueInfoProto, wanted: dict[str, int]) -> None:
    from onnx import TensorProto

    name, kind = value.name, value.type.tensor_type
    require(name in wanted, f"the scorer has an output '{name}'; expected {', '.join(wanted)}")
    require(kind.elem_type == TensorProto.FLOAT, f"the scorer's output '{name}' is not float32")
    shape = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if shape:
        found = len(shape) == 2 and shape[1] in (None, wanted[name])
        require(found, f"the scorer's output '{name}' has shape {shape}, expected [batch, {wanted[name]}]")


def graph_dynamic_batch(setup: CheckSetup) -> None:
    """The graph takes batches of any size, each row on its own."""
    made = exported(setup)
    setup.once("graph-dynamic-batch", lambda: _dynamic(setup, made))


def _dynamic(setup: CheckSetup, made: Exported) -> None:
    from planner_export.parity import run_session

    rows = mixed_batch(setup, 65)
    for name, session in made.sessions.items():
        for size in UNSEEN_BATCHES:
            where = f"{name}, a batch of {size}"
            try:
                found = run_session(session, _take(rows, np.arange(size)))
            except Exception as problem:  # onnxruntime raises a family of its own without a public base class
                reason = " ".join(str(problem).split())[:200]
                raise CheckFailed(f"{where}: {reason}; export with a dynamic batch, from 2 rows or more") from None
            wrong = {output: values.shape for output, values in found.items() if len(values) != size}
            require(not wrong, f"{where}: it gives {wrong}; a size was burnt in at export")


def _take(batch: Batch, rows: np.ndarray[Any, Any]) -> Batch:
    return Batch(batch.features.take(rows), batch.job_type[rows])


def _runnable(setup: CheckSetup) -> Exported:
    made = exported(setup)
    setup.after("graph-dynamic-batch", lambda: _dynamic(setup, made))
    return made


def _compare(setup: CheckSetup, made: Exported, session: onnxruntime.InferenceSession) -> Comparison:
    """On the world's inputs."""
    from planner_export.parity import compare, run_session

    batch = setup.valid.batch()
    return compare(setup.trained(), run_session(session, batch), batch, setup.context, made.temperatures)


def graph_parity(setup: CheckSetup) -> None:
    """The graph's logits and probabilities are the Python policy's, on random inputs and on the world's."""
    from planner_export.parity import TOLERANCE, check_parity

    made, policy, worst = _runnable(setup), setup.trained(), 0.0
    for name, session in made.sessions.items():
        try:
            report = check_parity(policy, session, setup.context, made.temperatures)
            found = _compare(setup, made, session)
        except ParityError as problem:
            raise CheckFailed(f"{name}: {problem}") from None
        difference = found.differences[found.worst]
        where = f"{name}, output {found.worst}, on the world's inputs"
        require(found.equal, f"{where}: graph and policy differ by {difference:.2e}")
        worst = max(worst, difference, *(max(case["max_abs_diff"].values()) for case in report["cases"]))
    setup.note(f"largest difference {worst:.1e} (tolerance {TOLERANCE:.0e})")


def graph_argmax(setup: CheckSetup) -> None:
    """The graph chooses the action that the Python policy chooses; a tie within the tolerance is no difference."""
    from planner_export.parity import TOLERANCE

    made, space = _runnable(setup), setup.context.action_space
    for name, session in made.sessions.items():
        found = _compare(setup, made, session)
        other = np.flatnonzero(~(found.lost <= TOLERANCE))
        if len(other):
            row = int(other[0])
            raise CheckFailed(
                f"{name}: {len(other)} of {len(found.lost)} decisions are others; in row {row} the graph chooses "
                f"{tuple(space.actions[int(found.chosen[row])])}, the policy "
                f"{tuple(space.actions[int(found.expected.action[row])])}"
            )


def graph_repeatable(setup: CheckSetup) -> None:
    """Exporting the same policy twice gives the same bytes."""
    first = _scorer(setup).SerializeToString(deterministic=True)
    second = setup.trained().export_scorer().SerializeToString(deterministic=True)
    require(first == second, "two exports of the same trained policy differ, so the bundle's hash proves nothing")


_CHECKS: tuple[tuple[str, str, Callable[[CheckSetup], None]], ...] = (
    ("graph-export", "A policy that is no graph cannot be deployed without its framework.", graph_export),
    ("graph-self-contained", "The kernel has one file and a plain onnxruntime.", graph_self_contained),
    ("graph-interface", "A runtime never asks which policy it runs.", graph_interface),
    ("graph-dynamic-batch", "A batch size burnt in at export shows first in production.", graph_dynamic_batch),
    ("graph-parity", "What was judged in Python is what decides in the kernel.", graph_parity),
    ("graph-argmax", "Temperature, mask and argmax happen inside the graph.", graph_argmax),
    ("graph-repeatable", "A bundle is known by the hash of its files.", graph_repeatable),
)


@hookimpl
def planner_policy_checks(register: Callable[[PolicyCheck], None]) -> None:
    """Register the checks of the exported graph."""
    for name, reason, run in _CHECKS:
        register(PolicyCheck(name, reason, run))
