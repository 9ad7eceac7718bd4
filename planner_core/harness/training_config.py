"""Training options shared by every policy that the torch loop trains."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from planner_core.search_space import IntegerRange, OneOf, RealRange, SearchSpace

Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Device = Literal["auto", "cpu", "cuda", "mps"]
Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]


class HeadWeights(Struct, frozen=True, forbid_unknown_fields=True):
    """Weight of each head in the loss."""

    swarm: NonNegative = 1.0
    candidates: NonNegative = 1.0
    minutes: NonNegative = 1.0
    iterations: NonNegative = 1.0


class TrainingConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """AdamW, cosine annealing from ``lr`` to ``lr_min`` over ``epochs``, early stopping after ``patience`` epochs.

    ``objective`` "label" imitates the labels: cross-entropy with ``label_smoothing``, ``class_weighting`` by training
    frequency and focal modulation ``focal_gamma``; stopped on validation exact match. "utility" maximises the expected
    utility of the chosen action plus ``utility_temperature`` times its entropy; stopped on validation utility. Where
    only the outcomes of what was run are known, it is of utilities imputed by an outcome model. "auto" is "label" where
    the labels are the best of expected outcomes, or where nothing is known of outcomes; else it is "utility".

    ``device`` is where a training computes: "cpu", an NVIDIA card ("cuda"), an Apple one ("mps"), or "auto", the first
    there is of cuda, mps and cpu. One that is not there is an error. What is written is of the CPU and loads anywhere.

    ``threads`` is torch's intra-op parallelism. A second thread gains about a tenth on an idle machine and loses
    everything on a busy one, where each small operation waits for a core; one thread also sums in one order everywhere.
    """

    epochs: Positive = 12
    batch_size: Positive = 64
    lr: Annotated[float, Meta(gt=0.0)] = 1e-3
    lr_min: NonNegative = 1e-6
    weight_decay: NonNegative = 0.01
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    patience: Positive = 10
    gradient_clip: Annotated[float, Meta(gt=0.0)] = 1.0
    dropout: Fraction = 0.1
    objective: Literal["auto", "label", "utility"] = "auto"
    utility_temperature: Annotated[float, Meta(gt=0.0)] = 0.1
    label_smoothing: Fraction = 0.1
    class_weighting: Literal["none", "sqrt", "balanced"] = "none"
    focal_gamma: NonNegative = 0.0
    head_weights: HeadWeights = HeadWeights()
    device: Device = "cpu"
    threads: Positive = 1


class TrunkConfig(TrainingConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A multilayer perceptron of widths d_hidden, d_hidden / 2, ... over ``n_layers``, and how it is trained."""

    d_hidden: Positive = 512
    n_layers: Annotated[int, Meta(ge=1, le=8)] = 3

    def __post_init__(self) -> None:
        if self.d_hidden >> (self.n_layers - 1) < 1:
            raise ValueError(f"d_hidden {self.d_hidden} cannot be halved {self.n_layers - 1} times")


TRUNK_SEARCH_SPACE: SearchSpace = {
    "lr": RealRange(1e-4, 1e-2, log=True),
    "epochs": IntegerRange(4, 40, log=True),
    "batch_size": OneOf((32, 64, 128, 256)),
    "weight_decay": RealRange(1e-4, 1e-1, log=True),
    "dropout": RealRange(0.0, 0.4),
    "label_smoothing": RealRange(0.0, 0.2),
    "utility_temperature": RealRange(0.02, 0.5, log=True),
    "d_hidden": OneOf((128, 256, 512, 1024)),
    "n_layers": IntegerRange(1, 4),
}
"""What a study of a :class:`TrunkConfig` may try; of ``label_smoothing`` and ``utility_temperature`` one is read."""
