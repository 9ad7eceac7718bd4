"""The documentation is true: its commands and snippets run, its options exist, its tables are complete.

A fenced block ``sh`` is a shell script that exits with 0, ``sh exit=1`` one that exits with 1; ``python`` blocks of a
page share their names, as if typed one after the other. Every page has a directory of its own with what a user would
have made before: a world in ``data/world``, a trained run of ``mlp``, its bundle, ``inputs.jsonl``, and the samples of
``examples/logs`` in ``logs``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from planner_core.runtime.bundle import FILES, MANIFEST, MAX_FILE_BYTES, OPTIONAL_FILES
from planner_core.runtime.reasons import MODES, REASONS

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"  # test_tutorial.py runs it, in an environment of its own
PAGES = sorted(set((ROOT / "docs").glob("*.md")) - {TUTORIAL})
README = ROOT / "README.md"
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block; ``place`` is what an error names."""

    place: str
    language: str
    exit: int
    code: str


def blocks(path):
    text = path.read_text()
    found = []
    for match in FENCE.finditer(text):
        language, options, code = match.groups()
        wanted = re.fullmatch(r" exit=(\d)", options)
        assert wanted or not options.strip(), f"{path.name}: what does '{language}{options}' mean?"
        line = text[: match.start()].count("\n") + 2
        found.append(Block(f"{path.name}:{line}", language, int(wanted[1]) if wanted else 0, code))
    assert text.count("```") == 2 * len(found), f"{path.name}: a fence is not closed"
    return found


# -- every block runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataset, quick_train, registry):
    """A run that is sure and right now and then, and its bundle."""
    from planner_export.bundle import export_bundle

    root = tmp_path_factory.mktemp("docs")
    run = root / "runs" / "mlp" / "20260101T000000Z"
    quick_train("mlp", dataset, run, epochs=60, d_hidden=64, lr=0.003)
    export_bundle("mlp", registry, root / "bundles" / "mlp", run=run)
    return root


