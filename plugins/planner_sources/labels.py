"""What the labels of an issue say of it: rules by name, which the user can change label by label."""

from __future__ import annotations

import re
from collections.abc import Sequence

from planner_core import PRIORITIES, RISKS, SIZES, ConfigError, LogReading

COLUMN = "labels"
TAG, IGNORE = "tag", "ignore"
FIELDS = {"dk_priority": PRIORITIES, "dk_risk": RISKS, "dk_size": SIZES, "dk_tool_hint": None}

_WORDS = {
    "dk_priority": {
        "P0": "critical urgent highest blocker p0",
        "P1": "high important p1",
        "P2": "medium normal moderate p2",
        "P3": "low lowest minor trivial backlog p3 p4",
    },
    "dk_risk": {risk: risk for risk in RISKS},
    "dk_size": {
        "XS": "xs tiny trivial",
        "S": "s small",
        "M": "m medium",
        "L": "l large big",
        "XL": "xl xxl huge epic",
    },
}
_GROUPS = {
    "dk_priority": ("priority", "prio", "severity", "sev"),
    "dk_risk": ("risk",),
    "dk_size": ("size", "effort", "complexity", "estimate"),
    "dk_tool_hint": ("agent", "tool", "model"),
}
_ALONE = {
    **{f"p{n}": ("dk_priority", f"P{min(n, 3)}") for n in range(5)},
    **{f"sev{n}": ("dk_priority", f"P{min(n, 3)}") for n in range(5)},
    **{word: ("dk_priority", "P0") for word in ("urgent", "blocker", "critical")},
    **{word: ("dk_risk", "high") for word in ("security", "breaking change")},
    **{size.lower(): ("dk_size", size) for size in SIZES if len(size) == 2},
    "good first issue": ("dk_size", "S"),
    "epic": ("dk_size", "XL"),
}
_SPLIT = re.compile(r"\s*[:/=]\s*|\s+-\s+|-(?=[^-]+$)")


def meaning_of(label: str) -> str:
    """By the rules: ``dk_priority:P0``, ``dk_risk:high``, ``dk_size:L``, ``dk_tool_hint:claude``, or ``tag``.

    A name of two parts counts by its group (``priority: high``, ``size/L``, ``agent:codex``), one of a single part
    where it is unmistakable (``p1``, ``urgent``, ``security``, ``epic``); anything else is a tag.
    """
    plain = re.sub(r"[\s_]+", " ", label.strip().lower())
    if plain in _ALONE:
        return ":".join(_ALONE[plain])
    group, *rest = _SPLIT.split(plain, maxsplit=1)
    for name, groups in _GROUPS.items():
        if rest and group in groups:
            if name == "dk_tool_hint":
                return f"{name}:{rest[0]}"
            return next((f"{name}:{to}" for to, words in _WORDS[name].items() if rest[0] in words.split()), TAG)
    return TAG


def read_labels(names: Sequence[str], reading: LogReading) -> dict[str, object]:
    """The planning fields of an issue with these labels, ``tags`` among them; told to the account.

    Where labels say several of one field the most urgent, riskiest or largest counts. Raises :class:`ConfigError` for
    a meaning of the user's that is none.
    """
    found: dict[str, str] = {}
    tags: list[str] = []
    for label in names:
        said = reading.mapping.meaning(COLUMN, label)
        meaning = said if said is not None else meaning_of(label)
        reading.account.value(COLUMN, label, meaning)
        field, colon, value = meaning.partition(":")
        if meaning == TAG:
            tags.append(label)
        elif meaning != IGNORE:
            _check(label, field, value, bool(colon))
            if field in found and found[field] != value:
                reading.account.guess(f"an issue with several labels of {field}: the highest counts")
                value = _higher(field, found[field], value)
            found[field] = value
    return {**found, "tags": tags}


def _higher(field: str, one: str, other: str) -> str:
    order = FIELDS[field]
    if order is None:
        return one
    # Priorities begin with the most urgent; risks and sizes end with the highest.
    pick = min if field == "dk_priority" else max
    return pick(one, other, key=order.index)


def _check(label: str, field: str, value: str, whole: bool) -> None:
    choices = FIELDS.get(field, ())
    if field not in FIELDS or not whole or not value or (choices is not None and value not in choices):
        meanings = ", ".join(f"{name}:{'NAME' if known is None else '|'.join(known)}" for name, known in FIELDS.items())
        given = f"{field}:{value}" if whole else field
        raise ConfigError(f"--map-value {COLUMN}:{label}={given}: expected one of {meanings}, {TAG}, {IGNORE}")
