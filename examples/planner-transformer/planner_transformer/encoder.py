"""Attention and what follows it: pre-norm blocks (Xiong et al., ICML 2020), the last of which moves one token only."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

ABSENT = -1e9
"""Added to the attention score of a token that is not there; its weight is then exactly 0."""


class Block(nn.Module):
    """Multi-head attention and a feedforward layer, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int, d_feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, 1.0 / math.sqrt(width // heads)
        self.norm_attention, self.norm_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.mix = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, d_feedforward), nn.Linear(d_feedforward, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, bias: Tensor, first_only: bool) -> Tensor:
        """Tokens float32 [n, count, width] after the block, or only the first of them, [n, 1, width].

        ``bias`` float32 [n, 1, 1, count] is added to the attention scores.
        """
        normal = self.norm_attention(tokens)
        asking = normal[:, :1] if first_only else normal
        scores = self._split(self.query(asking)) @ self._split(self.key(normal)).transpose(-1, -2)
        weights = torch.softmax(scores * self.scale + bias, dim=-1)
        found = (weights @ self._split(self.value(normal))).transpose(1, 2).flatten(2)
        tokens = (tokens[:, :1] if first_only else tokens) + self.dropout(self.mix(found))
        inner = functional.gelu(self.expand(self.norm_feedforward(tokens)))
        moved: Tensor = tokens + self.dropout(self.contract(inner))
        return moved

    def _split(self, tokens: Tensor) -> Tensor:
        """[n, count, width] -> [n, heads, count, width / heads]."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Encoder(nn.Module):
    """Blocks over tokens; what is read out is the first token, the issue, after it has looked at the others."""

    def __init__(self, width: int, layers: int, heads: int, d_feedforward: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, d_feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """float32 [n, width] for tokens float32 [n, count, width], present bool [n, count]."""
        bias = (~present).float()[:, None, None, :] * ABSENT
        for i, block in enumerate(self.blocks):
            # Of the last block nothing is read but the token, so nothing else is computed.
            tokens = block(tokens, bias, first_only=i == len(self.blocks) - 1)
        read: Tensor = self.norm(tokens[:, 0])
        return read
