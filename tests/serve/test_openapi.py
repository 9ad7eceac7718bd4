"""The server keeps to its OpenAPI document, whatever is sent to it: requests made from the document, a bounded number.

Of what the document allows the planner refuses some (a time zone must be given, bins must leave an action), and some
that it forbids the planner takes (an integer as a numeric string): that is between the two. A status, a content type
or a body that the document does not have is a failure here, and so is any fault of the server.
"""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

schemathesis = pytest.importorskip("schemathesis", reason="the dev extra is not installed")

from schemathesis import GenerationMode  # noqa: E402  # after the skip
from schemathesis.checks import CHECKS  # noqa: E402

from planner_serve import openapi  # noqa: E402

KEPT = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
SCHEMA = schemathesis.openapi.from_dict(json.loads(openapi.document()))
OPERATIONS = {operation.ok().path: operation.ok() for operation in SCHEMA.get_all_operations()}
BOUNDED = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def checked(server, case):
    schemathesis.checks.load_all_checks()
    checks = [CHECKS.get_one(name) for name in KEPT]
    return case.call_and_validate(base_url=server.url, checks=checks, timeout=20)


def test_every_path_is_asked():
    assert set(OPERATIONS) == set(json.loads(openapi.document())["paths"])


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "examples"), [("/v1/decide", 10), ("/v1/decide_batch", 4)])
def test_what_is_made_from_the_document(server, path, examples, mode):
    seen = set()

    @settings(BOUNDED, max_examples=examples)
    @given(case=OPERATIONS[path].as_strategy(generation_mode=mode))
    def ask(case):
        seen.add(checked(server, case).status_code)

    ask()
    assert seen & {200, 400, 415}


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json"])
def test_what_can_be_read(server, path):
    case = OPERATIONS[path].Case()
    assert checked(server, case).status_code == 200


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/plan", "/v1/decide_batch"])
def test_real_inputs_with_one_thing_changed(server, inputs, path):
    """Nearer to what is right than anything made from nothing: most of them are decided."""
    seen = []
    values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False) | st.just([])

    @BOUNDED
    @given(st.data())
    def ask(data):
        x = copy.deepcopy(data.draw(st.sampled_from(inputs)))
        part = x
        while True:
            key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
            if not (isinstance(part[key], dict | list) and part[key]) or data.draw(st.booleans()):
                break
            part = part[key]
        part[key] = data.draw(values)
        case = OPERATIONS[path].Case(
            body={"inputs": [inputs[0], x]} if path.endswith("batch") else x, media_type="application/json"
        )
        seen.append(checked(server, case).status_code)

    ask()
    assert {200, 400} == set(seen)
