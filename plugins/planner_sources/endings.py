"""Why a run of an agent's harness ended: by the agent, by a limit it was given, or for reasons that are not its own.

The words are those of mini-SWE-agent, SWE-agent and Harbor: exit statuses and the names of exceptions.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Cause = Literal["agent", "time", "limit", "cancelled", "infrastructure"]

_CAUSES: dict[Cause, tuple[str, ...]] = {
    "agent": (
        *(
            "submitted",
            "exit_forfeit",
            "exit_format",
            "exit_command",
            "exit_command_timeout",
            "exit_error",
            "early_exit",
        ),
        *("repeatedformaterror", "formaterror", "agentsafetyrefusalerror", "contentpolicyviolationerror"),
    ),
    "time": ("timeexceeded", "exit_total_execution_time", "agenttimeouterror"),
    "limit": (
        *("limitsexceeded", "exit_cost", "exit_context", "contextwindowexceedederror", "outputtokenexceedederror"),
        *("contextlengthexceedederror", "outputlengthexceedederror"),
    ),
    "cancelled": ("cancellederror", "userinterruption", "keyboardinterrupt", "exit_keyboard"),
}
_CAUSE_OF = {word: cause for cause, words in _CAUSES.items() for word in words}
INFRASTRUCTURE = "infra:"
"""How fail codes begin that are no evidence."""


class Ending(NamedTuple):
    """The cause of an ending, and its fail code (None where there is nothing to tell)."""

    cause: Cause
    code: str | None


def ending_of(word: str | None) -> Ending:
    """What an exit status or the name of an exception stands for; None is an agent that came to its end.

    Everything that is neither an agent's own end nor a limit broke the run from outside: a provider's error, a sandbox,
    the harness itself, a verifier. ``submitted (exit_cost)``, a submission saved at the limit, is that limit.
    """
    if not word:
        return Ending("agent", None)
    inner = word[word.find("(") + 1 : -1] if word.endswith(")") and "(" in word else word
    cause = _CAUSE_OF.get(inner.strip().lower(), "infrastructure")
    if cause == "infrastructure":
        return Ending(cause, INFRASTRUCTURE + inner.strip())
    return Ending(cause, None if inner.strip().lower() == "submitted" else inner.strip().lower())


def status_of(passed: bool, cause: Cause) -> str:
    """The status of a run that ended so."""
    if passed:
        return "success"
    return "timeout" if cause == "time" else "failed"
