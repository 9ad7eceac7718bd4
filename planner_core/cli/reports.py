"""How an evaluation and counts of decisions look in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from planner_core.cli.console import number, table


class _Metric(NamedTuple):
    """A row: its name in the document and in the table, whether more (1) or less (-1) is better, and its digits."""

    name: str
    heading: str
    better: int = 0
    digits: int = 4
    detail: bool = False
    """Shown with ``--details`` only."""


_WORTH = (
    _Metric("mean_utility", "utility a run", 1, 3),
    _Metric("pass_rate", "pass rate", 1, 3),
    _Metric("mean_minutes", "minutes a run", -1, 2),
    _Metric("mean_cost_usd", "USD a run", -1, 3),
    _Metric("cost_per_pass_usd", "USD a pass", -1, 3),
    _Metric("minutes_per_pass", "minutes a pass", -1, 2, detail=True),
    _Metric("gap_closed", "gap closed", 1, 3),
    _Metric("mean_regret", "regret", -1, 3, detail=True),
    _Metric("oracle_match_rate", "is the best", 1, 3, detail=True),
)
_CHOICES = (
    _Metric("exact_match_accuracy", "exact match", 1),
    _Metric("per_head_accuracy", "", 1, detail=True),
    _Metric("unique_actions", "distinct actions"),
    _Metric("unique_action_ratio", "  of the labels'", detail=True),
    _Metric("top1_frequency", "most frequent one"),
    _Metric("action_entropy", "action entropy", detail=True),
    _Metric("abstain_rate", "abstains"),
)
_CONFIDENCE = (
    _Metric("ece", "ECE", -1),
    _Metric("mce", "MCE", -1),
    _Metric("joint_ece", "ECE, joint", -1),
)
_ARROW = {1: " ↑", -1: " ↓", 0: ""}
_LONGEST_NAME = 9
"""Characters of a policy's name at the head of a column; a longer one stands in the sentence above."""


def evaluation_blocks(document: Mapping[str, Any], details: bool = False) -> Iterator[Table | str]:
    """An evaluation as a sentence and three blocks: its worth, its predictions, its decisions; notes come last.

    The policy and the rows it stands beside are the columns. With ``details`` every metric has its row.
    """
    yield headline(document)
    rows = {_column(document["policy"]): document, "heuristic": document["heuristic"]}
    if "best_constant" in document:
        rows["constant"] = document["best_constant"]
    yield from _worth(document, rows, details)
    yield from _predictions(document, rows, details)
    yield _table("how it decides", (*_CHOICES, *_extra()), rows, details=details)
    for note in document["notes"]:
        yield f"[yellow]note:[/yellow] {escape(note)}"


def headline(document: Mapping[str, Any]) -> str:
    """The verdict, or what is known where there is none, and what was judged, on what."""
    known = {
        "all": "outcomes of many actions are known",
        "executed": "only what was run is known",
        "none": "no outcome is",
    }
    text = f"{document['policy']} on {document['split']}: {document['n']} examples; {known[document['known']]}"
    coverage = document["coverage"]
    if document["known"] == "all" and coverage < 1.0:
        text += f" on {coverage:.0%} of the rows: there the choice is among those, and the others are left out"
    verdict = document.get("verdict")
    return (f"[bold]{escape(verdict['text'])}[/bold]\n" if verdict else "") + escape(text)


def _column(policy: str) -> str:
    return policy if len(policy) <= _LONGEST_NAME else "policy"


# ------------------------------------------------------------------------------------------------- what it is worth


def _worth(document: Mapping[str, Any], rows: Mapping[str, Any], details: bool) -> Iterator[Table | str]:
    title = "what it is worth"
    if document["known"] == "executed":
        if document.get("values"):
            yield _value_table(title, document["values"])
            yield from _grounds(document)
    elif "mean_utility" in document:
        beside = {name: document[key] for name, key in (("as run", "as_run"), ("ceiling", "ceiling")) if document[key]}
        yield _table(title, _WORTH, {**rows, **beside}, document.get("intervals") or {}, details)
    if "sensitivity" in document:
        if details:
            yield _sensitivity_table(document["sensitivity"])
        yield escape(document["sensitivity"]["text"])


def _value_table(title: str, values: Mapping[str, Any]) -> Table:
    """What the log says: value with its interval, and the verdict, a row a comparison."""
    found = table("<", "utility", "difference, 95 % interval", "issues", "<verdict", title=f"{title} (utility a run)")
    for name, value in values.items():
        utility, gap = value["value"]["utility"], value["value"]["difference"]["utility"]
        verdict = value["verdict"]["answer"].replace("_", " ")
        comparison = name.replace("best_constant", "constant").replace("_", " ").replace("against", "-")
        found.add_row(comparison, number(utility["estimate"], 3), _range(gap), number(value["n_full"]), verdict)
    return found


def _grounds(document: Mapping[str, Any]) -> Iterator[str]:
    """What the verdict rests on, and what has to be known of the log."""
    value = document["values"].get(f"policy against {document['against']}")
    if value is None:
        return
    weights = value["weights"]
    yield (
        f"the log supports it on {value['support']:.0%} of the runs; the evidence is worth {value['ess']:.1f} issues "
        f"({value['ess_plain']:.1f} without replay); mean weight {number(weights['mean'], 2)}, largest "
        f"{number(weights['largest'], 1)}; replay of budgets: {escape(value['replay'])}"
    )
    for note in value["notes"]:
        yield f"[yellow]note:[/yellow] {escape(note)}"


def _range(interval: Mapping[str, Any]) -> str:
    """``0.324 (0.222 to 0.426)``."""
    if interval["estimate"] is None:
        return "-"
    low, high = ("?" if interval[end] is None else number(interval[end], 2) for end in ("low", "high"))
    return f"{number(interval['estimate'], 3)} ({low} to {high})"


