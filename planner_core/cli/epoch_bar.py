"""The progress bar of a training, as any plugin could have brought it: a training callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from planner_core.plugins.hookspecs import hookimpl
from planner_core.plugins.records import TrainingCallback

if TYPE_CHECKING:
    from rich.progress import Progress

    from planner_core.plugins.records import TrainingRun
    from planner_core.training import EpochReport


class EpochBar(TrainingCallback):
    """A bar over epochs: loss, validation exact match, examples per second, time left. Only where somebody watches."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def on_train_begin(self, run: TrainingRun) -> None:
        """Draw an empty bar."""
        if not run.show_progress:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        from planner_core.cli.console import err

        columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=err)
        self._task = self._bar.add_task("starting", total=None)
        self._bar.start()

    def on_epoch_end(self, report: EpochReport) -> None:
        """Move it on."""
        if self._bar is None:
            return
        parts = [f"loss {report.train_loss:.4f}"]
        if report.valid_exact_match is not None:
            parts.append(f"val exact match {report.valid_exact_match:.4f}")
        if report.examples_per_second is not None:
            parts.append(f"{report.examples_per_second:,.0f} ex/s")
        if report.seconds_left is not None:
            parts.append(f"at most {_clock(report.seconds_left)} left")
        self._bar.update(self._task, total=report.epochs, completed=report.epoch, description="  ".join(parts))

    def on_train_end(self, results: Mapping[str, Any]) -> None:
        """Leave the last state on the terminal."""
        self._stop()

    def on_train_failed(self, problem: BaseException) -> None:
        """Give the terminal back before the error is printed."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


@hookimpl
def planner_training_callbacks(register: Callable[[TrainingCallback], None]) -> None:
    """Register the bar."""
    register(EpochBar())
