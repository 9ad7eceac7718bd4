"""What the endpoints answer: what the planner decides, and to what they refuse the command line's own words."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest

from planner_core import Planner
from planner_serve import openapi


def without_time(action):
    return {key: value for key, value in action.items() if key != "created_at"}


@pytest.fixture(scope="module")
def planner(bundles):
    return Planner.load(bundles["mlp"])


@pytest.fixture
def broken(inputs):
    out = copy.deepcopy(inputs[0])
    out["issue"]["dk_priority"] = "P9"
    return out


def test_it_decides_as_the_planner_does(server, planner, inputs):
    for x in inputs:
        status, action = server.post("/v1/decide", x)
        assert (status, without_time(action)) == (200, without_time(planner.decide(x)))


def test_a_plan_has_all_that_belongs_to_it(server, planner, inputs):
    status, plan = server.post("/v1/plan", inputs[0])
    ours = planner.plan(inputs[0])._asdict()
    assert status == 200 and set(plan) == set(ours)
    assert plan["decision_id"] != ours["decision_id"]
    for name in ("executed", "arm", "propensity", "propensities", "expected"):
        assert plan[name] == ours[name]
    assert without_time(plan["prediction"]) == without_time(ours["prediction"])


def test_a_batch_is_decided_in_order(server, planner, inputs):
    status, answer = server.post("/v1/decide_batch", {"inputs": inputs})
    assert status == 200
    ours = planner.decide_batch(inputs)
    assert list(map(without_time, answer["actions"])) == list(map(without_time, ours))


def test_the_words_are_those_of_the_command_line(server, bundles, broken, tmp_path):
    status, refused = server.post("/v1/decide", broken)
    assert status == 400
    (tmp_path / "planner_input").write_text(json.dumps(broken))
    command = ["run", "--policy", "mlp", "predict", "--from", str(bundles["mlp"]), "planner_input"]
    main = "import sys; sys.argv = ['planner', *sys.argv[1:]]; from planner_core.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", main, *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: " + refused["error"].replace("planner_input,", "planner_input, line 1,")


def test_a_batch_is_refused_as_a_whole_and_says_which_input_it_was(server, inputs, broken):
    before = server.get("/healthz")["decisions"]
    status, refused = server.post("/v1/decide_batch", {"inputs": [*inputs, broken]})
    assert status == 400
    assert refused == {
        "error": 'inputs[10], at $.issue.dk_priority: found "P9"; expected one of P0, P1, P2, P3',
        "source": "inputs[10]",
        "path": "$.issue.dk_priority",
        "found": '"P9"',
        "expected": "one of P0, P1, P2, P3",
    }
    assert server.get("/healthz")["decisions"] == before


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/decide", b"", "planner_input: found ; expected a JSON document (Input data was truncated)"),
        ("/v1/decide", b'{"schema_version":', "expected a JSON document (Input data was truncated)"),
        ("/v1/decide", b"[1]", "planner_input: found [1]; expected `object`"),
        ("/v1/decide", b"\xff", "expected a JSON document"),
        ("/v1/decide", b"[" * 100_000, "expected a JSON document"),
        ("/v1/plan", b"{}", "planner_input: found no such key; expected the key `schema_version`"),
        ("/v1/decide_batch", b"{}", "request: found no such key; expected the key `inputs`"),
        ("/v1/decide_batch", b'{"inputs": []}', "request, at $.inputs: found []; expected `array` of length >= 1"),
        ("/v1/decide_batch", b'{"inputs": [7]}', "request, at $.inputs[0]: found 7; expected `object`"),
        ("/v1/decide_batch", b'{"inputs": [{}]}', "inputs[0]: found no such key; expected the key `schema_version`"),
        ("/v1/decide_batch", b'{"inputs": [{}], "x": 1}', "found the unknown key `x`"),
        ("/v1/decide_batch", b'{"inputs": [%b]}' % b",".join([b"{}"] * 257), "expected `array` of length <= 256"),
    ],
)
def test_what_does_not_fit_is_refused(server, path, body, said):
    status, refused = server.post(path, body)
    assert status == 400 and said in refused["error"]


def test_an_input_that_leaves_no_action_is_refused(server, inputs):
    x = copy.deepcopy(inputs[0])
    x["action_space"]["swarm_ids"] = []
    status, refused = server.post("/v1/decide", x)
    assert status == 400 and x["issue"]["issue_id"] in refused["error"]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=UTF-8", 200),
        ("Application/JSON", 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("json", 415),
        ("", 415),
    ],
)
def test_only_json_is_read(server, inputs, given, status):
    assert server.post("/v1/decide", inputs[0], {"Content-Type": given})[0] == status


def test_unknown_paths_and_methods(server):
    status, _, body = server.ask("POST", "/v1/decid", b"{}")
    assert status == 404 and "(did you mean '/v1/decide'?)" in json.loads(body)["error"]
    status, headers, body = server.ask("GET", "/v1/decide")
    assert (status, headers["Allow"]) == (405, "POST")
    assert json.loads(body) == {"error": "/v1/decide: found the method GET; expected POST"}
    before = server.metric('planner_requests_total{path="other",status="404"}')
    for i in range(3):  # what somebody makes up is no label of its own
        server.ask("GET", f"/{i}")
    assert server.metric('planner_requests_total{path="other",status="404"}') == before + 3


def test_health_says_who_decides(server, planner):
    found = server.get("/healthz")
    assert (found["status"], found["policy"], found["model"]) == ("ok", "mlp", planner.model)
    assert found["reload_error"] is None and found["mode"] == "enforce"


def test_metrics_count_decisions_and_time(server, planner, inputs):
    decided, seen = 'planner_decisions_total{reason="none"}', 'planner_request_seconds_count{path="/v1/decide"}'
    before = server.metric(decided), server.metric(seen)
    for x in inputs[:3]:
        server.post("/v1/decide", x)
    assert (server.metric(decided), server.metric(seen)) == (before[0] + 3, before[1] + 3)
    identity = ",".join(f'{key}="{value}"' for key, value in sorted({"policy": "mlp", **planner.model}.items()))
    assert server.metric(f"planner_model_info{{{identity}}}") == 1
    assert server.metric("planner_requests_in_flight") == 0


def test_the_document_is_made_from_the_contracts_and_served(server):
    assert openapi.FILE.read_bytes() == openapi.make(), "run make reference"
    status, headers, body = server.ask("GET", "/openapi.json")
    assert (status, headers["Content-Type"], body) == (200, "application/json", openapi.FILE.read_bytes())


def test_the_document_knows_every_path_and_every_status(server):
    document = json.loads(openapi.document())
    said = json.loads(server.ask("GET", "/nothing")[2])["error"].split("expected one of ")[1].split(" (")[0]
    assert sorted(said.split(", ")) == sorted(document["paths"])
    for path in ("/v1/decide", "/v1/plan", "/v1/decide_batch"):
        assert sorted(document["paths"][path]["post"]["responses"]) == ["200", "400", "408", "413", "415", "503"]


def test_one_connection_serves_many_requests(server, inputs):
    connection = server.connection()
    for i in range(5):
        body = json.dumps(inputs[i] if i != 2 else {}).encode()
        connection.request("POST", "/v1/decide", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == (400 if i == 2 else 200)
        answer.read()
    connection.close()


def test_neither_torch_nor_onnx_is_imported(bundles):
    code = (
        "import sys; from pathlib import Path; from planner_core import Planner;"
        "from planner_serve import app, listen, logs, server, serving, command;"
        f"bundle = Path({str(bundles['mlp'])!r});"
        "app.build_app(serving.Served(Planner.load(bundle, strict=True), bundle, None));"
        "print({'torch', 'onnx', 'onnxscript', 'pandas', 'httpx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
