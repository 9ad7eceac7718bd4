"""One value of a sample replaced by another: read, or refused with its place; never a foreign exception."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import SAMPLES
from sample_files import BESIDE, FILES

from planner_core import DataError, import_logs

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    "",
    "x",
    "2026-13-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    [],
    {},
    [1],
    {"a": None},
)
TRIES = 40


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a document."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(document: Any, rng: random.Random) -> Any:
    """The document with one value replaced, or one key dropped."""
    document = copy.deepcopy(document)
    *parents, last = rng.choice(list(places(document)))
    holder = document
    for key in parents:
        holder = holder[key]
    if isinstance(holder, dict) and rng.random() < 0.2:
        del holder[last]
    else:
        holder[last] = rng.choice(VALUES)
    return document


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_value_changed(name: str, tmp_path: Path) -> None:
    relative = FILES[name]
    top = relative.split("/")[0]
    tops = sorted({top, BESIDE.get(top, top)})
    for each in tops:
        (shutil.copytree if (SAMPLES / each).is_dir() else shutil.copy)(SAMPLES / each, tmp_path / each)
    victim = tmp_path / relative
    text = victim.read_text()
    rng = random.Random(name)
    refused = 0
    for _ in range(TRIES):
        if victim.suffix == ".jsonl":
            rows = text.splitlines()
            number = rng.randrange(len(rows))
            rows[number] = json.dumps(changed(json.loads(rows[number]), rng))
            victim.write_text("\n".join(rows) + "\n")
        else:
            victim.write_text(json.dumps(changed(json.loads(text), rng)))
        try:
            import_logs([tmp_path / each for each in tops], tmp_path / "out", write=False)
        except DataError as problem:  # and no PluginFailed, which a foreign exception becomes
            refused += 1
            assert problem.expected and str(tmp_path) in problem.source
    assert refused
