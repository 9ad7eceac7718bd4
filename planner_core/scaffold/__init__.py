"""A policy package of one's own, made from the templates beside this file: ready to install, test, train and export."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Literal, get_args

from planner_core import __version__
from planner_core.errors import ConfigError
from planner_core.files import new_directory
from planner_core.plugins.registry import load_registry
from planner_core.policy import PROTOCOL_VERSION

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
MAX_NAME = 50
Kind = Literal["onnx", "torch", "heads", "outcomes"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a package begins with: a learner that ends in an ONNX model, a torch module, or everything by hand, be it logits
of the four heads, learnt from labels, or outcomes, learnt from outcomes."""

REQUIRES: dict[Kind, tuple[str, ...]] = {
    "onnx": ("scikit-learn>=1.5", "scipy>=1.13", "skl2onnx>=1.18"),
    "torch": ("torch>=2.7",),
    "heads": ("numpy>=2.0",),
    "outcomes": ("numpy>=2.0",),
}
"""What a kind's package needs beside the planner and msgspec."""

PREFIX = "planner-"
SUFFIX = ".template"


@dataclass(frozen=True)
class Scaffold:
    """What was made: the policy's name, its distribution and import package, and the files below ``directory``."""

    policy: str
    distribution: str
    package: str
    directory: Path
    files: tuple[str, ...]


def new_policy(name: str, out: Path | None = None, kind: Kind = "onnx") -> Scaffold:
    """Write the package of a policy called ``name`` to ``out``, or to ``planner-NAME`` in the working directory.

    ``kind`` says what it begins with, see :data:`KINDS`. Raises :class:`ConfigError` for a name that does not fit or is
    taken, and :class:`PlannerError` for a directory that exists and is not empty; nothing is written then.
    """
    check_name(name)
    distribution = PREFIX + name
    package = distribution.replace("-", "_")
    check_free(name, package)
    requires = sorted(("msgspec>=0.19", f"swarm-planner[train]>={__version__}", *REQUIRES[kind]))
    values = {
        "policy": name,
        "module": name.replace("-", "_"),
        "distribution": distribution,
        "package": package,
        "dependencies": "\n".join(f'    "{requirement}",' for requirement in requires),
        "protocol_version": PROTOCOL_VERSION,
    }
    directory = out or Path(distribution)
    written = []
    with new_directory(directory) as made:
        for path, template in templates(package, kind).items():
            place = made / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(Template(template.read_text("utf-8")).substitute(values), "utf-8", newline="\n")
            written.append(path)
    return Scaffold(name, distribution, package, directory, tuple(written))


def check_name(name: str) -> None:
    """Raise :class:`ConfigError` unless ``name`` is lower-case words joined by hyphens, as distributions are named."""
    proper = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    proper = proper.strip("-").removeprefix(PREFIX)
    if NAME.match(name) and len(name) <= MAX_NAME and not name.startswith(PREFIX):
        return
    wanted = f"lower-case words joined by hyphens, at most {MAX_NAME} characters, without '{PREFIX}' in front"
    meant = f" (did you mean '{proper}'?)" if NAME.match(proper) and len(proper) <= MAX_NAME else ""
    raise ConfigError(f"'{name}' is no name for a policy: expected {wanted}{meant}")


def check_free(name: str, package: str) -> None:
    """Raise :class:`ConfigError` where a registered policy or an importable package has the name."""
    for entry in load_registry().entries:
        if entry.name == name:
            raise ConfigError(f"there is a policy '{name}' already, of {entry.distribution}; choose another name")
    if importlib.util.find_spec(package) is not None:
        raise ConfigError(f"there is a package '{package}' already; choose another name")


def templates(package: str, kind: Kind) -> dict[str, Traversable]:
    """The templates of a kind by the path that each of them is written to.

    The tests' module bears the policy's name, so that pytest can take the tests of several packages in one call.
    """
    module = package.removeprefix(PREFIX.replace("-", "_"))
    shared = files("planner_core.scaffold") / "templates"
    own = shared / kind
    folders = (("", shared), ("", own), ("tests/", own / "tests"), (f"src/{package}/", own / "package"))
    found = {
        prefix + item.name.removesuffix(SUFFIX).replace("NAME", module): item
        for prefix, folder in folders
        for item in folder.iterdir()
        if item.name.endswith(SUFFIX)
    }
    return dict(sorted(found.items()))
