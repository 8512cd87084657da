"""Where the declarations are: ours in a static table, those of installed packages by entry point.

[project.entry-points."pystream.operations"]
pipelines = "my_package.operations:OPERATIONS"        # noun -> tuple[Operation, ...]
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from pystream.client.operations.declaration import Operation
from pystream.common.errors import NotFound

ENTRY_POINT_GROUP: Final = "pystream.operations"

# noun -> the module that declares it in OPERATIONS
HOMES: Final = {
    "topics": "pystream.client.operations.topics",
    "partitions": "pystream.client.operations.partitions",
    "configs": "pystream.client.operations.configs",
    "groups": "pystream.client.operations.groups",
    "share-groups": "pystream.client.operations.share_groups",
    "streams-groups": "pystream.client.operations.streams_groups",
    "cluster": "pystream.client.operations.cluster",
    "quotas": "pystream.client.operations.quotas",
    "transactions": "pystream.client.operations.transactions",
    "acls": "pystream.client.operations.acls",
}


def operations_of(noun: str) -> tuple[Operation, ...]:
    """All operations on a noun, in the order declared; empty for a noun that nobody declares."""
    if noun in HOMES:
        declared: tuple[Operation, ...] = import_module(HOMES[noun]).OPERATIONS
        return declared
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=noun):
        declared = entry_point.load()
        return declared
    return ()


def all_operations() -> list[Operation]:
    """Every operation, of other packages too."""
    from importlib.metadata import entry_points

    others = [entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP)]
    return [operation for noun in dict.fromkeys([*HOMES, *others]) for operation in operations_of(noun)]


def find(noun: str, verb: str) -> Operation:
    """The operation. Raises NotFound."""
    for operation in operations_of(noun):
        if operation.verb == verb:
            return operation
    raise NotFound(f"no operation {noun} {verb}")
