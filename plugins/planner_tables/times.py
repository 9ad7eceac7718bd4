"""Times in a column: their form is found once, from many cells, and then read strictly."""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from planner_core import ConfigError
from planner_tables.cells import Unfit, number

# Where the times of each unit end and those of the next smaller one begin; milliseconds in one of it; its name.
_UNITS = (
    (1e10, 1e3, "seconds"),
    (1e13, 1.0, "milliseconds"),
    (1e16, 1e-3, "microseconds"),
    (1e19, 1e-6, "nanoseconds"),
)
_EARLIEST_MS, _LATEST_MS = 0, 7_258_118_400_000  # 1970, 2200
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(.*)\Z", re.DOTALL)
_DOTS = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(.*)\Z", re.DOTALL)
_HALF_DAY = re.compile(r"(.*[ T])(\d{1,2})(:\d{2}(?::\d{2})?) ?([AaPp])\.?[Mm]\.?\Z")
_NUMBER = re.compile(r"\d{8,20}(\.\d*)?\Z")

EXPECTED = "a time as 2026-11-24T14:30:00Z, or seconds or milliseconds since 1970"


def zone_of(name: str | None) -> datetime.tzinfo:
    """A time zone by its name or its distance from UTC; UTC where nothing is said."""
    if not name:
        return datetime.UTC
    if match := re.fullmatch(r"([+-])(\d{2}):?(\d{2})", name):
        sign = -1 if match[1] == "-" else 1
        minutes = sign * (int(match[2]) * 60 + int(match[3]))
        if abs(minutes) < 24 * 60:
            return datetime.timezone(datetime.timedelta(minutes=minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--set timezone={name}: expected a name as Europe/Berlin, or +02:00") from None


@dataclass(frozen=True)
class TimeForm:
    """How the times of a column are written. ``days_only``: without a time of the day; ``zoned``: with a time zone."""

    what: str
    read_ms: Callable[[Any], int]
    days_only: bool = False
    zoned: bool = True


def time_form(cells: Iterable[Any], zone: datetime.tzinfo) -> TimeForm:
    """The form of a column, from some of its cells that are not empty.

    Raises :class:`Unfit` where they are no times, or where it cannot be told whether a day or a month comes first.
    """
    some = list(cells)
    if not some:
        raise Unfit(EXPECTED)
    numeric = [_as_number(cell) for cell in some]
    if all(value is not None for value in numeric):
        return _epoch([value for value in numeric if value is not None])
    order = _order_of_slashes(some)
    found = [_parse(cell, order) for cell in some]
    zoned = all(moment.tzinfo is not None for moment in found)
    days = all(_is_day(cell) for cell in some)

    def read_ms(cell: Any) -> int:
        moment = _parse(cell, order)
        return _checked((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp() * 1000)

    return TimeForm("dates" if days else "dates and times", read_ms, days, zoned)


def check_time(cell: Any) -> None:
    """:class:`Unfit` for a cell that is no time by itself; one as 3/4/2026 is, whichever is the day."""
    if _as_number(cell) is not None:
        time_form([cell], datetime.UTC)
        return
    try:
        _parse(cell, "md")
    except Unfit:
        _parse(cell, "dm")


def _epoch(values: list[float]) -> TimeForm:
    largest = max(values)
    factor, unit = next(((factor, unit) for limit, factor, unit in _UNITS if largest < limit), (0.0, ""))
    if not unit or largest < 1e8:
        raise Unfit(EXPECTED)
    return TimeForm(f"{unit} since 1970", lambda cell: _checked(number(cell) * factor))


def _checked(milliseconds: float) -> int:
    if not _EARLIEST_MS <= milliseconds < _LATEST_MS:
        raise Unfit("a time from 1970 to 2200")
    return round(milliseconds)


def _as_number(cell: Any) -> float | None:
    if isinstance(cell, bool):
        return None
    if isinstance(cell, int | float):
        return float(cell)
    return float(cell) if isinstance(cell, str) and _NUMBER.match(cell.strip()) else None


def _order_of_slashes(cells: list[Any]) -> str:
    """``dm`` or ``md``, of dates as 3/4/2026; empty where there are none."""
    pairs = [(int(m[1]), int(m[2])) for cell in cells if isinstance(cell, str) and (m := _SLASHES.match(cell.strip()))]
    if not pairs:
        return ""
    first, second = (max(numbers) for numbers in zip(*pairs, strict=True))
    if first > 12 >= second:
        return "dm"
    if second > 12 >= first:
        return "md"
    raise Unfit("dates that tell day from month, as 2026-04-03")


def _parse(cell: Any, order: str) -> datetime.datetime:
    if not isinstance(cell, str):
        raise Unfit(EXPECTED)
    given = cell.strip()
    if match := _SLASHES.match(given):
        if not order:
            raise Unfit("dates that tell day from month, as 2026-04-03")
        day, month = (match[1], match[2]) if order == "dm" else (match[2], match[1])
        given = f"{match[3]}-{int(month):02}-{int(day):02}{match[4]}"
    elif match := _DOTS.match(given):
        given = f"{match[3]}-{int(match[2]):02}-{int(match[1]):02}{match[4]}"
    if match := _HALF_DAY.match(given):
        given = f"{match[1]}{_hour(match[2], match[4]):02}{match[3]}"
    elif match := re.fullmatch(r"(\S+ )(\d)(:\d{2}(?::\d{2})?)", given):
        given = f"{match[1]}0{match[2]}{match[3]}"
    given = re.sub(r"^(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3", given)
    given = re.sub(r" ?(?:UTC|GMT)$", "Z", given) if given[:1].isdigit() else given
    try:
        return datetime.datetime.fromisoformat(re.sub(r" (?=[+-]\d{2}:?\d{2}$)", "", given))
    except ValueError:
        pass
    try:
        return email.utils.parsedate_to_datetime(given)
    except (ValueError, TypeError, IndexError):
        raise Unfit(EXPECTED) from None


def _hour(written: str, half: str) -> int:
    """The hour of the day; ``12 AM`` is midnight."""
    hour = int(written)
    if not 1 <= hour <= 12:
        raise Unfit(EXPECTED)
    return hour % 12 + (12 if half in "Pp" else 0)


def _is_day(cell: Any) -> bool:
    return isinstance(cell, str) and ":" not in cell and "T" not in cell
