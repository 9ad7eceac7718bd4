"""The effective configuration of a run: defaults, then a file, then ``--set key=value``; every mistake at once.

One flat namespace holds the encoder's keys (``history_slots``...) and the policy's own; nested ones are dotted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from planner_core import jsonio, system
from planner_core.encoder import EncoderConfig
from planner_core.errors import ConfigError, DataError, MissingExtra, describe, suggestion
from planner_core.examples import Evidence

MAX_CONFIG_BYTES = 1 << 20


class LearningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What any training may use of a dataset's outcomes: "auto" is the most there is.

    "all" asks for outcomes of several actions of each example; "executed" uses only those of what was run.
    """

    evidence: Evidence = "auto"


@dataclass(frozen=True)
class Settings:
    """The encoder's configuration, the policy's, and what the training may learn from."""

    encoder: EncoderConfig
    policy: Any
    learning: LearningConfig = field(default_factory=LearningConfig)

    def to_dict(self) -> dict[str, Any]:
        """Every key with its effective value, flat as a config file has them."""
        return {
            k: v for part in (self.encoder, self.learning, self.policy) for k, v in msgspec.to_builtins(part).items()
        }


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """``["d_hidden=8", "head_weights.swarm=2"]`` as a nested dict; values are JSON, else plain strings."""
    out: dict[str, Any] = {}
    problems = []
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {text}: expected key=value")
            continue
        *parents, leaf = key.strip().split(".")
        place = out
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                problems.append(f"--set {text}: '{parent}' was given a value of its own before")
                break
            place = inner
        else:
            place[leaf] = _scalar(value.strip())
    if problems:
        raise ConfigError("\n".join(problems))
    return out


def _scalar(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def read_config_file(path: Path) -> dict[str, Any]:
    """A YAML or JSON mapping."""
    try:
        with system.open_input(path) as stream:
            raw = stream.read(MAX_CONFIG_BYTES + 1)
    except OSError as problem:
        raise ConfigError(f"{path}: expected a readable configuration file ({problem.strerror})") from None
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: expected a configuration file of at most {MAX_CONFIG_BYTES} bytes")
    try:
        if path.suffix == ".json":
            values = msgspec.json.decode(raw)
        else:
            try:
                values = msgspec.yaml.decode(raw)
            except ImportError:
                raise MissingExtra("a YAML configuration file", "train", "pyyaml") from None
    except msgspec.DecodeError as problem:
        raise ConfigError(f"{path}: expected a YAML or JSON mapping ({problem})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found a {type(values).__name__}")
    return values


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers win, key by key, in nested mappings too."""
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            inner = out.get(key)
            out[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return out


def make_settings(policy: str, config_type: type[msgspec.Struct], values: Mapping[str, Any]) -> Settings:
    """Check ``values`` against the encoder's and the policy's keys.

    Raises :class:`ConfigError` listing every unknown key (with a suggestion) and every value that does not fit.
    """
    known: dict[str, type[msgspec.Struct]] = {}
    for struct in (config_type, LearningConfig, EncoderConfig):
        known |= dict.fromkeys(struct.__struct_fields__, struct)
    problems: list[str] = []
    parts: dict[type[msgspec.Struct], dict[str, Any]] = {EncoderConfig: {}, LearningConfig: {}, config_type: {}}
    for key, value in values.items():
        owner = known.get(key)
        if owner is None:
            problems.append(f"{key}: no such key{suggestion(key, known)}")
            continue
        wrong = _problem(owner, key, value)
        if wrong:
            problems.append(wrong)
        parts[owner][key] = value
    if not problems:
        try:
            encoder = jsonio.convert(parts[EncoderConfig], EncoderConfig, "configuration")
            learning = jsonio.convert(parts[LearningConfig], LearningConfig, "configuration")
            return Settings(encoder, jsonio.convert(parts[config_type], config_type, "configuration"), learning)
        except DataError as problem:  # a rule between several keys
            problems.append(problem.expected)
        except Exception as problem:  # a plugin's own __post_init__
            problems.append(describe(problem))
    raise ConfigError(f"configuration of policy '{policy}':\n" + "\n".join(f"  {line}" for line in problems))


def _problem(struct: type[msgspec.Struct], key: str, value: Any) -> str | None:
    """What is wrong with one value, or None."""
    try:
        jsonio.convert({key: value}, struct, "configuration")
    except DataError as problem:
        where = problem.path.removeprefix("$").removeprefix(".") or key
        if problem.found and problem.found.startswith("the unknown key"):
            name = problem.found.split("`")[1]
            nested = next(f.type for f in msgspec.structs.fields(struct) if f.name == key)
            return f"{where}.{name}: no such key{suggestion(name, getattr(nested, '__struct_fields__', ()))}"
        return f"{where}: found {problem.found}; expected {problem.expected}"
    except Exception as problem:  # a plugin's own __post_init__
        return f"{key}: {describe(problem)}"
    return None
