"""The registry: what is found through entry points, and that a broken plugin harms nobody but itself."""

from __future__ import annotations

import dataclasses
import sys
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace

import msgspec
import pytest

from planner_core.errors import RegistryError
from planner_core.plugins import registry as registry_module
from planner_core.plugins.guard import make_policy
from planner_core.plugins.hookspecs import POLICY_GROUP, hookimpl
from planner_core.plugins.registry import build_registry
from planner_core.policy import PROTOCOL_VERSION, PolicySpec


class Config(msgspec.Struct):
    """Nothing to configure."""


def spec(name="gbdt", **fields):
    return PolicySpec(name, "A policy of a test.", Config, lambda: None, **fields)


class Plugin:
    """What an entry point loads: registers what it was given."""

    def __init__(self, *specs):
        self.specs = specs

    @hookimpl
    def planner_register_policies(self, register):
        for item in self.specs:
            register(item)


def point(name, load, dist="acme-planner", version="1.2"):
    """The three attributes of an entry point that the registry reads."""

    def run():
        if isinstance(load, BaseException):
            raise load
        return load

    return SimpleNamespace(name=name, load=run, dist=SimpleNamespace(name=dist, version=version))


GOOD = point("lookup", Plugin(spec("lookup")), "good-planner", "0.3")


def broken_beside_a_good_one(broken):
    """The row of a broken plugin; the good one beside it must be untouched."""
    found = build_registry([broken, GOOD])
    assert found.get("lookup").distribution == "good-planner"
    rows = [entry for entry in found.entries if entry.name != "lookup"]
    assert len(rows) == 1 and rows[0].status != "ok"
    assert (rows[0].distribution, rows[0].version) == ("acme-planner", "1.2")
    with pytest.raises(RegistryError, match=f"policy '{rows[0].name}' cannot be used"):
        found.get(rows[0].name)
    return rows[0]


# -- what is found


def test_built_ins(registry):
    assert [entry.name for entry in registry.entries] == ["heuristic", "joint", "mlp", "outcome"]
    assert {entry.distribution for entry in registry.entries} == {"swarm-planner"}
    assert {entry.status for entry in registry.entries} == {"ok"}
    assert [entry.trainable for entry in registry.entries] == [False, True, True, True]
    assert all(entry.version[0].isdigit() for entry in registry.entries)


def test_built_ins_come_through_entry_points_alone(monkeypatch):
    """Without entry points there is nothing: no list of built-ins is hidden anywhere."""
    assert build_registry([]).entries == []
    names = {p.name for p in entry_points(group=POLICY_GROUP)}
    assert {"heuristic", "joint", "mlp"} <= names
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [GOOD] if group == POLICY_GROUP else [])
    registry_module.load_registry.cache_clear()
    try:
        assert [entry.name for entry in registry_module.load_registry().entries] == ["lookup"]
    finally:
        registry_module.load_registry.cache_clear()


def test_a_plugin_may_register_several():
    found = build_registry([point("trees", Plugin(spec("b"), spec("a", trainable=True)))])
    assert [(entry.name, entry.trainable) for entry in found.entries] == [("a", True), ("b", False)]
    assert found.spec("b").summary == "A policy of a test."


