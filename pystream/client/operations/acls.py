"""Operations on access control lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pystream.client.operations.declaration import Argument, Operation, Permission

HANDLERS: Final = "pystream.client.operations.handlers.acls"
RESOURCES: Final = ("topic", "group", "cluster", "transactional-id", "delegation-token", "user")
ACTIONS: Final = (
    *("all", "read", "write", "create", "delete", "alter", "describe", "cluster-action"),
    *("describe-configs", "alter-configs", "idempotent-write", "create-tokens", "describe-tokens", "two-phase-commit"),
)
PERMISSIONS: Final = ("allow", "deny")
PATTERNS: Final = ("literal", "prefixed")


@dataclass(frozen=True, slots=True)
class Acl:
    """One entry."""

    principal: str
    permission: str
    operation: str
    resource: str
    name: str
    pattern: str
    host: str


COLUMNS: Final = ("principal", "permission", "operation", "resource", "name", "pattern", "host")


def _filters() -> tuple[Argument, ...]:
    """Which entries are meant; what is not given matches all."""
    return (
        Argument("resource", doc="Type of the resource.", choices=RESOURCES),
        Argument("name", doc="Name of the resource."),
        Argument("pattern", doc="How the entry means the name.", choices=(*PATTERNS, "match")),
        Argument("principal", doc="Who: User:alice."),
        Argument("operation", doc="What.", choices=ACTIONS),
        Argument("permission", doc="Allowed or denied.", choices=PERMISSIONS),
        Argument("host", doc="From where."),
    )


OPERATIONS: Final = (
    Operation(
        noun="acls",
        verb="list",
        doc="List entries.",
        handler=f"{HANDLERS}:list_",
        row=Acl,
        columns=COLUMNS,
        permission=Permission(resource="CLUSTER", operation="DESCRIBE"),
        arguments=_filters(),
        examples=("pystream acls list", "pystream acls list --resource topic --name orders --pattern match"),
        old_names=("kafka-acls --list", "rpk security acl list"),
    ),
    Operation(
        noun="acls",
        verb="create",
        doc="Add an entry for each principal and operation.",
        handler=f"{HANDLERS}:create",
        row=Acl,
        columns=COLUMNS,
        permission=Permission(resource="CLUSTER", operation="ALTER"),
        mutating=True,
        arguments=(
            Argument("resource", doc="Type of the resource.", required=True, choices=RESOURCES),
            Argument("name", doc="Its name; * for all.", default="*"),
            Argument("pattern", doc="How the name is meant.", choices=PATTERNS, default="literal"),
            Argument("principal", doc="Who: User:alice; may be repeated.", many=True, required=True),
            Argument("operation", doc="What; may be repeated.", many=True, required=True, choices=ACTIONS),
            Argument("permission", doc="Allowed or denied.", choices=PERMISSIONS, default="allow"),
            Argument("host", doc="From where.", default="*"),
        ),
        examples=("pystream acls create --resource topic --name orders --principal User:alice --operation read",),
        old_names=("kafka-acls --add", "rpk security acl create"),
    ),
    Operation(
        noun="acls",
        verb="delete",
        doc="Delete the entries that match.",
        handler=f"{HANDLERS}:delete",
        row=Acl,
        columns=COLUMNS,
        permission=Permission(resource="CLUSTER", operation="ALTER"),
        mutating=True,
        arguments=_filters(),
        examples=("pystream acls delete --principal User:alice --dry-run",),
        old_names=("kafka-acls --remove", "rpk security acl delete"),
    ),
)
