"""The log source of the documentation, really installed: found, used, and blamed where it fails."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from planner_core.plugins.hookspecs import EXTENSION_GROUP

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
LOG = "#acme-agents 1\nx success 12\ny timeout 1800\n"


@pytest.fixture
def source():
    """The code of the page's section."""
    section = PAGE.read_text().split("### planner_log_sources")[1]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def test_the_documented_plugin_reads_its_logs(install, planner, tmp_path, source):
    install("acme-planner", source, groups=(EXTENSION_GROUP,))
    (tmp_path / "acme.log").write_text(LOG)
    assert "acme: logs of Acme Agents (acme-planner 1.2)" in planner("data", "import", "--list").stdout
    report = json.loads(planner("data", "import", "acme.log", "--out", "made", "--json").stdout)
    (read,) = report["sources"]
    assert (read["source"], read["distribution"], read["runs"]) == ("acme", "acme-planner 1.2", 2)
    built = ("data", "build", "--issues", "made/issues.jsonl", "--runs", "made/runs.jsonl", "--out", "set", "--json")
    assert json.loads(planner(*built).stdout)["examples"] == 2


def test_one_that_fails_costs_its_own_files_only(install, planner, tmp_path, source):
    broken = source.replace("yield LogIssue(", "yield LogIssue(0, ")
    install("acme-planner", broken, groups=(EXTENSION_GROUP,))
    (tmp_path / "acme.log").write_text(LOG)
    (tmp_path / "t.csv").write_text("issue,size\nx,L\n")
    said = planner("data", "import", "acme.log", "--out", "made", code=1).stderr
    assert "the log source 'acme' of acme-planner 1.2 failed in read: TypeError" in said
    assert not (tmp_path / "made").exists()
    planner("data", "import", "t.csv", "--out", "made")


def test_one_that_hangs_is_named(install, planner, tmp_path, source):
    hanging = source.replace("def sniff(sample):\n", "def sniff(sample):\n    import time; time.sleep(60)\n")
    install("slow-planner", hanging.replace('"acme"', '"slow"'), groups=(EXTENSION_GROUP,), point="slow")
    (tmp_path / "t.csv").write_text("issue,size\nx,L\n")
    said = planner("data", "import", "t.csv", "--out", "made", code=1, PLANNER_PLUGIN_TIMEOUT="1").stderr
    assert "the log source 'slow' of slow-planner 1.2 failed in sniff: sniffing did not finish within 1 s" in said
