"""No request makes the server hold, wait or work without bound, and each is told why it was refused."""

from __future__ import annotations

import json
import re
import socket
import threading
import time

import pytest

from planner_serve.app import MAX_INPUT_BYTES
from planner_serve.bodies import DRAIN_BYTES
from planner_serve.protocol import MAX_HEAD_BYTES

HASTY = "import planner_serve.bodies as b, planner_serve.protocol as p; b.BODY_SECONDS = p.HEAD_SECONDS = 0.4"


def head(size, path="/v1/decide", extra=""):
    lines = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{extra}"
    return f"{lines}Content-Length: {size}\r\n\r\n".encode()


def answer(connection):
    """(status, headers, decoded body) of what comes on a socket."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (piece := connection.recv(65536))
        assert piece, data
    top, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(": ", 1) for line in top.decode().split("\r\n")[1:])
    while len(body) < int(fields["content-length"]):
        body += connection.recv(65536)
    return int(top.split()[1]), fields, json.loads(body)


@pytest.fixture(scope="module")
def hasty(serving, bundles):
    """A server that decides one request at a time and waits for none."""
    with serving(bundles["mlp"], "--max-requests", "1", patch=HASTY) as running:
        yield running


def in_flight(server, n):
    server.eventually(lambda: server.metric("planner_requests_in_flight") == n)


def resident(server):
    return server.metric("process_resident_memory_bytes")


@pytest.mark.parametrize("size", [MAX_INPUT_BYTES + 1, MAX_INPUT_BYTES + DRAIN_BYTES - 1])
def test_what_is_a_little_too_large_is_read_and_told(server, size):
    status, refused = server.post("/v1/decide", b" " * size)
    assert status == 413
    assert refused["error"] == f"request: found a body of {size} bytes; expected at most {MAX_INPUT_BYTES}"


def test_the_largest_body_is_read(server, inputs):
    body = json.dumps(inputs[0]).encode()
    assert server.post("/v1/decide", body + b" " * (MAX_INPUT_BYTES - len(body)))[0] == 200


def test_what_says_that_it_is_huge_is_not_waited_for(server):
    with server.socket() as connection:
        connection.sendall(head(10**12))
        status, fields, refused = answer(connection)
        assert (status, fields["connection"]) == (413, "close") and "10000000" in refused["error"]
        assert connection.recv(1) == b""


def test_who_asks_before_he_sends_is_told_at_once(server):
    with server.socket() as connection:
        connection.sendall(head(MAX_INPUT_BYTES + 1, extra="Expect: 100-continue\r\n"))
        assert answer(connection)[0] == 413


def test_a_body_in_pieces_is_counted_and_not_kept(server):
    before, piece = resident(server), b"%x\r\n%b\r\n" % (1 << 16, b" " * (1 << 16))
    with server.socket() as connection:
        connection.sendall(head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        sent = 0
        with pytest.raises((ConnectionError, AssertionError)):  # it is refused at some point, and the rest not read
            while sent < 20 * DRAIN_BYTES:
                connection.sendall(piece)
                sent += len(piece)
            raise AssertionError
        assert sent < 4 * DRAIN_BYTES
    assert resident(server) - before < 2 * DRAIN_BYTES
    assert server.get("/healthz")["status"] == "ok"


def test_a_body_that_does_not_come_is_not_waited_for(hasty):
    with hasty.socket() as connection:
        connection.sendall(head(100) + b"{")
        status, fields, refused = answer(connection)
    assert (status, fields["connection"]) == (408, "close")
    assert refused["error"] == "request: found a body that is incomplete after 0.4 s; expected the whole body by then"


@pytest.mark.parametrize("first", [b"", b"POST /v1/dec", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"])
def test_a_head_that_does_not_come_is_not_waited_for(hasty, first):
    with hasty.socket() as connection:
        connection.sendall(first)
        began, data = time.monotonic(), b"."
        while data:
            data = connection.recv(65536)
        assert time.monotonic() - began < 10  # and not for the minute that an idle connection is kept


@pytest.mark.parametrize("form", [b"X: %b\r\n", b"X: %b", b"%b: x\r\n"])
def test_a_head_without_end_is_refused(server, form):
    with server.socket() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        sent = 0
        try:
            while sent < 100 * MAX_HEAD_BYTES:
                connection.sendall(form % (b"a" * 16000))
                sent += 16000
        except ConnectionError:
            pass
        assert sent < 100 * MAX_HEAD_BYTES
    assert server.get("/healthz")["status"] == "ok"


def test_what_is_no_http_is_refused(server):
    with server.socket() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_too_many_at_once_are_told_to_come_again(serving, bundles, inputs):
    body = json.dumps(inputs[0]).encode()
    with serving(bundles["mlp"], "--max-requests", "1") as server, server.socket() as slow:
        slow.sendall(head(len(body)) + body[:100])
        in_flight(server, 1)
        for path in ("/v1/decide", "/v1/plan", "/v1/decide_batch"):
            status, headers, refused = server.ask("POST", path, body, {"Content-Type": "application/json"})
            assert (status, headers["Retry-After"]) == (503, "1")
            said = "the server is busy: found 1 requests in flight; expected fewer"
            assert json.loads(refused) == {"error": said}
        assert server.get("/healthz")["status"] == "ok"  # who watches it is answered all the same
        slow.sendall(body[100:])
        assert answer(slow)[0] == 200
        in_flight(server, 0)
        assert server.post("/v1/decide", body)[0] == 200
        logged = [line for line in server.log() if line["message"] == "refused"]
        assert [line["status"] for line in logged] == [503] * 3


def test_too_many_connections_are_told_to_come_again(serving, bundles):
    with serving(bundles["mlp"], patch="import planner_serve.protocol as p; p.MAX_CONNECTIONS = 3") as server:
        held = [server.socket() for _ in range(3)]
        for connection in held:  # answered, so that all of them are accepted
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(connection)[0] == 200
        with server.socket() as one_more:
            status, fields, _ = answer(one_more)
            assert (status, fields["retry-after"]) == (503, "1")
        held.pop().close()
        server.eventually(lambda: server.ask("GET", "/healthz")[0] == 200)
        for connection in held:
            connection.close()


@pytest.mark.parametrize("half", [True, False])
def test_who_goes_away_is_not_waited_for(server, inputs, half):
    body = json.dumps(inputs[0]).encode()
    gone = 'planner_requests_total{path="/v1/decide",status="499"}'
    before = server.metric(gone) or 0
    connection = server.socket()
    connection.sendall(head(len(body)) + (body[:100] if half else body))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closed with a reset
    if half:
        in_flight(server, 1)
    connection.close()
    in_flight(server, 0)
    assert (server.metric(gone) or 0) == before + half
    assert server.post("/v1/decide", body)[0] == 200


def test_many_threads_get_their_own_answers(server, inputs):
    wrong = []

    def ask(i):
        connection = server.connection()
        for turn in range(20):
            x = {**inputs[(i + turn) % len(inputs)], "universe_id": f"u{i}-{turn}"}
            connection.request("POST", "/v1/decide", json.dumps(x).encode(), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            expected = server.post("/v1/decide", x)[1]["input_hash"] if turn == 7 else answer["input_hash"]
            if not re.fullmatch("[0-9a-f]{64}", answer["input_hash"]) or answer["input_hash"] != expected:
                wrong.append((i, turn))
        connection.close()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
