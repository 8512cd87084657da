"""Completion in the shell, with live names of topics, groups and transactions.

    eval "$(pystream completion bash)"        in ~/.bashrc; zsh alike
    pystream completion fish | source         in config.fish

The shell then calls `pystream` with COMPLETE_VARIABLE set, and the words so far in COMP_WORDS and COMP_CWORD.
"""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from pystream.cli.commands import COMMANDS, COMPLETE_VARIABLE, NOUNS, PROGRAM, find_command
from pystream.cli.manual import ManualCommand

SHELLS: Final = ("bash", "zsh", "fish")


class Root(click.Group):
    """All commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *NOUNS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return find_command(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the tables, without importing the commands."""
        helps = {name: text for name, (_, text) in COMMANDS.items()} | NOUNS
        return [CompletionItem(name, help=text) for name, text in helps.items() if name.startswith(incomplete)]


@click.command(
    cls=ManualCommand,
    help="Print what makes a shell complete commands, options and live names.",
    examples=('eval "$(pystream completion bash)"', "pystream completion fish | source"),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """To be evaluated by the shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(Root(), {}, PROGRAM, COMPLETE_VARIABLE).source())


def answer(instruction: str) -> int:
    """Print the completions that the environment asks for, as `bash_complete`; 1 for an instruction nobody knows."""
    from click.shell_completion import shell_complete

    return shell_complete(Root(), {}, PROGRAM, COMPLETE_VARIABLE, instruction)
