"""The protocol a policy fulfils, and the few types it meets.

A policy scores a batch of encoded inputs and can write that scoring as an ONNX graph. It answers in one of two
forms: four arrays of per-head logits, or one array of logits over the joint actions. Temperature, validity mask,
argmax and everything else that follows is the harness's, the same for every policy (:mod:`planner_core.decision`).

What is registered is a :class:`PolicySpec`: a light description that can be listed without importing a framework.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace, job_type_index
from planner_core.contracts import PlannerInput
from planner_core.data.utility import weight_table
from planner_core.encoder import EncoderConfig, PlannerInputEncoder
from planner_core.errors import MissingExtra, PolicyFailed
from planner_core.guard import blaming, build

if TYPE_CHECKING:
    import onnx

    from planner_core.data.dataset import Examples

PROTOCOL_VERSION = 1
"""Version of the protocol in this module; docs/plugins.md says what may change within one and what makes a new one."""

OLDEST_PROTOCOL = 1
"""The oldest version that is still read."""

TRAIN_MODULES = frozenset({"joblib", "matplotlib", "onnx", "onnxscript", "torch", "yaml"})
"""What the ``train`` extra installs; any other module that a policy misses is its own distribution's affair."""

Scores = dict[str, NDArray[np.float32]]
"""Either ``{"swarm", "candidates", "minutes", "iterations"}: float32 [n, classes]`` or ``{"joint": float32 [n, 150]}``.

Unscaled logits: no temperature, no mask.
"""


@dataclass(frozen=True)
class SparseFeatures:
    """Binary features of n rows: ``indices[starts[i]:starts[i + 1]]`` are the positions on in row i."""

    indices: NDArray[np.integer]
    starts: NDArray[np.int64]
    d_in: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: NDArray[np.integer]) -> SparseFeatures:
        """The given rows, in the given order."""
        counts = (self.starts[1:] - self.starts[:-1])[rows]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        # Position of every kept index in the old array: the row's old start plus the place within the row.
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        return SparseFeatures(self.indices[np.repeat(self.starts[rows], counts) + within], starts, self.d_in)

    def dense(self) -> NDArray[np.float32]:
        """float32 [n, d_in], each 0 or 1."""
        out = np.zeros((len(self), self.d_in), np.float32)
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        out[rows, self.indices] = 1.0
        return out

    @classmethod
    def from_dense(cls, dense: NDArray[np.float32]) -> SparseFeatures:
        """The sparse form of a 0/1 matrix [n, d_in]."""
        rows, indices = np.nonzero(dense)
        starts = np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int64)
        return cls(indices.astype(np.int32), starts, dense.shape[1])


@dataclass(frozen=True)
class Batch:
    """What a policy sees of n inputs.

    ``job_type`` int64 [n] indexes :data:`planner_core.action_space.JOB_TYPES`. ``inputs`` holds the validated inputs
    themselves where the caller has them; a policy that reads them cannot be exported, since a graph sees only features.
    """

    features: SparseFeatures
    job_type: NDArray[np.int64]
    inputs: Sequence[PlannerInput] | None = None

    def __len__(self) -> int:
        return len(self.job_type)

    @classmethod
    def from_inputs(cls, inputs: Sequence[PlannerInput], encoder: PlannerInputEncoder) -> Batch:
        """Encode validated inputs."""
        indices, starts = encoder.encode_indices_batch(inputs)
        jobs = np.array([job_type_index(x.job_type) for x in inputs], np.int64)
        return cls(SparseFeatures(indices, starts, encoder.config.d_in), jobs, inputs)


