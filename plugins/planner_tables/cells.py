"""Single cells: what is empty, and text, numbers, durations, lists and booleans from what a cell holds."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, Literal

from planner_tables.units import CELL_UNITS_MS

EMPTY = frozenset({"", "na", "n/a", "nan", "none", "null", "nil", "-", "--", "unknown", "?"})
Mark = Literal[".", ","] | None
"""The decimal mark of a table; None where nothing has shown it."""
EITHER: Final = "either"
SAY_MARK = "--set decimal=point or --set decimal=comma"
_LONGEST_NUMBER = 64
_POINT_DECIMAL = re.compile(r"\d+\.\d*\Z")
_ONE_GROUP = re.compile(r"[1-9]\d{0,2}[.,]\d{3}\Z")
_BY_COMMAS = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?\Z")
_BY_POINTS = re.compile(r"[1-9]\d{0,2}(\.\d{3})+(,\d*)?\Z")
_COMMA_DECIMAL = re.compile(r"(?!\d{1,3}(,\d{3}){2,}\Z)\d+,\d+\Z")
_CLOCK = re.compile(r"(?:(\d{1,5}):)?(\d{1,5}):(\d{1,2}(?:\.\d+)?)\Z")
_PARTS = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(sorted(CELL_UNITS_MS, key=len, reverse=True))})\b\.?,?\s*")
_MAX_LIST = 256


class Unfit(ValueError):
    """A cell that cannot be read; the text is what was expected."""


def is_empty(cell: Any) -> bool:
    """Whether a cell says nothing."""
    if cell is None:
        return True
    if isinstance(cell, str):
        return len(cell) <= 8 and cell.strip().lower() in EMPTY
    return isinstance(cell, float) and math.isnan(cell)


def text(cell: Any) -> str:
    """A cell as text: whole numbers without a decimal point, ``true`` and ``false``."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, int | float):
        return str(cell)
    raise Unfit("text or a number")


def number(cell: Any, mark: Mark = ".") -> float:
    """A finite number >= 0; ``$`` before it and ``_`` or marks between thousands are let pass.

    ``mark`` is the decimal mark of the table; where it is not known, a cell that needs it is refused.
    """
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        value = float(cell)
    elif isinstance(cell, str):
        value = _written(cell.strip().removeprefix("$").strip(), mark)
    else:
        raise Unfit("a number")
    if not math.isfinite(value) or value < 0:
        raise Unfit("a number >= 0")
    return value


def _written(plain: str, mark: Mark) -> float:
    """A number as text."""
    if mark is None:
        if mark_of(plain) is EITHER:
            raise Unfit(f"a number that says which mark is decimal: {SAY_MARK}")
        mark = "."
    if mark == ",":
        if "." in plain and not _BY_POINTS.match(plain):
            raise Unfit("a number, with a comma for decimals as elsewhere in this table")
        plain = plain.replace(".", "").replace(",", ".")
    elif _BY_COMMAS.match(plain):
        plain = plain.replace(",", "")
    try:
        return float(plain)
    except ValueError:
        raise Unfit("a number, with a point for decimals") from None


def mark_of(cell: Any) -> Literal[".", ",", "either"] | None:
    """Which decimal mark a cell of a number shows; ``1.234`` may be either, and most cells show none."""
    if not isinstance(cell, str) or len(cell) > _LONGEST_NUMBER:
        return None
    plain = cell.strip().removeprefix("$").removesuffix("%").strip()
    if _ONE_GROUP.match(plain):
        return EITHER
    if _BY_POINTS.match(plain) or _COMMA_DECIMAL.match(plain):
        return ","
    return "." if _BY_COMMAS.match(plain) or _POINT_DECIMAL.match(plain) else None


def whole(cell: Any, mark: Mark = ".") -> int:
    """A whole number >= 0."""
    value = number(cell, mark)
    if value != int(value):
        raise Unfit("a whole number")
    return int(value)


def probability(cell: Any, mark: Mark = ".") -> float:
    """A number from 0 to 1; ``25 %`` is 0.25."""
    if isinstance(cell, str) and cell.strip().endswith("%"):
        value = number(cell.strip()[:-1].strip(), mark) / 100
    else:
        value = number(cell, mark)
    if value > 1:
        raise Unfit("a probability, from 0 to 1")
    return value


def seconds(cell: Any) -> float:
    """A duration that says its unit: ``1:02:03``, ``1h 2m 3s``, ``90 min``."""
    given = cell.strip().lower() if isinstance(cell, str) else ""
    if clock := _CLOCK.match(given):
        hours, minutes, rest = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(rest)
    total, at = 0.0, 0
    for part in _PARTS.finditer(given):
        if part.start() != at:
            break
        total += float(part[1]) * CELL_UNITS_MS[part[2]] / 1e3
        at = part.end()
    if not given or at != len(given):
        raise Unfit("a duration as 1:02:03 or 1h 2m 3s")
    return total


def listed(cell: Any) -> list[str]:
    """A list, or text with its entries between ``,``, ``;`` or ``|``, or a JSON array as text."""
    if isinstance(cell, str):
        plain = cell.strip()
        if plain.startswith("["):
            try:
                cell = json.loads(plain)
            except (ValueError, RecursionError):
                raise Unfit("a list of words") from None
        else:
            cell = re.split(r"[,;|]", plain)
    if not isinstance(cell, list):
        cell = [cell]
    found = list(dict.fromkeys(text(item) for item in cell if not is_empty(item)))
    if len(found) > _MAX_LIST:
        raise Unfit(f"at most {_MAX_LIST} entries")
    return found


def distribution(cell: Any) -> dict[str, float]:
    """``{"swarm|candidates|minutes|iterations": probability}``, as an object or as its JSON text."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise Unfit("a JSON object") from None
    if not isinstance(cell, dict):
        raise Unfit('an object {"swarm|candidates|minutes|iterations": probability}')
    return {str(key): probability(value) for key, value in cell.items() if value is not None}
