"""The page of a watch: what stands on it, where it may be written, and how a browser shows it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("altair")

from logs import HOUR, Logs

from planner_core import PlannerError, read_bundle
from planner_loop.page import MARK, charts, page
from planner_loop.watch import watch
from planner_report.place import MARK as REPORT_MARK
from planner_report.place import check_place

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRAWN = "document.querySelectorAll('.chart[data-drawn]').length === document.querySelectorAll('.chart').length"


@pytest.fixture(scope="module")
def place(tmp_path_factory, outcome_bundle, world):
    """A log in which everything is wrong, its reasons and ids hostile."""
    import json

    place = tmp_path_factory.mktemp("watched")
    logs = Logs(place, read_bundle(outcome_bundle).digest[:16])
    lines = (world / "dataset.jsonl").read_bytes().splitlines()
    given = [json.loads(lines[i % len(lines)])["planner_input"] for i in np.random.default_rng(0).permutation(600)]
    for x in given:
        x["issue"]["dk_size"] = "XL"
    reason = "<script>alert(1)</script>: </script>"
    logs.write(600, seed=1, gain=-0.4, error=0.3, reason=reason, inputs=given, every=2 * HOUR)
    return place


@pytest.fixture(scope="module")
def stale(place, outcome_bundle):
    return watch(place / "decisions.jsonl", place / "runs.jsonl", outcome_bundle, window_hours=24).to_json()


def test_the_page_says_what_was_found(stale):
    text = page(stale)
    assert text.startswith(MARK) and len(text) < 3_000_000
    shown = text.decode()
    for said in ("Stale", "worse than the baseline", "fell back", "off what was predicted", "size"):
        assert said in shown, said
    assert "<script>alert" not in shown and "&lt;script&gt;alert" in shown
    assert set(charts(stale)) == {"ab", "passes", "inputs"}
    assert page(stale) == text


def test_with_nothing_to_draw_there_is_no_chart(outcome_bundle, tmp_path):
    Logs(tmp_path, "another").write(3, seed=2)
    found = watch(tmp_path / "decisions.jsonl", tmp_path / "runs.jsonl", outcome_bundle).to_json()
    shown = page(found).decode()
    assert charts(found) == {"inputs": charts(found)["inputs"]} if found["inputs"]["groups"] else charts(found) == {}
    assert "There is no decision of this bundle to watch." in shown


def test_a_page_replaces_its_own_kind_only(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(MARK + b"earlier")
    check_place(path, False, MARK, "planner watch")
    path.write_bytes(REPORT_MARK + b"a report")
    with pytest.raises(PlannerError, match="is not a page of planner watch"):
        check_place(path, False, MARK, "planner watch")


def test_the_command_writes_it(place, outcome_bundle):
    script = "from planner_core.cli.app import main; main()"
    files = ["--decisions", "decisions.jsonl", "--runs", "runs.jsonl", "--from", str(outcome_bundle)]
    done = subprocess.run(
        [sys.executable, "-c", script, "watch", *files, "--window-hours", "24", "--out", "page.html"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert (place / "page.html").read_bytes().startswith(MARK) and "wrote page.html" in done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1000, 390])
def test_a_browser_shows_it_and_asks_nobody(stale, tmp_path, width):
    sync = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.base")
    path = tmp_path / "page.html"
    path.write_bytes(page(stale))
    wrong = []
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.on("request", lambda request: wrong.append(request.url) if request.url != path.as_uri() else None)
        tab.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(path.as_uri())
        tab.wait_for_function(DRAWN)
        assert tab.locator(".chart svg").count() == 3
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.evaluate(axe.AXE_SCRIPT)
        found = [
            each["id"] for each in tab.evaluate("axe.run()")["violations"] if each["impact"] in ("serious", "critical")
        ]
        browser.close()
    assert wrong == [] and found == []
