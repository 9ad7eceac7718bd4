"""Years side by side: a table and a picture of what the three ways to plan came to.

    python examples/loop/report.py work/year-*/year.json --picture year.svg

Figures are means of an issue, all its attempts summed; standard errors are over the years (seeds), from the paired
differences of whole years, so that what all three ways shared in a year cancels.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARMS = {"rules": "the rules", "once": "trained once", "loop": "the loop"}
COLOURS = {"rules": "#7f7f7f", "once": "#d95f02", "loop": "#1b9e77"}
FIGURES = ("passed", "usd", "utility", "expected")

Floats = NDArray[np.float64]


def monthly(years: list[dict[str, Any]], arm: str, figure: str) -> Floats:
    """Means of an issue, float64 [years, months]."""
    return np.array([[float(np.mean(month)) for month in year["arms"][arm][figure]] for year in years])


def whole(years: list[dict[str, Any]], arm: str, figure: str) -> Floats:
    """Means of an issue over a whole year but its first month, in which all are alike; float64 [years]."""
    return np.array([float(np.mean(np.concatenate(year["arms"][arm][figure][1:]))) for year in years])


def mean_and_error(values: Floats) -> tuple[float, float]:
    """Mean over years and its standard error; NaN of a single year."""
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def said(values: Floats, form: str = "+.3f") -> str:
    """A mean and its standard error."""
    mean, error = mean_and_error(values)
    return f"{mean:{form}} ± {error:{form.removeprefix('+')}}" if np.isfinite(error) else f"{mean:{form}}"


def tables(years: list[dict[str, Any]]) -> str:
    """The years as Markdown: each way over the year, the loop's differences, and month by month."""
    lines = [
        "| | passed, of 100 issues | USD an issue | USD a pass | utility an issue | by the hidden truth |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for arm, name in ARMS.items():
        passed, usd, utility, expected = (whole(years, arm, figure) for figure in FIGURES)
        lines.append(
            f"| {name} | {mean_and_error(100 * passed)[0]:.1f} | {mean_and_error(usd)[0]:.2f} | "
            f"{mean_and_error(usd / passed)[0]:.2f} | {mean_and_error(utility)[0]:.3f} | "
            f"{mean_and_error(expected)[0]:.3f} |"
        )
    for other in ("rules", "once"):
        gaps = [whole(years, "loop", figure) - whole(years, other, figure) for figure in FIGURES]
        spent = [whole(years, arm, "usd") / whole(years, arm, "passed") for arm in ("loop", other)]
        lines.append(
            f"| **the loop minus {ARMS[other]}** | {said(100 * gaps[0], '+.1f')} | {said(gaps[1], '+.2f')} | "
            f"{said(spent[0] - spent[1], '+.2f')} | {said(gaps[2])} | {said(gaps[3])} |"
        )
    names = list(ARMS.values())
    lines += [
        "",
        f"| month | utility an issue: {', '.join(names)} | passed, of 100 | USD an issue | loop minus once | promoted "
        "| stale |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for month in range(years[0]["months"]):
        cells = []
        for figure, scale, form in (("utility", 1, ".2f"), ("passed", 100, ".0f"), ("usd", 1, ".2f")):
            cells.append(", ".join(f"{scale * monthly(years, arm, figure)[:, month].mean():{form}}" for arm in ARMS))
        gap = monthly(years, "loop", "utility")[:, month] - monthly(years, "once", "utility")[:, month]
        events = [year["events"][month] for year in years]
        counts = (sum(bool(event.get(key)) for event in events) for key in ("promoted", "stale"))
        lines.append(f"| {month + 1} | {' | '.join(cells)} | {said(gap)} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def picture(years: list[dict[str, Any]], out: Path) -> None:
    """Utility, passes and USD by month, one line a way; bands are standard errors over the years."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "loop"  # the same years, the same bytes
    panels = (
        ("utility", 1.0, "utility an issue"),
        ("passed", 100.0, "passed, of 100 issues"),
        ("usd", 1.0, "USD an issue"),
    )
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    months = np.arange(1, years[0]["months"] + 1)
    for axis, (key, scale, label) in zip(axes, panels, strict=True):
        for arm, name in ARMS.items():
            values = scale * monthly(years, arm, key)
            mean = values.mean(axis=0)
            axis.plot(months, mean, color=COLOURS[arm], label=name, marker="o", markersize=3)
            if len(years) > 1:
                error = values.std(axis=0, ddof=1) / np.sqrt(len(years))
                axis.fill_between(months, mean - error, mean + error, color=COLOURS[arm], alpha=0.15, linewidth=0)
        axis.set_xlabel("month")
        axis.set_ylabel(label)
        axis.set_xticks(months)
        axis.spines[["top", "right"]].set_visible(False)
        if not years[0]["steady"]:
            for month in (4, 7, 10):
                axis.axvline(month - 0.5, color="#bbbbbb", linewidth=0.8, linestyle=":")
    axes[0].legend(frameon=False)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
    pyplot.close(figure)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compare simulated years.")
    parser.add_argument("years", nargs="+", type=Path, help="year.json files of the same months and size")
    parser.add_argument("--picture", type=Path, help="SVG or PNG to write")
    options = parser.parse_args(argv)
    years = [json.loads(path.read_text()) for path in options.years]
    if len({(year["months"], year["steady"]) for year in years}) != 1:
        parser.error("the years differ in months or in what changes; compare like with like")
    print(tables(years))
    if options.picture is not None:
        picture(years, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
