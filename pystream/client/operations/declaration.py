"""What an operation is. A declaration is data: reading all of them loads no client, no click and no web framework.

    Operation(
        noun="topics", verb="delete", doc="Delete topics with all their records.",
        handler="pystream.client.operations.handlers.topics:delete",
        arguments=(Argument("topics", doc="Their names.", many=True, positional=True, required=True),),
        row=TopicName, columns=("name",),
        permission=Permission("TOPIC", "DELETE"), mutating=True,
        examples=("pystream topics delete orders",),
    )

A handler is `async def delete(admin, *, topics, dry_run) -> Answer`: it takes the client, each argument by its name,
and `dry_run` where the operation is mutating. It gives rows, dataclasses of type `row`, and what failed item by item. A
failure of the whole is raised. Values come as plain str, int, float, bool, as lists of those (`many`), or as dicts of
str (Kind.ASSIGNMENT); None for what was not given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from typing import Any, Final

from pystream.common.errors import PystreamError

Value = str | int | float | bool
ADMIN_CLIENT: Final = "pystream.client.admin.client:AdminClient"
ADMIN_BASE: Final = "pystream.client.admin.base:AdminBase"  # knows the cluster and no operation: loads in half the time

TIMES: Final = (
    "@TIME is the first record at or after it: a moment (@2026-11-22T10:00:00Z, or @1732269600000 in ms), "
    "or an age (@-90s, @-1h, @-7d)."
)


class Kind(Enum):
    """What a value of an argument is."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    ASSIGNMENT = "assignment"  # KEY=VALUE; always many; handlers get a dict
    DOCUMENT = "document"  # a long text; a door with files takes the name of one, and reads it


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What the caller needs, by the names of Kafka's ACLs: TOPIC, DESCRIBE."""

    resource: str
    operation: str


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. Doors spell the name in their own way: `include_internal`, `--include-internal`."""

    name: str
    kind: Kind = Kind.TEXT
    doc: str = field(kw_only=True)
    many: bool = field(default=False, kw_only=True)
    positional: bool = field(default=False, kw_only=True)  # where a door knows positions
    required: bool = field(default=False, kw_only=True)
    default: Value | None = field(default=None, kw_only=True)
    choices: tuple[str, ...] = field(default=(), kw_only=True)
    minimum: int | None = field(default=None, kw_only=True)
    short: str | None = field(default=None, kw_only=True)  # one letter
    metavar: str | None = field(default=None, kw_only=True)
    completes: str | None = field(default=None, kw_only=True)  # the noun whose names are values


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed, and why."""

    item: str
    error: PystreamError


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation gives."""

    rows: list[Any]
    failures: list[Failure] = field(default_factory=list)


Handler = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be done."""

    noun: str
    verb: str
    doc: str
    handler: str  # module:function, imported when called
    row: type  # a dataclass
    columns: tuple[str, ...]  # fields that a table shows; the first names the row
    permission: Permission
    examples: tuple[str, ...]
    arguments: tuple[Argument, ...] = ()
    mutating: bool = False  # then the handler takes `dry_run`, and with it changes nothing
    cautious: bool = False  # a command line makes a dry run of it unless told to execute it, as Kafka's own does
    alarm: str | None = None  # a field: where a row has it true, a command line ends with 1, so that scripts see it
    single: bool = False  # always one row
    tone: str | None = None  # a field that says how grave a row is, or which way it goes: a colour where there are any
    expand: str | None = None  # a field with a list of dataclasses: a table shows one line for each
    notes: tuple[str, ...] = ()  # paragraphs of help
    old_names: tuple[str, ...] = ()  # how other tools call it
    client: str = ADMIN_CLIENT  # the least that the handler takes; every door's AdminClient is one

    def load(self) -> Handler:
        """Import the handler."""
        module, _, function = self.handler.partition(":")
        handler: Handler = getattr(import_module(module), function)
        return handler
