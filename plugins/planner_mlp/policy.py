"""The ``mlp`` policy: a shared trunk and four linear heads."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from planner_core import HEADS, ActionSpace, ScoreKind
from planner_core.torch import SparseRows, TorchPolicy, mlp_trunk
from planner_mlp.config import MLPConfig


class MLPPolicy(nn.Module):
    """Features to the logits of each head."""

    def __init__(
        self,
        d_in: int = 3779,
        action_space: ActionSpace | None = None,
        d_hidden: int = 512,
        n_layers: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.trunk, width = mlp_trunk(d_in, d_hidden, n_layers, dropout)
        sizes = (action_space or ActionSpace()).head_sizes
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in zip(HEADS, sizes, strict=True)})

    def forward(self, x: Tensor | SparseRows) -> dict[str, Tensor]:
        """``{"swarm": (n, 2), "candidates": (n, 4), "minutes": (n, 6), "iterations": (n, 5)}`` for n rows."""
        hidden = self.trunk(x)
        return {name: head(hidden) for name, head in self.heads.items()}


class MLP(TorchPolicy):
    """The policy around :class:`MLPPolicy`."""

    score_kind: ClassVar[ScoreKind] = "heads"
    config: MLPConfig

    def build_module(self) -> nn.Module:
        """The module of this configuration."""
        c = self.config
        return MLPPolicy(self.context.encoder.d_in, self.context.action_space, c.d_hidden, c.n_layers, c.dropout)
