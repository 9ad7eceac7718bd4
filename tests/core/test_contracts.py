"""Reading against the contracts of SPEC section 2: what is accepted, and what an error says about the rest."""

from __future__ import annotations

import copy
import json

import msgspec
import pytest

from planner_core import jsonio
from planner_core.contracts import DatasetExample, DatasetMeta, ExecutedPlan, PlannerAction, PlannerInput, RunSummary
from planner_core.errors import DataError

ACTION = {
    "schema_version": "cyntra.planner_action.v1",
    "created_at": "2025-03-01T12:00:00Z",
    "swarm_id": "speculate_vote",
    "budgets": {"max_candidates_bin": 2, "max_minutes_bin": 30, "max_iterations_bin": "NA"},
}
PLAN = {
    "schema_version": "cyntra.executed_plan.v1",
    "swarm_id_executed": "speculate_vote",
    "max_candidates_executed": 2,
    "timeout_seconds_executed": 1800,
    "max_iterations_executed": 1,
    "fallback_applied": True,
    "fallback_reason": "low confidence",
}
META = {
    "schema_version": "cyntra.planner_dataset.v1",
    "dataset_hash": "0" * 64,
    "example_count": 10,
    "split_counts": {"train": 8, "val": 1, "test": 1},
    "swarm_ids": ["serial_handoff", "speculate_vote"],
    "n_similar_runs": 8,
    "label_source": "best_of_k",
}
MISSING = object()


def steps(path):
    return [int(step) if step.isdigit() else step for step in path.split(".")]


def changed(document, path, value):
    """A deep copy with the value at the dotted path replaced (or, for MISSING, removed)."""
    out = copy.deepcopy(document)
    *parents, last = steps(path)
    holder = out
    for step in parents:
        holder = holder[step]
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = value
    return out


def at(document, path):
    for step in steps(path):
        document = document[step]
    return document


def read(document, contract):
    return jsonio.read(json.dumps(document), contract, "runs.jsonl", 7)


def refused(raw, contract):
    with pytest.raises(DataError) as caught:
        jsonio.read(raw, contract, "runs.jsonl", 7)
    assert str(caught.value).startswith("runs.jsonl, line 7")
    return caught.value


@pytest.fixture(scope="module")
def full_input(make_input, make_run):
    """A planner input in which every integer position is filled."""
    run = make_run(
        action={"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": 30, "max_iterations": 1},
        outcome={"gates": [{"name": "test", "passed": True, "score": 0.5}]},
        tokens_in=10,
        tokens_out=20,
    )
    document = make_input(runs=[run], system_state={"active_workcells_bin": 1, "queue_depth_bin": 1})
    document["action_space"]["validity_rules"] = [
        {
            "description": "",
            "if": {"swarm_id": "serial_handoff"},
            "then": {
                "max_candidates_bin": 1,
                "max_candidates_bin_not": 1,
                "max_minutes_bin": 1,
                "max_minutes_bin_not": 1,
                "max_iterations_bin": 1,
                "max_iterations_bin_not": 1,
            },
        }
    ]
    return document


@pytest.fixture(scope="module")
def example(full_input):
    return {
        "run_id": "run-9",
        "started_ms": 1,
        "split": "train",
        "planner_input": full_input,
        "label_action": ACTION,
        "candidates": [
            {
                "action": ["speculate_vote", 2, 30, 1],
                "outcome": {
                    "status": "success",
                    "duration_ms": 60000,
                    "cost_usd": 0.5,
                    "all_gates_passed": True,
                    "fail_codes": [],
                },
                "is_winner": True,
            }
        ],
    }


# ------------------------------------------------------------------------------------ integers in numeric strings

RUN = "history.last_n_similar_runs.0"
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


# ------------------------------------------------------------------------------------ what does not fit

