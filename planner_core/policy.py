"""The protocol a policy fulfils, and the few types it meets.

A policy scores a batch of encoded inputs and can write that scoring as an ONNX graph. It answers in one of three
forms: four arrays of per-head logits, one array of logits over the joint actions, or the expected outcome of every
joint action. Temperature, validity mask, argmax and everything else that follows is the harness's, the same for every
policy (:mod:`planner_core.decision`).

What is registered is a :class:`PolicySpec`: a light description that can be listed without importing a framework.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import msgspec

from planner_core.action_space import ActionSpace
from planner_core.decision import ScoreKind, Scores
from planner_core.encoder import EncoderConfig
from planner_core.features import Batch
from planner_core.search_space import SearchSpace
from planner_core.training import FitReport, TrainingSession

if TYPE_CHECKING:
    import onnx


@runtime_checkable
class BasePolicy(Protocol):
    """A policy: scores a batch, and writes that scoring as a graph."""

    score_kind: ClassVar[ScoreKind]

    def __init__(self, config: Any, context: PolicyContext) -> None: ...

    def predict(self, batch: Batch) -> Scores:
        """Scores of ``batch``, as ``score_kind`` says; must not change it.

        float32 arrays by the names and widths of :func:`planner_core.score_sizes`: finite, without mask, softmax or
        temperature, and of each row by itself. A policy that has learnt nothing yet answers with any scores, or raises
        :class:`planner_core.PlannerError`.
        """
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
class PolicyContext:
    """What surrounds a policy: how inputs are encoded, what may be chosen, and the seed of anything random."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    action_space: ActionSpace = field(default_factory=ActionSpace)
    seed: int = 0


@dataclass(frozen=True)
class PolicySpec:
    """What a plugin registers: the name, its configuration type, and how to get the policy class.

    ``config_type`` is a :class:`msgspec.Struct` whose fields all have defaults. ``load`` imports and returns the class
    (a :class:`BasePolicy`, a :class:`TrainablePolicy` if ``trainable``); heavy imports belong in there.
    ``protocol_version`` is the version of this protocol that the policy was written for. Its default stays 1 for
    ever: a plugin that does not say was written when there was no other. ``origin``, the distribution and its version,
    is filled in by the registry. ``search_space`` says what a study (``planner tune``) may try: for some keys of the
    configuration a :class:`planner_core.search_space.RealRange`, ``IntegerRange`` or ``OneOf`` that holds the default.
    """

    name: str
    summary: str
    config_type: type[msgspec.Struct]
    load: Callable[[], type[BasePolicy]]
    trainable: bool = False
    protocol_version: int = 1
    origin: str | None = None
    search_space: SearchSpace = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        """How messages name the policy: ``policy 'mlp' (swarm-planner 0.1.0)``."""
        return f"policy '{self.name}'" + (f" ({self.origin})" if self.origin else "")


PROTOCOL_VERSION = 1
"""Version of the protocol in this module; docs/plugins.md says what may change within one and what makes a new one."""

OLDEST_PROTOCOL = 1
"""The oldest version that is still read."""