def test_a_module_of_an_installed_distribution(tmp_path, monkeypatch):
    """The real thing: metadata on disk, a module, a class in it."""
    (tmp_path / "third_party.py").write_text(
        "import msgspec\n"
        "from planner_core import PolicySpec, hookimpl\n"
        "class Config(msgspec.Struct):\n    pass\n"
        "@hookimpl\n"
        "def planner_register_policies(register):\n"
        "    register(PolicySpec('third', 'Of a third party.', Config, lambda: None))\n"
    )
    info = tmp_path / "third_planner-4.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-planner\nVersion: 4.5\n")
    (info / "entry_points.txt").write_text(f"[{POLICY_GROUP}]\nthird = third_party\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = build_registry(entry_points(group=POLICY_GROUP))
    sys.modules.pop("third_party", None)
    entry = found.get("third")
    assert (entry.distribution, entry.version, entry.status) == ("third-planner", "4.5", "ok")
    assert {"heuristic", "joint", "mlp"} < {e.name for e in found.entries}


# -- what is broken


@pytest.mark.parametrize(
    "problem", [ImportError("no module named lightgbm"), ValueError("x"), SystemExit(3), SyntaxError("y"), KeyError()]
)
def test_import_that_fails(problem):
    row = broken_beside_a_good_one(point("gbdt", problem))
    assert row.name == "gbdt" and row.spec is None and row.trainable is None
    assert row.status.startswith(f"failed to load: {type(problem).__name__}")
    assert str(problem) in row.status


def test_real_import_that_fails():
    real = EntryPoint("gone", "no_such_module_anywhere", POLICY_GROUP)
    found = build_registry([real, GOOD])
    assert found.get("lookup") and "no_such_module_anywhere" in found.entries[0].status
    assert found.entries[0].distribution == "unknown"  # an entry point of its own, without a distribution


def test_message_of_many_lines_is_one_row():
    row = broken_beside_a_good_one(point("gbdt", ImportError("first line\nsecond line")))
    assert "first line" in row.status and "\n" not in row.status


def test_hook_that_raises():
    class Raises:
        @hookimpl
        def planner_register_policies(self, register):
            register(spec())
            raise RuntimeError("half way")

    row = broken_beside_a_good_one(point("gbdt", Raises()))
    assert "half way" in row.status  # and what it had registered by then does not count


def test_plugin_that_registers_nothing():
    assert "registers no policy" in broken_beside_a_good_one(point("gbdt", Plugin())).status
    assert "registers no policy" in broken_beside_a_good_one(point("gbdt", SimpleNamespace())).status


@pytest.mark.parametrize("thing", [{"name": "gbdt"}, Config(), None, "gbdt"])
def test_plugin_that_registers_something_else(thing):
    row = broken_beside_a_good_one(point("gbdt", Plugin(thing)))
    assert row.name == "gbdt" and f"registered a {type(thing).__name__}, not a PolicySpec" in row.status


def test_misspelt_hook():
    """Silence would be a plugin that is installed and never there."""

    class Misspelt:
        @hookimpl
        def planner_register_policys(self, register):
            register(spec())

    assert "planner_register_policys" in broken_beside_a_good_one(point("gbdt", Misspelt())).status


class MisspeltArgument:
    @hookimpl
    def planner_register_policies(self, registre):
        registre(spec())


def test_misspelt_argument():
    assert broken_beside_a_good_one(point("gbdt", MisspeltArgument())).status.startswith("failed to load")


def test_misspelt_argument_is_named():
    assert "registre" in broken_beside_a_good_one(point("gbdt", MisspeltArgument())).status


@pytest.mark.parametrize("version", [PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1])
def test_another_protocol_version(version):
    row = broken_beside_a_good_one(point("gbdt", Plugin(spec(protocol_version=version))))
    assert f"protocol version {version}" in row.status and f"this is version {PROTOCOL_VERSION}" in row.status


@pytest.mark.parametrize("name", [None, 5])
def test_name_that_is_no_text(name):
    broken_beside_a_good_one(point("gbdt", Plugin(dataclasses.replace(spec(), name=name))))


def test_configuration_that_is_no_struct():
    assert (
        "config"
        in broken_beside_a_good_one(point("gbdt", Plugin(dataclasses.replace(spec(), config_type=dict)))).status
    )


# -- names


def test_two_plugins_of_one_name():
    first = point("gbdt", Plugin(spec()), "acme-planner", "1.2")
    second = point("gbdt", Plugin(spec()), "other-planner", "0.1")
    found = build_registry([second, first, GOOD])
    rows = [entry for entry in found.entries if entry.name == "gbdt"]
    assert [row.distribution for row in rows] == ["acme-planner", "other-planner"]
    for row in rows:
        assert "acme-planner 1.2" in row.status and "other-planner 0.1" in row.status
    with pytest.raises(RegistryError, match=r"acme-planner 1\.2 and other-planner 0\.1"):
        found.get("gbdt")
    assert found.get("lookup")


@pytest.mark.parametrize("name", ["heuristic", "joint", "mlp", "outcome"])
def test_third_party_cannot_take_a_built_ins_name(name):
    points = [*entry_points(group=POLICY_GROUP), point(name, Plugin(spec(name)), "evil-planner", "6.6")]
    found = build_registry(points)
    assert found.get(name).distribution == "swarm-planner"
    row = next(entry for entry in found.entries if entry.distribution == "evil-planner")
    assert row.status == f"shadows the built-in '{name}' of swarm-planner; rename it" and row.spec is None


def test_two_third_parties_and_a_built_in():
    strangers = [point("mlp", Plugin(spec("mlp")), f"evil-{n}", "6.6") for n in "ab"]
    found = build_registry([*strangers, *entry_points(group=POLICY_GROUP)])
    assert found.get("mlp").distribution == "swarm-planner"
    assert [e.distribution for e in found.entries if "shadows" in e.status] == ["evil-a", "evil-b"]


def test_being_built_in_is_a_matter_of_the_distribution_alone():
    """The same plugin under our distribution's name, however it is spelt, is built in; under any other it is not."""
    ours = point("gbdt", Plugin(spec("gbdt")), "Swarm_Planner", "9")
    other = point("gbdt", Plugin(spec("gbdt")), "swarm-planner-extras", "9")
    found = build_registry([other, ours])
    assert found.get("gbdt").distribution == "Swarm_Planner"


def test_a_broken_plugin_does_not_claim_its_name():
    broken = point("lookup", ImportError("gone"), "acme-planner")
    assert build_registry([broken, GOOD]).get("lookup").distribution == "good-planner"


@pytest.mark.parametrize(("word", "meant"), [("mpl", "mlp"), ("heuristics", "heuristic"), ("jont", "joint")])
def test_unknown_name_suggests(registry, word, meant):
    with pytest.raises(RegistryError) as caught:
        registry.get(word)
    assert f"no policy is called '{word}'" in str(caught.value)
    assert f"did you mean '{meant}'?" in str(caught.value)
    assert "registered: heuristic, joint, mlp" in str(caught.value)


def test_unknown_name_that_is_like_nothing(registry):
    with pytest.raises(RegistryError) as caught:
        registry.get("zzzzzz")
    assert "did you mean" not in str(caught.value)


def test_empty_registry_says_so():
    with pytest.raises(RegistryError, match="registered: none"):
        build_registry([]).get("mlp")


def test_order_does_not_depend_on_the_order_of_installation():
    points = [GOOD, point("trees", Plugin(spec("a"))), point("gone", ImportError("x"))]
    assert build_registry(points).entries == build_registry(points[::-1]).entries


# -- a policy whose framework is not installed


def test_missing_framework_names_the_extra():
    def load():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    from planner_core import MissingExtra, PolicyContext

    without = dataclasses.replace(spec(), load=load)
    with pytest.raises(MissingExtra, match=r"'train' extra \(torch is not installed\)"):
        make_policy(without, without.config_type(), PolicyContext())


# -- what loading costs


def test_built_ins_are_loaded_without_a_thread(monkeypatch):
    """A thread and a time limit are for strangers; start-up pays for neither."""

    def refuse(*args, **kwargs):
        raise AssertionError("a thread was started")

    monkeypatch.setattr("planner_core.plugins.loading.threading.Thread", refuse)
    assert {entry.status for entry in build_registry(entry_points(group=POLICY_GROUP)).entries} == {"ok"}
    with pytest.raises(AssertionError, match="a thread was started"):
        build_registry([GOOD])


def test_listing_does_not_load_extensions(tmp_path):
    import subprocess

    code = (
        "import sys; from planner_core.plugins.registry import load_registry; load_registry()\n"
        "assert 'planner_mlp' in sys.modules\n"
        "print([name for name in sys.modules if name in ('planner_requests', 'planner_mlflow', 'mlflow')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "[]\n", done.stderr
