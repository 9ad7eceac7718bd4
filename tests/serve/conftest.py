"""Servers in processes of their own, on the loopback, on ports that are free."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

pytest.importorskip("httptools", reason="the serve extra is not installed")

MAIN = "import sys; sys.argv = ['planner', 'serve', *sys.argv[1:]]; {}; from planner_core.cli.app import main; main()"
JSON = {"Content-Type": "application/json"}


class Running:
    """A server and ways to ask it."""

    def __init__(self, process, said, errors):
        self.process, self.said, self._errors = process, said, errors
        self.url = said["url"]

    def connection(self, timeout=20):
        if self.url.startswith("unix:"):
            made = http.client.HTTPConnection("localhost", timeout=timeout)
            made.sock = self.socket(timeout)
            return made
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)

    def socket(self, timeout=20):
        if self.url.startswith("unix:"):
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(timeout)
            made.connect(self.url.removeprefix("unix:"))
            return made
        place = urlsplit(self.url)
        return socket.create_connection((place.hostname, place.port), timeout)

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body) of one request on a connection of its own."""
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, path, document, headers=JSON):
        """(status, decoded body) of a document, or of bytes as they are."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        status, _, answer = self.ask("POST", path, body, headers)
        return status, json.loads(answer)

    def get(self, path):
        status, _, answer = self.ask("GET", path)
        assert status == 200, answer
        return json.loads(answer)

    def metric(self, line):
        """The value of one sample of /metrics; None where there is none."""
        text = self.ask("GET", "/metrics")[2].decode()
        found = [row.rsplit(" ", 1)[1] for row in text.splitlines() if row.rsplit(" ", 1)[0] == line]
        return float(found[0]) if found else None

    def eventually(self, condition, seconds=20):
        """Wait until a condition holds, and return what it gave."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"not within {seconds} s; log: {self.log()}"
            time.sleep(0.05)
        return found

    def log(self):
        """What it has logged so far, line by line."""
        return [json.loads(line) for line in self._errors.read_text().splitlines()]

    def end(self, number=signal.SIGTERM):
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture(scope="session")
def serving(tmp_path_factory):
    """``with serving(bundle, *arguments, patch=code) as server``; ``patch`` runs before the command does."""
    root = tmp_path_factory.mktemp("servers")

    @contextmanager
    def start(bundle, *arguments, patch="pass"):
        errors = root / f"{len(list(root.iterdir()))}.log"
        place = () if "--socket" in arguments else ("--port", "0")
        command = [sys.executable, "-c", MAIN.format(patch), "--from", str(bundle), *place, "--json", *arguments]
        with open(errors, "wb") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "COLUMNS": "200"}
            )
        try:
            line = process.stdout.readline()
            assert line, errors.read_text()
            yield Running(process, json.loads(line), errors)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    return start


@pytest.fixture(scope="session")
def server(serving, bundles):
    """One that all tests share which leave it as it is."""
    with serving(bundles["mlp"]) as running:
        yield running


@pytest.fixture
def bundle(bundles, tmp_path):
    """A bundle of one's own, to be changed."""
    return shutil.copytree(bundles["mlp"], tmp_path / "bundle")


@pytest.fixture(scope="session")
def inputs(world_lines):
    """Without log figures: JavaScript writes 0.0 as 0, and the hash of an input is that of its JSON."""
    return [{k: v for k, v in line["planner_input"].items() if k != "log_figures"} for line in world_lines(10)]
