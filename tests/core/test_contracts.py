"""Reading against the contracts of SPEC section 2: what is accepted, and what each contract refuses."""

from __future__ import annotations

import copy
import json

import msgspec
import pytest
from contract_documents import ACTION, META, MISSING, PLAN, RUN, at, changed, read, refused

from planner_core import jsonio
from planner_core.contracts import DatasetExample, DatasetMeta, ExecutedPlan, PlannerAction, PlannerInput, RunSummary

# ------------------------------------------------------------------------------------ integers in numeric strings

RULE = "action_space.validity_rules.0.then"
INPUT_INTEGERS = [
    "issue.dk_attempts",
    f"{RUN}.started_ms",
    f"{RUN}.action_executed.max_candidates",
    f"{RUN}.action_executed.max_minutes",
    f"{RUN}.action_executed.max_iterations",
    f"{RUN}.runtime.duration_ms",
    f"{RUN}.tokens_in",
    f"{RUN}.tokens_out",
    "action_space.max_candidates_bins.0",
    "action_space.max_minutes_bins.3",
    "action_space.max_iterations_bins.1",
    f"{RULE}.max_candidates_bin",
    f"{RULE}.max_candidates_bin_not",
    f"{RULE}.max_minutes_bin",
    f"{RULE}.max_minutes_bin_not",
    f"{RULE}.max_iterations_bin",
    f"{RULE}.max_iterations_bin_not",
]


@pytest.mark.parametrize("path", INPUT_INTEGERS)
def test_numeric_string_is_an_integer_in_an_input(full_input, path):
    assert type(at(full_input, path)) is int
    document = read(changed(full_input, path, "17"), PlannerInput)
    assert at(msgspec.to_builtins(document), path) == 17


@pytest.mark.parametrize(
    ("contract", "document", "path"),
    [
        (PlannerAction, ACTION, "budgets.max_candidates_bin"),
        (PlannerAction, ACTION, "budgets.max_minutes_bin"),
        (PlannerAction, ACTION, "budgets.max_iterations_bin"),
        (ExecutedPlan, PLAN, "max_candidates_executed"),
        (ExecutedPlan, PLAN, "timeout_seconds_executed"),
        (ExecutedPlan, PLAN, "max_iterations_executed"),
        (DatasetMeta, META, "example_count"),
        (DatasetMeta, META, "split_counts.val"),
        (DatasetMeta, META, "n_similar_runs"),
    ],
)
def test_numeric_string_is_an_integer_elsewhere(contract, document, path):
    assert at(msgspec.to_builtins(read(changed(document, path, "17"), contract)), path) == 17


@pytest.mark.parametrize(
    "path",
    [
        "started_ms",
        "candidates.0.action.1",
        "candidates.0.action.2",
        "candidates.0.action.3",
        "label_action.budgets.max_minutes_bin",
        "planner_input.issue.dk_attempts",
    ],
)
def test_numeric_string_is_an_integer_in_a_dataset_line(example, path):
    assert at(msgspec.to_builtins(read(changed(example, path, "17"), DatasetExample)), path) == 17


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("123456789012345678", 123456789012345678)])
def test_forms_of_a_numeric_string(full_input, text, number):
    assert read(changed(full_input, "issue.dk_attempts", text), PlannerInput).issue.dk_attempts == number


def test_digits_stay_text_where_text_is_wanted(full_input):
    document = changed(full_input, "issue.tags", ["2024", "007"])
    document["issue"]["issue_id"] = "12"
    document["issue"]["dk_tool_hint"] = "3"
    document["issue"]["dk_attempts"] = "1"  # forces the second, coercing pass
    issue = read(document, PlannerInput).issue
    assert (issue.tags, issue.issue_id, issue.dk_tool_hint) == (["2024", "007"], "12", "3")


def test_numeric_string_is_no_float_no_bool_and_no_probability(example):
    for path in (
        f"planner_input.{RUN}.outcome.gates.0.score",
        f"planner_input.{RUN}.outcome.gates.0.passed",
        "candidates.0.outcome.cost_usd",
        "candidates.0.is_winner",
    ):
        error = refused(json.dumps(changed(example, path, "1")), DatasetExample)
        assert error.found == '"1"'


