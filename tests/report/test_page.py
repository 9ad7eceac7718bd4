"""The page: what it says, that it is one safe file, and where it may be written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import msgspec
import pytest

from planner_core.errors import PlannerError
from planner_report import words
from planner_report.place import MARK, check_place, write_page

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from planner_report.charts import charts, given_step, steps
from planner_report.page import page

ORDER = ["money", "changes", "frontier", "calibration", "support", "sensitivity", "data", "made"]


class Read(HTMLParser):
    """What a browser would read: the tags with attributes, the text outside of scripts, the ids."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._quiet = 0
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._quiet += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._quiet -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._quiet:
            self.text += data

    def ids(self):
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


def plain(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def known_page(known):
    return page(msgspec.to_builtins(known))


def test_the_sections_stand_in_their_order_and_every_id_is_one(known_page):
    ids = Read(known_page).ids()
    assert [name for name in ids if name in ORDER] == ORDER
    assert len(ids) == len(set(ids))


def test_it_is_one_small_file_that_names_nothing_elsewhere(known_page):
    assert len(known_page) < 3_000_000
    for tag, attrs in Read(known_page).tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form"), tag
        for name in ("src", "href", "action", "data"):
            assert (attrs.get(name) or "data:").startswith(("data:", "#")), (tag, attrs)
    style = re.search(rb"<style>(.*?)</style>", known_page, re.DOTALL)[1]
    assert b"url(" not in style and b"@import" not in style
    assert b"default-src 'none'" in known_page


def test_the_same_document_gives_the_same_bytes(known, known_page):
    assert page(msgspec.to_builtins(known)) == known_page


def test_every_figure_of_the_money_table_is_on_the_page(known, known_page):
    text = plain(Read(known_page).text)
    for row in msgspec.to_builtins(known)["rows"]:
        for metric in ("pass_rate", "cost_usd", "minutes", "utility"):
            for told in words.amount(row["figures"][metric], metric):
                assert told in text
    assert words.headline(msgspec.to_builtins(known)) in text


HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'\"><svg/onload=document.title='owned'>",
    "{{ 7 * 7 }} {% raw %}",
    "\u202etxt.exe\u2066\u200f",
    "<!-- ]]> &amp; & \u2028 \x00 \x1b[31m",
    "x" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_an_issue_or_a_tag_is_called_it_stays_text(logged, told, text):
    first = msgspec.structs.replace(logged.changes.largest[0], issue_id=text, tags=[text, text])
    group = msgspec.structs.replace(logged.changes.groups[0], by="tag", name=text)
    changes = msgspec.structs.replace(logged.changes, largest=[first], groups=[group])
    document = told(changes=changes, against=text, left_out=[text])
    document["source"]["dataset"] = document["source"]["name"] = document["evaluation"]["policy"] = text
    document["evaluation"]["notes"] = [text]
    content = page(document)
    read = Read(content)
    assert {tag for tag, _ in read.tags} <= ALLOWED
    assert [tag for tag, _ in read.tags].count("script") == 3
    assert not any(name.startswith("on") for _, attrs in read.tags for name in attrs)
    assert "49" not in read.text.split("Which issues change")[1].split("What is a pass worth")[0] or "7 * 7" not in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200f\x00\x1b]", content.decode())
    assert "owned" in read.text or "owned" not in text


ALLOWED = {
    *("html", "head", "meta", "title", "link", "style", "body", "main", "header", "footer", "section", "script"),
    *("h1", "h2", "h3", "p", "strong", "small", "ul", "li", "dl", "dt", "dd", "pre", "code", "div", "span"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "label", "input", "output", "figure", "figcaption"),
    *("noscript", "details", "summary"),
}


def test_a_document_with_little_in_it_gives_a_page(told):
    """No changes, no sensitivity, no predictions, no dates, no cost, no comparison, and nothing in ``meta.json``."""
    nothing = {"estimate": None, "low": None, "high": None}
    figures = dict.fromkeys(("pass_rate", "minutes", "cost_usd", "utility"), nothing)
    document = told(changes=None, calibration=[], first_ms=None, last_ms=None, left_out=[], rows=[], priced=False)
    document["difference"] = figures
    for name in ("sensitivity", "predictions", "verdict", "values"):
        document["evaluation"].pop(name, None)
    document["data"]["runs"] = None
    document["source"]["digest"] = None
    content = page(document)
    assert b"vegaEmbed" not in content and len(content) < 100_000
    text = plain(Read(content).text)
    assert "There is nothing to compare the policy with" in text
    assert "None" not in text


def test_groups_that_cannot_be_told_say_why_once(told, logged):
    text = plain(Read(page(msgspec.to_builtins(logged))).text)
    assert any(group.value.reasons for group in logged.changes.groups)
    assert text.count("“Cannot tell”:") == 1


def test_the_charts_draw_the_figures_of_the_document(known):
    document = msgspec.to_builtins(known)
    found = charts(document)
    assert set(found) == {"frontier", "worth", "calibration"}
    taken = steps(document)
    choices = document["evaluation"]["sensitivity"]["choices"]
    assert [step["cost_usd_estimate"] for step in taken] == [100 * c["cost_usd"]["estimate"] for c in choices]
    assert taken[given_step(taken)]["multiple"] == 1.0
    values = json.dumps(found["worth"])
    assert all(str(row["difference"]["estimate"]) in values for row in document["evaluation"]["sensitivity"]["rows"])


