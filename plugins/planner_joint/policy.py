"""The ``joint`` policy: the trunk of ``mlp`` under one softmax over whole actions."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from planner_core import ActionSpace, ScoreKind
from planner_core.torch import SparseRows, TorchPolicy, mlp_trunk
from planner_joint.config import JointConfig


class JointPolicy(nn.Module):
    """Features to one logit for each joint action."""

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
        self.head = nn.Linear(width, len((action_space or ActionSpace()).actions))

    def forward(self, x: Tensor | SparseRows) -> dict[str, Tensor]:
        """``{"joint": (n, 150)}`` for n rows, in the order of the action space's joint classes; not masked."""
        return {"joint": self.head(self.trunk(x))}


class Joint(TorchPolicy):
    """The policy around :class:`JointPolicy`."""

    score_kind: ClassVar[ScoreKind] = "joint"
    config: JointConfig

    def build_module(self) -> nn.Module:
        """The module of this configuration."""
        c = self.config
        return JointPolicy(self.context.encoder.d_in, self.context.action_space, c.d_hidden, c.n_layers, c.dropout)
