#!/usr/bin/env bash
# One night: import, build, train, compare, promote or keep, and say which and why. See docs/nightly.md.
#
# Exit code 0: what serves was promoted or kept, on purpose. Otherwise a step failed: its own code, its name is said, what
# serves is as it was. 75: last night is still at work. Nothing is ever deleted.
set -uo pipefail

: "${BUNDLE:?the bundle that serves; made on the first night}"
SOURCES="${SOURCES:-}"             # files and folders that 'planner data import' reads, separated by colons
ISSUES="${ISSUES:-}"               # trackers and run logs that are as 'planner data build' reads them (Beads JSONL,
RUNS="${RUNS:-}"                   # run_summary.v1 JSONL), separated by colons: instead of SOURCES or beside them
WORK="${WORK:-nightly}"            # everything of a night lies in a folder of its own in it
DECISIONS="${DECISIONS:-}"         # the decision log of the kernel, if it writes one
POLICY="${POLICY:-outcome}"
MARGIN="${MARGIN:-0.02}"           # utility a run by which the new model may be worse at most
IMPORT="${IMPORT:-}"               # further options of 'planner data import'
TRAIN="${TRAIN:-}"                 # further options of the training, as --set rounds=2
VALUE="${VALUE:-}"                 # what outcomes are worth, as --value usd=0.3

PYTHON="$(command -v python || command -v python3)" || { echo "nightly: there is no python" >&2; exit 1; }
mkdir -p "$WORK" || exit 1
exec 9> "$WORK/lock"
flock -n 9 || { echo "nightly: another night is still at work in $WORK" >&2; exit 75; }
stamp() { date -u +%Y%m%dT%H%M%SZ; }
NIGHT="$WORK/$(stamp)"
[ ! -e "$NIGHT" ] || { sleep 1; NIGHT="$WORK/$(stamp)"; } # the last one ended within this second
mkdir "$NIGHT" || exit 1

end() { # what came of the night, into the list of nights and to whoever reads the output
  printf '%s %s\n' "$(basename "$NIGHT")" "$1" | tee -a "$WORK/nights.txt"
  exit "$2"
}
step() { # name, command...: its output is kept; where it fails the night ends with its code
  local name="$1" code=0
  shift
  echo "== $name" >&2
  "$@" > "$NIGHT/$name.txt" 2> "$NIGHT/$name.err" || code=$?
  if [ "$code" -ne 0 ]; then
    tail -n 5 "$NIGHT/$name.err" >&2
    end "failed: $name ended with $code, what serves is as it was; see $NIGHT/$name.err" "$code"
  fi
}
field() { # file, key
  "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}

IFS=: read -r -a sources <<< "$SOURCES"
IFS=: read -r -a issues <<< "$ISSUES"
IFS=: read -r -a runs <<< "$RUNS"
read -r -a import_options <<< "$IMPORT"
read -r -a train_options <<< "$TRAIN"
read -r -a value_options <<< "$VALUE"
decisions=()
[ -z "$DECISIONS" ] || decisions=(--decisions "$DECISIONS")

if [ "${#sources[@]}" -gt 0 ]; then
  step import planner data import "${sources[@]}" --out "$NIGHT/logs" "${import_options[@]}"
  issues+=("$NIGHT/logs/issues.jsonl")
  runs+=("$NIGHT/logs/runs.jsonl")
fi
trackers=() logs=()
for file in "${issues[@]}"; do trackers+=(--issues "$file"); done
for file in "${runs[@]}"; do logs+=(--runs "$file"); done
step build planner data build "${trackers[@]}" "${logs[@]}" "${decisions[@]}" --out "$NIGHT/data"
step train planner run --policy "$POLICY" train --dataset "$NIGHT/data" --out "$NIGHT/run" \
  "${train_options[@]}" "${value_options[@]}"

if [ ! -e "$BUNDLE" ]; then
  step compare planner compare --dataset "$NIGHT/data" heuristic "$NIGHT/run" "${value_options[@]}"
  step export planner export --policy "$POLICY" --run "$NIGHT/run" --out "$BUNDLE" "${value_options[@]}"
  end "first: $(grep -v '^model' "$NIGHT/export.txt" | head -n 1)" 0
fi

if [ -n "$DECISIONS" ]; then # whether what serves is stale is said, and is no failure of the night
  echo "== watch" >&2
  planner watch "${decisions[@]}" "${logs[@]}" --from "$BUNDLE" "${value_options[@]}" \
    > "$NIGHT/watch.txt" 2> "$NIGHT/watch.err"
  watched=$?
  if [ "$watched" -gt 1 ] || { [ "$watched" -eq 1 ] && [ ! -s "$NIGHT/watch.txt" ]; }; then
    end "failed: watch ended with $watched, what serves is as it was; see $NIGHT/watch.err" "$watched"
  fi
  head -n 1 "$NIGHT/watch.txt"
fi

step compare planner compare --dataset "$NIGHT/data" heuristic "$BUNDLE" "$NIGHT/run" "${value_options[@]}"
step promote planner promote --candidate "$NIGHT/run" --incumbent "$BUNDLE" --dataset "$NIGHT/data" --out "$BUNDLE" \
  --margin "$MARGIN" "${value_options[@]}" --json
promoted="$(field "$NIGHT/promote.txt" promoted)" && text="$(field "$NIGHT/promote.txt" text)" ||
  end "failed: what promote said cannot be read; see $NIGHT/promote.txt, and whether $BUNDLE is the new one" 1
if [ "$promoted" = True ]; then
  end "promoted: $text" 0
fi
end "kept: $text" 0
