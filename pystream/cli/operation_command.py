"""The click commands of the declared operations: `pystream NOUN VERB`, made when used.

Every one of them takes, besides its own arguments and the options of `pystream.cli.connection`:

    -o FORMAT, --json                  see `pystream.cli.output`
    --dry-run                          where something would change
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pystream.cli.connection import CONNECTION, client_settings, connection_options
from pystream.cli.ending import silence
from pystream.cli.failure import advice, exit_code, report
from pystream.cli.manual import ManualCommand
from pystream.cli.names import NOUNS as NAMED_NOUNS
from pystream.cli.names import LiveNames, amend, connection_of, remember
from pystream.cli.output import DOCUMENTS, FORMATS, write
from pystream.cli.settings import from_assignments
from pystream.client.given import nearest
from pystream.client.operations.declaration import ADMIN_BASE, Answer, Argument, Failure, Kind, Operation
from pystream.client.operations.registry import find, operations_of
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.client.admin.base import AdminBase

COMMON: Final = (*CONNECTION, "output_format", "as_json")


class NounGroup(click.Group):
    """The verbs of a noun; a verb's command is made when it is asked for."""

    def __init__(self, noun: str, operations: Sequence[Operation]) -> None:
        super().__init__(name=noun, help=f"Operations on {noun}.", no_args_is_help=True)
        self._operations = {operation.verb: operation for operation in operations}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._operations)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        operation = self._operations.get(cmd_name)
        return None if operation is None else command_of(operation)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._operations and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}{nearest(args[0], self._operations) or '.'}")
        return super().resolve_command(ctx, args)


def noun_command(noun: str) -> click.Group | None:
    """The group of a noun; None for one that nobody declares."""
    operations = operations_of(noun)
    return NounGroup(noun, operations) if operations else None


def operation_command(name: str, noun: str, verb: str) -> click.Command:
    """The command of one operation that has a name of its own: `pystream doctor`. Its examples say so."""
    return command_of(find(noun, verb), typed=name)


def command_of(operation: Operation, typed: str | None = None) -> click.Command:
    """The command of one operation; `typed` is what stands behind `pystream`, else its noun and verb."""
    declared = f"{operation.noun} {operation.verb}"
    examples = [each.replace(f"pystream {declared}", f"pystream {typed or declared}", 1) for each in operation.examples]

    def callback(**values: Any) -> None:
        common = {name: values.pop(name) for name in COMMON}
        if common["as_json"] and common["output_format"] not in ("table", "json"):
            raise click.UsageError(f"give one of --json and -o {common['output_format']}")
        raise SystemExit(run(operation, arguments_from(operation, values), common))

    return ManualCommand(
        operation.verb,
        params=[*map(_parameter, operation.arguments), *_common_parameters(operation)],
        callback=callback,
        help=operation.doc,
        short_help=operation.doc.partition(". ")[0],
        notes=operation.notes,
        examples=examples,
        elsewhere=operation.old_names,
    )


# --- parameters -------------------------------------------------------------------------------------------------------


def _parameter(argument: Argument) -> click.Parameter:
    completer = None if argument.completes is None else LiveNames(argument.completes)
    if argument.positional:
        return click.Argument(
            [argument.name],
            nargs=-1 if argument.many else 1,
            required=argument.required,
            type=_type(argument),
            metavar=argument.metavar,
            shell_complete=completer,
        )
    names = [f"--{argument.name.replace('_', '-')}", argument.name]
    if argument.short:
        names.insert(0, f"-{argument.short}")
    if argument.kind is Kind.FLAG:
        return click.Option(names, is_flag=True, help=argument.doc)
    return click.Option(
        names,
        type=_type(argument),
        multiple=argument.many or argument.kind is Kind.ASSIGNMENT,
        required=argument.required,
        default=argument.default,
        show_default=argument.default is not None,
        metavar="KEY=VALUE" if argument.kind is Kind.ASSIGNMENT else argument.metavar,
        help=argument.doc,
        shell_complete=completer,
    )


def _type(argument: Argument) -> click.ParamType[Any]:
    if argument.choices:
        return click.Choice(argument.choices, case_sensitive=False)
    if argument.kind is Kind.DOCUMENT:
        return click.Path(dir_okay=False, allow_dash=True)
    if argument.kind is Kind.INTEGER:
        return click.IntRange(min=argument.minimum)
    if argument.kind is Kind.NUMBER:
        return click.FloatRange(min=argument.minimum)
    return click.STRING


def _common_parameters(operation: Operation) -> list[click.Parameter]:
    dry_run = click.Option(["--dry-run"], is_flag=True, help="Say what would be done, and do nothing.")
    execute = click.Option(["--execute"], is_flag=True, help="Do it; without, it is a dry run.")
    return [
        *([execute] if operation.cautious else []),
        *([dry_run] if operation.mutating else []),
        *connection_options(),
        click.Option(["-o", "--output", "output_format"], type=click.Choice(FORMATS), default="table", help="Format."),
        click.Option(["--json", "as_json"], is_flag=True, help="The same as -o json."),
    ]


