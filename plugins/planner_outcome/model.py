"""The learnt model: compact features to the four heads, the shared scalars, the effects; as arrays in one ``.npz``."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_outcome.actions import ActionTable
from planner_outcome.additive import Additive
from planner_outcome.compose import Expected, compose
from planner_outcome.core import DataError, SparseFeatures
from planner_outcome.features import Block, FeatureMap, Units
from planner_outcome.residuals import Effects, adjust
from planner_outcome.state import HEADS, Floats, Physics

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class OutcomeModel:
    """``weights`` float64 [features, 4] and ``biases`` float64 [4] of the heads: quality, log minutes, log USD per
    candidate, log USD per minute."""

    features: FeatureMap
    weights: Floats
    biases: Floats
    physics: Physics
    effects: Effects
    additive: Additive

    def heads(self, rows: SparseFeatures, job_type: NDArray[np.int64]) -> Floats:
        """The heads of each row, float64 [n, 4]."""
        return self.features.features(rows, job_type) @ self.weights + self.biases

    def structural(self, rows: SparseFeatures, job_type: NDArray[np.int64], table: ActionTable) -> Expected:
        """Expected outcomes before the effects."""
        return compose(self.heads(rows, job_type), job_type, self.physics, table)

    def expected(self, rows: SparseFeatures, job_type: NDArray[np.int64], table: ActionTable) -> Expected:
        """Expected outcomes, float64 [n, 150] each."""
        return self.of_features(self.features.features(rows, job_type), job_type, table)

    def of_features(self, x: Floats, job_type: NDArray[np.int64], table: ActionTable) -> Expected:
        """Expected outcomes of rows whose compact features are ``x`` float64 [n, features]."""
        structural = compose(x @ self.weights + self.biases, job_type, self.physics, table)
        return self.additive.blend(adjust(structural, job_type, self.effects), x, job_type)

    def save(self, path: Path) -> None:
        """Write all arrays to ``path``, uncompressed and without pickle."""
        arrays: dict[str, Any] = {"weights": self.weights, "biases": self.biases}
        for name, block in self.features.blocks.items():
            arrays |= {f"block.{name}.{f.name}": np.asarray(getattr(block, f.name)) for f in fields(Block)}
        units = self.features.units
        arrays |= {f"units.{name}": getattr(units, name) for name in ("positions", "weight", "bias", "feature")}
        arrays["units.names"] = np.array(list(units.widths))
        arrays["units.widths"] = np.array(list(units.widths.values()), np.int64)
        if self.features.expected is not None:
            arrays["expected"] = self.features.expected
        arrays |= {f"physics.{f.name}": np.asarray(getattr(self.physics, f.name)) for f in fields(Physics)}
        arrays |= {f"effects.{name}": values for name, values in self.effects._asdict().items()}
        arrays |= {f"additive.{name}": values for name, values in self.additive.effects._asdict().items()}
        arrays |= {f"additive.{name}": getattr(self.additive, name) for name in ("weights", "biases", "share")}
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path, d_in: int) -> OutcomeModel:
        """Read what :meth:`save` wrote; raises :class:`DataError` for anything else."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            model = cls._of(arrays)
        except UNREADABLE as problem:
            reason = (str(problem) or type(problem).__name__).splitlines()[0]
            raise DataError(str(path), expected=f"what the outcome policy learnt ({reason})") from None
        width = len(model.features.blocks["fixed"].column)
        if width != d_in:
            raise DataError(str(path), found=f"a model of {width} features", expected=f"one of {d_in}")
        return model

    @classmethod
    def _of(cls, arrays: dict[str, Any]) -> OutcomeModel:
        names = [key.split(".")[1] for key in arrays if key.startswith("block.") and key.endswith(".column")]
        blocks = {
            name: Block(
                arrays[f"block.{name}.column"],
                arrays[f"block.{name}.scale"],
                arrays[f"block.{name}.weight"],
                float(arrays[f"block.{name}.base"]),
                int(arrays[f"block.{name}.width"]),
            )
            for name in names
        }
        widths = dict(zip(arrays["units.names"].tolist(), arrays["units.widths"].tolist(), strict=True))
        of_units = (arrays[f"units.{name}"] for name in ("positions", "weight", "bias", "feature"))
        positions, weight, bias, feature = of_units
        units = Units(positions, weight, bias, feature, widths)
        scalars = {f.name: arrays[f"physics.{f.name}"] for f in fields(Physics)}
        numbers: dict[str, Any] = {name: v if v.ndim else float(v) for name, v in scalars.items()}
        physics = Physics(**numbers)
        feature_map = FeatureMap(blocks, units, arrays.get("expected"))
        if arrays["weights"].shape != (sum(feature_map.widths.values()), len(HEADS)):
            raise ValueError(f"weights of shape {arrays['weights'].shape}")
        effects, of_additive = (
            Effects(*(arrays[f"{group}.{name}"] for name in Effects._fields)) for group in ("effects", "additive")
        )
        additive = Additive(
            arrays["additive.weights"], arrays["additive.biases"], of_additive, float(arrays["additive.share"])
        )
        return cls(feature_map, arrays["weights"], arrays["biases"], physics, effects, additive)
