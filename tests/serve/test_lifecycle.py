"""A server begins, follows its bundle, and ends: each in order, whatever is in flight."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from planner_core import BundleError, DataError, Planner, PlannerError
from planner_serve import listen
from planner_serve import serving as serving_module

MAIN = "import sys; sys.argv = ['planner', 'serve', *sys.argv[1:]]; from planner_core.cli.app import main; main()"
JSON = {"Content-Type": "application/json"}


def refused(*arguments):
    """(exit code, standard error) of a server that does not start."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "" and "Traceback" not in done.stderr
    return done.returncode, " ".join(done.stderr.replace("│", " ").split())


# -- beginning


def test_what_cannot_serve_says_why(bundles, tmp_path):
    code, said = refused("--from", tmp_path / "none", "--port", 0)
    assert code == 1 and "none: there is no bundle" in said
    code, said = refused("--from", bundles["mlp"], "--host", "0.0.0.0")
    assert code == 2 and "--allow-anyone" in said
    code, said = refused("--from", bundles["mlp"], "--port", 0, "--socket", tmp_path / "s")
    assert code == 2 and "--socket goes without" in said


def test_options_that_do_not_fit_say_why(bundles):
    code, said = refused("--from", bundles["mlp"], "--port", 0, "--mode", "sometimes")
    assert code == 2 and "mode must be one of off, log, enforce, enforce_reductions" in said
    code, said = refused("--from", bundles["mlp"], "--port", 0, "--explore", "0.1")
    assert code == 1 and "predicts no outcomes" in said


def test_without_the_extra_it_is_named():
    code = "import sys; sys.modules['uvicorn'] = None;" + MAIN
    done = subprocess.run([sys.executable, "-c", code, "--from", "x"], capture_output=True, text=True)
    assert done.returncode == 1 and "planner serve needs the 'serve' extra" in done.stderr


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = rf"^127\.0\.0\.1, port {port}: cannot listen \(another program"
        with pytest.raises(PlannerError, match=said), listen.listening_port("127.0.0.1", port):
            pass


def test_an_answer_does_not_wait_for_more_to_send():
    """Nagle's algorithm is off on what is accepted, as asyncio does it for sockets that say they are TCP."""
    with listen.listening_port("127.0.0.1", 0) as (listener, _):
        accepted = []

        class Accepts(asyncio.Protocol):
            def connection_made(self, transport):
                accepted.append(transport.get_extra_info("socket"))

        async def serve():
            server = await asyncio.get_running_loop().create_server(Accepts, sock=listener)
            _, writer = await asyncio.open_connection(*listener.getsockname())
            while not accepted:
                await asyncio.sleep(0.01)
            assert accepted[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            server.close()

        asyncio.run(asyncio.wait_for(serve(), 20))


@pytest.mark.parametrize(
    ("host", "ours"), [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("0.0.0.0", False), ("::", False)]
)
def test_what_the_loopback_is(host, ours):
    assert listen.is_loopback(host) is ours


def test_a_host_that_is_none():
    with pytest.raises(PlannerError, match=r"^no such host: no address of this machine"):
        listen.is_loopback("no such host")


def test_a_socket_is_its_owners_and_is_removed(tmp_path):
    path = tmp_path / "s"
    with listen.listening_path(path) as (_, where):
        assert where == f"unix:{path}" and path.lstat().st_mode & 0o777 == 0o600
        said = "found a socket on which a program listens; expected a path where nothing is"
        with pytest.raises(DataError, match=said), listen.listening_path(path):
            pass
    assert not path.exists()


def test_a_socket_on_which_nobody_listens_gives_way(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert path.exists()
    with listen.listening_path(path):
        pass


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_nothing_else_gives_way(tmp_path, kind):
    path, target = tmp_path / "s", tmp_path / "target"
    target.write_text("mine")
    {"file": lambda: path.write_text("mine"), "directory": path.mkdir, "link": lambda: path.symlink_to(target)}[kind]()
    with pytest.raises(DataError, match="found something that is no socket"), listen.listening_path(path):
        pass
    assert path.is_symlink() or path.is_dir() or path.read_text() == "mine"
    assert target.read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 200, "missing/s"])
def test_paths_that_cannot_be(tmp_path, name):
    with pytest.raises(PlannerError, match="cannot listen"), listen.listening_path(tmp_path / name):
        pass


def test_what_replaced_our_socket_stays(tmp_path):
    path = tmp_path / "s"
    with listen.listening_path(path):
        path.unlink()
        path.write_text("somebody's")
    assert path.read_text() == "somebody's"


# -- following the bundle


