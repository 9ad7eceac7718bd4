"""Broken plugins, really installed: each is one clear row or message, and everything else goes on working.

Every case writes a distribution (metadata and a module) where Python finds it and runs the installed command.
"""

from __future__ import annotations

import json
import time

import pytest

from planner_core.plugins.hookspecs import COMMAND_GROUP, EXTENSION_GROUP, POLICY_GROUP

BUILT_IN = {"heuristic", "joint", "mlp", "outcome"}

GOOD = """
import msgspec
from planner_core import PolicySpec, hookimpl

class Config(msgspec.Struct):
    pass

@hookimpl
def planner_register_policies(register):
    register(PolicySpec("lookup", "A good one beside it.", Config, lambda: None))
"""

SPEC = """
import msgspec, sys, time
from planner_core import PolicySpec, hookimpl

class Config(msgspec.Struct):
    pass

@hookimpl
def planner_register_policies(register):
    {body}
"""


def rows(done):
    return {(row["name"], row["distribution"]): row["status"] for row in json.loads(done.stdout)}


# -- what a plugin can do wrong before it is used


def registering(body):
    return SPEC.format(body=body)


WITH_NAME = 'register(PolicySpec("gbdt", "", Config, lambda: None{more}))'

BROKEN = {
    "raises at import": ("raise ValueError('no licence')", "failed to load: ValueError: no licence"),
    "does not parse": ("def broken(:\n", "failed to load: SyntaxError"),
    "misses a module": ("import lightgbm_of_mars", "failed to load: ModuleNotFoundError: No module named 'lightgbm_of"),
    "exits at import": ("raise SystemExit(3)", "failed to load: SystemExit: 3"),
    "interrupts at import": ("raise KeyboardInterrupt", "failed to load: KeyboardInterrupt"),
    "prints and raises": ("print('welcome!')\nraise ValueError('x')", "failed to load: ValueError: x"),
    "speaks markup": ("raise KeyError('[/red] [bold]')", "failed to load: KeyError: '[/red] [bold]'"),
    "cannot even say what is wrong": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
        "failed to load: Odd: (its message cannot be read)",
    ),
    "hangs at import": ("import time\ntime.sleep(3600)", "failed to load: import did not finish within 2 s"),
    "spins at import": ("while True: pass", "failed to load: import did not finish within 2 s"),
    "hangs at registration": (
        registering("time.sleep(3600)"),
        "failed to load: planner_register_policies did not finish within 2 s",
    ),
    "raises at registration": (registering("raise RuntimeError('half way')"), "failed to load: RuntimeError: half way"),
    "exits at registration": (registering("sys.exit(4)"), "failed to load: SystemExit: 4"),
    "registers nothing": (registering("pass"), "failed to load: it registers no policy"),
    "registers something else": (registering("register('gbdt')"), "registered a str, not a PolicySpec"),
    "configuration raises": (
        registering(WITH_NAME.format(more=""))
        + "\nclass Config(msgspec.Struct):\n    def __post_init__(self): raise ZeroDivisionError('too deep')\n",
        "its default configuration cannot be made: ZeroDivisionError: too deep",
    ),
    "configuration hangs": (
        registering(WITH_NAME.format(more=""))
        + "\nclass Config(msgspec.Struct):\n    def __post_init__(self): time.sleep(3600)\n",
        "its registration cannot be read: it did not finish within 2 s",
    ),
    "configuration without defaults": (
        registering(WITH_NAME.format(more="")) + "\nclass Config(msgspec.Struct):\n    depth: int\n",
        "its default configuration cannot be made: TypeError: Missing required argument 'depth'",
    ),
    "a later protocol version": (
        registering(WITH_NAME.format(more=", protocol_version=2")),
        "made for protocol version 2; this is version 1 (swarm-planner 0.1.0): upgrade swarm-planner",
    ),
    "an earlier protocol version": (
        registering(WITH_NAME.format(more=", protocol_version=0")),
        "made for protocol version 0; this is version 1 (swarm-planner 0.1.0): upgrade acme-planner",
    ),
    "a field of a later version": (
        registering(WITH_NAME.format(more=", device='gpu'")),
        "unexpected keyword argument 'device'; it may need a later swarm-planner than 0.1.0",
    ),
    "a name of a later version": (
        "from planner_core import StreamingPolicy",
        "(unknown location)|it may need a later swarm-planner than 0.1.0",
    ),
    "a name that is a path": (
        registering('register(PolicySpec("../up", "", Config, lambda: None))'),
        "its name is '../up'; expected letters, digits and ._- only",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_one_row(case, install, planner):
    source, status = BROKEN[case]
    install("acme-planner", source)
    install("good-planner", GOOD, version="0.3", point="lookup")
    started = time.monotonic()
    done = planner("policies", "--json", PLANNER_PLUGIN_TIMEOUT="2")
    found = rows(done)
    assert time.monotonic() - started < 60
    own = {name for (name, distribution), state in found.items() if distribution == "swarm-planner" and state == "ok"}
    assert own == BUILT_IN
    assert found["lookup", "good-planner"] == "ok"
    assert len(found) == len(BUILT_IN) + 2
    row = found["gbdt", "acme-planner"]
    assert any(part in row for part in status.split("|")), row
    assert "\n" not in row


def test_the_table_is_readable_whatever_they_say(install, planner):
    for number, (source, _) in enumerate(BROKEN.values()):
        if "sleep" not in source and "while" not in source:
            install(f"acme-{number}", source)
    done = planner("policies")
    assert "[/red] [bold]" in done.stdout and "heuristic" in done.stdout


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ValueError('no licence')", "ValueError: no licence"),
        ("import time\ntime.sleep(3600)", "import did not finish within 2 s"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_help_and_work_go_on(source, said, install, planner, world):
    """The broken module in all three groups at once: one warning where its group matters, and the work is done."""
    install("acme-planner", source, groups=(POLICY_GROUP, COMMAND_GROUP, EXTENSION_GROUP))
    limit = {"PLANNER_PLUGIN_TIMEOUT": "2"}
    done = planner("--help", **limit)
    assert "policies" in done.stdout and "bench" in done.stdout
    assert done.stderr.count("warning:") == 1 and said in done.stderr
    done = planner("run", "-p", "heuristic", "evaluate", "--dataset", world, "--json", **limit)
    assert json.loads(done.stdout)["mean_candidate_minutes"] > 0
    assert done.stderr.count("warning:") == 2  # once as a command, once as an extension; as a policy it has its row
    assert "not tried again" in done.stderr or said in done.stderr.split("warning:")[2]


def test_hooks_of_extensions_that_raise_or_hang(install, planner, world):
    body = "from planner_core import hookimpl\nimport time\n@hookimpl\ndef planner_metrics(register):\n    {}\n"
    install("acme-planner", body.format("raise RuntimeError('half way')"), groups=(EXTENSION_GROUP,))
    install("slow-planner", body.format("time.sleep(3600)"), groups=(EXTENSION_GROUP,), point="slow")
    done = planner("run", "-p", "heuristic", "evaluate", "--dataset", world, "--json", PLANNER_PLUGIN_TIMEOUT="2")
    assert json.loads(done.stdout)["mean_candidate_minutes"] > 0
    assert (
        "the plugin 'gbdt' of acme-planner 1.2 is left out: failed in planner_metrics: RuntimeError: half way"
        in done.stderr
    )
    assert (
        "'slow' of slow-planner 1.2 is left out: failed in planner_metrics: planner_metrics did not finish"
        in done.stderr
    )
    assert done.stderr.count("warning:") == 2


# -- names


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_shadow_of_a_built_in(name, install, planner, world):
    install("evil-planner", registering(f'register(PolicySpec("{name}", "", Config, lambda: 1 / 0))'), point=name)
    found = rows(planner("policies", "--json"))
    assert found[name, "swarm-planner"] == "ok"
    assert found[name, "evil-planner"] == f"shadows the built-in '{name}' of swarm-planner; rename it"
    done = planner("run", "-p", "heuristic", "evaluate", "--dataset", world, "--json")
    assert json.loads(done.stdout)["policy"] == "heuristic"


def test_two_strangers_of_one_name(install, planner):
    for distribution in ("acme-planner", "other-planner"):
        install(distribution, registering(WITH_NAME.format(more="")))
    found = rows(planner("policies", "--json"))
    wanted = "claimed by acme-planner 1.2 and other-planner 1.2; uninstall one"
    assert found["gbdt", "acme-planner"] == found["gbdt", "other-planner"] == wanted
    assert wanted in planner("run", "-p", "gbdt", "config", code=1).stderr


# -- the allow-list


@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        (None, {"acme-planner", "good-planner"}),
        ("", set()),
        ("good-planner", {"good-planner"}),
        ("Good_Planner , acme.planner", {"acme-planner", "good-planner"}),
    ],
)
def test_the_allow_list(value, loaded, install, planner, tmp_path):
    """Names are distributions. What is not allowed is not even imported."""
    trace = tmp_path / "imported"
    install(
        "acme-planner",
        f"open({str(trace)!r}, 'a').write('acme-planner\\n')\n" + registering(WITH_NAME.format(more="")),
        groups=(POLICY_GROUP, COMMAND_GROUP, EXTENSION_GROUP),
    )
    install("good-planner", GOOD, point="lookup")
    done = planner("policies", "--json", **({} if value is None else {"PLANNER_PLUGINS": value}))
    found = rows(done)
    assert {distribution for _, distribution in found} == {"swarm-planner", *loaded}
    assert {name for name, distribution in found if distribution == "swarm-planner"} == BUILT_IN
    assert trace.exists() == ("acme-planner" in loaded)


