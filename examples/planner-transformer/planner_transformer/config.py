"""Configuration of the ``transformer`` policy."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from planner_core import TrainingConfig

Positive = Annotated[int, Meta(ge=1)]


class TransformerConfig(TrainingConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The encoder's shape, and how it is trained.

    ``d_model`` is the width of a token, ``d_feedforward`` that of the layer between two blocks' tokens, ``d_readout``
    that of the last hidden layer, which reads the issue's token.
    """

    d_model: Positive = 128
    n_layers: Annotated[int, Meta(ge=1, le=8)] = 1
    n_heads: Positive = 4
    d_feedforward: Positive = 256
    d_readout: Positive = 128

    def __post_init__(self) -> None:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} must be a multiple of n_heads {self.n_heads}")