@pytest.fixture
def place(trained, world, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    shutil.copytree(world, tmp_path / "data" / "world")
    shutil.copytree(ROOT / "examples" / "logs", tmp_path / "logs")
    lines = (world / "dataset.jsonl").read_text().splitlines()[-8:]
    inputs = [json.dumps(json.loads(line)["planner_input"]) for line in lines]
    (tmp_path / "inputs.jsonl").write_text("\n".join(inputs) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_shell(block, place):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=place,
        env={**os.environ, "PATH": path, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == block.exit, f"{block.place}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, f"{block.place}: {done.stderr}"
    if block.exit:
        assert "error" in done.stderr, f"{block.place}: it failed without a word"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_block_runs(path, place):
    names = {"__name__": "__main__"}
    ran = set()
    for block in blocks(path):
        ran.add(block.language)
        if block.language == "sh":
            run_shell(block, place)
        else:
            assert block.language == "python", f"{block.place}: '{block.language}' is not run; use sh or python"
            exec(compile(block.code, block.place, "exec"), names)
    assert ran == {"sh", "python"}


def test_pages_there_are():
    names = """
        acceptance architecture benchmarks bundle data glossary kernel-author loop modes-and-fallbacks nightly operator
        outcome plugins policy-author portability porting report rollout serve signing tuning value watch your-logs
    """
    assert [path.stem for path in PAGES] == names.split()


def test_the_script_of_a_block_stops_at_its_first_failure(place):
    with pytest.raises(AssertionError, match=r"x\.md:1: exit 1"):
        run_shell(Block("x.md:1", "sh", 0, "false\ntrue\n"), place)


# -- every name is documented


def table(page, heading):
    """Rows of the first table under a heading, as lists of cells."""
    text = (ROOT / "docs" / page).read_text()
    section = re.split(r"^#+ ", text.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def words(rows):
    assert all(all(row) for row in rows), "an empty cell"
    return [re.match(r"`([^`]+)`", row[0])[1] for row in rows]


def test_every_reason_is_documented():
    rows = table("modes-and-fallbacks.md", "Reasons")
    assert words(rows) == list(REASONS)
    assert all(len(row) == 3 for row in rows)


def test_the_order_of_reasons_names_all_of_them():
    text = (ROOT / "docs" / "modes-and-fallbacks.md").read_text()
    sentence = text.split("in this order: ")[1].split(". ")[0]
    assert sorted(re.findall(r"`(\w+)`", sentence)) == sorted(REASONS)


def test_every_mode_is_documented():
    assert sorted(words(table("modes-and-fallbacks.md", "Modes"))) == sorted(MODES)


def test_every_file_is_documented():
    assert sorted(words(table("bundle.md", "The files"))) == sorted([*FILES, *OPTIONAL_FILES, MANIFEST])


def test_the_size_limit_is_the_real_one():
    assert f"{MAX_FILE_BYTES // 2**20} MiB" in (ROOT / "docs" / "bundle.md").read_text()


def test_the_graph_is_the_real_one(place):
    """Names, types and widths of the table, against an exported model."""
    import onnxruntime

    session = onnxruntime.InferenceSession("bundles/mlp/model.onnx")
    real = {}
    for kind, values in (("in", session.get_inputs()), ("out", session.get_outputs())):
        for value in values:
            sizes = ["batch", *("d_in" if size == 3779 else str(size) for size in value.shape[1:])]
            name = {"tensor(float)": "float32", "tensor(int64)": "int64"}[value.type]
            real[f"{kind} `{value.name}`"] = f"{name} [{', '.join(sizes)}]"
    assert {row[0]: row[1] for row in table("bundle.md", "The graph")} == real


def test_the_layout_is_the_real_one():
    """First positions and widths of the table, against the encoder."""
    from planner_core import EncoderConfig

    config = EncoderConfig()
    *rows, figures = table("porting.md", "The layout")
    assert int(figures[1]) == config.d_in  # what is no bit comes behind all bits
    blocks = [config.group(n) for n in ("issue", "history", "action_space", "universe_defaults", "system_state")]
    assert [int(row[1]) for row in rows] == [block.start for block in blocks]
    ends = [block.stop for block in blocks]
    for row, end in zip(rows, ends, strict=True):
        groups = row[2].split(":")[-1] if "each" in row[2] else re.sub(r"\(.*?\)", "", row[2])
        if "each" in groups:
            width = 4 * 8
        else:
            sums = re.findall(r"(\d+)(?: ([x+]) (\d+))?(?=,|$)", groups.replace(" ,", ",").strip())
            width = sum(int(a) * int(b) if sign == "x" else int(a) + int(b or 0) for a, sign, b in sums)
        slots = config.history_slots if row[0].startswith("history") else 1
        assert int(row[1]) + slots * width == end, row[0]


def test_every_stage_of_the_bench_is_documented():
    from planner_bench import stages
    from planner_bench.fallbacks import STAGES

    rows = table("benchmarks.md", "Stages")
    found = [name for row in rows for name in re.findall(r"`([^`]+)`", row[0])]
    measured = [
        "reference",
        *stages.STAGES,
        stages.NEW_RUNS,
        stages.BARE_INDICES,
        stages.BARE_DENSE,
        stages.TORCH,
        stages.PYTHON,
    ]
    assert found == [*measured, *(stage.name for stage in STAGES)]


def test_the_limits_of_the_bench_are_the_real_ones():
    from planner_bench import targets, timing

    limits = {"p99": (targets.PROMISE_P99_MS, targets.AIM_P99_MS), "p50": (1.0, 0.1)}
    assert limits["p50"] == (targets.PROMISE_ENCODE_MS, targets.AIM_ENCODE_MS)
    rows = table("benchmarks.md", "Promises and aims")
    found = [(row[0][:3], row[1], row[2]) for row in rows]
    wanted = [(q, kind, f"{limits[q][i]:g} ms") for i, kind in enumerate(("promise", "aim")) for q in ("p99", "p50")]
    assert found == [*wanted, ("p50", "aim", f"{targets.AIM_RATIO:g} x")]
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    for words in (
        f"more than {timing.MAX_TAIL:g} times its p50",
        f"more than {timing.MAX_DRIFT:g} times its fastest",
        f"more than {timing.MAX_WAITING:.0%} of".replace("%", " %"),
    ):
        assert words in text


def test_links_lead_somewhere():
    for path in (*PAGES, TUTORIAL, README):
        text = path.read_text()
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if "://" in target:
                continue
            file, _, anchor = target.partition("#")
            other = path.parent / file if file else path
            assert other.exists(), f"{path.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor in anchors, f"{path.name}: {target}"


# -- every command and option exists


def command_line():
    """The tree of click commands, plugins included."""
    from planner_core.cli.app import add_plugin_commands, app

    plugins = typer.Typer()
    plugins.callback()(lambda: None)
    add_plugin_commands(plugins)
    root = typer.main.get_command(app)
    root.commands.update(typer.main.get_command(plugins).commands)
    return root


def options_of(command):
    """{name: whether it takes a value}."""
    found = {"--help": False, "-h": False}
    for parameter in command.params:
        for name in (*parameter.opts, *parameter.secondary_opts):
            found[name] = not getattr(parameter, "is_flag", False)
    return found


def every_option(command):
    found = set(options_of(command))
    for inner in getattr(command, "commands", {}).values():
        found |= every_option(inner)
    return found


def complaints(line, root):
    """What is wrong with one ``planner ...`` command: unknown commands and options. ``...`` stands for anything."""
    command, tokens = root, iter(shlex.split(line, comments=True)[1:])
    problems = []
    for token in tokens:
        if token in ("|", ">", "<", "&&", ";"):
            break
        if token.startswith("-") and token != "-":
            name, equals, _ = token.partition("=")
            known = options_of(command)
            if name not in known:
                problems.append(f"{line!r}: {command.name} has no option {name}")
            elif known[name] and not equals:
                next(tokens, None)
        elif inner := getattr(command, "commands", None):
            if token in inner:
                command = inner[token]
            elif token != "..." and not token.isupper():
                return [*problems, f"{line!r}: {command.name} has no command {token}"]
    return problems


def commands_in(path):
    """Every ``planner ...`` in the code of a page, in blocks and in line."""
    text = path.read_text()
    inline = re.findall(r"`(planner [^`\n]+)`", FENCE.sub("", text))
    scripts = "\n".join(block.code for block in blocks(path) if block.language == "sh").replace("\\\n", " ")
    return inline + re.findall(r"(?:^|[|&;] *)(planner [^\n]+)", scripts, re.MULTILINE)


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: path.stem)
def test_every_option_exists(path):
    root = command_line()
    assert [problem for line in commands_in(path) for problem in complaints(line, root)] == []
    known = every_option(root)
    bare = re.findall(r"`(--[\w-]+)[^`]*`", FENCE.sub("", path.read_text()))
    assert [name for name in bare if name not in known] == []


def test_commands_are_found():
    assert sum(len(commands_in(path)) for path in (README, *PAGES)) > 15


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("planner export --policy mlp --out x --accuracy 0.8", 0),
        ("planner run --policy mlp predict --from b - | head -n 1", 0),
        ("planner run ... evaluate --from BUNDLE", 0),
        ("planner export --policy mlp --to x", 1),
        ("planner run predict --policy mlp --form x", 1),
        ("planner deploy --policy mlp", 1),
        ("planner data frobnicate x", 1),
    ],
)
def test_the_checker_itself(line, count):
    assert len(complaints(line, command_line())) == count
