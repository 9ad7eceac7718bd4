"""The kernel's own decision whether to speculate, and with how many candidates.

Reads fields that are no features (``dk_speculate``, ``on_critical_path``, the action rate), so it is no graph.
"""

from __future__ import annotations

from planner_core import Action, Issue, PlannerInput, default_action
from planner_heuristic.config import ExplorationControl, HeuristicConfig, RoutingMatch, RoutingRule


def kernel_action(x: PlannerInput, config: HeuristicConfig) -> Action:
    """The kernel's action for ``x``; minutes and iterations follow the size as in the default rules."""
    _, _, *minutes_iterations = default_action(x.job_type, x.issue.dk_risk, x.issue.dk_size)
    rule = matching_rule(x.issue, config)
    if not config.speculation_enabled or not _wants_speculation(x, rule, config):
        return Action("serial_handoff", 1, *minutes_iterations)
    return Action("speculate_vote", parallelism(rule, action_rate(x), config), *minutes_iterations)


def action_rate(x: PlannerInput) -> float | None:
    """The rate of the issue's domain where the report has one, else the rate of all, else None.

    The domain follows the tags: ``asset:world`` is fab_world, another ``asset:`` tag fab_asset, anything else code.
    """
    if x.system_state is None:
        return None
    assets = {tag for tag in x.issue.tags if tag.startswith("asset:")}
    domain = "fab_world" if "asset:world" in assets else "fab_asset" if assets else "code"
    return (x.system_state.action_rates or {}).get(domain, x.system_state.action_rate)


def matching_rule(issue: Issue, config: HeuristicConfig) -> RoutingRule | None:
    """The first matching rule that asks for speculation, else the first that matches at all."""
    found = [rule for rule in config.routing_rules if matches(rule.match, issue)]
    return next((rule for rule in found if rule.speculate), found[0] if found else None)


def matches(match: RoutingMatch, issue: Issue) -> bool:
    """Whether every given field of ``match`` fits the issue."""
    tags = set(issue.tags)
    return (
        (match.dk_tool_hint is None or issue.dk_tool_hint in match.dk_tool_hint)
        and (match.dk_risk is None or issue.dk_risk in match.dk_risk)
        and (match.dk_size is None or issue.dk_size in match.dk_size)
        and (match.tags_any is None or not tags.isdisjoint(match.tags_any))
        and (match.tags_all is None or tags.issuperset(match.tags_all))
    )


def parallelism(rule: RoutingRule | None, rate: float | None, config: HeuristicConfig) -> int:
    """The matching rule's own parallelism, else the default, moved by the exploration control."""
    base = rule.parallelism if rule and rule.parallelism is not None else config.default_parallelism
    return explore(base, rate, config.default_parallelism, config.exploration)


def explore(base: int, rate: float | None, default: int, control: ExplorationControl) -> int:
    """A step of candidates more than the default where agents act too rarely, a step less where they act too often.

    Without a rate, or with the control disabled, ``base`` stays; between the thresholds the default holds.
    """
    if rate is None or not control.enabled:
        return base
    if rate < control.action_low:
        return min(control.max_parallelism, default + control.parallelism_step)
    if rate > control.action_high:
        return max(1, default - control.parallelism_step)
    return default


def _wants_speculation(x: PlannerInput, rule: RoutingRule | None, config: HeuristicConfig) -> bool:
    return bool(
        x.issue.dk_speculate
        or (x.system_state and x.system_state.force_speculate)
        or (rule and rule.speculate)
        or (
            config.auto_trigger_on_critical_path
            and x.issue.on_critical_path
            and x.issue.dk_risk in config.speculate_on_risk
        )
    )
