"""A torch policy needs to say how its module is built; fitting, scoring, saving and exporting are here."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from planner_core.action_space import HEADS
from planner_core.decision import ScoreKind, Scores
from planner_core.errors import DataError
from planner_core.features import Batch
from planner_core.harness.training_config import TrainingConfig
from planner_core.policy import PolicyContext
from planner_core.torch.layers import SparseRows
from planner_core.torch.loop import fit_module, score, torch_threads
from planner_core.training import FitReport, TrainingSession

if TYPE_CHECKING:
    import onnx

OPSET = 18
CHECKPOINT = "best_model.pt"


class TorchPolicy(ABC):
    """Base of policies whose scores come from a :class:`torch.nn.Module`.

    A subclass sets ``score_kind`` and implements :meth:`build_module`. The module is called with the features (dense
    float32 [n, d_in] or :class:`SparseRows`), and with the job types int64 [n] too if ``reads_job_type``; it returns
    ``{head: logits}`` or ``{"joint": logits}``.
    """

    score_kind: ClassVar[ScoreKind]
    reads_job_type: ClassVar[bool] = False

    def __init__(self, config: TrainingConfig, context: PolicyContext) -> None:
        self.config, self.context = config, context
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self.module = self.build_module()
        self.module.eval()

    @abstractmethod
    def build_module(self) -> nn.Module:
        """A freshly initialised module; torch's generator is seeded when this is called."""

    def forward(self, features: Tensor | SparseRows, job_type: Tensor) -> dict[str, Tensor]:
        """The module's scores."""
        args = (features, job_type) if self.reads_job_type else (features,)
        return self.module(*args)  # type: ignore[no-any-return]  # a module's call is untyped

    def fit(self, session: TrainingSession) -> FitReport:
        """Train by the shared loop."""
        context = self.context
        with torch_threads(self.config.threads):
            return fit_module(self.module, self.forward, self.config, session, context.action_space, context.seed)

    def predict(self, batch: Batch) -> Scores:
        """Scores of a batch of any size."""
        self.module.eval()
        with torch_threads(self.config.threads):
            return score(self.forward, batch)

    def save(self, directory: Path) -> None:
        """Write ``best_model.pt``: the state dict alone."""
        torch.save(self.module.state_dict(), directory / CHECKPOINT)

    def load(self, directory: Path) -> None:
        """Read ``best_model.pt`` without unpickling anything but tensors."""
        path = directory / CHECKPOINT
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.module.load_state_dict(state)
        except OSError as problem:
            raise DataError(str(path), expected=f"a readable checkpoint ({problem.strerror})") from None
        except Exception as problem:  # torch raises RuntimeError, UnpicklingError, EOFError and more for a bad file
            reason = (str(problem) or type(problem).__name__).splitlines()[0]
            raise DataError(str(path), expected=f"a checkpoint of this configuration ({reason})") from None
        self.module.eval()

    def export_scorer(self) -> onnx.ModelProto:
        """The module as ONNX through ``torch.export``, batch dynamic, weights inside."""
        names = HEADS if self.score_kind == "heads" else ("joint",)
        # Two rows: a batch of one would be burnt into the graph as a constant.
        example = torch.zeros(2, self.context.encoder.d_in)
        batch = torch.export.Dim("batch")
        args: tuple[Any, ...] = (example,)
        shapes: tuple[Any, ...] = ({0: batch},)
        if self.reads_job_type:
            args, shapes = (*args, torch.zeros(2, dtype=torch.int64)), (*shapes, {0: batch})
        with _quiet():
            program = torch.onnx.export(
                _Ordered(self.module, names).eval(),
                args,
                dynamo=True,
                opset_version=OPSET,
                input_names=["input", "job_type"][: len(args)],
                output_names=list(names),
                dynamic_shapes=(shapes,),
                external_data=False,
                verbose=False,
            )
        assert program is not None
        return program.model_proto


class _Ordered(nn.Module):
    """The module with its scores as a tuple in a fixed order, which is what the exporter numbers outputs by."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *args: Tensor) -> tuple[Tensor, ...]:
        scores = self.module(*args)
        return tuple(scores[name] for name in self.names)


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the exporter's own progress lines and warnings off the user's terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
