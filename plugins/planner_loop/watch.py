"""``planner watch``: whether a model that decides still does what it was promoted for (SPEC section 15)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner_core import hookimpl

if TYPE_CHECKING:
    from planner_loop.watch_report import WatchReport

__all__ = ["WINDOW_HOURS", "planner_register_commands", "watch"]

WINDOW_HOURS = 168.0
"""A week: the longest time, unless another is said, from an issue's first decision to the start of its last attempt."""
TOLERANCE = 0.05
"""Error of the predicted pass rate up to which predictions count as honest."""
MOST_FALLBACKS = 0.5
"""Share of the decisions in the model's arms that may be the baseline's."""


@hookimpl
def planner_register_commands(app: Any) -> None:
    """Register ``planner watch``."""
    from planner_loop.watch_command import watch as command

    app.command("watch")(command)


def watch(
    decisions: Path | Sequence[Path],
    runs: Path | Sequence[Path],
    bundle: Path,
    *,
    window_hours: float = WINDOW_HOURS,
    value: Sequence[str] = (),
    tolerance: float = TOLERANCE,
    most_fallbacks: float = MOST_FALLBACKS,
) -> WatchReport:
    """What happened since ``bundle`` decides: realised against predicted, A/B, fallbacks, drift.

    ``decisions`` are decision logs or directories of them, ``runs`` files of ``run_summary.v1``. ``window_hours`` is
    the longest time from an issue's first decision to the start of its last attempt. ``value`` gives outcomes another
    worth than the bundle decides by ("pass=3"). The model is stale where the A/B shows it to be worse, where the
    predicted pass rate is off by more than ``tolerance`` beyond doubt, where inputs shifted, or where more than
    ``most_fallbacks`` of its decisions fell back.

    Raises :class:`planner_core.DataError` for files that do not fit, :class:`planner_core.BundleError` for a bundle
    that cannot be read, :class:`planner_core.ConfigError` for options that are none, and
    :class:`planner_core.MissingExtra` without the ``watch`` extra.
    """
    import numpy as np

    from planner_core import (
        Batch,
        ConfigError,
        InputCounts,
        PlannerInputEncoder,
        convert,
        input_counts,
        parse_value,
        read_bundle,
        weight_table,
        weights_document,
    )
    from planner_loop.history import read_history
    from planner_loop.watch_report import Limits, Watched, judge

    if not 0 < window_hours < 1e6:
        raise ConfigError(f"window hours: found {window_hours:g}; expected more than 0, and less than a million")
    for name, share in (("tolerance", tolerance), ("most fallbacks", most_fallbacks)):
        if not 0 <= share <= 1:
            raise ConfigError(f"{name}: found {share:g}; expected a share from 0 to 1")
    opened = read_bundle(bundle)
    place = f"{bundle}, metadata.json"
    own = weight_table(opened.metadata.get("utility"), place)
    given = parse_value(value, own)
    weights = own if given is None else given
    trained = opened.metadata.get("inputs")
    counts = None if trained is None else convert(trained, InputCounts, place)
    checkpoint_id = opened.digest[:16]
    history = read_history(_listed(decisions), _listed(runs), checkpoint_id)
    seen = None
    if counts is not None:
        batch = Batch.from_inputs(history.inputs, PlannerInputEncoder(opened.encoder))
        tags = counts.groups.get("tags", {})
        seen = input_counts(batch.features, batch.job_type.astype(np.int64), opened.encoder, tags)
    watched = Watched(str(bundle), str(opened.metadata["policy"]), checkpoint_id, counts)
    limits = Limits(tolerance, most_fallbacks)
    window_ms = round(window_hours * 3_600_000)
    return judge(history, watched, seen, weights, weights_document(weights), window_ms, limits)


def _listed(paths: Path | Sequence[Path]) -> list[Path]:
    return [paths] if isinstance(paths, Path) else list(paths)
