"""What a bundle of an outcome policy expects of its decision and of the rules': ``expected.py BUNDLE < input.json``.

A prediction, not evidence: a policy picks where its own model errs upwards. What logs say is ``planner compare``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from planner_core import (
    Batch,
    DatasetExample,
    PlannerInputEncoder,
    PolicyContext,
    baseline_decider,
    bundle_decider,
    load_registry,
    read,
    read_bundle,
)


def main() -> None:
    """Read one example of a dataset from standard input and print a line each."""
    bundle = read_bundle(Path(sys.argv[1]))
    example = read(sys.stdin.buffer.readline(), DatasetExample, "standard input")
    batch = Batch.from_inputs([example.planner_input], PlannerInputEncoder(bundle.encoder))
    decision, _ = bundle_decider(bundle)(batch)
    rules, _ = baseline_decider(load_registry(), PolicyContext(bundle.encoder))(batch)
    if decision.outcomes is None:
        sys.exit(f"{bundle.path}: a bundle of a policy that predicts outcomes is needed")
    print(f"issue {example.planner_input.issue.issue_id}, as the model expects it (a prediction, no evidence):")
    for name, action in (("model", int(decision.action[0])), ("rules", int(rules.action[0]))):
        chosen = ", ".join(map(str, bundle.action_space.actions[action]))
        passed, minutes, usd = (float(decision.outcomes[key][0, action]) for key in ("passed", "minutes", "cost_usd"))
        print(f"  {name}: {chosen:<32} passes {passed:.0%}, {minutes:.0f} minutes, {usd:.2f} USD")


if __name__ == "__main__":
    main()