def test_reading_leaves_the_caller_s_document_alone(full_input):
    document = changed(full_input, "issue.dk_attempts", "3")
    before = copy.deepcopy(document)
    jsonio.convert(document, PlannerInput, "stdin")
    assert document == before


# ------------------------------------------------------------------------------------ closed and open objects


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("universe_defaults.extra", "$.universe_defaults"),
        ("history.extra", "$.history"),
        ("action_space.extra", "$.action_space"),
    ],
)
def test_closed_object_refuses_an_unknown_key(full_input, path, where):
    error = refused(json.dumps(changed(full_input, path, 1)), PlannerInput)
    assert error.path == where
    assert "extra" in error.found


@pytest.mark.parametrize(
    "path",
    [
        "extra",
        "issue.extra",
        "system_state.extra",
        f"{RUN}.extra",
        f"{RUN}.action_executed.extra",
        f"{RUN}.outcome.extra",
        f"{RUN}.outcome.gates.0.extra",
        f"{RUN}.runtime.extra",
    ],
)
@pytest.mark.parametrize("value", [{"a": [1]}, "12"])
def test_open_object_ignores_an_unknown_key(full_input, path, value):
    document = read(changed(full_input, path, value), PlannerInput)
    assert document == read(full_input, PlannerInput)


def test_dataset_line_and_meta_are_open(example):
    assert read({**example, "extra": 1}, DatasetExample).run_id == "run-9"
    assert read({**META, "world": {"seed": 3}}, DatasetMeta).example_count == 10


# ------------------------------------------------------------------------------------ optional and nullable


def test_nulls_of_an_input(full_input):
    document = changed(full_input, "system_state", None)
    document["universe_defaults"] = {}
    run = document["history"]["last_n_similar_runs"][0]
    run["action_executed"] = {"swarm_id": None, "max_candidates": None, "max_minutes": None, "max_iterations": None}
    run["cost_usd_est"] = None
    parsed = read(document, PlannerInput)
    assert parsed.system_state is None
    assert (parsed.universe_defaults.swarm_id, parsed.universe_defaults.objective_id) == (None, None)
    assert parsed.history.last_n_similar_runs[0].action_executed.max_minutes is None


def test_optional_fields_of_a_run_may_be_absent(make_run):
    run = read(make_run(), RunSummary)
    optional = (run.cost_usd_est, run.tokens_in, run.tokens_out, run.tags, run.issue_id, run.propensity)
    assert optional == (None,) * 6


def test_kernel_extras_are_read(full_input):
    document = changed(full_input, "issue.dk_speculate", True)
    document["issue"]["on_critical_path"] = False
    document["system_state"] |= {"action_rate": 0.25, "force_speculate": True}
    parsed = read(document, PlannerInput)
    assert (parsed.issue.dk_speculate, parsed.issue.on_critical_path) == (True, False)
    assert (parsed.system_state.action_rate, parsed.system_state.force_speculate) == (0.25, True)


@pytest.mark.parametrize("stamp", ["2025-03-01T12:00:00Z", "2025-03-01T13:00:00+01:00", "2025-03-01T12:00:00.000Z"])
def test_rfc_3339_forms_are_one_moment(full_input, stamp):
    parsed = read(changed(full_input, "created_at", stamp), PlannerInput)
    assert parsed.created_at.timestamp() == 1_740_830_400


# ------------------------------------------------------------------------------------ planner_action, executed_plan


def test_action_with_everything():
    full = {
        **ACTION,
        "probs": {"swarm": [0.25, 0.75]},
        "confidence": 1,
        "abstain_to_default": False,
        "reason": None,
        "model": {"checkpoint_id": "c1", "version": "0.1.0", "git_sha": None},
        "input_hash": "ab" * 32,
    }
    action = read(full, PlannerAction)
    assert (action.probs, action.confidence, action.model.version) == ({"swarm": [0.25, 0.75]}, 1.0, "0.1.0")