def test_a_typo_in_the_allow_list_is_said(install, planner):
    install("acme-planner", GOOD)
    done = planner("policies", "--json", PLANNER_PLUGINS="acme-planer")
    assert "PLANNER_PLUGINS names 'acme-planer'" in done.stderr
    assert "did you mean 'acme-planner'?" in done.stderr
    assert done.stderr.count("warning:") == 1
    assert {distribution for _, distribution in rows(done)} == {"swarm-planner"}


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan"])
def test_a_time_limit_that_is_none_is_said(value, install, planner):
    install("acme-planner", GOOD)
    done = planner("policies", "--json", PLANNER_PLUGIN_TIMEOUT=value)
    assert f"PLANNER_PLUGIN_TIMEOUT is '{value}', expected seconds above 0; it is 20 s now" in done.stderr
    assert rows(done)["lookup", "acme-planner"] == "ok"


def test_the_traceback_is_there_for_who_wants_it(install, planner):
    install("acme-planner", "def deep():\n    raise ValueError('no licence')\ndeep()\n")
    done = planner("policies", "--json", PLANNER_DEBUG="1")
    assert "Traceback" in done.stderr and "acme_planner.py" in done.stderr and "in deep" in done.stderr


# -- commands

COMMANDS = """
import typer
from planner_core import hookimpl

@hookimpl
def planner_register_commands(app):
{body}
"""


