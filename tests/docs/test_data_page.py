"""``docs/data.md`` has a worked example of every contract, and each is one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from planner_core.data.documents import CONTRACTS, contract_of, validate_file

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
WRITTEN = re.compile(r"cat > (\S+) <<'END'\n(.*?)\nEND\nplanner data validate (\S+)\n", re.DOTALL)
EXAMPLES = WRITTEN.findall(PAGE.read_text())
IN_PYTHON = {"dataset_example"}
"""Contracts whose example is made by Python code, since another one is a part of it; the page itself checks it."""


@pytest.mark.parametrize(("file", "text"), [(file, text) for file, text, _ in EXAMPLES], ids=lambda part: part[:12])
def test_an_example_follows_its_contract(tmp_path, file, text):
    (tmp_path / file).write_text(text + "\n")
    report = validate_file(tmp_path / file)
    assert report.documents == 1 and not report.left_out


def test_every_contract_has_one():
    shown = {contract_of(json.loads(text)).name for _, text, _ in EXAMPLES}
    assert shown == {contract.name for contract in CONTRACTS} - IN_PYTHON
    assert "read(line, DatasetExample" in PAGE.read_text()
    assert all(written == checked for written, _, checked in EXAMPLES)
