"""Handlers of operations on access control lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pystream.client.admin.acls import (
    AclBinding,
    AclFilter,
    AclOperation,
    AclPermission,
    PatternType,
    ResourceType,
)
from pystream.client.operations.acls import Acl
from pystream.client.operations.declaration import Answer, Failure
from pystream.client.operations.handlers.answers import answer

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient


async def list_(
    admin: AdminClient,
    *,
    resource: str | None,
    name: str | None,
    pattern: str | None,
    principal: str | None,
    operation: str | None,
    permission: str | None,
    host: str | None,
) -> Answer:
    """Those that match everything given."""
    wanted = _filter(resource, name, pattern, principal, operation, permission, host)
    return Answer(_rows(await admin.describe_acls(wanted)))


async def create(
    admin: AdminClient,
    *,
    resource: str,
    name: str,
    pattern: str,
    principal: Sequence[str],
    operation: Sequence[str],
    permission: str,
    host: str,
    dry_run: bool,
) -> Answer:
    """A dry run asks for the entries that there are: it is refused where they could not be added either."""
    bindings = [
        AclBinding(
            resource_type=ResourceType[_constant(resource)],
            resource_name="kafka-cluster" if resource == "cluster" else name,
            principal=who,
            operation=AclOperation[_constant(what)],
            permission=AclPermission[_constant(permission)],
            pattern_type=PatternType[_constant(pattern)],
            host=host,
        )
        for who in principal
        for what in operation
    ]
    if dry_run:
        there = set(await admin.describe_acls())
        return Answer(_rows([each for each in bindings if each not in there]))
    return answer(await admin.create_acls(bindings), lambda binding, _: _row(binding))


async def delete(
    admin: AdminClient,
    *,
    resource: str | None,
    name: str | None,
    pattern: str | None,
    principal: str | None,
    operation: str | None,
    permission: str | None,
    host: str | None,
    dry_run: bool,
) -> Answer:
    """A dry run lists those that match."""
    wanted = _filter(resource, name, pattern, principal, operation, permission, host)
    if dry_run:
        return Answer(_rows(await admin.describe_acls(wanted)))
    deleted = (await admin.delete_acls([wanted])).result(wanted)
    return Answer(_rows(deleted.deleted), [Failure(str(_row(acl)), error) for acl, error in deleted.failed])


def _filter(
    resource: str | None,
    name: str | None,
    pattern: str | None,
    principal: str | None,
    operation: str | None,
    permission: str | None,
    host: str | None,
) -> AclFilter:
    return AclFilter(
        resource_type=ResourceType[_constant(resource or "any")],
        resource_name=name,
        pattern_type=PatternType[_constant(pattern or "any")],
        principal=principal,
        operation=AclOperation[_constant(operation or "any")],
        permission=AclPermission[_constant(permission or "any")],
        host=host,
    )


def _constant(text: str) -> str:
    return text.upper().replace("-", "_")


def _text(constant: AclOperation | AclPermission | PatternType | ResourceType) -> str:
    return constant.name.lower().replace("_", "-")


def _row(acl: AclBinding) -> Acl:
    return Acl(
        acl.principal,
        _text(acl.permission),
        _text(acl.operation),
        _text(acl.resource_type),
        acl.resource_name,
        _text(acl.pattern_type),
        acl.host,
    )


def _rows(acls: Sequence[AclBinding]) -> list[Acl]:
    return sorted(map(_row, acls), key=lambda row: (row.resource, row.name, row.principal, row.operation))
