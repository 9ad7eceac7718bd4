#!/usr/bin/env bash
# From a run log to a decision: make the simulated world, learn from it, judge, export, benchmark, decide.
# Everything lands in the current directory: data/, runs/, bundles/.
set -euo pipefail

say() { printf '\n\033[1m== %s\033[0m\n$ %s\n' "$1" "$2"; }
step() { say "$1" "$2"; bash -c "$2"; }

if [ ! -f data/world/meta.json ]; then
  step "A world whose best possible policy is known" "planner data synth --out data/world --examples 20000 --seed 0"
fi
step "What is in its log" "planner data info data/world"
step "Learn what happened, from the log alone" "planner run --policy outcome train --dataset data/world --set evidence=executed"
step "Learn from labels that only a simulator has" "planner run --policy mlp train --dataset data/world"
step "Judge what was learnt from the log, on rows it has not seen" \
  "planner run --policy outcome evaluate --dataset data/world --split test"
step "Export it to ONNX, through the parity gate" "planner export --policy outcome --out bundles/outcome"
step "Export the rules the same way" "planner export --policy heuristic --out bundles/heuristic"
step "Benchmark both on one thread" "planner bench --bundle bundles/outcome --bundle bundles/heuristic"
step "Decide an issue from the bundle, without torch" \
  "head -n 1 data/world/dataset.jsonl | planner run --policy outcome predict --from bundles/outcome -"
