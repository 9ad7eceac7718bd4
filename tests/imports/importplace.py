"""Files of a test, what an import makes of them, and sources that a stranger's plugin brings."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from planner_core import LogSource, import_logs
from planner_core.data.sources import choosing
from planner_core.data.sources.importing import ImportReport
from planner_core.errors import PlannerError
from planner_core.plugins.collecting import Offer
from planner_core.plugins.loading import Plugin

START = 1_770_000_000_000


def run_document(run_id: str, issue_id: str | None = "x", **more: Any) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "issue_id": issue_id,
        "started_ms": START,
        "job_type": "code",
        "domain": "code",
        "action_executed": {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30},
        "outcome": {"status": "success", "fail_codes": [], "gates": []},
        "runtime": {"duration_ms": 1000},
        **more,
    }


class ImportPlace:
    """A directory with files to import, and ``out``, what is made of them."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self._monkeypatch = path, monkeypatch
        self.out = path / "out"

    def only(self, *sources: LogSource, origin: str = "acme-logs 1.2", and_built_in: bool = False) -> None:
        """These are the sources there are."""
        plugin = Plugin("acme", *origin.split())
        offers = [Offer("log source", source.name, plugin, source) for source in sources]
        built_in = choosing.log_sources() if and_built_in else ()
        self._monkeypatch.setattr(choosing, "log_sources", lambda: (*built_in, *offers))

    def file(self, name: str, content: str | bytes, *, packed: bool = False) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(raw) if packed else raw)
        return path

    def read(self, *paths: Path | str, stdin: bytes = b"", **options: Any) -> ImportReport:
        return import_logs([Path(p) for p in paths], self.out, stdin=io.BytesIO(stdin), **options)

    def table(self, content: str | bytes, name: str = "t.csv", **options: Any) -> ImportReport:
        """One file, imported."""
        return self.read(self.file(name, content), **options)

    def refused(self, *paths: Path | str, **options: Any) -> str:
        """The error of an import, relative to the directory; nothing may have been written."""
        before = sorted(p.name for p in self.path.iterdir())
        with pytest.raises(PlannerError) as caught:
            self.read(*paths, **options)
        assert sorted(p.name for p in self.path.iterdir()) == before, "something was written"
        return str(caught.value).replace(f"{self.path}/", "")

    def refused_table(self, content: str | bytes, name: str = "t.csv", **options: Any) -> str:
        return self.refused(self.file(name, content), **options)

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.out / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def issues(self) -> dict[str, dict[str, Any]]:
        return {issue["id"]: issue for issue in self._lines("issues.jsonl")}

    @property
    def runs(self) -> list[dict[str, Any]]:
        return self._lines("runs.jsonl")
