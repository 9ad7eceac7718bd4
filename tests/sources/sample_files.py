"""One file of every sample, and what stands beside it."""

from __future__ import annotations

BESIDE = {"claude-code": "beads.jsonl", "codex": "github.json"}
"""The tracker that a source needs beside it to have a run."""
FILES = {
    "beads": "beads.jsonl",
    "github": "github.json",
    "swebench": "swebench/django__django-11099/django__django-11099.traj.json",
    "swebench report": "swebench/anthropic__claude-sonnet-4-5-20250929.first.json",
    "harbor": "harbor/first/fix-git__aaaaaaa/result.json",
    "cyntra": "cyntra/archives/wc-31-20260302T090000Z/manifest.json",
    "cyntra proof": "cyntra/archives/wc-31-20260302T090000Z/proof.json",
    "cyntra bench": "cyntra-bench/run_1/results/best_of_k.json",
    "claude-code": "claude-code/projects/-work-library/00000000-5d1e-4c8a-9f27-0123456789ab.jsonl",
    "codex": "codex/sessions/2026/03/02/rollout-2026-03-02T11-00-00-019c0000-7aa0-7c41-ae1f-a37beed9aaf2.jsonl",
}