def test_the_bundle_is_followed(serving, bundle, bundles, inputs):
    with serving(bundle, "--reload-every", "0.1") as server:
        first = server.get("/healthz")
        whole = (bundle / "model.onnx").read_bytes()
        (bundle / "model.onnx").write_bytes(whole[:-1])
        broken = server.eventually(lambda: (found := server.get("/healthz"))["reload_error"] and found)
        assert broken["status"] == "degraded" and broken["model"] == first["model"]
        assert "the bundle was altered after it was written" in broken["reload_error"]["error"]
        status, action = server.post("/v1/decide", inputs[0])
        assert status == 200 and action["model"] == first["model"] and action["reason"] is None
        assert any(line["message"].startswith("the bundle in use stays: ") for line in server.log())
        assert server.metric('planner_reloads_total{outcome="refused"}') >= 1

        shutil.rmtree(bundle)
        server.eventually(lambda: "there is no bundle" in server.get("/healthz")["reload_error"]["error"])
        assert server.post("/v1/decide", inputs[0])[0] == 200

        shutil.copytree(bundles["heuristic"], bundle)
        other = server.eventually(lambda: (found := server.get("/healthz"))["policy"] == "heuristic" and found)
        server.eventually(lambda: server.get("/healthz")["status"] == "ok")
        assert other["model"] != first["model"]
        assert server.post("/v1/decide", inputs[0])[1]["model"] == other["model"]
        assert server.metric('planner_reloads_total{outcome="loaded"}') == 1
        assert [line["policy"] for line in server.log() if line["message"] == "bundle reloaded"] == ["heuristic"]


def test_a_reload_under_load_mixes_nothing(serving, bundle, bundles, inputs):
    """Every answer while bundles come and go is one of the two models' own, and none is a fallback."""
    known = {json.dumps(Planner.load(path).model, sort_keys=True) for path in (bundles["mlp"], bundles["joint"])}
    with serving(bundle, "--reload-every", "0.02") as server:
        seen, stop = [], threading.Event()

        def ask():
            connection = server.connection()
            while not stop.is_set():
                connection.request("POST", "/v1/decide", json.dumps(inputs[0]).encode(), JSON)
                seen.append(json.loads(connection.getresponse().read()))
            connection.close()

        thread = threading.Thread(target=ask)
        thread.start()
        for i in range(6):
            shutil.copytree(bundles["joint" if i % 2 == 0 else "mlp"], fresh := bundle.with_name(f"fresh{i}"))
            wanted = Planner.load(fresh).model
            bundle.rename(bundle.with_name(f"old{i}"))
            fresh.rename(bundle)
            server.eventually(lambda wanted=wanted: server.get("/healthz")["model"] == wanted)
        stop.set()
        thread.join()
        assert {json.dumps(action["model"], sort_keys=True) for action in seen} == known
        assert {action["reason"] for action in seen} == {None}


def test_without_looks_nothing_is_loaded(serving, bundle, bundles, inputs):
    with serving(bundle, "--reload-every", "0") as server:
        first = server.get("/healthz")["model"]
        shutil.rmtree(bundle)
        shutil.copytree(bundles["joint"], bundle)
        for _ in range(20):
            assert server.post("/v1/decide", inputs[0])[1]["model"] == first


class _Stuck:
    """A planner whose reload fails as none should."""

    policy, model, mode, predictor = "mlp", {"version": "1"}, "enforce", object()

    def __init__(self, problem):
        self.problem, self.reloads = problem, 0

    def stats(self):
        return {"decisions": 0}

    def reload(self, bundle):
        self.reloads += 1
        raise self.problem


@pytest.mark.parametrize("problem", [BundleError("broken"), RuntimeError("a fault")])
def test_whatever_a_reload_raises_the_next_change_is_looked_at(tmp_path, problem):
    planner, told = _Stuck(problem), []
    served = serving_module.Served(planner, tmp_path, serving_module.look(tmp_path))

    async def watch(pool):
        following = asyncio.create_task(served.follow(0.01, pool, told.append))
        for i in range(2):
            (tmp_path / str(i)).touch()
            while planner.reloads <= i or len(told) <= i:
                await asyncio.sleep(0.01)
        following.cancel()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(asyncio.wait_for(watch(pool), 20))
    assert told == [False, False] and served.health().status == "degraded"


def test_with_fallback_the_rules_decide_until_a_bundle_comes(serving, bundles, tmp_path, inputs):
    path = tmp_path / "bundle"
    with serving(path, "--fallback", "--reload-every", "0.1") as server:
        found = server.get("/healthz")
        assert (found["status"], found["model"], found["policy"]) == ("degraded", None, None)
        assert server.post("/v1/decide", inputs[0])[1]["reason"].startswith("bundle_unusable: ")
        shutil.copytree(bundles["mlp"], path)
        server.eventually(lambda: server.get("/healthz")["status"] == "ok")
        assert server.post("/v1/decide", inputs[0])[1]["reason"] is None