def arguments_from(operation: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the handler takes, from what click parsed."""
    found: dict[str, Any] = {}
    for argument in operation.arguments:
        value = values[argument.name]
        if argument.kind is Kind.ASSIGNMENT:
            value = from_assignments(value, option=f"--{argument.name.replace('_', '-')}")
        found[argument.name] = list(value) if isinstance(value, tuple) else value
        if argument.kind is Kind.DOCUMENT and value is not None:
            found[argument.name] = [_document(each) for each in value] if argument.many else _document(value)
    if operation.mutating:
        found["dry_run"] = values["dry_run"] or (operation.cautious and not values["execute"])
    return found


def _document(name: str) -> str:
    """The text of a file, or of standard input for -. Raises click.UsageError where it cannot be read."""
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"is no UTF-8 text: {error}"
        raise click.UsageError(f"cannot read {name}: {reason}") from None


def defaults_of(operation: Operation) -> dict[str, Any]:
    """What the handler takes when nothing is given."""
    empty: dict[Kind, Any] = {Kind.FLAG: False, Kind.ASSIGNMENT: {}}
    return {
        argument.name: [] if argument.many else empty.get(argument.kind, argument.default)
        for argument in operation.arguments
    }


# --- completion -------------------------------------------------------------------------------------------------------


def listed_names(noun: str, connection: Sequence[str], seconds: float) -> list[str] | None:
    """What the noun's list shows of the cluster that the words of a command line mean; None for no answer in time."""
    operation = find(noun, "list")
    try:
        common = command_of(operation).make_context(operation.verb, [*connection, "--timeout", str(seconds)]).params
        rows = answered(operation, defaults_of(operation), client_settings(common)).rows
    except (PystreamError, click.UsageError):
        return None
    return _names(operation, rows)


def _names(operation: Operation, rows: Sequence[Any]) -> list[str]:
    return [str(getattr(row, operation.columns[0])) for row in rows]


def _keep_names(operation: Operation, arguments: Mapping[str, Any], common: Mapping[str, Any], rows: list[Any]) -> None:
    """Leave what was listed, created or deleted for the shell's next question."""
    if operation.noun not in NAMED_NOUNS or operation.verb not in ("list", "create", "delete"):
        return
    words = connection_of(common["bootstrap_server"], common["command_config"], common["client_settings"])
    if operation.verb == "list":
        if dict(arguments) == defaults_of(operation):
            remember(operation.noun, words, _names(operation, rows))
    elif not arguments.get("dry_run"):
        changed = {"added" if operation.verb == "create" else "gone": _names(operation, rows)}
        amend(operation.noun, words, **changed)


# --- running ----------------------------------------------------------------------------------------------------------


def run(operation: Operation, arguments: Mapping[str, Any], common: Mapping[str, Any]) -> int:
    """Run it, write rows to standard output and a sentence for each failure to standard error; the exit code.

    `common` has the values of the options that every command takes.
    """
    name = click.get_current_context().command_path  # `pystream apply` is `pystream cluster apply`, too
    output_format = "json" if common["as_json"] else common["output_format"]
    try:
        answer = answered(operation, arguments, client_settings(common))
    except PystreamError as error:
        answer = Answer([], [Failure("", error)])
    told = answer.rows or not answer.failures
    if told:
        _keep_names(operation, arguments, common, answer.rows)
    try:
        if told or output_format in DOCUMENTS:
            write(operation, answer.rows, output_format, sys.stdout)
            sys.stdout.flush()
    except OSError as error:
        code = report(f"{name}: standard output", error)
        silence()
        return code
    for failure in answer.failures:
        said = advice(failure.error, operation.noun)
        print(f"{name}: {said if failure.item in said else f'{failure.item}: {said}'}", file=sys.stderr)
    if arguments.get("dry_run") and operation.cautious and not answer.failures:
        print(f"{name}: a dry run; --execute does it", file=sys.stderr)
    if answer.failures:
        return exit_code(answer.failures[0].error)
    return int(operation.alarm is not None and any(getattr(row, operation.alarm) for row in answer.rows))


def answered(operation: Operation, arguments: Mapping[str, Any], settings: Mapping[str, str]) -> Answer:
    """What the handler gives, run in a loop of its own with a client that is closed afterwards."""
    import asyncio

    handler = operation.load()
    given: list[Answer] = []  # not the task's result: asyncio.run writes the repr of that, of every row, to nobody

    async def work() -> None:
        client = open_client(operation, settings)
        try:
            given.append(await handler(client, **arguments))
        finally:
            await client.close()

    asyncio.run(work())
    return given[0]


def open_client(operation: Operation, settings: Mapping[str, str]) -> AdminBase:
    """The least client that the handler takes."""
    if operation.client == ADMIN_BASE:
        from pystream.client.admin.base import AdminBase
        from pystream.client.config import AdminConfig

        return AdminBase(AdminConfig.load(settings))
    from pystream.client.admin.client import AdminClient

    return AdminClient(settings)
