"""`pystream NOUN [VERB] ...`: finds the command and imports only that one.

    pystream --version        answered before anything is imported
    pystream --help           a static table, likewise
    pystream broker ...       imports click and pystream.cli.broker_command

Exit codes: see `pystream.cli.failure`. A mistake of the user never prints a traceback.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

PROGRAM = "pystream"
ENTRY_POINT_GROUP = "pystream.commands"
COMPLETE_VARIABLE = "_PYSTREAM_COMPLETE"  # the shell asks for completions
COLUMN = 14

# name -> (module:attribute of the click command, one line of help). Commands of other packages come by entry point.
COMMANDS: dict[str, tuple[str, str]] = {
    "broker": ("pystream.cli.broker_command:broker", "Run one broker in the foreground."),
    "up": ("pystream.cli.up_command:up", "Start the platform on this machine and watch over it."),
    "log": ("pystream.cli.log_command:log", "Check and repair logs, or take over those of an Apache Kafka broker."),
    "demo": ("pystream.demos.command:demo", "Run a demo application on a cluster that is up."),
    "completion": ("pystream.cli.completion:completion", "Print completion for bash, zsh or fish."),
}

# Nouns of declared operations (pystream.client.operations): what `--help` says of each.
NOUNS: dict[str, str] = {
    "topics": "List, create, describe, alter and delete topics.",
    "configs": "Settings of topics, brokers, groups and client metrics.",
    "groups": "Groups of consumers: members, lag, offsets.",
    "cluster": "Brokers, features, quorum and log directories.",
    "quotas": "What users and clients may use.",
    "transactions": "Transactions under way.",
    "acls": "Who may do what.",
}

# Kafka's tools by their names: module:function that takes the arguments. They are console scripts, too.
TOOLS: dict[str, str] = {
    "kafka-topics": "pystream.cli.kafka.topics:main",
    "kafka-configs": "pystream.cli.kafka.configs:main",
    "kafka-consumer-groups": "pystream.cli.kafka.consumer_groups:main",
}


def overview() -> str:
    """What `pystream --help` prints."""
    lines = [f"  {name:<{COLUMN}}{text}" for name, (_, text) in COMMANDS.items()]
    nouns = [f"  {name:<{COLUMN}}{text}" for name, text in NOUNS.items()]
    return "\n".join(
        [
            f"Usage: {PROGRAM} COMMAND [OPTIONS]...",
            "",
            "A data-streaming platform with a Kafka-compatible broker.",
            "",
            "Commands:",
            *lines,
            "",
            "Administration, of any Kafka cluster (-b HOST:PORT):",
            *nouns,
            "",
            f"Kafka's tools, flags and output as theirs: {', '.join(TOOLS)}",
            "",
            "Options:",
            "  --version  Show the version and exit.",
            "  --help     Show this text and exit; also after a command.",
        ]
    )


def find_command(name: str) -> click.Command | None:
    """The command of this name: from the table, else from an installed package's entry point."""
    if name in NOUNS:
        from pystream.cli.operation_command import noun_command

        return noun_command(name)
    from importlib import import_module

    if name in COMMANDS:
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        command = entry_point.load()
        return command
    from pystream.cli.operation_command import noun_command

    return noun_command(name)


def unknown_command(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [*COMMANDS, *NOUNS, *TOOLS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"see `{PROGRAM} --help`"
    return f"{PROGRAM}: no command named {name!r}; {hint}"


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    if instruction := os.environ.get(COMPLETE_VARIABLE):
        from pystream.cli.completion import answer

        raise SystemExit(answer(instruction))
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        print(overview(), file=sys.stderr)
        raise SystemExit(2)
    name = arguments[0]
    if name == "--version":
        from pystream import __version__

        print(f"{PROGRAM} {__version__}")
        raise SystemExit(0)
    if name in ("--help", "-h", "help"):
        print(overview())
        raise SystemExit(0)
    if name in TOOLS:
        from importlib import import_module

        module, _, function = TOOLS[name].partition(":")
        getattr(import_module(module), function)(arguments[1:])
    command = find_command(name)
    if command is None:
        print(unknown_command(name), file=sys.stderr)
        raise SystemExit(2)
    command.main(arguments[1:], prog_name=f"{PROGRAM} {name}")


if __name__ == "__main__":
    main()
