"""What does not fit the contract of an input: the error names the place, the value found and the expectation."""

from __future__ import annotations

import json

import pytest
from contract_documents import ACTION, MISSING, RUN, changed, refused

from planner_core import jsonio
from planner_core.contracts import PlannerAction, PlannerInput
from planner_core.errors import DataError

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
