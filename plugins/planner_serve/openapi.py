"""The OpenAPI document: made from the contracts (``make reference``), checked in, and served as it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from planner_core import PlannerInput, __version__, pretty
from planner_serve.documents import BatchAnswer, BatchRequest, Health, PlanAnswer, Refused

FILE = Path(__file__).with_name("openapi.json")

REFUSALS = {
    "400": "The body does not fit: the same words as on the command line.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is not said to be JSON.",
    "503": "Too many requests are in flight; Retry-After says when to come again.",
}
_REF = "#/components/schemas/{name}"


@cache
def document() -> bytes:
    """The document as it is checked in."""
    return FILE.read_bytes()


def make() -> bytes:
    """The document as the contracts are now."""
    _, schemas = msgspec.json.schema_components(
        (PlannerInput, BatchRequest, BatchAnswer, PlanAnswer, Refused, Health), ref_template=_REF
    )
    # What goes over the wire is a planner input each; only its reading takes it apart later, to say which one is wrong.
    schemas["BatchRequest"]["properties"]["inputs"]["items"] = _ref("PlannerInput")
    return pretty(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "swarm-planner",
                "version": __version__,
                "summary": "How to run an issue: decisions of a planner over HTTP.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": {
                "/v1/decide": _post("decide", "The action to execute for one input.", "PlannerInput", "PlannerAction"),
                "/v1/plan": _post("plan", "The same, with all that belongs to it.", "PlannerInput", "PlanAnswer"),
                "/v1/decide_batch": _post(
                    "decideBatch", "The actions of up to 256 inputs, all or none.", "BatchRequest", "BatchAnswer"
                ),
                "/healthz": _get("health", "Which model decides, and how the last reload went.", "Health"),
                "/metrics": {
                    "get": {
                        "operationId": "metrics",
                        "summary": "Counts and times in Prometheus' text format.",
                        "responses": {
                            "200": {
                                "description": "All of them.",
                                "content": {"text/plain": _schema({"type": "string"})},
                            }
                        },
                    }
                },
                "/openapi.json": {
                    "get": {
                        "operationId": "openapi",
                        "summary": "This document.",
                        "responses": {"200": _answer("This document.", {"type": "object"})},
                    }
                },
            },
            "components": {"schemas": schemas},
        }
    )


def _post(name: str, summary: str, asked: str, answered: str) -> dict[str, Any]:
    refusals = {status: _answer(why, _ref("Refused")) for status, why in REFUSALS.items()}
    refusals["503"]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": _schema(_ref(asked))}},
            "responses": {"200": _answer("Decided.", _ref(answered)), **refusals},
        }
    }


def _get(name: str, summary: str, answered: str) -> dict[str, Any]:
    return {
        "get": {"operationId": name, "summary": summary, "responses": {"200": _answer("So it is.", _ref(answered))}}
    }


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": _schema(schema)}}


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": schema}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name=name)}


if __name__ == "__main__":
    FILE.write_bytes(make())
