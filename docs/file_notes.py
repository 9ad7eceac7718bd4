"""What docs/reference/files.md says of files that no struct describes."""

from __future__ import annotations

OTHERS = {
    "The decision log": ("the-decision-log", "a line a decision, as `Planner.load(..., log=...)` writes it"),
    "A dataset": ("a-dataset", "what is trained on and judged by"),
    "A run directory": ("a-run-directory", "what a training leaves behind"),
    "A bundle": ("a-bundle", "what decides, and what is needed to trust it"),
    "The evaluation": ("the-evaluation", "`planner run ... evaluate --json`, and `results.json` of a run"),
}
"""What the page has beside the contracts: anchor, and what it is."""

DECISION_LOG = """\
JSON Lines; [rollout](../rollout.md) tells how it is written and set aside. Beside these keys a line holds
`planner_input`, the document that was decided; unknown keys are ignored."""

DIRECTORIES: dict[str, tuple[str, str, dict[str, str]]] = {
    "dataset": (
        "A dataset",
        "A directory that `planner data build` and `planner data synth` write.",
        {
            "meta.json": "what it is: a [`dataset_meta`](#contract-dataset_meta)",
            "dataset.jsonl": "an example a line: a [`dataset_example`](#contract-dataset_example)",
            "outcomes.npz": "only where outcomes of several actions are known: `passed`, `minutes` and `cost_usd`, "
            "float32 [rows, actions], NaN where an outcome is not known",
        },
    ),
    "run": (
        "A run directory",
        "`runs/POLICY/TIME`, which `planner run ... train` writes; beside these the policy's own files.",
        {
            "config.json": "`schema_version` `swarm_planner.run.v1`, `policy`, `seed`, and `values`: every "
            "configuration key with its value",
            "provenance.json": "command, versions, machine, and the dataset by path and hash",
            "history.json": "an entry an epoch",
            "calibration.json": "`method`, `temperatures`, likelihoods before and after",
            "results.json": "`training`, and an [evaluation](#the-evaluation) of each split that there is: `val`, "
            "`test`",
            "run_manifest.json": "the SHA-256 of every other file, and of that list",
        },
    ),
    "bundle": (
        "A bundle",
        "A directory that `planner export` writes. [The bundle](../bundle.md) tells of each file, of the graph's "
        "tensors and of what loading verifies.",
        {
            "model.onnx": "the graph, weights inside",
            "config.json": "policy, `score_kind`, seed, configuration",
            "action_space.json": "swarms and bins: the order of the actions",
            "encoder.json": "what the layout of the features needs to know",
            "calibration.json": "temperatures, threshold, what an outcome is worth",
            "metadata.json": "version, dataset, verdict of the gate, headline metrics",
            "validation_report.json": "the parity check",
            "golden.jsonl": "16 inputs with everything that is decided of them",
            "model_indices.onnx": "only where it pays: the graph that reads positions instead of features",
            "manifest.json": "the SHA-256 of every file above, and the digest of that list",
        },
    ),
}
"""Directories by kind: title, what it is, and its files in the order of the source."""

EVALUATION_HEAD = """\
One policy on one split, beside what was run, the rules and the best constant on the same rows. What the figures rest
on: [value](../value.md). A key that does not apply (no known outcomes, no log) is left out or null; metrics that
other plugins bring stand among them."""

EVALUATION = {
    "from": "the run or bundle that was judged, or the policy's name",
    "policy": "the policy's name",
    "split": "the rows that were judged: `train`, `val`, `test`, or `later` runs of another dataset",
    "dataset_hash": "of which dataset",
    "known": "of which actions outcomes are known: `all`, `executed` (only those of what was run) or `none`",
    "rows": "rows that were judged",
    "n": "rows of the metrics",
    "coverage": "share of rows whose outcome metrics are known",
    "outcome_coverage": "the same",
    "utility": "what a pass, an hour and a USD are worth, by priority",
    "against": "what the verdict compares with: `as_run`, `heuristic`, a run or a bundle",
    "replay": "the use of replay that was asked for",
    "notes": "sentences that a reader must not miss",
    "value": "the policy's value against `against`: `pass_rate`, `minutes`, `cost_usd`, `utility` and `difference`, "
    "each with an interval by issue",
    "verdict": "`answer` (`better`, `worse`, `cannot_tell`), `text`, `reasons`, and the A/B that would tell",
    "values": "every such value, by who is compared with whom",
    "verdicts": "the policy's verdicts by what it is compared with",
    "estimator": "how the value was estimated from a log",
    "support": "on a log: how much of it speaks for the policy's decisions",
    "n_full": "on a log: runs of the policy's own action",
    "ess": "on a log: the effective sample size",
    "pass_rate": "known outcomes: share of the decisions that pass",
    "mean_minutes": "known outcomes: minutes a run",
    "mean_cost_usd": "known outcomes: USD a run",
    "mean_time_to_pass_min": "minutes of a row weighed by its chance to pass",
    "minutes_per_pass": "minutes of all runs by passes",
    "cost_per_pass_usd": "USD of all runs by passes",
    "mean_utility": "utility a run",
    "mean_regret": "utility lost to the best known action",
    "oracle_match_rate": "share of rows with the best known action",
    "gap_closed": "of the way from the rules (0) to the best possible (1)",
    "mean_candidate_minutes": "mean of candidates times minutes, over the decisions that limit both",
    "unbounded_rate": "share of decisions that leave candidates or minutes unlimited",
    "regret_by_confidence": "mean regret by quarter of confidence, the least sure first",
    "intervals": "95 % intervals of the metrics above, by issue",
    "per_head_accuracy": "agreement with the labels, by swarm, candidates, minutes, iterations",
    "exact_match_accuracy": "agreement with the whole label",
    "action_entropy": "entropy of the chosen actions, in nats",
    "top1_frequency": "share of the most frequent action",
    "unique_actions": "how many actions were chosen",
    "unique_action_ratio": "the same by how many the labels have",
    "ece": "expected calibration error, mean of the heads",
    "mce": "largest calibration error of a bin",
    "joint_ece": "calibration error of the whole action",
    "ece_before": "`ece` before temperature scaling",
    "mce_before": "`mce` before temperature scaling",
    "joint_ece_before": "`joint_ece` before temperature scaling",
    "abstain_rate": "share of decisions below `--threshold`",
    "risk_coverage": "error rate when only the surest are decided: `area` and `curve`",
    "reliability": "confidence and accuracy by bin, of each head",
    "predictions": "what the policy predicts of outcomes, against what came of them",
    "sensitivity": "from which worth of a pass on the choice changes",
    "heuristic": "the metrics of the rules on the same rows",
    "best_constant": "the metrics of the best constant, and its `actions`",
    "reference": "the metrics of the run or bundle of `--against`",
    "as_run": "what was run: `rows`, `pass_rate`, `mean_minutes`, `mean_cost_usd`, `mean_utility`",
    "floor": "the rules in the simulated world",
    "ceiling": "the best possible policy of the simulated world",
}
"""The keys of an evaluation."""