def _sensitivity_table(found: Mapping[str, Any]) -> Table:
    """By the worth of a pass: the difference in utility a run, and of a policy that weighs outcomes its choice then."""
    choices = found["choices"] or []
    columns = ["a pass x", "USD", "difference", "<verdict", *["changed", "passes", "USD a run"] * bool(choices)]
    shown = table(*columns, title=f"if a pass were worth more or less: against {found['against']}")
    for i, row in enumerate(found["rows"]):
        usd = number(row["pass_usd"], 2)
        cells = [f"{row['multiple']:.3g}", usd, _range(row["difference"]), row["answer"].replace("_", " ")]
        if choices:
            choice = choices[i]
            means = (choice[name]["estimate"] for name in ("pass_rate", "cost_usd"))
            cells += [f"{choice['changed']:.0%}", *(number(mean, 3) for mean in means)]
        shown.add_row(*cells)
    return shown


# ------------------------------------------------------------------------------------------------- what it predicts


def _predictions(document: Mapping[str, Any], rows: Mapping[str, Any], details: bool) -> Iterator[Table]:
    """How far its confidence can be believed, and its predictions of what comes of an action."""
    before = any(document.get(f"{metric.name}_before") is not None for metric in _CONFIDENCE)
    titles = [*rows, *["before scaling"] * before]
    found = table("<", *titles, title="what it predicts: is its confidence right?")
    for metric in _CONFIDENCE:
        cells = [number(row.get(metric.name)) for row in rows.values()]
        if any(cell != "-" for cell in cells):
            earlier = [number(document.get(f"{metric.name}_before"))] * before
            found.add_row(metric.heading + _ARROW[metric.better], *cells, *earlier)
    areas = [(row.get("risk_coverage") or {}).get("area") for row in rows.values()]
    found.add_row("risk-coverage ↓", *map(number, areas), *[""] * before)
    parts = [row.get("regret_by_confidence") for row in rows.values()]
    if details and any(parts):
        for heading, place in (("regret, surest quarter", 0), ("regret, least sure", -1)):
            found.add_row(heading, *(number(part[place]) if part else "" for part in parts), *[""] * before)
    yield found
    if "predictions" in document:
        yield _prediction_table(document["predictions"])


def _prediction_table(found: Mapping[str, Any]) -> Table:
    """Predicted against what happened."""
    shown = table("<", "error", "bias", "<for comparison", title=f"what it predicts, against {found['rows']} runs")
    by_mean = f"{number(found['brier_of_the_mean'])} by the mean"
    shown.add_row("pass, Brier", number(found["brier"]), number(found["pass_bias"]), by_mean)
    shown.add_row("pass, ECE", number(found["ece"]), "", f"log loss {number(found['log_loss'])}")
    for heading, key in (("minutes", "minutes"), ("USD", "cost")):
        held = found.get(f"{key}_interval_coverage")
        interval = "" if held is None else f"{held:.1%} within the {found['interval_level']:.0%} interval"
        shown.add_row(f"{heading}, MAE", number(found[f"{key}_mae"]), number(found[f"{key}_bias"]), interval)
    return shown


# --------------------------------------------------------------------------------------------------- how it decides


def _extra() -> Sequence[_Metric]:
    """The metrics that plugins add."""
    from planner_core.harness.extra_metrics import extra_metrics

    return [_Metric(offer.name, offer.name, offer.record.better) for offer in extra_metrics()]


def _table(
    title: str,
    metrics: Sequence[_Metric],
    rows: Mapping[str, Mapping[str, Any]],
    intervals: Mapping[str, Any] | None = None,
    details: bool = False,
) -> Table:
    """Metrics down, policies across; with intervals, that of the difference to the best constant, else to the rules."""
    reference = "best_constant" if "constant" in rows else "heuristic"
    against = "constant" if reference == "best_constant" else "rules"
    found = table("<", *rows, *([f"95 % to\n{against}"] if intervals else []), title=title)
    for metric in metrics:
        values = [row.get(metric.name) for row in rows.values()]
        if all(value is None for value in values) or (metric.detail and not details):
            continue
        arrow = _ARROW[metric.better]
        if isinstance(values[0], dict):
            for part in values[0]:
                found.add_row(f"  {part}{arrow}", *(number(value[part]) if value else "" for value in values))
            continue
        cells = ["" if value is None else number(value, metric.digits) for value in values]
        if intervals:
            ends = (intervals.get(metric.name) or {}).get(f"difference to {reference}")
            cells.append(" to ".join(number(end, 2, "+") for end in ends) if ends else "")
        found.add_row(metric.heading + arrow, *cells)
    return found


# ---------------------------------------------------------------------------------------------------------- counts


def counts_blocks(policy: str, counts: Mapping[str, Any]) -> Iterator[Table]:
    """Whose the decisions are and why, and how often each action was chosen."""
    total = counts["decisions"]
    shown = table("<decided by", "<reason", "count", "share", title=f"{policy}: {total} decisions")
    for row in counts["decided_by"]:
        reason = "-" if row["reason"] is None else row["reason"]
        shown.add_row(escape(row["policy"]), escape(reason), str(row["count"]), f"{row['count'] / total:.1%}")
    yield shown
    shown = table("<swarm", "candidates", "minutes", "iterations", "<by the rules", "count", "share")
    for row in counts["actions"]:
        shown.add_row(
            escape(row["swarm_id"]),
            *(str(row[key]) for key in ("max_candidates_bin", "max_minutes_bin", "max_iterations_bin")),
            "yes" if row["abstain_to_default"] else "no",
            str(row["count"]),
            f"{row['count'] / total:.1%}",
        )
    yield shown