@dataclass(frozen=True)
class PolicyContext:
    """What surrounds a policy: how inputs are encoded, what may be chosen, and the seed of anything random."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    action_space: ActionSpace = field(default_factory=ActionSpace)
    seed: int = 0


@runtime_checkable
class BasePolicy(Protocol):
    """A policy: scores a batch, and writes that scoring as a graph."""

    score_kind: ClassVar[Literal["heads", "joint"]]

    def __init__(self, config: Any, context: PolicyContext) -> None: ...

    def predict(self, batch: Batch) -> Scores:
        """Logits of ``batch``; must not change it."""
        ...

    def export_scorer(self) -> onnx.ModelProto:
        """An ONNX model from ``input`` float32 [batch, d_in] (and, if wanted, ``job_type`` int64 [batch]) to the
        same scores as :meth:`predict`, outputs named alike, batch dynamic, opset 17 or later, no external data.

        Raises :class:`planner_core.errors.PlannerError` when this configuration cannot be a graph.
        """
        ...


@runtime_checkable
class TrainablePolicy(BasePolicy, Protocol):
    """A policy that learns from examples and can be written to and read from a directory."""

    def fit(self, session: TrainingSession) -> FitReport:
        """Learn from ``session.train``, choose by ``session.valid``; deterministic under ``context.seed``."""
        ...

    def save(self, directory: Path) -> None:
        """Write what was learnt (and nothing that needs unpickling) into an existing directory."""
        ...

    def load(self, directory: Path) -> None:
        """Read what :meth:`save` wrote."""
        ...


@dataclass(frozen=True)
class EpochReport:
    """Progress of a fit after one epoch (or boosting round, or whatever the policy counts)."""

    epoch: int
    epochs: int
    train_loss: float
    valid_loss: float | None = None
    valid_exact_match: float | None = None
    valid_utility: float | None = None
    examples_per_second: float | None = None
    seconds_left: float | None = None
    best: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The fields that belong into a run's history; speed and time left do not repeat, so they stay out."""
        skip = ("examples_per_second", "seconds_left", "epochs")
        return {key: value for key, value in self.__dict__.items() if key not in skip}


@dataclass
class TrainingSession:
    """What the harness hands to :meth:`TrainablePolicy.fit`.

    ``valid`` may be empty. ``directory`` is the run directory in the making: a policy may keep a checkpoint there, and
    finds it again when an interrupted run is resumed. ``utility_weights`` float64 [4 priorities, (pass, time, cost)]
    says what outcomes are worth. ``on_epoch`` is to be called after every epoch; it tells the training callbacks.
    """

    train: Examples
    valid: Examples
    directory: Path
    utility_weights: NDArray[np.float64] = field(default_factory=weight_table)
    on_epoch: Callable[[EpochReport], None] = lambda report: None


@dataclass
class FitReport:
    """What a fit did: one entry an epoch, the epoch whose weights were kept, and remarks for the user."""

    history: list[EpochReport] = field(default_factory=list)
    best_epoch: int | None = None
    examples_per_second: float | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PolicySpec:
    """What a plugin registers: the name, its configuration type, and how to get the policy class.

    ``config_type`` is a :class:`msgspec.Struct` whose fields all have defaults. ``load`` imports and returns the class
    (a :class:`BasePolicy`, a :class:`TrainablePolicy` if ``trainable``); heavy imports belong in there.
    ``protocol_version`` is the version of this protocol that the policy was written for. Its default stays 1 for
    ever: a plugin that does not say was written when there was no other. ``origin``, the distribution and its version,
    is filled in by the registry.
    """

    name: str
    summary: str
    config_type: type[msgspec.Struct]
    load: Callable[[], type[BasePolicy]]
    trainable: bool = False
    protocol_version: int = 1
    origin: str | None = None

    @property
    def label(self) -> str:
        """How messages name the policy: ``policy 'mlp' (swarm-planner 0.1.0)``."""
        return f"policy '{self.name}'" + (f" ({self.origin})" if self.origin else "")

    def make(self, config: Any, context: PolicyContext) -> BasePolicy:
        """Import the policy and build it.

        Its methods raise :class:`planner_core.errors.PolicyFailed` for whatever goes wrong in them
        (:mod:`planner_core.guard`). Raises what :meth:`policy_class` raises, and that.
        """
        return build(self.policy_class(), config, context, self.label)

    def policy_class(self) -> type[BasePolicy]:
        """What ``load`` returns, checked to be a class with the methods of the protocol.

        Raises :class:`MissingExtra` where a package of the ``train`` extra is not installed, and
        :class:`planner_core.errors.PolicyFailed` for anything else that is wrong.
        """
        with blaming(self.label, "load"):
            try:
                found = self.load()
            except ModuleNotFoundError as problem:
                if str(problem.name).partition(".")[0] not in TRAIN_MODULES:
                    raise
                raise MissingExtra(self.label, "train", str(problem.name)) from problem
        wanted = ["predict", "export_scorer", *(["fit", "save", "load"] if self.trainable else [])]
        if not isinstance(found, type):
            raise PolicyFailed(f"{self.label} failed in load: it returned {found!r:.80}, expected a class")
        missing = [name for name in wanted if not callable(getattr(found, name, None))]
        if missing:
            raise PolicyFailed(f"{self.label} failed in load: the class {found.__name__} has no {', '.join(missing)}")
        return found
