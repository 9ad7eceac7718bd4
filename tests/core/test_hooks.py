"""Every hook is documented and used by something that ships; a hook without either is a promise that nobody tests."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from planner_core.plugins import hookspecs
from planner_core.plugins.hookspecs import COMMAND_GROUP, EXTENSION_GROUP, POLICY_GROUP
from planner_core.plugins.loading import OWN_DISTRIBUTION, canonical, plugin_manager

DOCS = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
HOOKS = sorted(name for name, value in vars(hookspecs).items() if name.startswith("planner_") and callable(value))


def shipped(group):
    """The entry points of our own distribution."""
    return [p for p in entry_points(group=group) if p.dist and canonical(p.dist.name) == OWN_DISTRIBUTION]


def users(hook, points):
    """Names of the plugins that implement a hook."""
    found = []
    for point in points:
        manager = plugin_manager()
        manager.register(point.load(), name=point.name)
        found += [implementation.plugin_name for implementation in getattr(manager.hook, hook).get_hookimpls()]
    return sorted(found)


def section(hook):
    """The text under the heading that is named like the hook; None where there is no such heading."""
    found = re.search(rf"^### {hook}\n(.*?)(?=^#+ |\Z)", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    return found and found[1].strip()


def test_all_hooks_are_known():
    assert len(HOOKS) == 7 and set(HOOKS) == set(hookspecs.HOOKS)
    assert set(HOOKS) == {name for name in vars(plugin_manager().hook) if name.startswith("planner_")}


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook):
    text = section(hook)
    assert text, f"docs/plugins.md has no section '### {hook}'"
    assert len(text.split()) >= 15
    assert inspect.getdoc(getattr(hookspecs, hook))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_user_that_ships(hook):
    assert users(hook, shipped(hookspecs.HOOKS[hook][1])), f"nothing that ships implements {hook}"


@pytest.mark.parametrize("group", [POLICY_GROUP, COMMAND_GROUP, EXTENSION_GROUP])
def test_every_shipped_plugin_implements_a_hook(group):
    """A module that is named in a group and registers nothing is a mistake in the packaging."""
    for point in shipped(group):
        hooks = [hook for hook in HOOKS if hookspecs.HOOKS[hook][1] == group]
        assert any(users(hook, [point]) for hook in hooks), point


def test_the_two_that_are_promised():
    points = shipped(EXTENSION_GROUP)
    assert {"mlflow", "progress"} <= set(users("planner_training_callbacks", points))
    assert users("planner_metrics", points) == ["requests"]


def test_a_hook_without_documentation_or_user_is_noticed():
    assert section("planner_no_such_hook") is None
    assert users("planner_metrics", [p for p in shipped(EXTENSION_GROUP) if p.name == "progress"]) == []
