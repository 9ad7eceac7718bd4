"""Writes docs/reference/: a page for each hook, hook record and protocol type, from the docstrings.

Run by ``make reference``. The suite checks the pages: a docstring that changes without its page fails.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from planner_core import examples, features, onnx_policy, policy, training
from planner_core.plugins import hookspecs, log_sources, records

FOLDER = Path(__file__).with_name("reference")
NOTE = "*Made from the docstrings by `make reference`; edit those.*"
HEAD = f"""# Reference

{NOTE}

Protocol version {policy.PROTOCOL_VERSION}. What may change within a version, and how plugins are loaded, is in
[plugins](../plugins.md); how to write one, in the [tutorial](../tutorial.md). Everything here is importable from
`planner_core`.
"""

OTHERS = ("commands.md", "errors.md", "files.md")
"""Pages of the folder that other scripts make."""

PROTOCOL = (
    *("BasePolicy", "TrainablePolicy", "PolicySpec", "PolicyContext", "Batch", "SparseFeatures"),
    *("TrainingSession", "Examples", "Outcomes", "Executed", "EpochReport", "FitReport"),
)
ONNX = ("OnnxPolicy", "classifier_scorer", "joint_scorer", "feature_matrix")


def pages() -> dict[str, str]:
    """Every page by its file name."""
    hooks = {
        name: hook
        for name, hook in sorted(vars(hookspecs).items())
        if name.startswith("planner_") and inspect.isfunction(hook)
    }
    handed = {
        name: record
        for home in (records, log_sources)
        for name, record in vars(home).items()
        if inspect.isclass(record) and record.__module__ == home.__name__
    }
    homes = (policy, features, training, examples)
    protocol = {name: next(getattr(home, name) for home in homes if hasattr(home, name)) for name in PROTOCOL}
    bases = {name: getattr(onnx_policy, name) for name in ONNX}
    groups: dict[str, dict[str, Any]] = {
        "Hooks": hooks,
        "What the hooks hand over": handed,
        "The protocol": protocol,
        "Policies that end in an ONNX model": bases,
    }
    described = {name: it for group in groups.values() for name, it in group.items()}
    out = {
        f"{name}.md": _page(_class(name, it) if inspect.isclass(it) else _function(name, it))
        for name, it in described.items()
    }
    index = [HEAD]
    for title, group in groups.items():
        index += [
            f"## {title}\n",
            *(f"- [`{name}`]({name}.md): {_first_paragraph(it)}" for name, it in group.items()),
            "",
        ]
    return {"README.md": "\n".join(index).rstrip() + "\n", **out}


def _page(sections: Iterable[str]) -> str:
    first, *others = sections
    title, rest = first.split("\n", 1)
    return "\n".join([f"{title}\n\n{NOTE}\n{rest}", *others])


def _first_paragraph(described: Any) -> str:
    return _markdown((inspect.getdoc(described) or "").split("\n\n")[0].replace("\n", " "))


def _function(name: str, described: Any) -> Iterator[str]:
    yield _entry(f"`{name}`", f"{name}{_signature(described)}", described, 1)


def _class(name: str, described: type) -> Iterator[str]:
    yield _entry(f"`{name}`", _fields(described), described, 1)
    for member, value in vars(described).items():
        if member.startswith("_") or member in getattr(described, "__dataclass_fields__", {}):
            continue
        if isinstance(value, property) or hasattr(value, "func"):  # a cached property keeps its function there
            function = value.fget if isinstance(value, property) else value.func
            annotation = inspect.signature(function).return_annotation
            code = f"{member}: {annotation}".replace("'", '"')
            yield _entry(f"`{name}.{member}`", code, function, 2)
        elif inspect.isfunction(value) or isinstance(value, classmethod | staticmethod):
            function = getattr(value, "__func__", value)
            kind = f"@{type(value).__name__}\n" if value is not function else ""
            yield _entry(f"`{name}.{member}`", f"{kind}{member}{_signature(function)}", function, 2)


def _entry(title: str, code: str, described: Any, level: int) -> str:
    text = inspect.getdoc(described)
    if not text:
        raise SystemExit(f"{title} has no docstring")
    block = f"```python\n{code}\n```\n\n" if code else ""
    return f"{'#' * level} {title}\n\n{block}{_markdown(text)}\n"


def _signature(function: Any) -> str:
    return str(inspect.signature(function)).replace("'", "")


def _fields(described: type) -> str:
    """The fields of a record, a line each; nothing for a class without."""
    if not dataclasses.is_dataclass(described):
        pairs = [(name, kind, "") for name, kind in vars(described).get("__annotations__", {}).items()]
    else:
        pairs = [(field.name, field.type, _default(field)) for field in dataclasses.fields(described)]
    return "\n".join(f"{name}: {kind}{default}" for name, kind, default in pairs).replace("'", '"')


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        plain = field.default is None or isinstance(field.default, bool | int | float | str)
        return f" = {field.default!r}" if plain else " = ..."
    return " = ..." if field.default_factory is not dataclasses.MISSING else ""


def _markdown(text: str) -> str:
    """Docstring roles and double backticks as Markdown."""
    text = re.sub(r":\w+:`~?([^`]+)`", lambda m: f"`{m[1].removeprefix('planner_core.')}`", text)
    return text.replace("``", "`")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in (*made, *OTHERS):
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, "utf-8", newline="\n")
    print(f"wrote {len(made)} pages")