BAD_INPUTS = {
    # name: (path, value, JSON path in the message, value found, words of what was expected)
    "risk": ("issue.dk_risk", "severe", "$.issue.dk_risk", '"severe"', ["low", "medium", "high", "critical"]),
    "priority": ("issue.dk_priority", "P4", "$.issue.dk_priority", '"P4"', ["P0", "P1", "P2", "P3"]),
    "priority case": ("issue.dk_priority", "p0", "$.issue.dk_priority", '"p0"', ["P0"]),
    "size": ("issue.dk_size", "XXL", "$.issue.dk_size", '"XXL"', ["XS", "S", "M", "L", "XL"]),
    "size null": ("issue.dk_size", None, "$.issue.dk_size", "null", ["XS"]),
    "hint": ("issue.dk_tool_hint", 5, "$.issue.dk_tool_hint", "5", ["str", "null"]),
    "attempts negative": ("issue.dk_attempts", -1, "$.issue.dk_attempts", "-1", ["int", ">= 0"]),
    "attempts negative text": ("issue.dk_attempts", "-1", "$.issue.dk_attempts", "-1", ["int", ">= 0"]),
    "attempts bool": ("issue.dk_attempts", True, "$.issue.dk_attempts", "true", ["int"]),
    "attempts fraction": ("issue.dk_attempts", 3.5, "$.issue.dk_attempts", "3.5", ["int"]),
    "attempts fraction text": ("issue.dk_attempts", "3.5", "$.issue.dk_attempts", '"3.5"', ["int"]),
    "attempts space": ("issue.dk_attempts", " 3", "$.issue.dk_attempts", '" 3"', ["int"]),
    "attempts newline": ("issue.dk_attempts", "3\n", "$.issue.dk_attempts", '"3\\n"', ["int"]),
    "attempts hex": ("issue.dk_attempts", "0x3", "$.issue.dk_attempts", '"0x3"', ["int"]),
    "attempts underscore": ("issue.dk_attempts", "1_0", "$.issue.dk_attempts", '"1_0"', ["int"]),
    "attempts empty": ("issue.dk_attempts", "", "$.issue.dk_attempts", '""', ["int"]),
    "attempts null": ("issue.dk_attempts", None, "$.issue.dk_attempts", "null", ["int"]),
    "attempts word": ("issue.dk_attempts", "three", "$.issue.dk_attempts", '"three"', ["int"]),
    "tags": ("issue.tags", "bug", "$.issue.tags", '"bug"', ["array"]),
    "one tag": ("issue.tags", ["a", 2], "$.issue.tags[1]", "2", ["str"]),
    "issue": ("issue", [], "$.issue", "[]", ["object"]),
    "naive time": ("created_at", "2025-03-01T12:00:00", "$.created_at", '"2025-03-01T12:00:00"', ["timezone"]),
    "time number": ("created_at", 1740830400, "$.created_at", "1740830400", ["datetime"]),
    "version": (
        "schema_version",
        "cyntra.planner_input.v2",
        "$.schema_version",
        '"cyntra.planner_input.v2"',
        ["cyntra.planner_input.v1"],
    ),
    "job type": ("job_type", None, "$.job_type", "null", ["str"]),
    "domain": (f"{RUN}.domain", "fab-world", "$.history.last_n_similar_runs[0].domain", '"fab-world"', ["fab_world"]),
    "status": (
        f"{RUN}.outcome.status",
        "ok",
        "$.history.last_n_similar_runs[0].outcome.status",
        '"ok"',
        ["success", "failed", "timeout"],
    ),
    "minutes negative": (
        f"{RUN}.action_executed.max_minutes",
        -5,
        "$.history.last_n_similar_runs[0].action_executed.max_minutes",
        "-5",
        ["int", ">= 0"],
    ),
    "minutes NA": (
        f"{RUN}.action_executed.max_minutes",
        "NA",
        "$.history.last_n_similar_runs[0].action_executed.max_minutes",
        '"NA"',
        ["int", "null"],
    ),
    "gate passed": (
        f"{RUN}.outcome.gates.0.passed",
        1,
        "$.history.last_n_similar_runs[0].outcome.gates[0].passed",
        "1",
        ["bool"],
    ),
    "propensity": (f"{RUN}.propensity", 1.5, "$.history.last_n_similar_runs[0].propensity", "1.5", ["float"]),
    "bin word": (
        "action_space.max_minutes_bins.2",
        "n/a",
        "$.action_space.max_minutes_bins[2]",
        '"n/a"',
        ["integer", "NA"],
    ),
    "bin bool": (
        "action_space.max_candidates_bins.0",
        True,
        "$.action_space.max_candidates_bins[0]",
        "true",
        ["integer", "NA"],
    ),
    "bin fraction": (
        "action_space.max_minutes_bins.0",
        7.5,
        "$.action_space.max_minutes_bins[0]",
        "7.5",
        ["integer", "NA"],
    ),
    "state": ("system_state", "idle", "$.system_state", '"idle"', ["object", "null"]),
}


