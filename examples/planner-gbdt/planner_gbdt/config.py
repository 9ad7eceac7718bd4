"""Configuration of the ``gbdt`` policy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Share = Annotated[float, Meta(gt=0.0, le=1.0)]


class GBDTConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the trees are grown; the names are LightGBM's, except for those that say when to stop.

    Up to ``rounds`` rounds of one tree a class, stopped when the validation loss has not improved for ``patience``
    rounds; without validation examples ``blind_rounds`` rounds.

    ``objective`` "label" learns the labels, "utility" maximises the expected utility of the chosen action plus
    ``utility_temperature`` times its entropy; "auto" is "label" where the labels are the best of expected outcomes, or
    where nothing else is known, and "utility" elsewhere.
    """

    objective: Literal["auto", "label", "utility"] = "auto"
    utility_temperature: Annotated[float, Meta(gt=0.0)] = 0.1

    rounds: Positive = 600
    patience: Positive = 30
    blind_rounds: Positive = 100
    learning_rate: Share = 0.1
    num_leaves: Annotated[int, Meta(ge=2, le=256)] = 7
    min_data_in_leaf: Positive = 20
    feature_fraction: Share = 0.5
    bagging_fraction: Share = 0.8
    lambda_l2: NonNegative = 1.0
    threads: Positive = 1

    def lightgbm(self, classes: int, seed: int) -> dict[str, Any]:
        """LightGBM's parameters for this many classes; the same seed grows the same trees."""
        return {
            "num_class": classes,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_data_in_leaf,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
            "lambda_l2": self.lambda_l2,
            "num_threads": self.threads,
            "seed": seed % 2**31,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
