#!/usr/bin/env bash
# From a run log to a decision: does a learnt policy save money, and what does it do? Makes data/, runs/, bundles/, report.html here.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export HERE
say() { printf '\n\033[1m== %s\033[0m\n$ %s\n' "$1" "$2"; }
step() { say "$1" "$2"; bash -o pipefail -c "$2"; }

if [ ! -f data/world/meta.json ]; then
  step "A world whose best possible policy is known, and a log of runs in it" \
    "planner data synth --out data/world --examples 20000 --seed 0"
fi
step "What is in its log" "planner data info data/world"
step "Learn what happens, from the log alone" \
  "planner run --policy outcome train --dataset data/world --set evidence=executed"
step "Learn from labels that only a simulator has" "planner run --policy mlp train --dataset data/world"
step "Does it save money? Beside the rules, the best constants and what was run" \
  "planner compare --dataset data/world outcome mlp"
step "Export it to ONNX: refused if it were worse than the rules or the best constant" \
  "planner export --policy outcome --out bundles/outcome"
step "One page for the person who pays: open report.html" \
  "planner report --dataset data/world --from bundles/outcome --out report.html"
step "Export the rules the same way" "planner export --policy heuristic --out bundles/heuristic"
step "How long a decision takes, on one thread" \
  "planner bench --bundle bundles/outcome --bundle bundles/heuristic"
step "Decide an issue from the bundle, without torch" \
  "tail -n 1 data/world/dataset.jsonl | planner run --policy outcome predict --from bundles/outcome -"
step "What is expected of it" \
  'tail -n 1 data/world/dataset.jsonl | python "$HERE/expected.py" bundles/outcome'
