"""How results look in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from planner_core.cli.console import number

# name, heading, and whether more (+) or less (-) is better; 0 where neither
_WORTH = (
    ("pass_rate", "pass rate", 1),
    ("mean_minutes", "minutes a run", -1),
    ("mean_cost_usd", "USD a run", -1),
    ("minutes_per_pass", "minutes a pass", -1),
    ("cost_per_pass_usd", "USD a pass", -1),
    ("mean_utility", "utility", 1),
    ("mean_regret", "regret", -1),
    ("oracle_match_rate", "is the best", 1),
    ("gap_closed", "gap closed", 1),
)
_CHOICES = (
    ("exact_match_accuracy", "exact match", 1),
    ("per_head_accuracy", "", 1),
    ("action_entropy", "action entropy", 0),
    ("top1_frequency", "most frequent", 0),
    ("unique_actions", "unique actions", 0),
    ("unique_action_ratio", "of the labels'", 0),
)
_HONESTY = (
    ("ece", "ECE", -1),
    ("ece_before", "  before", -1),
    ("mce", "MCE", -1),
    ("mce_before", "  before", -1),
    ("joint_ece", "ECE, joint", -1),
    ("joint_ece_before", "  before", -1),
    ("abstain_rate", "abstains", 0),
)
_ARROW = {1: " ↑", -1: " ↓", 0: ""}


def evaluation_blocks(document: Mapping[str, Any]) -> Iterator[Table | str]:
    """An evaluation as a sentence and up to four blocks: worth, choices, honesty, and what predictions are worth.

    Every block has the policy and the rows it stands beside as columns; notes come last.
    """
    yield headline(document)
    rows = {document["policy"]: document, "heuristic": document["heuristic"]}
    if "best_constant" in document:
        rows["constant"] = document["best_constant"]
    worth = rows | {
        name: document[key] for name, key in (("as run", "as_run"), ("ceiling", "ceiling")) if document[key]
    }
    if document["known"] == "executed" and document.get("values"):
        yield _value_table(document)
        yield from _grounds(document)
    if document["known"] != "executed" and "mean_utility" in document:
        yield _table("what the decisions lead to", _WORTH, worth, document.get("intervals") or {})
    yield _table("what is chosen", _CHOICES, rows)
    yield _table("how honest the confidence is", (*_HONESTY, *_extra()), rows, more=_area(rows))
    if "predictions" in document:
        yield _prediction_table(document["predictions"])
    if "sensitivity" in document:
        yield _sensitivity_table(document["sensitivity"])
        yield escape(document["sensitivity"]["text"])
    for note in document["notes"]:
        yield f"[yellow]note:[/yellow] {escape(note)}"


def headline(document: Mapping[str, Any]) -> str:
    """What was judged, on what, in one sentence."""
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
    return text + (f".\n[bold]{escape(verdict['text'])}[/bold]" if verdict else "")


def _grounds(document: Mapping[str, Any]) -> Iterator[str]:
    """What the verdict rests on, and what has to be known of the log."""
    value = document["values"].get(f"policy against {document['against']}")
    if value is None:
        return
    weights = value["weights"]
    yield (
        f"the log supports it on {value['support']:.0%} of the runs; the evidence is worth {value['ess']:.1f} issues "
        f"({value['ess_plain']:.1f} without replay); mean weight {_plain(weights['mean'], 2)}, largest "
        f"{_plain(weights['largest'], 1)}; replay of budgets: {escape(value['replay'])}"
    )
    for note in value["notes"]:
        yield f"[yellow]note:[/yellow] {escape(note)}"


def _table(
    title: str,
    metrics: Sequence[tuple[str, str, int]],
    rows: Mapping[str, Mapping[str, Any]],
    intervals: Mapping[str, Any] | None = None,
    more: Sequence[tuple[str, ...]] = (),
) -> Table:
    """Metrics down, policies across; with intervals, that of the difference to the best constant, else to the rules."""
    reference = "best_constant" if "constant" in rows else "heuristic"
    columns = [
        "",
        *rows,
        *([f"95 % to {'constant' if reference == 'best_constant' else 'rules'}"] if intervals else []),
    ]
    table = _empty(title, columns)
    for name, heading, better in metrics:
        values = [row.get(name) for row in rows.values()]
        if all(value is None for value in values):
            continue
        if isinstance(values[0], dict):
            for part in values[0]:
                table.add_row(f"  {part}{_ARROW[better]}", *(number(value[part]) if value else "" for value in values))
            continue
        ends = ((intervals or {}).get(name) or {}).get(f"difference to {reference}")
        cells = ["" if value is None else number(value) for value in values]
        table.add_row(
            heading + _ARROW[better], *cells, *([f"{ends[0]:+.3f} {ends[1]:+.3f}" if ends else ""] if intervals else [])
        )
    for row in more:
        table.add_row(*row)
    return table


def _empty(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", padding=(0, 0), collapse_padding=True)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table


def _extra() -> Sequence[tuple[str, str, int]]:
    """The metrics that plugins add."""
    from planner_core.harness.extra_metrics import extra_metrics

    return [(offer.name, offer.name, offer.record.better) for offer in extra_metrics()]


def _area(rows: Mapping[str, Mapping[str, Any]]) -> Sequence[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [
        ("risk-coverage ↓", *(number((row.get("risk_coverage") or {}).get("area")) for row in rows.values()))
    ]
    parts = [row.get("regret_by_confidence") for row in rows.values()]
    for heading, place in (("regret, surest quarter", 0), ("regret, least sure", -1)):
        if any(parts):
            found.append((heading, *(number(part[place]) if part else "" for part in parts)))
    return found


def _value_table(document: Mapping[str, Any]) -> Table:
    """What the log says: value with its interval, and the verdict, a row a comparison."""
    table = _empty("what the log says (utility a run, 95 % interval)", ["", "value", "difference", "issues", "verdict"])
    for name, value in document["values"].items():
        utility, gap = value["value"]["utility"], value["value"]["difference"]["utility"]
        verdict = value["verdict"]["answer"].replace("_", " ")
        comparison = name.replace("best_constant", "constant").replace("_", " ").replace("against", "-")
        estimate = "-" if utility["estimate"] is None else f"{utility['estimate']:.3f}"
        table.add_row(comparison, estimate, _range(gap), number(value["n_full"]), verdict)
    return table


def _plain(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _range(interval: Mapping[str, Any]) -> str:
    if interval["estimate"] is None:
        return "-"
    low, high = (f"{interval[end]:.2f}" if interval[end] is not None else "?" for end in ("low", "high"))
    return f"{interval['estimate']:.3f} ({low} {high})"


def _prediction_table(found: Mapping[str, Any]) -> Table:
    """Predicted against what happened."""
    table = _empty(f"predictions against {found['rows']} runs", ["", "error", "bias", "for comparison"])
    table.add_row(
        "pass, Brier", number(found["brier"]), number(found["pass_bias"]), f"{found['brier_of_the_mean']:.4f} the mean"
    )
    table.add_row("pass, ECE", number(found["ece"]), "", f"log loss {found['log_loss']:.4f}")
    for heading, key in (("minutes", "minutes"), ("USD", "cost")):
        held = found.get(f"{key}_interval_coverage")
        interval = "" if held is None else f"{held:.1%} within the {found['interval_level']:.0%} interval"
        table.add_row(f"{heading}, MAE", number(found[f"{key}_mae"]), number(found[f"{key}_bias"]), interval)
    return table


def _sensitivity_table(found: Mapping[str, Any]) -> Table:
    """By the worth of a pass: the difference in utility a run, and of a policy that weighs outcomes its choice then."""
    columns = ["a pass x", "USD", "difference", "verdict"]
    choices = found["choices"] or []
    title = f"if a pass were worth more or less: against {found['against']}"
    table = _empty(title, columns + ["changed", "passes", "USD a run"] * bool(choices))
    for i, row in enumerate(found["rows"]):
        usd = "-" if row["pass_usd"] is None else f"{row['pass_usd']:,.2f}"
        cells = [f"{row['multiple']:.3g}", usd, _range(row["difference"]), row["answer"].replace("_", " ")]
        if choices:
            choice = choices[i]
            means = (choice[name]["estimate"] for name in ("pass_rate", "cost_usd"))
            cells += [f"{choice['changed']:.0%}", *("-" if mean is None else f"{mean:.3f}" for mean in means)]
        table.add_row(*cells)
    return table


def counts_table(policy: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """How often each action was chosen."""
    total = sum(row["count"] for row in rows)
    table = Table(title=f"{policy}: {total} decisions", title_justify="left")
    for column in ("swarm", "candidates", "minutes", "iterations", "abstained", "count", "share"):
        table.add_column(column, justify="left" if column == "swarm" else "right")
    for row in rows:
        table.add_row(
            row["swarm_id"],
            *(str(row[key]) for key in ("max_candidates_bin", "max_minutes_bin", "max_iterations_bin")),
            "yes" if row["abstain_to_default"] else "no",
            str(row["count"]),
            f"{row['count'] / total:.1%}",
        )
    return table
