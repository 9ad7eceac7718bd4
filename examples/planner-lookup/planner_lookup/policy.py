"""The ``lookup`` policy: one row of scores a cell."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from planner_core import (
    HEADS,
    ActionSpace,
    Batch,
    DataError,
    EpochReport,
    Examples,
    FitReport,
    PlannerError,
    PolicyContext,
    ScoreKind,
    Scores,
    TrainingSession,
    decide,
)
from planner_lookup.cells import FIELDS, KEYS, cells_of
from planner_lookup.config import LookupConfig
from planner_lookup.estimate import label_scores, utility_scores

if TYPE_CHECKING:
    import onnx

FILE, READABLE = "lookup.npz", "lookup.csv"
UNFITTED = {"joint": 1.0}


class Lookup:
    """Scores of all joint actions, read from a table; all equal before :meth:`fit`."""

    score_kind: ClassVar[ScoreKind] = "joint"

    def __init__(self, config: LookupConfig, context: PolicyContext) -> None:
        self.config, self.context = config, context
        self.table = np.zeros((len(KEYS), len(context.action_space.actions)), np.float32)
        self.seen = np.zeros(len(KEYS), np.int64)

    def fit(self, session: TrainingSession) -> FitReport:
        """Count; one pass over the training examples, nothing random."""
        train, shrinkage = session.train, self.config.shrinkage
        utility = self._utility(session)
        if utility is None:
            self.table = label_scores(train, self.context.action_space, shrinkage)
        else:
            self.table = utility_scores(train, utility, shrinkage)
        self.seen = np.bincount(cells_of(train.batch()), minlength=len(KEYS))
        (loss, _), (valid_loss, exact) = self._judge(train), self._judge(session.valid)
        assert loss is not None
        report = EpochReport(1, 1, loss, valid_loss, exact, best=True)
        session.on_epoch(report)
        notes = [
            f"{int((self.seen > 0).sum())} of {len(KEYS)} cells have training examples; "
            + ("chosen by label frequency" if utility is None else "chosen by mean utility")
        ]
        if utility is None and train.outcomes is None:
            notes.append("the labels are what was done, and are imitated, whatever came of it")
        elif utility is not None and train.outcomes is None:
            notes.append("utilities of all actions are imputed from what came of those that were run")
        return FitReport([report], 1, notes=notes)

    def _utility(self, session: TrainingSession) -> NDArray[np.float32] | None:
        """Utilities of the training examples, float32 [n, n_joint]; None where it is the labels that are to be learnt.

        Raises :class:`PlannerError` for ``objective=utility`` where nothing is known.
        """
        wanted = self.config.objective
        if wanted == "label" or (wanted == "auto" and session.objective == "label"):
            return None
        utility = session.utilities(session.train)
        if utility is not None and not np.isnan(utility).all():
            return utility
        if wanted == "utility":
            raise PlannerError("objective=utility needs outcomes, of candidate actions or of runs, and there are none")
        return None

    def _judge(self, examples: Examples) -> tuple[float | None, float | None]:
        """Negative log-likelihood of the labels in nats and exact match; None where there are no examples."""
        if not len(examples):
            return None, None
        decision = decide(self.predict(examples.batch()), examples.job_type, UNFITTED, self.context.action_space)
        of_label = decision.action_probs[np.arange(len(examples)), examples.action]
        loss = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean()
        return float(loss), float((decision.action == examples.action).mean())

    def predict(self, batch: Batch) -> Scores:
        """The rows of the table that the inputs fall on."""
        return {"joint": self.table[cells_of(batch)]}

    def save(self, directory: Path) -> None:
        """Write the table, and beside it the decision of every cell for people to read."""
        np.savez_compressed(directory / FILE, table=self.table, seen=self.seen)
        (directory / READABLE).write_text(
            readable(self.table, self.seen, self.context.action_space), "utf-8", newline="\n"
        )

    def load(self, directory: Path) -> None:
        """Read the table; :class:`DataError` for a file that is not one of this action space."""
        path = directory / FILE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                table, seen = arrays["table"], arrays["seen"]
        except OSError as problem:
            raise DataError(str(path), expected=f"a readable table ({problem.strerror})") from None
        except Exception as problem:  # NumPy and zipfile raise KeyError, ValueError, BadZipFile and more
            raise DataError(str(path), expected=f"a table of this policy ({problem})") from None
        if table.shape != self.table.shape or table.dtype != np.float32 or not np.isfinite(table).all():
            raise DataError(
                str(path),
                found=f"{table.dtype} {list(table.shape)}",
                expected=f"finite float32 {list(self.table.shape)}: cells, joint actions",
            )
        # People will read the text and believe it, and some will edit it.
        beside = directory / READABLE
        if not beside.is_file() or beside.read_text(errors="replace") != readable(
            table, seen, self.context.action_space
        ):
            raise DataError(str(beside), expected=f"what {FILE} says; it is there to be read, not to be edited")
        self.table, self.seen = table, seen

    def export_scorer(self) -> onnx.ModelProto:
        """The table and the look-up as a graph."""
        from planner_lookup.graph import build_scorer

        return build_scorer(self.table, self.context.encoder.d_in)


def readable(table: NDArray[np.float32], seen: NDArray[np.int64], space: ActionSpace) -> str:
    """The decision of every cell as CSV: the cell, its number of training examples, and the action."""
    action = decide({"joint": table}, KEYS[:, 0], UNFITTED, space).action
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow([*FIELDS, "examples", *HEADS])
    for key, count, chosen in zip(KEYS, seen, action, strict=True):
        names = [values[i] for values, i in zip(FIELDS.values(), key, strict=True)]
        rows.writerow([*names, count, *space.actions[chosen]])
    return stream.getvalue()
