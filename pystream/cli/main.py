"""`pystream NOUN [VERB] ...`: finds the command and imports only that one.

    pystream --version        answered before anything is imported
    pystream --help           a static table, likewise
    pystream broker ...       imports click and pystream.cli.broker_command

Exit codes: see `pystream.cli.failure` and `pystream.cli.ending`. A mistake of the user never prints a traceback.
"""

from __future__ import annotations

import os
import sys

from pystream.cli.commands import COMMANDS, COMPLETE_VARIABLE, NOUNS, PROGRAM, TOOLS, find_command
from pystream.cli.ending import Ending

TYPE_CHECKING = False  # see `commands`
if TYPE_CHECKING:
    import click

COLUMN = 16
TOOLS_A_LINE = 4


def overview() -> str:
    """What `pystream --help` prints."""
    lines = [f"  {name:<{COLUMN}}{text}" for name, (_, text) in COMMANDS.items()]
    nouns = [f"  {name:<{COLUMN}}{text}" for name, text in NOUNS.items()]
    tools = [f"  {' '.join(list(TOOLS)[start : start + TOOLS_A_LINE])}" for start in range(0, len(TOOLS), TOOLS_A_LINE)]
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
            "Kafka's tools, flags and output as theirs:",
            *tools,
            "",
            "Options:",
            "  --version  Show the version and exit.",
            "  --help     Show this text and exit; also after a command.",
        ]
    )


def unknown_command(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [*COMMANDS, *NOUNS, *TOOLS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"see `{PROGRAM} --help`"
    return f"{PROGRAM}: no command named {name!r}; {hint}"


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    with Ending(PROGRAM) as ending:
        if instruction := os.environ.get(COMPLETE_VARIABLE):
            from pystream.cli.completion.answer import answer

            raise SystemExit(answer(instruction))
        _run(sys.argv[1:] if arguments is None else arguments, ending)


def _run(arguments: list[str], ending: Ending) -> None:
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
    from pystream.cli.failure import in_its_own_words, stand_in

    stand_in()
    in_its_own_words()
    if name in TOOLS:
        from importlib import import_module

        module, _, function = TOOLS[name].partition(":")
        getattr(import_module(module), function)(arguments[1:])
    command = find_command(name)
    if command is None:
        print(unknown_command(name), file=sys.stderr)
        raise SystemExit(2)
    ending.command = f"{PROGRAM} {name}"
    _run_command(command, arguments[1:], ending.command)


def _run_command(command: click.Command, arguments: list[str], path: str) -> None:
    """Not by click's `main`, which would say 1 of Ctrl-C and of a pipe that is closed."""
    from click.exceptions import Abort, ClickException, Exit

    from pystream.cli.failure import UNFIT, unfit

    try:
        with command.make_context(path, arguments) as context:
            command.invoke(context)
    except Exit as ended:
        raise SystemExit(ended.exit_code) from None
    except ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except Abort:  # of a plug-in's command: a question that was answered with no
        print(f"{path}: aborted", file=sys.stderr)
        raise SystemExit(1) from None
    except UNFIT as error:
        print(f"{path}: {unfit(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(0)


if __name__ == "__main__":
    main()
