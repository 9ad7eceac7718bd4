"""The clients of ``examples/serve-clients``, each against a running server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from planner_core import Planner

CLIENTS = Path(__file__).resolve().parents[2] / "examples" / "serve-clients"
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ENOTCACHED", "E403")


def built(command, place, **more):
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, **more)


def go(place):
    if shutil.which("go") is None:
        pytest.skip("go is not installed (Debian: golang-go)")
    env = {
        **os.environ,
        "GOCACHE": str(place / "cache"),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
    }
    assert built(["gofmt", "-l", "."], place).stdout == ""
    done = built(["go", "build", "-o", "decide", "./cmd/decide"], place, env=env)
    assert done.returncode == 0, done.stderr
    return [str(place / "decide")], "-plan"


def typescript(place):
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    version = built(["node", "--version"], place).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"node {version} is too old, the example needs 20")
    done = built(["npm", "ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefer-offline"], place)
    said = done.stdout + done.stderr
    if done.returncode and any(code in said for code in NO_NETWORK):
        pytest.skip("npm ci cannot reach a registry")
    assert done.returncode == 0, said
    done = built(["npm", "run", "build"], place)
    assert done.returncode == 0, done.stdout + done.stderr
    return ["node", str(place / "dist" / "decide.js")], "--plan"


@pytest.fixture(scope="module", params=[go, typescript], ids=["go", "typescript"])
def client(request, tmp_path_factory):
    """(command, the option that plans) of one client, built in a copy."""
    name = request.param.__name__
    place = tmp_path_factory.mktemp("clients") / name
    shutil.copytree(CLIENTS / name, place, ignore=shutil.ignore_patterns("node_modules", "dist"))
    return request.param(place)


def ask(command, inputs, *arguments):
    """(exit code, answers, standard error)."""
    lines = "".join(json.dumps(x) + "\n" for x in inputs)
    done = subprocess.run([*command, *arguments], input=lines, capture_output=True, text=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def without_time(action):
    return {key: value for key, value in action.items() if key != "created_at"}


def test_it_decides_as_the_planner_does(client, server, bundles, inputs):
    code, actions, _ = ask(client[0], inputs, server.url)
    ours = [Planner.load(bundles["mlp"]).decide(x) for x in inputs]
    assert code == 0 and list(map(without_time, actions)) == list(map(without_time, ours))


def test_it_plans_over_a_socket(client, serving, bundles, inputs, tmp_path):
    options = {"share": 0.5, "salt": "clients"}
    planner = Planner.load(bundles["mlp"], **options)
    with serving(bundles["mlp"], "--socket", str(tmp_path / "s"), "--share", "0.5", "--salt", "clients") as server:
        code, plans, _ = ask(client[0], inputs, client[1], server.url)
    assert code == 0 and {plan["arm"] for plan in plans} == {"baseline", "model"}
    for plan, x in zip(plans, inputs, strict=True):
        ours = planner.plan(x)
        assert without_time(plan["action"]) == without_time(ours.action)
        assert (plan["arm"], plan["propensity"], plan["propensities"]) == (ours.arm, ours.propensity, ours.propensities)
        assert plan["executed"].items() <= {**plan["executed"], **ours.executed}.items()


def test_what_is_refused_is_told_in_the_servers_words(client, server, inputs):
    wrong = {**inputs[1], "job_type": 7}
    code, answers, said = ask(client[0], [inputs[0], wrong, inputs[2]], server.url)
    assert (code, len(answers)) == (1, 1)
    assert said == "error: planner_input, at $.job_type: found 7; expected `str` (HTTP 400)\n"


def test_it_comes_again_when_the_server_is_busy(client, serving, bundles, inputs):
    body = json.dumps(inputs[0]).encode()
    head = f"POST /v1/decide HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with serving(bundles["mlp"], "--max-requests", "1") as server, server.socket() as slow:
        slow.sendall(head + body[:10])
        server.eventually(lambda: server.metric("planner_requests_in_flight") == 1)
        asking = subprocess.Popen(
            [*client[0], server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        asking.stdin.write(body + b"\n")
        asking.stdin.close()
        server.eventually(lambda: any(line.get("status") == 503 for line in server.log()))
        slow.sendall(body[10:])
        assert asking.wait(30) == 0, asking.stderr.read()
        assert json.loads(asking.stdout.read())["swarm_id"]
        asking.stdout.close()
        asking.stderr.close()


def test_a_server_that_is_not_there(client, inputs, tmp_path):
    began = time.monotonic()
    code, answers, said = ask(client[0], inputs[:1], f"unix:{tmp_path}/none")
    assert (code, answers) == (1, []) and said.startswith("error: ") and "none" in said
    assert time.monotonic() - began >= 0.4  # four waits of a tenth of a second: it tried again


def test_wrong_usage(client):
    assert ask(client[0], [])[0] == 2
    assert ask(client[0], [], "a", "b", "c")[0] == 2


def test_they_are_short():
    for path in ("go/planner.go", "typescript/planner.ts"):
        assert len((CLIENTS / path).read_text().splitlines()) < 150
