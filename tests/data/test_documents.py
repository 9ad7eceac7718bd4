"""The contracts by name: their schemas say what the structs say, and a file is checked against the one it follows."""

from __future__ import annotations

import gzip
import json

import msgspec
import pytest
from workplace import run

from planner_core.contracts import ACTION_SCHEMA, DatasetExample, RunSummary
from planner_core.data.documents import CONTRACTS, contract_named, contract_of, validate_file
from planner_core.errors import DataError, PlannerError

ACTION = {
    "schema_version": ACTION_SCHEMA,
    "created_at": "2026-03-03T09:00:00Z",
    "swarm_id": "serial_handoff",
    "budgets": {"max_candidates_bin": 1, "max_minutes_bin": 30, "max_iterations_bin": "NA"},
}


def lines(path, *documents, packed=False):
    raw = "".join((d if isinstance(d, str) else json.dumps(d)) + "\n" for d in documents).encode()
    path.write_bytes(gzip.compress(raw) if packed else raw)
    return path


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_a_schema_names_every_key_and_what_is_required(contract):
    """Walked by hand, so that it is no copy of the call that makes it."""
    schema = contract.schema()
    top = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    fields = msgspec.structs.fields(contract.struct)
    assert set(top["properties"]) == {field.encode_name for field in fields}
    assert set(top.get("required", ())) == {field.encode_name for field in fields if field.required}
    if contract.struct.__struct_config__.forbid_unknown_fields:
        assert top["additionalProperties"] is False
    json.dumps(schema)


def test_a_schema_knows_words_and_bounds():
    defs = contract_named("run_summary").schema()["$defs"]
    assert defs["Outcome"]["properties"]["status"]["enum"] == ["failed", "success", "timeout"]
    probability = {"type": "number", "minimum": 0.0, "maximum": 1.0}
    assert defs["RunSummary"]["properties"]["propensity"]["anyOf"][0] == probability


def test_names_are_those_there_are():
    assert contract_named("run_summary").struct is RunSummary
    with pytest.raises(PlannerError, match=r"called 'runs' .*there are: planner_input, planner_action"):
        contract_named("runs")


def test_no_document_is_of_two_contracts():
    assert contract_of(run("r", "x")).name == "run_summary"
    assert contract_of({"run_id": "r", "planner_input": {}, "label_action": {}}).struct is DatasetExample
    assert contract_of({"id": "x", "schema_version": ACTION_SCHEMA}).name == "planner_action"
    assert contract_of(ACTION | {"schema_version": "cyntra.planner_action.v9"}).name == "planner_action"
    assert contract_of({"a": 1}) is None and contract_of([1]) is None


def test_files_of_runs_and_issues_are_checked_as_a_build_does(tmp_path):
    path = lines(tmp_path / "r.gz", run("r1", "x"), run("r2", "x"), run("r1", "x"), packed=True)
    report = validate_file(path)
    assert (report.contract, report.documents, report.left_out) == ("run_summary", 2, {"repeated, the same": 1})
    path = lines(tmp_path / "i", {"id": "x"}, {"id": "y", "status": "tombstone"}, {"_type": "memory", "key": 1})
    report = validate_file(path)
    assert (report.contract, report.documents) == ("issue", 1)
    assert report.left_out == {"deleted": 1, "not an issue": 1}
    assert validate_file(lines(tmp_path / "a", ACTION, ACTION)).documents == 2


def test_one_document_may_stand_over_several_lines(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ACTION, indent=2))
    assert (validate_file(path).contract, validate_file(path).documents) == ("planner_action", 1)
    path.write_text(json.dumps(ACTION, indent=2)[:-9])
    with pytest.raises(DataError, match=r"a\.json: found .* expected a JSON document"):
        validate_file(path)


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (["[1]"], r"line 1: found a document of no contract we know; expected one of planner_input"),
        (
            ["issue,result"],
            r"line 1: found a file that begins with 'issue,result'; expected JSON; 'planner data import' r",
        ),
        ([], r"found an empty file"),
        ([ACTION, run("r", "x")], r"line 2: found a document of run_summary; expected planner_action, as in line 1"),
        ([{"id": "x"}, ACTION], r"line 2: found a document of planner_action; expected issue"),
        ([ACTION, {**ACTION, "more": 1}], r"line 2: found the unknown key `more`; expected only the known keys"),
        ([{**ACTION, "schema_version": "v2"}], r'line 1, at \$\.schema_version: found "v2"; expected one of cyntra'),
        ([{"id": "x", "dk_size": "XXL"}], r'line 1, at \$\.dk_size: found "XXL"'),
        ([run("r", "x"), run("r", "y")], r"line 2, at \$\.run_id: found another run of the id"),
        ([run("r", "x", propensities={"a": 1.0})], r"line 1, at \$\.propensities\['a'\]"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, documents, said):
    with pytest.raises(DataError, match=said):
        validate_file(lines(tmp_path / "f", *documents))