# -- ending


@pytest.mark.slow  # a machine that takes ten seconds for these steps sees the body's time limit instead
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_is_in_flight_is_answered(serving, bundles, inputs, tmp_path, number):
    body = json.dumps(inputs[0]).encode()
    path = tmp_path / "s"
    with serving(bundles["mlp"], "--socket", str(path)) as server:
        idle, slow = server.socket(), server.connection()
        slow.putrequest("POST", "/v1/decide")
        for name, value in {**JSON, "Content-Length": str(len(body))}.items():
            slow.putheader(name, value)
        slow.endheaders(body[:100])
        server.eventually(lambda: server.metric("planner_requests_in_flight") == 1)
        server.process.send_signal(number)
        assert idle.recv(1) == b""  # who asked nothing is let go
        slow.send(body[100:])
        answer = slow.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert json.loads(answer.read())["reason"] is None
        assert server.process.wait(20) == 0
        assert not path.exists()
        assert [line["signal"] for line in server.log() if line["message"] == "stopping"] == [number.name]


@pytest.mark.parametrize("signals", [1, 2])
def test_what_does_not_end_is_ended(serving, bundles, signals):
    """After the grace, or at once at a second signal."""
    grace = "0.3" if signals == 1 else "600"
    with serving(bundles["mlp"], "--grace", grace) as server, server.socket() as stuck:
        stuck.sendall(b"POST /v1/decide HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        server.eventually(lambda: server.metric("planner_requests_in_flight") == 1)
        server.process.send_signal(signal.SIGTERM)
        server.eventually(lambda: any(line["message"] == "stopping" for line in server.log()))
        if signals == 2:
            server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_ending_under_load_breaks_no_answer(serving, bundles, inputs):
    """Each request gets a whole answer or none at all, and what was answered before the end is right."""
    with serving(bundles["mlp"]) as server:
        answered, cut, other = [], [], []

        def ask():
            connection = server.connection()
            while True:
                try:
                    connection.request("POST", "/v1/decide", json.dumps(inputs[0]).encode(), JSON)
                    answer = connection.getresponse()
                    if answer.status != 200:
                        other.append(answer.status)
                    answered.append(json.loads(answer.read()))
                except (http.client.IncompleteRead, json.JSONDecodeError) as problem:
                    cut.append(problem)
                    return
                except (http.client.HTTPException, OSError):
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        server.eventually(lambda: len(answered) > 40)
        assert server.end() == 0
        for thread in threads:
            thread.join(20)
        assert (cut, other) == ([], []) and len({action["input_hash"] for action in answered}) == 1


# -- rollout and log


def test_arms_and_the_decision_log(serving, bundles, inputs, tmp_path):
    log = tmp_path / "decisions.jsonl"
    options = ("--share", "0.5", "--salt", "s", "--log", str(log), "--max-minutes", "60", "--mode", "enforce")
    with serving(bundles["mlp"], *options) as server:
        plans = [server.post("/v1/plan", x)[1] for x in inputs]
        server.post("/v1/decide_batch", {"inputs": inputs})
        for arm in ("baseline", "model"):
            count = sum(plan["arm"] == arm for plan in plans)
            assert count and server.metric(f'planner_arms_total{{arm="{arm}"}}') == 2 * count
        assert server.metric("planner_unlogged_total") == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["decision_id"] for line in lines[: len(plans)]] == [plan["decision_id"] for plan in plans]
    assert [line["arm"] for line in lines] == [plan["arm"] for plan in plans] * 2
    assert all(plan["executed"]["timeout_seconds_executed"] <= 3600 for plan in plans)


def test_spans_where_who_runs_it_has_set_a_provider(serving, bundles, inputs, tmp_path):
    pytest.importorskip("opentelemetry.sdk", reason="the dev extra is not installed")
    spans = tmp_path / "spans.jsonl"
    patch = (
        "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider;"
        "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor;"
        "provider = TracerProvider(); trace.set_tracer_provider(provider);"
        f"out = open({str(spans)!r}, 'w');"
        "exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.name + ' ');"
        "provider.add_span_processor(SimpleSpanProcessor(exporter))"
    )
    with serving(bundles["mlp"], patch=patch) as server:
        server.post("/v1/decide", inputs[0])
        server.post("/v1/plan", inputs[0])
        server.post("/v1/decide_batch", {"inputs": inputs})
        assert server.end() == 0
    assert spans.read_text().split() == ["planner.decide", "planner.plan", "planner.decide_batch"]
