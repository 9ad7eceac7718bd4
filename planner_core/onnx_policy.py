"""A policy in thirty lines: whatever learns it ends in an ONNX model, and the model is the policy.

Its author writes how to learn and returns the model. Scoring, keeping, loading and exporting are here, and are the same
computation: what is judged in Python is what is deployed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner_core.decision import ScoreKind, Scores, decide, score_sizes, temperatures_for
from planner_core.errors import DataError, PlannerError
from planner_core.examples import Examples
from planner_core.features import Batch, SparseFeatures
from planner_core.policy import PolicyContext
from planner_core.runtime.bundle import MAX_FILE_BYTES
from planner_core.training import EpochReport, FitReport, TrainingSession

if TYPE_CHECKING:
    import onnx
    from scipy.sparse import csr_matrix

INPUTS = ("input", "job_type")
FILE = "model.onnx"
OPSET, ML_OPSET = 18, 3
CHUNK = 1024  # rows that are made dense at a time
MOST_JUDGED = 16_384
"""Rows of a split that the report of a fit is computed on."""
UNSEEN = 1e-9
"""Probability of an action that training never showed, before its logarithm."""


class OnnxPolicy(ABC):
    """Base of policies whose scores an ONNX model computes, be it of scikit-learn, of LightGBM or written by hand.

    A subclass sets ``score_kind`` and implements :meth:`learn`; ``self.config`` is its configuration, ``self.context``
    the encoder, the action space and the seed. ``self.notes``, sentences for the user, may be filled in :meth:`learn`.
    """

    score_kind: ClassVar[ScoreKind]

    def __init__(self, config: Any, context: PolicyContext) -> None:
        self.config, self.context = config, context
        self.notes: list[str] = []
        self._model: onnx.ModelProto | None = None
        self._session: Any = None

    @abstractmethod
    def learn(self, session: TrainingSession) -> onnx.ModelProto | tuple[onnx.ModelProto, FitReport]:
        """Learn from ``session.train`` and return the model; equal under equal ``self.context.seed``.

        What to learn from are :class:`planner_core.Examples` of n rows: ``session.train.features``, which
        :func:`feature_matrix` gives as a matrix [n, d_in], and ``session.train.action`` int64 [n], the label of each
        row as the number of an action, 0 to 149; not every number occurs, perhaps a single one. Where labels are not
        worth learning (``session.objective`` says), ``session.utilities(session.train)`` has what every action is
        worth. ``session.valid`` is of the same kind and may be empty.

        The model maps ``input`` float32 [batch, d_in] (an only input may have another name) and, if it wants to,
        ``job_type`` int64 [batch] to the scores of ``score_kind``, by the names of :func:`planner_core.score_sizes`:
        for ``joint`` one output ``joint`` float32 [batch, 150], a logit an action. :func:`classifier_scorer` makes that
        of a fitted classifier, :func:`joint_scorer` of a classifier that is a model already.

        A learner that goes in rounds may tell ``session.on_epoch`` of each and return its own report too.
        """

    def fit(self, session: TrainingSession) -> FitReport:
        """Learn, and report the mean negative log probability of the labels (of kind ``outcomes``: that of passing)."""
        self.notes = []
        found = self.learn(session)
        model, report = found if isinstance(found, tuple) else (found, None)
        self._adopt(model, "the model that 'learn' returned")
        if report is not None:
            return report
        loss, match = self._judged(session.valid) if len(session.valid) else (None, None)
        entry = EpochReport(1, 1, self._judged(session.train)[0], loss, match, best=True)
        session.on_epoch(entry)
        return FitReport([entry], 1, notes=self.notes)

    def predict(self, batch: Batch) -> Scores:
        """Scores of a batch of any size, by onnxruntime on one thread.

        Raises :class:`PlannerError` before anything is learnt.
        """
        names = list(score_sizes(self.score_kind, self.context.action_space))
        if self._session is None:
            raise PlannerError("this policy has not learnt anything yet: train it, or load a trained run")
        parts = [self._scores(batch, begin, names) for begin in range(0, len(batch), CHUNK)]
        sizes = score_sizes(self.score_kind, self.context.action_space)
        empty = {name: np.zeros((0, size), np.float32) for name, size in sizes.items()}
        return {name: np.concatenate([empty[name], *(part[name] for part in parts)]) for name in names}

    def export_scorer(self) -> onnx.ModelProto:
        """The model."""
        if self._model is None:
            raise PlannerError("this policy has not learnt anything yet: train it, or load a trained run")
        return self._model

    def save(self, directory: Path) -> None:
        """Write ``model.onnx``."""
        (directory / FILE).write_bytes(self.export_scorer().SerializeToString())

    def load(self, directory: Path) -> None:
        """Read it; :class:`DataError` where it is missing, damaged or has other inputs or outputs."""
        import onnx

        path = directory / FILE
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
        except OSError as problem:
            raise DataError(str(path), expected=f"a readable model ({problem.strerror})") from None
        if len(content) > MAX_FILE_BYTES:
            raise DataError(str(path), expected=f"a model of at most {MAX_FILE_BYTES:,} bytes")
        model = onnx.ModelProto()
        try:
            model.ParseFromString(content)
        except Exception:  # google.protobuf has several errors for bytes that are no message
            raise DataError(str(path), expected="an ONNX model") from None
        self._adopt(model, str(path))

    # -- the model

    def _adopt(self, model: onnx.ModelProto, place: str) -> None:
        """Make ``model`` the policy; :class:`DataError` that names ``place`` where it is none."""
        import onnx
        import onnxruntime

        if not isinstance(model, onnx.ModelProto):
            raise DataError(place, found=f"a {type(model).__name__}", expected="an onnx.ModelProto")
        width, sizes = self.context.encoder.d_in, score_sizes(self.score_kind, self.context.action_space)
        given = _renamed(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            onnx.checker.check_model(given)
            session = onnxruntime.InferenceSession(
                given.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as problem:  # the checker and the runtime have a dozen errors for a model that is none
            raise DataError(place, expected=f"an ONNX model that onnxruntime runs ({_first_line(problem)})") from None
        inputs = {value.name: value.shape for value in session.get_inputs()}
        if not {"input"} <= set(inputs) <= set(INPUTS):
            raise DataError(place, found=f"inputs {sorted(inputs)}", expected="'input' and perhaps 'job_type'")
        if inputs["input"][1:] not in ([width], [None]) and not isinstance(inputs["input"][-1], str):
            raise DataError(place, found=f"input {inputs['input']}", expected=f"float32 [batch, {width}]")
        outputs = {value.name for value in session.get_outputs()}
        if outputs != set(sizes):
            kind = f"{sorted(sizes)}, the scores of kind '{self.score_kind}'"
            hint = (
                "; classifier_scorer and joint_scorer make them of a classifier" if self.score_kind == "joint" else ""
            )
            raise DataError(place, found=f"outputs {sorted(outputs)}", expected=kind + hint)
        _try_out(session, width, sizes, place)
        self._model, self._session = given, session

    def _scores(self, batch: Batch, begin: int, names: list[str]) -> dict[str, NDArray[np.float32]]:
        rows = np.arange(begin, min(begin + CHUNK, len(batch)))
        feed = {"input": batch.features.take(rows).dense(), "job_type": batch.job_type[rows]}
        wanted = {value.name for value in self._session.get_inputs()}
        found = self._session.run(names, {name: values for name, values in feed.items() if name in wanted})
        return dict(zip(names, found, strict=True))

    def _judged(self, examples: Examples) -> tuple[float, float | None]:
        """Mean loss, and the share of rows whose decision is the label, of the first rows."""
        examples = examples.between(0, min(len(examples), MOST_JUDGED))
        batch, space = examples.batch(), self.context.action_space
        scores, rows = self.predict(batch), np.arange(len(examples))
        if self.score_kind == "outcomes":
            return _log_loss(scores["passed"], examples), None
        decision = decide(scores, batch.job_type, temperatures_for(self.score_kind), space)
        likely = np.maximum(decision.action_probs[rows, examples.action], UNSEEN)
        return float(-np.log(likely).mean()), float((decision.action == examples.action).mean())


def feature_matrix(features: SparseFeatures) -> csr_matrix:
    """float32 [n, d_in], the features as scikit-learn and LightGBM take them; needs SciPy.

    Not for XGBoost: what a sparse matrix leaves out is *missing* to it, and 0 in the graph that the model becomes, so
    that it would be judged by other rules than it learnt. Give it ``features.dense()``.
    """
    from scipy.sparse import csr_matrix, hstack

    indices, starts = np.asarray(features.indices, np.int32), np.asarray(features.starts, np.int32)
    figures = features.figures
    bits = features.d_in - (0 if figures is None else figures.shape[1])
    matrix = csr_matrix((np.ones(len(indices), np.float32), indices, starts), (len(features), bits))
    return matrix if figures is None else csr_matrix(hstack([matrix, csr_matrix(figures)]))


def classifier_scorer(classifier: Any, context: PolicyContext, classes: ArrayLike | None = None) -> onnx.ModelProto:
    """A fitted classifier of joint actions as the model that :meth:`OnnxPolicy.learn` returns, of kind ``joint``.

    ``classifier`` is one of scikit-learn (converted by skl2onnx), LightGBM or XGBoost (by onnxmltools), fitted to
    features float32 [n, d_in] and numbers of actions int64 [n]. ``classes`` int64 [k] says which actions its columns
    stand for, where that is not ``classifier.classes_``: XGBoost wants its labels numbered from 0 without a gap.

    Raises :class:`PlannerError` where the converter is not installed, or cannot convert it.
    """
    library = type(classifier).__module__.partition(".")[0]
    names = {"lightgbm": "onnxmltools", "xgboost": "onnxmltools"}
    converter = names.get(library, "skl2onnx")
    try:
        model = _converted(classifier, library, context.encoder.d_in)
    except ModuleNotFoundError as problem:
        raise PlannerError(
            f"a {type(classifier).__name__} becomes a graph by {converter}: install {problem.name}"
        ) from None
    except Exception as problem:  # the converters have errors of their own, without a base class
        raise PlannerError(
            f"{converter} cannot convert this {type(classifier).__name__}: {_first_line(problem)}"
        ) from None
    stand_for = classifier.classes_ if classes is None else classes
    return joint_scorer(model, stand_for, len(context.action_space.actions), output="probabilities")


def _converted(classifier: Any, library: str, d_in: int) -> onnx.ModelProto:
    """``input`` float32 [batch, d_in] -> ``label`` and ``probabilities`` float32 [batch, classes]."""
    if library in ("lightgbm", "xgboost"):
        import onnxmltools
        from onnx import version_converter
        from onnxmltools.convert.common.data_types import FloatTensorType as Floats

        types = [("input", Floats([None, d_in]))]
        if library == "xgboost":
            return cast(
                "onnx.ModelProto", onnxmltools.convert_xgboost(classifier, initial_types=types, target_opset=15)
            )
        made = onnxmltools.convert_lightgbm(classifier, initial_types=types, target_opset=15, zipmap=False)
        return version_converter.convert_version(made, OPSET)  # it declares the oldest opset that has its operators
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    kind = [("input", FloatTensorType([None, d_in]))]
    options = {id(classifier): {"zipmap": False}}
    made = to_onnx(classifier, initial_types=kind, options=options, target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET})
    return cast("onnx.ModelProto", made)


def joint_scorer(
    model: onnx.ModelProto, classes: ArrayLike, width: int, *, output: str, logits: bool = False
) -> onnx.ModelProto:
    """A classifier of joint actions with ``joint`` float32 [batch, width] as its only output.

    ``output`` names the classifier's float32 [batch, k] of probabilities (of ``logits``, if so), whose columns stand
    for the joint actions ``classes`` int64 [k]; the others, which training never showed, get the logarithm of
    :data:`UNSEEN`. The model itself is not changed. Raises :class:`PlannerError` where it has no such output.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    found = sorted(value.name for value in model.graph.output)
    if output not in found:
        raise PlannerError(f"the model has no output '{output}'; its outputs are {found}")
    places = np.asarray(classes, np.int64)
    if places.ndim != 1 or len(np.unique(places)) != len(places) or not ((places >= 0) & (places < width)).all():
        raise PlannerError(f"classes must be different numbers of actions, 0 to {width - 1}")
    floor = np.full(width, np.log(UNSEEN), np.float32)
    floor[places] = 0.0
    # A product with a matrix of zeros and a single one a class moves numbers about without changing them.
    constants = {"joint/places": np.eye(width, dtype=np.float32)[places], "joint/floor": floor}
    nodes, scores = [], output
    if not logits:
        constants["joint/least"] = np.array(UNSEEN, np.float32)
        nodes = [
            helper.make_node("Max", [output, "joint/least"], ["joint/likely"]),
            helper.make_node("Log", ["joint/likely"], ["joint/logits"]),
        ]
        scores = "joint/logits"
    nodes.append(helper.make_node("MatMul", [scores, "joint/places"], ["joint/placed"]))
    nodes.append(helper.make_node("Add", ["joint/placed", "joint/floor"], ["joint"]))
    out = onnx.ModelProto()
    out.CopyFrom(model)
    if not any(entry.domain in ("", "ai.onnx") for entry in out.opset_import):  # a model of trees alone has none
        out.opset_import.append(helper.make_opsetid("", OPSET))
    out.graph.node.extend(nodes)
    out.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    del out.graph.output[:]
    out.graph.output.append(helper.make_tensor_value_info("joint", TensorProto.FLOAT, ["batch", width]))
    return out


