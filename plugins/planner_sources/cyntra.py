"""The Cyntra kernel's leavings: archives of workcells, and benches that tried several actions on an issue.

A workcell is the attempt of one agent. One alone is a run; those of a vote are the candidates of one run. What a bench
tried is one run an issue, with the realised outcome of every action.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from planner_core import LogInput, LogIssue, LogReading, LogRun, LogSample, tool_tag
from planner_sources.common import VOTE, has_keys, lies_at, run_document
from planner_sources.cyntra_bench import bench_runs
from planner_sources.cyntra_files import Workcell, read_workcell

BENCH, MANIFEST = "best_of_k.json", "manifest.json"
PLACES = (
    *(MANIFEST, f"*/{MANIFEST}", f"archives/*/{MANIFEST}", f"run_*/archives/*/{MANIFEST}"),
    *(BENCH, f"results/{BENCH}", f"run_*/results/{BENCH}"),
)
"""Where these lie in the folder of a workcell, of archives, of a bench run, or of all of them; elsewhere is another."""
NO_PROOF = "workcells without a proof: how they ended is not recorded"
NO_TIME = "workcells that do not say how long they took"
NO_ISSUE = "workcells of no issue"
OTHER_MANIFEST = "files manifest.json that are of no workcell"
OF_A_BENCH = "workcells that a bench started: they are the candidates of its runs"


def sniff(sample: LogSample) -> float:
    """A folder with archives or benches in it, or one of these files."""
    if not sample.is_folder:
        return 1.0 if _is_bench(sample.head) or _is_manifest(sample.head) else 0.0
    names = [name for name in sample.files if lies_at(name, *PLACES)][:20]
    ours = any(_is_bench(head) or _is_manifest(head) for head in map(sample.peek, names))
    return 1.0 if ours else 0.0


def _is_bench(head: bytes) -> bool:
    return bool(re.match(rb"\s*\[", head)) and (
        has_keys(head, "issue_id", "candidates", "verified") or has_keys(head, "issue_id", "skipped", "job_type")
    )


def _is_manifest(head: bytes) -> bool:
    return has_keys(head, "workcell_id") and (has_keys(head, "planner") or has_keys(head, "branch_name"))


def read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    """The issues as their newest workcell has them, a run of every workcell, vote and bench."""
    workcells: dict[str, Workcell] = {}
    benches: list[LogInput] = []
    for given in reading.inputs:
        files = {file.name: file for file in given.files()} if given.is_folder else {given.name: given}
        for name, file in files.items():
            if PurePath(name).name == BENCH or (not given.is_folder and _is_bench(_head(file))):
                benches.append(file)
            elif not given.is_folder or _is_workcell(file, reading):
                proof = files.get(str(PurePath(name).with_name("proof.json")))
                workcells[name] = read_workcell(file, proof)
    taken: set[str] = set()
    for bench in benches:
        yield from bench_runs(bench, workcells, taken, reading)
    if taken:
        reading.account.leave_out(OF_A_BENCH, len(taken))
    yield from _issues(workcells.values(), reading)
    own = [cell for name, cell in workcells.items() if name not in taken]
    for group in _votes(own, reading):
        yield LogRun(_run(group, reading), group[0].file)


def _head(file: LogInput) -> bytes:
    with file.open() as stream:
        return stream.read(64 << 10)


def _is_workcell(file: LogInput, reading: LogReading) -> bool:
    """Whether a file of a folder is the manifest of a workcell; whatever lies in archives is taken for one."""
    path = PurePath(file.name)
    if path.name != MANIFEST:
        return False
    ours = path.parent.parent.name == "archives" or _is_manifest(_head(file))
    if not ours:
        reading.account.leave_out(OTHER_MANIFEST)
    return ours


def _issues(workcells: Any, reading: LogReading) -> Iterator[LogIssue]:
    """Each issue once, as it was last planned; a tracker that was read before knows better."""
    newest: dict[str, tuple[Workcell, dict[str, Any]]] = {}
    for cell in sorted(workcells, key=lambda cell: cell.started_ms or 0):
        if (document := cell.issue()) is not None:
            newest[document["id"]] = (cell, document)
    for issue_id, (cell, document) in newest.items():
        if not reading.issues_of("issue", issue_id):
            yield LogIssue(document, cell.file)


def _votes(workcells: Sequence[Workcell], reading: LogReading) -> Iterator[list[Workcell]]:
    """Workcells as runs: alone, or those of one vote together.

    Workcells of one vote have the same issue, the same executed plan, and each began before the first of them ended; a
    vote has no more of them than its plan allows.
    """
    usable = [cell for cell in workcells if _usable(cell, reading)]
    open_votes: dict[Any, list[Workcell]] = {}
    for cell in sorted(usable, key=lambda cell: (cell.started_ms or 0, cell.id)):
        plan = cell.manifest.planner.executed_plan
        if plan is None or plan.swarm_id_executed != VOTE:
            yield [cell]
            continue
        key = (cell.issue_id, plan.max_candidates_executed, plan.timeout_seconds_executed)
        group = open_votes.get(key, [])
        full = plan.max_candidates_executed is not None and len(group) >= plan.max_candidates_executed
        if group and not full and (cell.started_ms or 0) <= (group[0].started_ms or 0) + (group[0].duration_ms or 0):
            group.append(cell)
            continue
        if group:
            yield group
        open_votes[key] = [cell]
    yield from open_votes.values()


def _usable(cell: Workcell, reading: LogReading) -> bool:
    for lacking, reason in (
        (cell.proof is None, NO_PROOF),
        (cell.issue_id is None, NO_ISSUE),
        (cell.started_ms is None or cell.duration_ms is None, NO_TIME),
    ):
        if lacking:
            reading.account.leave_out(reason)
            return False
    return True


def _run(group: Sequence[Workcell], reading: LogReading) -> dict[str, Any]:
    """The run of one workcell, or of the workcells of a vote: it passed where any did."""
    first = next((cell for cell in group if cell.proof and cell.proof.passed), group[0])
    proof = first.proof
    assert proof is not None  # _usable() holds
    ends = [(cell.started_ms or 0) + (cell.duration_ms or 0) for cell in group]
    start = min(cell.started_ms or 0 for cell in group)
    costs = [cell.proof.metadata.cost_usd for cell in group if cell.proof and cell.proof.metadata.cost_usd is not None]
    action = first.action(reading.account)
    gates = proof.verification.gates.items()
    timeout = all(cell.proof is not None and cell.proof.status == "timeout" for cell in group)
    status = "success" if proof.passed else "timeout" if timeout else "failed"
    broken = ["infra:error"] if proof.status == "error" else []
    if len(group) > 1:
        reading.account.value("executed_plan", f"{VOTE}, {len(group)} workcells", "one run with its candidates")
    tools = dict.fromkeys(cell.toolchain for cell in group if cell.toolchain)
    reading.account.field("action_executed", "planner.executed_plan")
    reading.account.field("outcome.gates", "verification.gates")
    planned = first.manifest.planner.planner_input
    return run_document(
        first.id if len(group) == 1 else f"{group[0].id}+{len(group) - 1}",
        first.issue_id or "",
        start,
        max(ends) - start,
        status,
        fail_codes=[] if status == "success" else [*proof.verification.fail_codes, *broken],
        gates=[{"name": name, "passed": gate.passed, "score": gate.score} for name, gate in gates],
        action=action,
        job_type=first.job_type,
        tags=[*((first.issue() or {}).get("tags") or ()), *(tool_tag(tool) for tool in tools)],
        cost_usd_est=sum(costs) if len(costs) == len(group) else None,
        universe_id=planned.universe_id if planned else None,
        candidates=[_candidate(cell) for cell in group] if action[0] == VOTE else None,
    )


def _candidate(cell: Workcell) -> dict[str, Any]:
    proof = cell.proof
    assert proof is not None  # _usable() holds
    return {"passed": proof.passed, "duration_ms": cell.duration_ms, "cost_usd": proof.metadata.cost_usd}