@pytest.mark.parametrize(("path", "value", "where", "found", "expected"), BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_error_names_the_place_the_value_and_the_expectation(full_input, path, value, where, found, expected):
    error = refused(json.dumps(changed(full_input, path, value)), PlannerInput)
    assert (error.source, error.line, error.path, error.found) == ("runs.jsonl", 7, where, found)
    for word in expected:
        assert word in error.expected
    assert str(error) == f"runs.jsonl, line 7, at {where}: found {found}; expected {error.expected}"


def test_time_that_is_none_says_what_would_be(full_input):
    error = refused(json.dumps(changed(full_input, "created_at", "soon")), PlannerInput)
    assert (error.path, error.found) == ("$.created_at", '"soon"')
    # "expected invalid RFC3339" would tell the user the opposite
    assert "invalid" not in error.expected


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("created_at", "$"),
        ("issue.dk_attempts", "$.issue"),
        ("issue.tags", "$.issue"),
        (f"{RUN}.outcome.status", "$.history.last_n_similar_runs[0].outcome"),
        ("action_space.validity_rules", "$.action_space"),
    ],
)
def test_missing_key_is_named(full_input, path, where):
    error = refused(json.dumps(changed(full_input, path, MISSING)), PlannerInput)
    assert error.path == where
    assert path.split(".")[-1] in error.expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "   ",
        "not json",
        "{",
        '{"schema_version": "cyntra.planner_input.v1", ',
        "{'schema_version': 1}",
        "NaN",
        b"\xff\xfe",
    ],
)
def test_text_that_is_no_json(raw):
    error = refused(raw, PlannerInput)
    assert "JSON" in error.expected


def test_bytes_that_are_no_utf8(full_input):
    raw = json.dumps(changed(full_input, "issue.tags", ["TAG"])).encode().replace(b"TAG", b"\xff")
    assert "utf-8" in refused(raw, PlannerInput).expected.lower()


@pytest.mark.parametrize("cut", ["", "}}"])
@pytest.mark.parametrize(("field", "value"), [("dk_attempts", "3"), ("dk_risk", "severe")])
def test_broken_json_after_a_value_that_does_not_fit(full_input, field, value, cut):
    # the first pass stops at the value, so only the second one meets the broken end
    raw = json.dumps(changed(full_input, f"issue.{field}", value))
    raw = raw + cut if cut else raw[:-20]
    refused(raw, PlannerInput)


def test_json_nested_too_deep_is_a_data_error(full_input):
    raw = json.dumps(changed(full_input, "issue.extra", 0)).replace('"extra": 0', '"extra": ' + "[" * 5000 + "]" * 5000)
    refused(raw, PlannerInput)


@pytest.mark.parametrize("value", ["null", "[]", '"text"', "3", "true"])
def test_json_that_is_no_object(value):
    error = refused(value, PlannerInput)
    assert (error.path, error.found, error.expected) == ("$", value, "`object`")


def test_long_value_is_shortened(full_input):
    error = refused(json.dumps(changed(full_input, "issue.dk_risk", "x" * 5000)), PlannerInput)
    assert len(str(error)) < 250


def test_place_inside_a_mapping_is_named():
    action = {**ACTION, "probs": {"swarm": [0.5, 0.5], "minutes": [0.1, "x"]}}
    error = refused(json.dumps(action), PlannerAction)
    assert error.found == '"x"'
    assert "minutes" in error.path


def test_error_without_a_line_names_the_file_alone(full_input):
    with pytest.raises(DataError) as caught:
        jsonio.convert(changed(full_input, "issue.dk_risk", "severe"), PlannerInput, "stdin")
    assert str(caught.value).startswith('stdin, at $.issue.dk_risk: found "severe"; expected one of ')


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


# ------------------------------------------------------------------------------------ files


def test_missing_file_is_a_data_error(tmp_path):
    path = tmp_path / "meta.json"
    with pytest.raises(DataError, match=r"meta\.json"):
        jsonio.read_file(path, DatasetMeta)
    with pytest.raises(DataError, match=r"meta\.json"):
        list(jsonio.iter_lines(path))


def test_read_file_names_the_file(tmp_path):
    path = tmp_path / "meta.json"
    path.write_text(json.dumps({**META, "label_source": "guess"}))
    with pytest.raises(DataError) as caught:
        jsonio.read_file(path, DatasetMeta)
    assert caught.value.source == str(path)
    path.write_text(json.dumps(META))
    assert jsonio.read_file(path, DatasetMeta).example_count == 10


def test_lines_keep_their_numbers_across_blank_ones(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b'\n{"a": 1}\r\n   \n\n{"a": 2}')
    assert [(number, json.loads(line)) for number, line in jsonio.iter_lines(path)] == [(2, {"a": 1}), (5, {"a": 2})]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_file_without_a_line_is_an_error(tmp_path, content):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"runs\.jsonl"):
        list(jsonio.iter_lines(path))


def test_canonical_json_does_not_depend_on_key_order():
    expected = '{"a":{"c":"ö","d":[1,2]},"b":null}'.encode()
    assert jsonio.canonical({"b": None, "a": {"d": [1, 2], "c": "ö"}}) == expected
