"""What the documentation site is built from, and what looks at it when it is built; the site itself: `make site`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import planner_core
import planner_core.testing
import planner_core.value

ROOT = Path(__file__).resolve().parents[2]
MODULES = [planner_core.testing, planner_core.value]  # and planner_core.torch, which is read and not imported


@pytest.fixture(scope="module")
def staged(script):
    """Every page of the site by its place, in the order of the navigation, without an address of the repository."""
    return script("stage").texts()


# -- pages and their order


def test_every_page_of_docs_has_a_heading(script, staged):
    order = script("sections").arranged(set(staged))
    rows = [row for found in order.values() for row in found]
    listed = [page for row in rows for page in ([row] if isinstance(row, str) else row[1])]
    assert sorted(listed) == sorted(staged) and len(set(listed)) == len(listed)
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} - {"site/begin.md"}
    assert written <= set(staged)


def test_a_page_that_no_heading_names_is_refused(script):
    with pytest.raises(ValueError, match=r"no heading .* has astray\.md"):
        script("sections").arranged({"index.md", "astray.md"})


def test_a_page_that_is_not_there_is_left_out(script):
    assert script("sections").arranged({"index.md", "value.md"}) == {"Begin": ["index.md"], "Operators": ["value.md"]}


def test_the_first_page_is_the_beginning_of_the_readme(staged):
    first = staged["index.md"]
    written = (ROOT / "README.md").read_text().split("\n## ")[0].split("![")[0]
    assert first.startswith(written.replace("](docs/", "]("))
    assert "make demo" in first and "(pictures/report.png)" in first and "(operator.md)" in first


def test_bars_in_the_code_of_a_table_are_bare(script, staged):
    bars = script("stage").bars
    assert bars("| `a\\|b` | c \\| d |\n`grep 'a\\|b'`") == "| `a|b` | c \\| d |\n`grep 'a\\|b'`"
    assert "| `--seeds N|LIST` |" in staged["reference/commands.md"]


# -- every public name


def test_every_public_name_is_on_a_page(staged, script):
    asked = set(re.findall(r"^::: (\S+)$", "\n".join(staged.values()), re.MULTILINE))
    assert {f"planner_core.{name}" for name in planner_core.__all__} <= asked
    own = {f"{m.__name__}.{n}" for m in MODULES for n in m.__all__ if n not in planner_core.__all__}
    torch = script("api").exported(ROOT / "planner_core" / "torch" / "__init__.py")
    own |= {f"planner_core.torch.{name}" for name in torch if name not in planner_core.__all__}
    assert own <= asked and "planner_core.torch.Fit" in own and len(asked) == len(own) + len(planner_core.__all__)


def test_a_module_without_a_page_is_refused(script):
    with pytest.raises(ValueError, match=r"has nowhere"):
        script("api").pages({"x": "nowhere.y"}, Path(planner_core.__file__).parent)


# -- links


def test_no_relative_link_leaves_the_site(staged):
    linked = 0
    for place, text in staged.items():
        prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if "://" in target or target.startswith(("#", "mailto:")):
                continue
            path = (Path("/site") / place).parent / target.partition("#")[0]
            there = Path(*path.parts[2:]) if ".." not in path.parts else path.resolve().relative_to("/site")
            linked += 1
            assert str(there) in staged or (ROOT / "docs" / there).is_file(), f"{place}: {target}"
    assert linked > 100


@pytest.mark.parametrize(
    ("text", "home", "expected"),
    [
        ("[v](value.md#x)", None, "[v](value.md#x)"),
        (
            "[`k`](../examples/kernel/README.md) and `[c](../x.py)`",
            None,
            "[`k`](examples/kernel.md) and `[c](../x.py)`",
        ),
        ("[`p`](../plugins/p.py), [`q`](../q.py)", None, "`p` (`plugins/p.py`), `q` (`q.py`)"),
        ("[`plugins/p.py`](../plugins/p.py)", None, "`plugins/p.py`"),
        ("[p](../plugins/p.py#L3)", "https://e.org/h/", "[p](https://e.org/h/blob/v1/plugins/p.py#L3)"),
        ("![p](../x/p.png)", "https://e.org/h", "![p](https://e.org/h/raw/v1/x/p.png)"),
        ("[o](https://e.org/a) [h](#here)", None, "[o](https://e.org/a) [h](#here)"),
        ("```sh\n[p](../plugins/p.py)\n```\n", None, "```sh\n[p](../plugins/p.py)\n```\n"),
    ],
)
def test_a_link_works_on_the_site(script, text, home, expected):
    places = {"docs/value.md": "value.md", "examples/kernel/README.md": "examples/kernel.md"}
    assert script("links").on_the_site(text, "docs/a.md", "a.md", places, home, "v1") == expected


# -- llms.txt


def test_llms_txt_lists_every_page(script, staged):
    lists = script("stage").lists(staged, script("sections").arranged(set(staged)))
    index, whole = lists["llms.txt"], lists["llms-full.txt"]
    assert index.startswith("# swarm-planner\n\n> ") and "\n## Operators\n" in index
    rows = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)(?:: .+)?$", index, re.MULTILINE)
    assert sorted(rows) == sorted(p.replace(".md", ".html") if p.startswith("api/") else p for p in staged)
    assert "- [Glossary](glossary.md): One word, one meaning; in code, messages and pages." in index
    assert staged["value.md"].strip() in whole and "\n::: " not in whole


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# T\n\n```sh\nx\n```\n\nIt [reads](a.md) **logs**: all of them. More.", "It reads logs: all of them."),
        ("# T\n\n| a |\n|---|\n\n- x\n", ""),
        ("# T\n\n*Made from the source by `make reference`; edit that.*\n\nWhat it is:\n", "What it is"),
    ],
)
def test_a_page_is_told_by_its_first_sentence(script, text, said):
    assert script("llms").first_sentence(text) == said


# -- the built site


GOOD = (
    '<h1 id="a">A</h1><a href="b.html#x">b</a><link rel="stylesheet" href="s.css"><img src="data:image/png;base64,x">'
)


@pytest.fixture
def site(tmp_path):
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "b.html").write_text('<p id="x"></p><a href="https://example.org/">out</a><a href="#x">up</a>')
    (tmp_path / "s.css").write_text("a { background: url(data:x) }")
    (tmp_path / "llms.txt").write_text("- [B](b.html)\n")
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "n.html").write_text('<h2 id="planner_core.x"></h2>')
    return tmp_path


def test_a_good_site_passes(script, site):
    assert script("check").problems(site, ["planner_core.x"]) == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("b.html", '<p id="y"></p>', "index.html: links to b.html#x, which is not there"),
        ("c.html", '<a href="gone.html">g</a>', "c.html: links to gone.html, which is not there"),
        ("c.html", '<script src="https://cdn.example/x.js"></script>', "c.html: fetches https://cdn.example/x.js"),
        ("c.html", '<link rel="preconnect" href="//fonts.example">', "c.html: fetches //fonts.example"),
        ("c.html", "<style>@import 'https://e.org/f.css'</style>", "c.html: fetches https://e.org/f.css"),
        ("c.html", '<img src="none.png">', "c.html: lacks none.png"),
        ("c.html", "<p>:class:`Planner`</p>", "c.html: shows the role :class:"),
        ("s.css", "@font-face { src: url('http://e.org/f.woff') }", "s.css: fetches http://e.org/f.woff"),
        ("llms.txt", "[x](nowhere.md)", "llms.txt: links to nowhere.md, which is not there"),
        ("api/n.html", "<p></p>", "api: planner_core.x is nowhere"),
    ],
)
def test_what_is_wrong_is_named(script, site, file, text, said):
    if file == "b.html":
        text += '<a href="https://example.org/">out</a>'
    (site / file).write_text(text)
    assert said in script("check").problems(site, ["planner_core.x"])
