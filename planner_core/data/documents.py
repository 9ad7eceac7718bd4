"""The contracts by name: their JSON Schemas, and which of them a file follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from planner_core import jsonio
from planner_core.contracts import (
    ACTION_SCHEMA,
    DATASET_SCHEMA,
    EXECUTED_PLAN_SCHEMA,
    INPUT_SCHEMA,
    DatasetExample,
    DatasetMeta,
    ExecutedPlan,
    PlannerAction,
    PlannerInput,
    RunSummary,
)
from planner_core.data.issues import IssueRow, Tracker, take_row
from planner_core.data.lines import iter_lines, open_unpacked
from planner_core.data.runs import REPEATED
from planner_core.data.sources.documents import Runs
from planner_core.data.sources.mapping_file import MAPPING_SCHEMA, MappingFile
from planner_core.errors import DataError, PlannerError, suggestion
from planner_core.plugins.log_sources import MAX_WHOLE_BYTES, LogRun

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Contract:
    """One contract: its ``name`` for ``planner data schema``, its struct, and the marks by which a document is known.

    ``keys`` are keys that no document of another contract has all of; ``version`` is the ``schema_version`` that a
    document of it has to have, None where the contract has none.
    """

    name: str
    summary: str
    struct: type[Struct]
    keys: frozenset[str]
    version: str | None = None

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema. What a schema cannot say: an integer may also arrive as a numeric string."""
        return {"$schema": DRAFT, "title": self.name, **msgspec.json.schema(self.struct)}


def _contract(name: str, summary: str, struct: type[Struct], keys: str, version: str | None = None) -> Contract:
    return Contract(name, summary, struct, frozenset(keys.split()), version)


CONTRACTS = (
    _contract("planner_input", "what plans one issue", PlannerInput, "issue history action_space", INPUT_SCHEMA),
    _contract("planner_action", "a decision", PlannerAction, "swarm_id budgets", ACTION_SCHEMA),
    _contract("executed_plan", "what the kernel ran", ExecutedPlan, "swarm_id_executed", EXECUTED_PLAN_SCHEMA),
    _contract("run_summary", "one run, of a log or of an input's history", RunSummary, "run_id action_executed"),
    _contract("issue", "one row of a tracker, in either dialect of Beads", IssueRow, "id"),
    _contract("dataset_example", "one line of dataset.jsonl", DatasetExample, "run_id planner_input label_action"),
    _contract("dataset_meta", "meta.json of a dataset", DatasetMeta, "dataset_hash example_count", DATASET_SCHEMA),
    _contract("import_mapping", "what an import read as what", MappingFile, "schema_version sources", MAPPING_SCHEMA),
)
"""Every contract."""


def contract_named(name: str) -> Contract:
    """The contract of a name. Raises :class:`PlannerError` with the nearest one."""
    known = {contract.name: contract for contract in CONTRACTS}
    if name not in known:
        raise PlannerError(f"no contract is called '{name}'{suggestion(name, known)}; there are: {', '.join(known)}")
    return known[name]


def contract_of(document: Any) -> Contract | None:
    """The contract that a document follows by its ``schema_version``, else by its keys; None where it follows none."""
    if not isinstance(document, dict):
        return None
    version = document.get("schema_version")
    by_version = (contract for contract in CONTRACTS if contract.version is not None and contract.version == version)
    by_keys = (contract for contract in CONTRACTS if contract.keys <= document.keys())
    return next(by_version, None) or next(by_keys, None)


class FileReport(Struct):
    """A file that follows a contract, and its documents; ``left_out`` are rows that count as none, by reason."""

    file: str
    contract: str
    documents: int
    left_out: dict[str, int]


IMPORTABLE = "; 'planner data import' reads tables, trackers and other logs"
Told = Callable[[str, int, int], None]


def validate_file(path: Path) -> FileReport:
    """Check every document of a JSON or JSON Lines file, gzip or not, against the contract of its first one.

    :class:`DataError` names file, line and JSON path of what does not fit, of a document of another contract, and of
    two runs of one id that say different things.
    """
    lines = _documents(path)
    first_line, first = next(lines)
    contract = contract_of(first)
    if contract is None:
        names = ", ".join(contract.name for contract in CONTRACTS)
        found = "a document of no contract we know"
        raise DataError(str(path), line=first_line, found=found, expected=f"one of {names}{IMPORTABLE}")
    taken = _Taken(contract, str(path))
    for line, document in chain([(first_line, first)], lines):
        other = contract_of(document)
        if other is not contract and not (contract.name == "issue" and other is None):
            found = "a document of no contract we know" if other is None else f"a document of {other.name}"
            raise DataError(str(path), line=line, found=found, expected=f"{contract.name}, as in line {first_line}")
        taken.add(document, line)
    return FileReport(str(path), contract.name, *taken.counts())


class _Taken:
    """The documents of one file; issues and runs are taken as a build takes them."""

    def __init__(self, contract: Contract, source: str) -> None:
        self._contract, self._source, self._count = contract, source, 0
        self._tracker, self._runs = Tracker(), Runs(None)

    def add(self, document: Any, line: int | None) -> None:
        if self._contract.name == "issue":
            take_row(document, self._tracker, self._source, line)
        elif self._contract.name == "run_summary":
            self._runs.add(LogRun(document, self._source, line))
        else:
            jsonio.convert(document, self._contract.struct, self._source, line)
            self._count += 1

    def counts(self) -> tuple[int, dict[str, int]]:
        """Documents that count, and those that do not, by reason."""
        left_out = dict(self._tracker.left_out)
        if self._runs.repeated:
            left_out[REPEATED] = self._runs.repeated
        return self._count + len(self._tracker.issues) + len(self._runs), left_out


def _documents(path: Path) -> Iterator[tuple[int | None, Any]]:
    """The documents of a JSON Lines file, or the one of a JSON file that is printed over several lines (line None)."""
    lines = iter_lines(path)
    number, line = next(lines)
    try:
        first = jsonio.decode(line, str(path), number)
    except DataError:
        if not line.lstrip().startswith((b"{", b"[")):
            found = f"a file that begins with {line[:40].decode('utf-8', 'replace').strip()!a}"
            raise DataError(str(path), line=number, found=found, expected=f"JSON{IMPORTABLE}") from None
        if line.strip() not in (b"{", b"["):  # the way in which every printer of JSON begins
            raise
        yield None, _whole(path)
        return
    yield number, first
    for number, line in lines:
        yield number, jsonio.decode(line, str(path), number)


def _whole(path: Path) -> Any:
    with open_unpacked(path) as stream:
        content = stream.read(MAX_WHOLE_BYTES + 1)
    if len(content) > MAX_WHOLE_BYTES:
        raise DataError(str(path), found=f"more than {MAX_WHOLE_BYTES:,} bytes", expected="a smaller document")
    return jsonio.decode(content, str(path))
