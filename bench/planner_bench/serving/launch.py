"""Servers to be measured, each a process of its own; as a program, one of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planner_core import ActionDocument, Planner, PlannerError

CONSTANT: ActionDocument = {
    "schema_version": "cyntra.planner_action.v1",
    "created_at": "2026-01-01T00:00:00.000Z",
    "swarm_id": "serial_handoff",
    "budgets": {"max_candidates_bin": 1, "max_minutes_bin": 60, "max_iterations_bin": "NA"},
    "abstain_to_default": False,
    "reason": None,
    "input_hash": "0" * 64,
    "confidence": 0.5,
    "model": {"checkpoint_id": "0" * 16, "version": "constant"},
}


class ConstantPlanner(Planner):
    """Answers the same whatever it is asked, as long as an action is: what is left is the server."""

    def decide(self, planner_input: Any) -> ActionDocument:
        """The constant."""
        return CONSTANT


@contextmanager
def started(bundle: Path | None) -> Iterator[int]:
    """The port of a server of ``bundle``, or of a constant; it ends with the block.

    PlannerError for one that does not start.
    """
    what = ["constant"] if bundle is None else [str(bundle)]
    command = [sys.executable, "-m", "planner_bench.serving.launch", *what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        try:
            line = process.stdout.readline()  # ends when the process does
            if not line.strip().isdecimal():
                said = process.stderr.read().strip().splitlines()[-1:]
                raise PlannerError(f"the server to be measured did not start: {' '.join(said)[-400:]}")
            yield int(line)
        finally:
            process.kill()


def main(what: str) -> None:
    """Serve on a free port of the loopback and print it."""
    from planner_serve import app, listen, server, serving

    if what == "constant":
        planner: Planner = ConstantPlanner(None)
    else:
        planner = Planner.load(what, strict=True)
    served = serving.Served(planner, Path(what), None)
    with listen.listening_port("127.0.0.1", 0) as (listener, url):
        print(url.rsplit(":", 1)[1], flush=True)
        server.run(app.build_app(served, reload_every_s=0.0), listener, 1.0)


if __name__ == "__main__":
    main(sys.argv[1])