def test_written_action_has_no_absent_fields():
    assert json.loads(jsonio.canonical(read(ACTION, PlannerAction))) == ACTION


@pytest.mark.parametrize(
    ("change", "where", "found"),
    [
        ({"extra": 1}, "$", "the unknown key `extra`"),
        ({"budgets": {**ACTION["budgets"], "max_tokens_bin": 1}}, "$.budgets", "the unknown key `max_tokens_bin`"),
        ({"model": {"version": "1"}}, "$.model", "no such key"),
        ({"confidence": 1.01}, "$.confidence", "1.01"),
        ({"confidence": -0.01}, "$.confidence", "-0.01"),
        ({"created_at": "2025-03-01T12:00:00"}, "$.created_at", '"2025-03-01T12:00:00"'),
        ({"schema_version": "cyntra.planner_input.v1"}, "$.schema_version", '"cyntra.planner_input.v1"'),
        ({"swarm_id": None}, "$.swarm_id", "null"),
    ],
)
def test_action_is_closed_and_checked(change, where, found):
    error = refused(json.dumps({**ACTION, **change}), PlannerAction)
    assert (error.path, error.found) == (where, found)


@pytest.mark.parametrize("key", ["max_candidates_bin", "max_minutes_bin", "max_iterations_bin"])
def test_action_names_all_three_budgets(key):
    error = refused(json.dumps(changed(ACTION, f"budgets.{key}", MISSING)), PlannerAction)
    assert (error.path, error.found) == ("$.budgets", "no such key")
    assert key in error.expected


def test_executed_plan():
    plan = read(PLAN, ExecutedPlan)
    assert (plan.swarm_id_executed, plan.timeout_seconds_executed) == ("speculate_vote", 1800)
    assert (plan.fallback_applied, plan.fallback_reason) == (True, "low confidence")


def test_executed_plan_of_the_six_fields_of_the_spec():
    # section 2.3 gives executed_plan.v1 these six fields and no schema_version
    six = {key: value for key, value in PLAN.items() if key != "schema_version"}
    assert read(six, ExecutedPlan).max_candidates_executed == 2


def test_executed_plan_without_limits_and_fallback():
    plan = read(
        {
            **PLAN,
            "max_candidates_executed": None,
            "timeout_seconds_executed": None,
            "max_iterations_executed": None,
            "fallback_applied": False,
            "fallback_reason": None,
        },
        ExecutedPlan,
    )
    assert (plan.max_candidates_executed, plan.fallback_applied, plan.fallback_reason) == (None, False, None)


@pytest.mark.parametrize(
    ("key", "value"), [("fallback_applied", "yes"), ("timeout_seconds_executed", 1.5), ("swarm_id_executed", None)]
)
def test_executed_plan_is_checked(key, value):
    assert refused(json.dumps({**PLAN, key: value}), ExecutedPlan).path == f"$.{key}"


# ------------------------------------------------------------------------------------ dataset


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("split", "dev", "$.split"),
        ("started_ms", -1, "$.started_ms"),
        ("label_action.extra", 1, "$.label_action"),
        ("planner_input.issue.dk_risk", "severe", "$.planner_input.issue.dk_risk"),
        ("candidates.0.action", ["speculate_vote", 2, 30], "$.candidates[0].action"),
        ("candidates.0.action.2", "soon", "$.candidates[0].action[2]"),
        ("candidates.0.outcome.status", "ok", "$.candidates[0].outcome.status"),
    ],
)
def test_dataset_line_is_checked_all_the_way_down(example, path, value, where):
    assert refused(json.dumps(changed(example, path, value)), DatasetExample).path == where


def test_dataset_line_without_candidates(example):
    assert read(changed(example, "candidates", MISSING), DatasetExample).candidates is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("label_source", "guess"), ("example_count", -1), ("split_counts", {"train": "x"})],
)
def test_meta_is_checked(key, value):
    assert refused(json.dumps({**META, key: value}), DatasetMeta).path.startswith(f"$.{key}")
