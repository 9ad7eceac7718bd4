"""Decision logs and run logs on disk, made by known laws."""

from __future__ import annotations

import json

import numpy as np

from planner_core import rfc3339

HOUR, DAY = 3_600_000, 86_400_000
START = 1_790_000_000_000
PLAN = {
    "swarm_id": "serial_handoff",
    "budgets": {"max_candidates_bin": 1, "max_minutes_bin": 60, "max_iterations_bin": "NA"},
}


class Logs:
    """``decisions.jsonl`` and ``runs.jsonl`` of a place, to which :meth:`write` adds issues."""

    def __init__(self, place, identity):
        self.place, self.identity, self._runs = place, identity, []

    def clear(self):
        """Begin anew."""
        self._runs = []
        (self.place / "decisions.jsonl").unlink()

    def write(
        self,
        n,
        seed,
        *,
        first=0,
        begin=START,
        share=0.5,
        gain=0.0,
        error=0.0,
        reason=None,
        mode="enforce",
        arm=None,
        model="own",
        named=True,
        other_plan=False,
        inputs=None,
        every=HOUR,
    ):
        """n issues, a run each: the model passes ``gain`` more often and predicts ``error`` more than that."""
        rng = np.random.default_rng(seed)
        lines = []
        for i in range(n):
            issue = f"I-{first + i}"
            treated = arm == "model" or (arm is None and rng.random() < share)
            likely = rng.beta(4, 3)
            passes = min(1.0, max(0.0, likely + gain * treated))
            at = begin + (first + i) * every
            name = f"{at:012x}{seed:08x}{i:012x}"
            expected = {"passed": min(1.0, max(0.0, passes + error)), "minutes": 20.0, "cost_usd": 1.0}
            identity = {"own": {"checkpoint_id": self.identity}, None: None}.get(model, {"checkpoint_id": model})
            decision = {
                "schema_version": "swarm_planner.decision.v1",
                "decision_id": name,
                "time": rfc3339(at),
                "issue_id": issue,
                "job_type": "code",
                "input_hash": "0" * 64,
                "model": identity,
                "mode": mode,
                "rollout": {"share": share, "explore": 0.0, "salt": "", "explore_within": 0.1},
                "arm": "model" if treated else "baseline",
                "action": PLAN,
                "confidence": 0.5,
                "propensity": 1.0,
                "propensities": {"serial_handoff|1|60|1": 1.0},
                "expected": {"action": expected, "baseline": expected},
                "reason": reason if treated else "arm_baseline: the rules decide",
            }
            if inputs is not None:
                decision["planner_input"] = inputs[i]
            lines.append(json.dumps(decision) + "\n")
            passed, minutes = rng.random() < passes, rng.lognormal(3, 0.3)
            self._runs.append(
                {
                    "run_id": f"r-{name}",
                    "issue_id": issue,
                    "started_ms": at + 60_000,
                    "job_type": "code",
                    "domain": "code",
                    "action_executed": {
                        **{"swarm_id": "serial_handoff", "max_candidates": 1, "max_iterations": 1},
                        "max_minutes": 15 if other_plan else 60,
                    },
                    "outcome": {"status": "success" if passed else "failed", "fail_codes": [], "gates": []},
                    "runtime": {"duration_ms": round(minutes * 60_000)},
                    "cost_usd_est": rng.lognormal(0, 0.3),
                    **({"decision_id": name} if named else {}),
                }
            )
        with (self.place / "decisions.jsonl").open("a") as stream:
            stream.writelines(lines)
        (self.place / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in self._runs))
