"""`pystream completion SHELL`: the script that makes a shell ask.

eval "$(pystream completion bash)"        in ~/.bashrc; zsh alike, after compinit
pystream completion fish | source         in config.fish
"""

from __future__ import annotations

from typing import Final

import click

from pystream.cli.commands import PROGRAM, TOOLS
from pystream.cli.completion.scripts import SCRIPTS
from pystream.cli.manual import ManualCommand

NOTE: Final = (
    "Names of topics, groups and the like come from the cluster that the line means (-b, PYSTREAM_BOOTSTRAP_SERVERS), "
    "and are kept below $XDG_CACHE_HOME/pystream for some minutes."
)


@click.command(
    cls=ManualCommand,
    help="Print what makes a shell complete commands, options and live names.",
    examples=('eval "$(pystream completion bash)"', "pystream completion fish | source"),
    notes=(NOTE,),
)
@click.argument("shell", type=click.Choice(tuple(SCRIPTS)))
def completion(shell: str) -> None:
    """To be evaluated by the shell."""
    click.echo(SCRIPTS[shell].replace("PROGRAMS", " ".join([PROGRAM, *TOOLS])), nl=False)
