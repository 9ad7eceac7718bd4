"""The errors a user can cause, each carrying the place, what was found and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_MESSAGE = 400
"""Characters of a stranger's message that are repeated; some hold whole arrays."""


class PlannerError(Exception):
    """Work that failed for a reason the user can act on; the command line prints it and exits with 1."""


class DataError(PlannerError):
    """Input that breaks a data contract.

    Attributes name the place: ``source`` (file or stream), ``line`` (1-based, or None), ``path`` (JSON path),
    ``found`` (the offending value, shortened) and ``expected``.
    """

    def __init__(
        self,
        source: str,
        *,
        line: int | None = None,
        path: str = "$",
        found: str | None = None,
        expected: str,
    ) -> None:
        self.source, self.line, self.path, self.found, self.expected = source, line, path, found, expected
        place = source if line is None else f"{source}, line {line}"
        if path != "$":
            place += f", at {path}"
        got = "" if found is None else f"found {found}; "
        super().__init__(f"{place}: {got}expected {expected}")


class ConfigError(PlannerError):
    """A configuration that does not fit its schema; lists every problem at once."""


class RegistryError(PlannerError):
    """A policy that cannot be found, loaded, or told apart from another of the same name."""


class PolicyFailed(PlannerError):
    """A policy whose own code raised; names the policy, its distribution and the method, ``__cause__`` what it was."""


class BundleError(PlannerError):
    """A bundle that is missing, incomplete, altered or made for another version."""


class ParityError(PlannerError):
    """An exported graph that does not compute what its Python policy computes."""


class NothingLater(PlannerError):
    """A dataset that holds no run later than those something learnt from, so that it cannot be judged there."""


class Interrupted(BaseException):
    """Somebody ended the program: Ctrl-C, SIGTERM, or a terminal that was closed.

    A BaseException, as ``KeyboardInterrupt`` is: it is no failure of the work, and code that deals with failures must
    let it through. What was interrupted adds a note (``add_note``) that says how to go on.
    """

    def __init__(self, signal_number: int, name: str) -> None:
        super().__init__(f"interrupted by {name}")
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number


class CheckFailed(PlannerError):
    """A policy that does not do what a check of the conformance kit asks for."""


class CheckDoesNotApply(PlannerError):
    """A check whose question makes no sense for a policy; says why."""


class CheckBlocked(PlannerError):
    """A check that could not run, because what it builds on failed in another check."""


class TargetMissed(PlannerError):
    """A measured figure on the wrong side of its promise."""


class MissingExtra(PlannerError):
    """A command that needs packages of an optional extra which is not installed."""

    def __init__(self, what: str, extra: str, module: str) -> None:
        super().__init__(
            f"{what} needs the '{extra}' extra ({module} is not installed): pip install 'swarm-planner[{extra}]'"
        )


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def describe(problem: BaseException) -> str:
    """``ValueError: what it said`` on one line, shortened; an exception whose text cannot be had keeps its name."""
    try:
        said = str(problem)
    except Exception:  # a message is a stranger's code too
        said = "(its message cannot be read)"
    text = " ".join(f"{type(problem).__name__}: {said}".split()).removesuffix(":")
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
