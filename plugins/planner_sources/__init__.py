"""The built-in sources of ``planner data import``: trackers and logs of other tools."""

from __future__ import annotations

from collections.abc import Callable

from planner_core import LogSource, hookimpl
from planner_sources import beads, claude_code, codex, cyntra, github, harbor, harbor_files, sessions, swebench

__all__ = ["planner_log_sources"]

SOURCES = (
    LogSource("cyntra", "Cyntra: archives of workcells and best-of-k benches", cyntra.sniff, cyntra.read),
    LogSource("beads", "Beads: bd export, of either dialect", beads.sniff, beads.read),
    LogSource("github", "GitHub issues: gh issue list --json", github.sniff, github.read),
    LogSource(
        "swebench", "SWE-bench: reports, predictions, trajectories of (mini-)SWE-agent", swebench.sniff, swebench.read
    ),
    LogSource("harbor", "Harbor: trial results and ATIF trajectories", harbor_files.sniff, harbor.read, harbor.OPTIONS),
    LogSource(
        "claude-code",
        "Claude Code: session files, joined to issues that were read too",
        claude_code.sniff,
        claude_code.read,
        sessions.OPTIONS,
        follows_links=True,
    ),
    LogSource(
        "codex",
        "Codex: session files, joined to issues that were read too",
        codex.sniff,
        codex.read,
        sessions.OPTIONS,
        follows_links=True,
    ),
)


@hookimpl
def planner_log_sources(register: Callable[[LogSource], None]) -> None:
    """Register all of them."""
    for source in SOURCES:
        register(source)
