"""Operations on quotas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pystream.client.operations.declaration import Argument, Kind, Operation, Permission

HANDLERS: Final = "pystream.client.operations.handlers.quotas"
ENTITY_NOTE: Final = (
    "Entities: user=NAME, client-id=NAME, ip=ADDRESS; without a value (user=) the default of all users."
)


@dataclass(frozen=True, slots=True)
class Quota:
    """The quotas of an entity. A part without a name is the default of its type."""

    entity: str
    quotas: dict[str, float]
    parts: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class ChangedQuota:
    """An entity whose quotas were changed, or could be."""

    entity: str
    change: str


ENTITY: Final = Argument("entity", Kind.ASSIGNMENT, doc="A part of the entity; may be repeated.", short="e")

OPERATIONS: Final = (
    Operation(
        noun="quotas",
        verb="describe",
        doc="Show the quotas of entities that have these parts; all without.",
        handler=f"{HANDLERS}:describe",
        row=Quota,
        columns=("entity", "quotas"),
        permission=Permission(resource="CLUSTER", operation="DESCRIBE_CONFIGS"),
        arguments=(
            ENTITY,
            Argument("any", doc="A part with whatever name: user, client-id or ip; may be repeated.", many=True),
            Argument("strict", Kind.FLAG, doc="Only entities without other parts."),
        ),
        notes=(ENTITY_NOTE,),
        examples=("pystream quotas describe", "pystream quotas describe --entity user=alice --any client-id"),
        old_names=("kafka-configs --describe --entity-type users", "rpk cluster quotas describe"),
    ),
    Operation(
        noun="quotas",
        verb="alter",
        doc="Set and remove quotas of an entity.",
        handler=f"{HANDLERS}:alter",
        row=ChangedQuota,
        columns=("entity", "change"),
        permission=Permission(resource="CLUSTER", operation="ALTER_CONFIGS"),
        mutating=True,
        arguments=(
            ENTITY,
            Argument("set", Kind.ASSIGNMENT, doc="A quota and its number; may be repeated."),
            Argument("unset", doc="A quota to remove; may be repeated.", many=True),
        ),
        notes=(
            ENTITY_NOTE,
            "Quotas: producer_byte_rate, consumer_byte_rate, request_percentage, controller_mutation_rate.",
        ),
        examples=("pystream quotas alter --entity user=alice --set producer_byte_rate=1048576",),
        old_names=("kafka-configs --alter --entity-type users", "rpk cluster quotas alter"),
    ),
)