def _try_out(session: Any, width: int, sizes: dict[str, int], place: str) -> None:
    """Score two rows without features; :class:`DataError` that names ``place`` where that gives no scores."""
    feed = {"input": np.zeros((2, width), np.float32), "job_type": np.zeros(2, np.int64)}
    wanted = {value.name for value in session.get_inputs()}
    try:
        found = session.run(list(sizes), {name: values for name, values in feed.items() if name in wanted})
    except Exception as problem:  # onnxruntime's errors have no public base class
        raise DataError(place, expected=f"a model that scores any number of rows ({_first_line(problem)})") from None
    for (name, size), values in zip(sizes.items(), found, strict=True):
        is_array = isinstance(values, np.ndarray)
        if not is_array or values.dtype != np.float32 or values.shape != (2, size):
            what = f"{values.dtype} {list(values.shape)}" if is_array else f"a {type(values).__name__}"
            raise DataError(place, found=f"output '{name}' {what} for 2 rows", expected=f"float32 [2, {size}]")


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]


def _renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its only input called ``input``, whatever the converter called it."""
    import onnx

    out = onnx.ModelProto()
    out.CopyFrom(model)
    constants = {tensor.name for tensor in out.graph.initializer}
    inputs = [value for value in out.graph.input if value.name not in constants]
    if len(inputs) != 1 or inputs[0].name in INPUTS:
        return out
    old, inputs[0].name = inputs[0].name, INPUTS[0]
    for node in out.graph.node:
        node.input[:] = [INPUTS[0] if name == old else name for name in node.input]
    return out


def _log_loss(passed: NDArray[np.float32], examples: Examples) -> float:
    """Mean log loss of the predicted probability of passing, of what was run, else of every known outcome."""
    rows = np.arange(len(examples))
    if examples.executed is not None:
        known = examples.executed.evidence & (examples.executed.action >= 0)
        likely, seen = passed[rows[known], examples.executed.action[known]], examples.executed.passed[known]
    elif examples.outcomes is not None:
        told = ~np.isnan(examples.outcomes.passed)
        likely, seen = passed[told], examples.outcomes.passed[told]
    else:
        raise PlannerError("expected outcomes are learnt from outcomes, and this dataset knows none")
    p = np.clip(likely.astype(np.float64), UNSEEN, 1 - UNSEEN)
    return float(-(seen * np.log(p) + (1 - seen) * np.log1p(-p)).mean()) if len(p) else 0.0
