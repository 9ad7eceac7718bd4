"""The groups of the command line: ``--json`` before a command is as after it, and an unknown word has a suggestion."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from planner_core.cli.usage import JSON_OPTION, USAGE_ERROR, UnknownCommand, note_context, option_names


class Group(TyperGroup):
    """A group whose own ``--json``, a parameter named ``json``, is that of the command that is invoked."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of the first word, and its arguments. Raises wrong usage for a word that is none."""
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-") and not ctx.resilient_parsing:
            raise UnknownCommand(ctx, word, args[1:])
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and ctx.params.get("json"):
            if JSON_OPTION not in option_names(command):
                ctx.fail(f"'{ctx.command_path} {name}' has no option '{JSON_OPTION}'")
            rest = [JSON_OPTION, *rest]
        return name, command, rest

    def invoke(self, ctx: Any) -> None:
        """Run the command; wrong usage that it finds bears a context, and what it returns is no exit code."""
        try:
            super().invoke(ctx)
        except Exception as problem:
            if isinstance(problem, USAGE_ERROR):
                note_context(problem, ctx)
            raise
