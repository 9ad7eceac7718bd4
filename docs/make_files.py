"""Writes docs/reference/files.md: every document and directory that is read or written, key by key, from the structs.

Run by ``make reference``; the suite checks the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import file_notes
import msgspec

from planner_core.bounds import MAX_INTEGER
from planner_core.data.decisions import LoggedDecision
from planner_core.data.documents import CONTRACTS
from planner_core.data.writer import DATASET_FILE, META_FILE, OUTCOMES_FILE
from planner_core.harness import run_dir, run_files
from planner_core.runtime.bundle import FILES, MANIFEST, OPTIONAL_FILES

PAGE = Path(__file__).with_name("reference") / "files.md"
HEAD = """# File formats

*Made from the source by `make reference`; edit that.*

Every document key by key. A worked example of each: [data](../data.md). `planner data schema NAME` prints the JSON
Schema, `planner data validate PATH` says what does not fit. All of it is UTF-8; unknown keys are kept and ignored
unless a part is *closed*; an integer may arrive as a numeric string.

"""


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join([*_contents(), "", *_contracts(), *_decision_log(), *_directories(), *_evaluation()])


def _contents() -> Iterator[str]:
    yield "| what | in a few words |\n|---|---|"
    for contract in CONTRACTS:
        yield f"| [`{contract.name}`](#contract-{contract.name}) | {contract.summary} |"
    for title, (anchor, about) in file_notes.OTHERS.items():
        yield f"| [{title}](#{anchor}) | {about} |"


def _contracts() -> Iterator[str]:
    """Each contract, its own parts after it; a part that an earlier contract had is not told again."""
    told: set[str] = set()
    for contract in CONTRACTS:
        yield f"## Contract `{contract.name}`\n"
        version = f" `schema_version` is `{contract.version}`." if contract.version else ""
        yield f"{contract.summary[0].upper()}{contract.summary[1:]}.{version}\n"
        yield from _parts(contract.schema(), told)


def _decision_log() -> Iterator[str]:
    yield "## The decision log\n"
    yield f"{file_notes.DECISION_LOG}\n"
    yield from _parts(msgspec.json.schema(LoggedDecision), set())


def _directories() -> Iterator[str]:
    names = {
        "dataset": (META_FILE, DATASET_FILE, OUTCOMES_FILE),
        "bundle": (*FILES, *OPTIONAL_FILES, MANIFEST),
        "run": (run_dir.CONFIG, run_dir.PROVENANCE, run_dir.HISTORY, run_dir.CALIBRATION, run_dir.RESULTS,
                run_files.MANIFEST),
    }  # fmt: skip
    for kind, (title, about, files) in file_notes.DIRECTORIES.items():
        if list(files) != list(names[kind]):
            raise SystemExit(f"docs/file_notes.py tells of {list(files)}, a {kind} has {list(names[kind])}")
        yield f"## {title}\n\n{about}\n\n| file | what it is |\n|---|---|"
        yield from (f"| `{name}` | {said} |" for name, said in files.items())
        yield ""


def _evaluation() -> Iterator[str]:
    yield f"## The evaluation\n\n{file_notes.EVALUATION_HEAD}\n\n| key | what it is |\n|---|---|"
    yield from (f"| `{key}` | {said} |" for key, said in file_notes.EVALUATION.items())


def _parts(schema: dict[str, Any], told: set[str]) -> Iterator[str]:
    """A table for every object of a schema, the outermost first."""
    first = schema.get("$ref", "").rsplit("/", 1)[-1]
    for name, part in sorted(schema["$defs"].items(), key=lambda item: item[0] != first):
        if name in told or "properties" not in part:
            continue
        told.add(name)
        said = _markdown(part.get("description", ""))
        shut = part.get("additionalProperties") is False and not said.startswith("Closed.")
        heading = [] if name == first else [f"### {name}\n"]
        yield from [*heading, *([f"{said}{' Closed.' if shut else ''}\n"] if said else [])]
        yield "| key | value |\n|---|---|"
        required = part.get("required", [])
        for key, value in part["properties"].items():
            yield f"| `{key}` | {_kind(value)}{'' if key in required else _default(value)} |"
        yield ""


def _kind(value: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in value:
        return value["$ref"].rsplit("/", 1)[-1]
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(one) for one in value["anyOf"]))
    if "enum" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value["enum"])
    kind = value.get("type", "anything")
    if kind == "array":
        inner = value.get("items") or {}
        most = f", at most {value['maxItems']}" if "maxItems" in value else ""
        return f"list of {_kind(inner) if inner else 'values'}{most}"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"object of {_kind(inner)}" if isinstance(inner, dict) and inner else "object"
    return {"null": "null", "string": "text"}.get(kind, kind) + _bounds(value)


def _bounds(value: dict[str, Any]) -> str:
    if value.get("format"):
        return f" ({value['format']})"
    low, high = value.get("minimum"), value.get("maximum")
    if low == -MAX_INTEGER:
        low = None
    if high == MAX_INTEGER:
        high = None
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    return f" of at least {low:g}" if low is not None else ""


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    return "; optional" if default is None else f"; `{json.dumps(default)}` if not given"


def _markdown(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split()))
    return text.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
