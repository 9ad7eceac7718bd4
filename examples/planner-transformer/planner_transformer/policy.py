"""The ``transformer`` policy: tokens, encoder, and logits of whole actions that share what they have in common."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from planner_core import JOB_TYPES, PolicyContext, ScoreKind
from planner_core.torch import SparseRows, TorchPolicy
from planner_transformer.config import TransformerConfig
from planner_transformer.encoder import Encoder
from planner_transformer.tokens import Tokens


class TransformerModule(nn.Module):
    """Features and job types to the logits of the joint actions."""

    incidence: Tensor

    def __init__(self, config: TransformerConfig, context: PolicyContext) -> None:
        super().__init__()
        width, space = config.d_model, context.action_space
        self.tokens = Tokens(context.encoder, width)
        self.job_type = nn.Embedding(len(JOB_TYPES), width)
        self.encoder = Encoder(width, config.n_layers, config.n_heads, config.d_feedforward, config.dropout)
        self.readout = nn.Sequential(
            nn.Linear(width, config.d_readout), nn.LayerNorm(config.d_readout), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.whole = nn.Linear(config.d_readout, len(space.actions))
        self.parts = nn.Linear(config.d_readout, sum(space.head_sizes))
        self.register_buffer("incidence", torch.from_numpy(space.incidence), persistent=False)

    def forward(self, x: Tensor | SparseRows, job_type: Tensor) -> dict[str, Tensor]:
        """``{"joint": (n, 150)}`` for n rows and their job types int64 [n]; not masked.

        An action's logit is its own plus those of its swarm, candidates, minutes and iterations: a rare action then
        learns from all that share a part with it.
        """
        tokens, present = self.tokens(x)
        issue = tokens[:, :1] + self.job_type(job_type)[:, None]
        hidden = self.readout(self.encoder(torch.cat([issue, tokens[:, 1:]], 1), present))
        return {"joint": self.whole(hidden) + self.parts(hidden) @ self.incidence}


class Transformer(TorchPolicy):
    """The policy around :class:`TransformerModule`; training, files and export are the harness's."""

    score_kind: ClassVar[ScoreKind] = "joint"
    reads_job_type: ClassVar[bool] = True
    config: TransformerConfig

    def build_module(self) -> nn.Module:
        """The module of this configuration."""
        return TransformerModule(self.config, self.context)
