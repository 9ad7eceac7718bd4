"""Checks of what is registered: the specification, the class behind it, its configuration, what importing it costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import msgspec

from planner_core.decision import SCORE_KINDS
from planner_core.encoder import EncoderConfig
from planner_core.errors import CheckFailed, ConfigError
from planner_core.plugins.guard import KINDS, missing_methods, policy_class
from planner_core.plugins.hookspecs import POLICY_GROUP
from planner_core.plugins.records import CheckSetup, PolicyCheck
from planner_core.policy import PROTOCOL_VERSION, BasePolicy, TrainablePolicy
from planner_core.settings import make_settings
from planner_core.testing.support import require

POLICY_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")

HEAVY = frozenset(
    {
        *("torch", "tensorflow", "keras", "jax", "jaxlib", "flax", "transformers"),
        *("onnx", "onnxruntime", "onnxscript", "onnxmltools", "skl2onnx"),
        *("sklearn", "scipy", "pandas", "polars", "pyarrow", "lightgbm", "xgboost", "catboost"),
        *("matplotlib", "numba", "joblib", "dask", "ray"),
    }
)
"""Packages that listing the policies must not import; together they cost seconds."""


def protocol(setup: CheckSetup) -> None:
    """The specification and the class it loads are what the protocol asks for."""
    spec = setup.spec
    require(bool(POLICY_NAME.match(spec.name)), f"the name {spec.name!r} is not lower-case words joined by hyphens")
    summary = spec.summary
    require(isinstance(summary, str) and bool(summary.strip()), "the summary is empty; 'planner policies' shows it")
    require("\n" not in summary, "the summary has more than one line")
    require(
        spec.protocol_version == PROTOCOL_VERSION,
        f"made for protocol version {spec.protocol_version}; this is version {PROTOCOL_VERSION}",
    )
    made = policy_class(spec)
    require(spec.load() is made, "load returns another class each time it is called")
    kind = getattr(made, "score_kind", None)
    require(kind in SCORE_KINDS, f"score_kind is {kind!r}; expected {KINDS}")
    learns = not missing_methods(made, trainable=True)
    require(spec.trainable or not learns, f"{made.__name__} has fit, save and load, but trainable is False")
    policy = made(setup.config(), setup.context)
    wanted_type = TrainablePolicy if spec.trainable else BasePolicy
    require(isinstance(policy, wanted_type), f"a {made.__name__} is no {wanted_type.__name__}")


def import_light(setup: CheckSetup) -> None:
    """A fresh process that imports the plugin and lets it register imports nothing heavy."""
    module, attribute = plugin_of(setup.spec)
    found = imported_by(module, attribute, tuple(sys.path))
    heavy = sorted(HEAVY & set(found["modules"]))
    require(
        not heavy,
        f"importing {module} imports {', '.join(heavy)} ({found['seconds']:.1f} s); move that import into the function "
        "given as load",
    )
    setup.note(f"import {module}: {found['seconds'] * 1000:.0f} ms on top of planner_core")


def plugin_of(spec: Any) -> tuple[str, str]:
    """(module, attribute) of the plugin that registers a policy: its entry point, else the module of ``load``."""
    module: str = spec.load.__module__
    for point in entry_points(group=POLICY_GROUP):
        if point.module.split(".")[0] == module.split(".")[0]:
            return point.module, point.attr or ""
    return module, ""


_PROBE = """
import json, sys, time
module, attribute, path = json.loads(sys.argv[1])
sys.path[:] = path
from planner_core.plugins.loading import plugin_manager
from planner_core.policy import PolicySpec
started = time.perf_counter()
import importlib
plugin = importlib.import_module(module)
for name in filter(None, attribute.split(".")):
    plugin = getattr(plugin, name)
