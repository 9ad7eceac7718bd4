"""Units of time: how long each is, and the words that columns and cells have for it."""

from __future__ import annotations

UNITS_MS = {"ms": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3, "d": 86400e3}
UNIT_WORDS = {
    "ms": "ms msec msecs millis milliseconds",
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
}
"""By which columns are known; a day is no unit of a column."""

CELL_UNITS_MS = {
    word: UNITS_MS[unit]
    for unit, words in {"ms": "ms", "s": UNIT_WORDS["s"], "min": UNIT_WORDS["min"] + " m", "h": UNIT_WORDS["h"]}.items()
    for word in words.split()
} | dict.fromkeys(("d", "day", "days"), UNITS_MS["d"])
"""Milliseconds by the word behind a number in a cell; an ``m`` is minutes there."""