def commands(*lines):
    return COMMANDS.format(body="\n".join(f"    {line}" for line in lines))


def test_a_command_of_a_stranger(install, planner):
    source = commands(
        "@app.command()",
        "def greet(name: str = 'you'):",
        "    'Say hello.'",
        "    print('hello', name)",
        "inner = typer.Typer(help='More.')",
        "@inner.command('loud')",
        "def loud(): print('HELLO')",
        "@inner.command('fail')",
        "def fail(): raise KeyError('[/x]')",
        "app.add_typer(inner, name='more')",
    )
    install("acme-planner", source, groups=(COMMAND_GROUP,))
    assert "greet" in planner("--help").stdout
    assert planner("greet", "--name", "me").stdout == "hello me\n"
    assert planner("more", "loud").stdout == "HELLO\n"
    assert "has no option" in planner("greet", "--nam", "x", code=2).stderr.lower()
    done = planner("more", "fail", code=1)
    assert "error: command 'fail' (acme-planner 1.2) failed: KeyError: '[/x]'" in done.stderr


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["app.command('run')(lambda: print('mine'))"],
            "the command 'run' of acme-planner 1.2 is left out: shadows the built-in",
        ),
        (
            ["app.command('bench')(lambda: print('mine'))"],
            "the command 'bench' of acme-planner 1.2 is left out: shadows the ",
        ),
        (["app.command('x')(lambda: None)", "app()"], "failed to load: "),
        (
            ["def x(value: int | str): pass", "app.command('x')(x)"],
            "support Union types",
        ),
        (["pass"], "it registers no command"),
        (["raise OSError('x')"], "failed to load: OSError: x"),
    ],
)
def test_commands_that_do_not_work_out(lines, said, install, planner):
    install("acme-planner", commands(*lines), groups=(COMMAND_GROUP,))
    done = planner("--help")
    assert said in done.stderr and done.stderr.count("warning:") == 1
    assert "Measure the latency" in done.stdout and "Train the policy and write" in done.stdout
    assert planner("run", "-p", "heuristic", "config", "--json").stdout.startswith("{")


def test_two_commands_of_one_name(install, planner):
    for distribution in ("acme-planner", "other-planner"):
        install(distribution, commands("app.command('greet')(lambda: None)"), groups=(COMMAND_GROUP,))
    done = planner("--help")
    claimed = "claimed by acme-planner 1.2 and other-planner 1.2; uninstall one"
    for distribution in ("acme-planner", "other-planner"):
        assert f"the command 'greet' of {distribution} 1.2 is left out: {claimed}" in done.stderr
    assert "greet" not in done.stdout
