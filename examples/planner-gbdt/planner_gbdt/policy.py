"""The ``gbdt`` policy: one boosted class for every whole action that the training examples show."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import lightgbm
import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import (
    Batch,
    DataError,
    EpochReport,
    FitReport,
    PolicyContext,
    ScoreKind,
    Scores,
    TrainingSession,
    read,
)
from planner_gbdt.config import GBDTConfig
from planner_gbdt.goals import goal_of
from planner_gbdt.growing import grow
from planner_gbdt.trees import raw_scores, scattered

if TYPE_CHECKING:
    import onnx

TREES, MANIFEST = "gbdt.txt", "gbdt.json"


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """``gbdt.json``: which joint actions the booster's classes stand for, and the hash of its file (null: no trees)."""

    classes: list[int]
    d_in: int
    trees_sha256: str | None


class GBDT:
    """A booster over the joint actions seen in training; a single action seen needs no trees."""

    score_kind: ClassVar[ScoreKind] = "joint"

    def __init__(self, config: GBDTConfig, context: PolicyContext) -> None:
        self.config, self.context = config, context
        self.classes: NDArray[np.int64] = np.empty(0, np.int64)
        self.booster: lightgbm.Booster | None = None

    def fit(self, session: TrainingSession) -> FitReport:
        """Boost until the validation loss stops falling; keeps the rounds up to its lowest value."""
        goal = goal_of(self.config, session, self.context.action_space)
        self.classes, self.booster = goal.classes, None
        if len(self.classes) == 1:
            report = EpochReport(1, 1, 0.0, best=True)
            session.on_epoch(report)
            note = "a single action in training: nothing to learn, no trees"
            return FitReport([report], 1, notes=[*goal.notes, note])
        self.booster, report = grow(self.config, self.context, session, goal)
        return report

    def predict(self, batch: Batch) -> Scores:
        """Sums of leaves for the actions that training showed, :data:`UNSEEN` for the others."""
        if self.booster is None:
            raw = np.zeros((len(batch), len(self.classes)), np.float32)
        else:
            raw = raw_scores(self.booster, batch.features, self.config.threads)
        return {"joint": scattered(raw, self.classes, len(self.context.action_space.actions))}

    def save(self, directory: Path) -> None:
        """Write the booster in LightGBM's own text format, and what its classes stand for."""
        digest = None
        if self.booster is not None:
            text = self.booster.model_to_string().encode()
            (directory / TREES).write_bytes(text)
            digest = hashlib.sha256(text).hexdigest()
        manifest = Manifest(self.classes.tolist(), self.context.encoder.d_in, digest)
        (directory / MANIFEST).write_bytes(msgspec.json.encode(manifest))

    def load(self, directory: Path) -> None:
        """Read what :meth:`save` wrote; :class:`DataError` where it is damaged or of another encoder."""
        path = directory / MANIFEST
        manifest = read(_bytes(path), Manifest, str(path))
        classes = np.array(manifest.classes, np.int64)
        count, d_in = len(self.context.action_space.actions), self.context.encoder.d_in
        if not len(classes) or (np.diff(classes) <= 0).any() or classes[0] < 0 or classes[-1] >= count:
            raise DataError(str(path), path="$.classes", expected=f"ascending joint actions below {count}")
        if manifest.d_in != d_in:
            raise DataError(str(path), path="$.d_in", found=str(manifest.d_in), expected=f"{d_in} features")
        self.classes, self.booster = classes, None
        if manifest.trees_sha256 is not None:
            trees = directory / TREES
            text = _bytes(trees)
            # A booster that lost its last lines would load all the same, with fewer trees.
            if hashlib.sha256(text).hexdigest() != manifest.trees_sha256:
                raise DataError(str(trees), expected=f"the trees whose hash {MANIFEST} has")
            self.booster = lightgbm.Booster(model_str=text.decode())

    def export_scorer(self) -> onnx.ModelProto:
        """The trees as a graph."""
        from planner_gbdt.graph import build_scorer

        space = self.context.action_space
        return build_scorer(self.booster, self.classes, self.context.encoder.d_in, len(space.actions))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise DataError(str(path), expected=f"a readable file ({problem.strerror})") from None
