"""A folder with logs, and what came of importing them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from planner_core import DataError, ImportReport, import_logs

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "logs"


@dataclass
class Imported:
    """A report with the issues and runs that were written, both by id."""

    report: ImportReport
    issues: dict[str, dict[str, Any]]
    runs: dict[str, dict[str, Any]]

    def of(self, source: str) -> Any:
        """What one source told."""
        return next(told for told in self.report.sources if told.source == source)

    @property
    def run(self) -> dict[str, Any]:
        """The only run."""
        (run,) = self.runs.values()
        return run


class Desk:
    """A folder to put logs into, and to import them from."""

    def __init__(self, path: Path) -> None:
        self.path, self.out = path / "logs", path / "out"
        self.path.mkdir(parents=True)

    def put(self, name: str, content: Any) -> Path:
        """A file: bytes and text as they are, a list of dicts in a ``.jsonl`` as lines, anything else as JSON."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content)
        elif ".jsonl" in name:
            path.write_text("".join(json.dumps(row) + "\n" for row in content))
        else:
            path.write_text(json.dumps(content, indent=1))
        return path

    def read(self, *names: str, **options: Any) -> Imported:
        """Import these files (the whole folder if none is named)."""
        sources = [self.path / name for name in names] or [self.path]
        report = import_logs(sources, self.out, **options)
        documents = [self._by_id(name, key) for name, key in (("issues", "id"), ("runs", "run_id"))]
        return Imported(report, *documents)

    def refused(self, *names: str, **options: Any) -> DataError:
        """Import what must be refused, with nothing written."""
        with pytest.raises(DataError) as caught:
            self.read(*names, **options)
        assert not self.out.exists()
        return caught.value

    def _by_id(self, name: str, key: str) -> dict[str, dict[str, Any]]:
        path = self.out / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return {row[key]: row for row in rows}