def test_a_policy_that_does_not_weigh_outcomes_is_chosen_where_it_is_better(known):
    document = msgspec.to_builtins(known)
    document["evaluation"]["sensitivity"]["choices"] = None
    taken = steps(document)
    for step, row in zip(taken, document["evaluation"]["sensitivity"]["rows"], strict=True):
        assert step["name"] == ("the policy" if row["difference"]["estimate"] >= 0 else "the rules")


# -- words


def figure(estimate, low, high):
    return {"estimate": estimate, "low": low, "high": high}


@pytest.mark.parametrize(
    ("metric", "given", "expected"),
    [
        ("cost_usd", (-0.05, -0.08, -0.02), ("$5.00 less", "$2.00 to $8.00 less")),
        ("cost_usd", (12.0, 10.0, 14.0), ("$1,200 more", "$1,000 to $1,400 more")),
        ("pass_rate", (0.02, -0.01, 0.05), ("2.0 more", "1.0 fewer to 5.0 more")),
        ("pass_rate", (0.02, None, None), ("2.0 more", "no interval")),
    ],
)
def test_a_change_in_words(metric, given, expected):
    assert words.change(figure(*given), metric) == expected


def test_the_headline_says_what_the_verdict_says(told, logged):
    gap = {name: figure(None, None, None) for name in ("pass_rate", "minutes", "cost_usd", "utility")}
    n = f"judged on {logged.evaluation['rows']} runs of {logged.issues} issues."
    document = told(difference=gap)
    for answer, begin in {
        "cannot_tell": "Your logs cannot tell whether the policy is better than what was run: there is no estimate, ",
        "better": "Better than what was run: there is no estimate, ",
    }.items():
        document["evaluation"]["verdict"]["answer"] = answer
        assert words.headline(document) == begin + n
    gap |= {"cost_usd": figure(-1.5, -2.0, -1.0), "pass_rate": figure(0.01, -0.02, 0.04)}
    document["evaluation"]["verdict"]["answer"] = "worse"
    assert words.headline(document | {"difference": gap}) == (
        "Worse than what was run: per 100 issues the policy costs $150 less (95 % interval $100 to $200 less) and 1.0 "
        f"more pass (2.0 fewer to 4.0 more), {n}"
    )
    document["changes"]["changed"] = 0
    assert words.headline(document).startswith("The policy decides as what was run does: it saves nothing")


def test_amounts_have_signs_where_they_are_below_0():
    assert words.amount(figure(0.5, -0.1, 1.1), "pass_rate") == ("50.0", "−10.0 to 110.0")
    assert words.amount(figure(-0.25, -0.5, 0.0), "utility") == ("−0.250", "−0.500 to 0.000")
    assert words.amount(figure(1.0, 1.0, 1.0), "pass_rate") == ("100.0", "no spread")
    assert words.amount(figure(None, None, None), "minutes") == ("–", "")
    assert words.delta(figure(-0.004, -0.01, 0.002), "cost_usd") == ("−$0.40", "−$1.00 to +$0.20")


def test_an_action_in_words():
    assert words.action(["speculate_vote", 3, 60, "NA"]) == "vote · 3 candidates · 60 min"
    assert words.action(["serial_handoff", 1, None, 1]) == "serial · 1 candidate · no time limit · 1 iteration"
    assert words.action([None, None, 90, None]) == "unknown swarm · 90 min"


# -- where it is written


def test_a_page_replaces_a_page_and_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    write_page(path, MARK + b"one")
    write_page(path, MARK + b"two")
    assert path.read_bytes() == MARK + b"two"
    path.write_bytes(b"<!doctype html>\nmine")
    with pytest.raises(PlannerError, match="exists and is not a page of planner report"):
        check_place(path, False)
    with pytest.raises(PlannerError, match="exists and is not"):
        write_page(path, MARK)
    assert path.read_bytes() == b"<!doctype html>\nmine"
    write_page(path, MARK, force=True)
    assert path.read_bytes() == MARK
    with pytest.raises(PlannerError, match="is a directory"):
        check_place(tmp_path, True)
    (tmp_path / "empty").touch()
    check_place(tmp_path / "empty", False)


def command(*args, code=0, cwd, without=()):
    """Run ``planner report`` in a process in which some packages are not installed."""
    script = (
        "import sys\n"
        f"for name in {list(without)!r}: sys.modules[name] = None\n"
        "from planner_core.cli.app import main\n"
        f"sys.argv = ['planner', 'report', *{list(map(str, args))!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("package", ["altair", "jinja2", "vl_convert"])
def test_without_a_package_the_extra_is_named(world, tmp_path, package):
    args = ("--dataset", world, "-p", "heuristic", "--out", "page.html")
    done = command(*args, code=1, cwd=tmp_path, without=[package])
    assert f"planner report needs the 'report' extra ({package} is not installed)" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_page_and_prints_the_document(world, outcome_run, tmp_path):
    args = ("--dataset", world, "--from", outcome_run, "--value", "usd=0.5", "--out", "page.html")
    done = command(*args, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["page"] == "page.html" and document["evaluation"]["utility"]["P0"]["cost"] == 0.5
    assert (tmp_path / "page.html").read_bytes().startswith(MARK)
    (tmp_path / "page.html").write_text("mine")
    refused = command(*args, code=1, cwd=tmp_path)
    assert "exists and is not a page of planner report" in " ".join(refused.stderr.split())
    assert (tmp_path / "page.html").read_text() == "mine"