manager = plugin_manager()
manager.register(plugin)
manager.hook.planner_register_policies(register=lambda spec: None)
seconds = time.perf_counter() - started
json.dump({"seconds": seconds, "modules": sorted({name.split(".")[0] for name in sys.modules})}, sys.stderr)
"""


@cache
def imported_by(module: str, attribute: str, path: tuple[str, ...]) -> dict[str, Any]:
    """``{seconds, modules}``: what a fresh process that loads a plugin imports, by top-level name."""
    given = json.dumps([module, attribute, path])
    done = subprocess.run([sys.executable, "-c", _PROBE, given], capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        raise CheckFailed(f"{module} cannot be imported in a fresh process: {lines[-1] if lines else 'no message'}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def config_defaults(setup: CheckSetup) -> None:
    """Every key has a default, the defaults are valid, and none shadows a key of the encoder."""
    spec = setup.spec
    fields = msgspec.structs.fields(spec.config_type)
    without = [field.name for field in fields if field.required]
    require(not without, f"without a default: {', '.join(without)}")
    shadowed = sorted({f.name for f in fields} & set(EncoderConfig.__struct_fields__))
    require(not shadowed, f"{', '.join(shadowed)}: the encoder has a key of this name, in the same configuration file")
    try:
        make_settings(spec.name, spec.config_type, {})
        make_settings(spec.name, spec.config_type, msgspec.to_builtins(spec.config_type()))
    except ConfigError as problem:
        raise CheckFailed(f"its own defaults are refused: {problem}") from None


def config_unknown_keys(setup: CheckSetup) -> None:
    """A key that does not exist is refused, at the top and in nested structs."""
    for struct in _structs(setup.spec.config_type):
        try:
            msgspec.convert({"no_such_key": 1}, struct)
        except msgspec.ValidationError as problem:
            require("no_such_key" in str(problem), f"{struct.__name__} refuses it without naming it: {problem}")
        else:
            raise CheckFailed(f"{struct.__name__} takes the key 'no_such_key'; set forbid_unknown_fields=True")
    names = setup.spec.config_type.__struct_fields__
    if names:
        misspelt = names[0] + "_"
        try:
            make_settings(setup.spec.name, setup.spec.config_type, {misspelt: 1})
        except ConfigError as problem:
            require("did you mean" in str(problem), f"'{misspelt}' is refused without a suggestion: {problem}")


def _structs(config_type: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """A configuration type and every struct in it."""
    found: list[type[msgspec.Struct]] = []

    def walk(kind: Any) -> None:
        if isinstance(kind, msgspec.inspect.StructType) and kind.cls not in found:
            found.append(kind.cls)
            for field in kind.fields:
                walk(field.type)
        for name in ("item_type", "key_type", "value_type"):
            if hasattr(kind, name):
                walk(getattr(kind, name))
        for inner in (*getattr(kind, "types", ()), *getattr(kind, "item_types", ())):
            walk(inner)

    walk(msgspec.inspect.type_info(config_type))
    return found


def config_round_trip(setup: CheckSetup) -> None:
    """The configuration survives ``config.json``, which a run is loaded from, and belongs to nobody else."""
    spec = setup.spec
    config = setup.config()
    text = msgspec.json.encode(msgspec.to_builtins(config))
    try:
        again = make_settings(spec.name, spec.config_type, msgspec.json.decode(text)).policy
    except ConfigError as problem:
        raise CheckFailed(f"what was written is refused when it is read: {problem}") from None
    require(again == config, f"written as {text.decode()}, read as {again}")
    policy_class(spec)(config, setup.context)
    changed = msgspec.json.encode(msgspec.to_builtins(config))
    require(changed == text, f"making the policy changes its configuration to {changed.decode()}")


CHECKS = (
    PolicyCheck("protocol", "The harness calls what the protocol names, and nothing else.", protocol),
    PolicyCheck("import-light", "Listing policies must not wait for anybody's framework.", import_light),
    PolicyCheck("config-defaults", "A policy must run without a configuration file.", config_defaults),
    PolicyCheck("config-unknown-keys", "A misspelt key that is ignored costs somebody a night.", config_unknown_keys),
    PolicyCheck("config-round-trip", "A run is rebuilt from its config.json.", config_round_trip),
)
