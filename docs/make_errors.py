"""Writes docs/reference/errors.md: every error, and every reason for which the baseline decides, from the source.

Run by ``make reference``; the suite checks the page.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import planner_core
from planner_core import DataError, MissingExtra, PlannerError, errors
from planner_core.runtime.reasons import REASONS

PAGE = Path(__file__).with_name("reference") / "errors.md"
HEAD = """# Errors and reasons

*Made from the source by `make reference`; edit that.*

## Errors

Every error that a caller can act on is a `PlannerError`; what another library raises does not reach a caller of the
command line. The command line prints an error in one line on standard error, writes nothing half, and ends with its
exit code; `PLANNER_DEBUG=1` prints where it was raised. Wrong usage (an option that does not exist, a value out of
its range) is exit code 2.

| error | when | exit code |
|---|---|---|
"""
BETWEEN = """
An error of input names the place, what was found and what was expected:

```text
{data}
{extra}
```

## Within the package

These are caught where they arise, and become a reason, a row of `planner policies` or one of the errors above.

| error | when |
|---|---|
"""
REASON_HEAD = """
## Reasons

The `reason` of a `planner_action.v1` begins with one of these words and a colon where the baseline decided instead of
the model; it is null where the model did. What to do about each, and which of them goes first: [modes and
fallbacks](../modes-and-fallbacks.md#reasons).

| reason | meaning |
|---|---|
"""


def page() -> str:
    """The whole page."""
    public = [*_defined(errors.__name__)]
    inner = [error for error in sorted(_all_errors(), key=lambda one: one.__name__) if error not in public]
    rows = "".join(f"| `{e.__name__}` | {_said(e)} | {_code(e)} |\n" for e in public)
    between = BETWEEN.format(
        data=DataError(
            "runs.jsonl", line=3, path="$.outcome.status", found='"ok"', expected="success, failed or timeout"
        ),
        extra=MissingExtra("planner report", "report", "altair"),
    )
    own = "".join(f"| `{e.__name__}` (`{e.__module__}`) | {_said(e)} |\n" for e in inner)
    reasons = "".join(f"| `{word}` | {said} |\n" for word, said in REASONS.items())
    return HEAD + rows + between + own + REASON_HEAD + reasons


def _defined(module: str) -> Iterator[type[BaseException]]:
    """The errors of a module in the order of its source."""
    for value in vars(importlib.import_module(module)).values():
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == module:
            yield value


def _all_errors() -> set[type[BaseException]]:
    """Every error of the core, whether public or not."""
    for found in pkgutil.walk_packages(planner_core.__path__, "planner_core."):
        if not found.name.startswith(("planner_core.torch", "planner_core.scaffold", "planner_core.__main__")):
            importlib.import_module(found.name)
    return set(_below(PlannerError))


def _below(error: type[BaseException]) -> Iterator[type[BaseException]]:
    for own in error.__subclasses__():
        if own.__module__.startswith("planner_core."):
            yield own
            yield from _below(own)


def _code(error: type[BaseException]) -> str:
    return "1" if issubclass(error, PlannerError) else "128 and the signal's number: 130, 143"


def _said(error: type[BaseException]) -> str:
    text = (inspect.getdoc(error) or "").split("\n\n")[0]
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    if not text:
        raise SystemExit(f"{error.__name__} has no docstring")
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
