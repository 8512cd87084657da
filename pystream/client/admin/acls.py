"""Access control lists: describe, create, delete. A cluster without an authorizer answers SecurityDisabled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.results import Results, Told, error_of, outcome
from pystream.client.cluster.metadata import NOT_ASKED
from pystream.common.error_codes import NONE
from pystream.common.errors import PystreamError
from pystream.protocol.messages.create_acls import AclCreation, CreateAclsRequest
from pystream.protocol.messages.delete_acls import DeleteAclsFilter, DeleteAclsMatchingAcl, DeleteAclsRequest
from pystream.protocol.messages.describe_acls import DescribeAclsRequest

EVERY_HOST: Final = "*"


class ResourceType(Told):
    """What an ACL is about."""

    UNKNOWN = 0
    ANY = 1
    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7


class PatternType(Told):
    """How the name of an ACL's resource is meant. ANY and MATCH are for filters."""

    UNKNOWN = 0
    ANY = 1
    MATCH = 2
    LITERAL = 3
    PREFIXED = 4


class AclOperation(Told):
    """What an ACL allows or denies."""

    UNKNOWN = 0
    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15


class AclPermission(Told):
    """Whether an ACL allows or denies."""

    UNKNOWN = 0
    ANY = 1
    DENY = 2
    ALLOW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AclBinding:
    """One entry: who may, or may not, do what to which resource from where."""

    resource_type: ResourceType
    resource_name: str
    principal: str  # "User:alice"
    operation: AclOperation
    permission: AclPermission = AclPermission.ALLOW
    pattern_type: PatternType = PatternType.LITERAL
    host: str = EVERY_HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class AclFilter:
    """Which entries are meant; None and ANY match all. MATCH finds what applies to a resource of the name."""

    resource_type: ResourceType = ResourceType.ANY
    resource_name: str | None = None
    principal: str | None = None
    operation: AclOperation = AclOperation.ANY
    permission: AclPermission = AclPermission.ANY
    pattern_type: PatternType = PatternType.ANY
    host: str | None = None


@dataclass(frozen=True, slots=True)
class DeletedAcls:
    """What one filter deleted; `failed` are entries that it met and that stayed."""

    deleted: tuple[AclBinding, ...]
    failed: tuple[tuple[AclBinding, PystreamError], ...]


class AclOperations(AdminBase):
    """Operations on ACLs."""

    async def describe_acls(
        self, acl_filter: AclFilter | None = None, *, timeout_ms: int | None = None
    ) -> list[AclBinding]:
        """The entries that match, all without a filter. Raises SecurityDisabled without an authorizer."""
        wanted = acl_filter or AclFilter()
        request = DescribeAclsRequest(
            resource_type_filter=wanted.resource_type,
            resource_name_filter=wanted.resource_name,
            pattern_type_filter=wanted.pattern_type,
            principal_filter=wanted.principal,
            host_filter=wanted.host,
            operation=wanted.operation,
            permission_type=wanted.permission,
        )
        response = await self._once("describe_acls", request, timeout_ms=timeout_ms)
        return [
            AclBinding(
                resource_type=ResourceType(resource.resource_type),
                resource_name=resource.resource_name,
                pattern_type=PatternType(resource.pattern_type),
                principal=acl.principal,
                host=acl.host,
                operation=AclOperation(acl.operation),
                permission=AclPermission(acl.permission_type),
            )
            for resource in response.resources
            for acl in resource.acls
        ]

    async def create_acls(
        self, bindings: Iterable[AclBinding], *, timeout_ms: int | None = None
    ) -> Results[AclBinding, None]:
        """Add entries; one that is there already is no error."""

        async def ask(asked: Asked, wanted: list[AclBinding]) -> dict[AclBinding, PystreamError | None]:
            creations = [
                AclCreation(
                    resource_type=acl.resource_type,
                    resource_name=acl.resource_name,
                    resource_pattern_type=acl.pattern_type,
                    principal=acl.principal,
                    host=acl.host,
                    operation=acl.operation,
                    permission_type=acl.permission,
                )
                for acl in wanted
            ]
            response = await asked.ask(CreateAclsRequest(creations=creations))
            told = zip(wanted, response.results, strict=False)
            return {acl: outcome(result.error_code, result.error_message, None) for acl, result in told}

        return await self._each("create_acls", bindings, self._controller(), ask, timeout_ms=timeout_ms)

    async def delete_acls(
        self, filters: Iterable[AclFilter], *, timeout_ms: int | None = None
    ) -> Results[AclFilter, DeletedAcls]:
        """Delete the entries that each filter matches, and tell which."""

        async def ask(asked: Asked, wanted: list[AclFilter]) -> dict[AclFilter, DeletedAcls | PystreamError]:
            asked_for = [
                DeleteAclsFilter(
                    resource_type_filter=each.resource_type,
                    resource_name_filter=each.resource_name,
                    pattern_type_filter=each.pattern_type,
                    principal_filter=each.principal,
                    host_filter=each.host,
                    operation=each.operation,
                    permission_type=each.permission,
                )
                for each in wanted
            ]
            response = await asked.ask(DeleteAclsRequest(filters=asked_for))
            return {
                each: outcome(told.error_code, told.error_message, _deleted(told.matching_acls))
                for each, told in zip(wanted, response.filter_results, strict=False)
            }

        return await self._each("delete_acls", filters, self._controller(), ask, timeout_ms=timeout_ms)


def operations_of(bits: int) -> frozenset[AclOperation] | None:
    """The operations of a bit field of an answer; None when they were not asked for."""
    if bits == NOT_ASKED:
        return None
    return frozenset(operation for operation in AclOperation if bits >> operation & 1)


def _deleted(matching: Iterable[DeleteAclsMatchingAcl]) -> DeletedAcls:
    deleted, failed = [], []
    for told in matching:
        acl = AclBinding(
            resource_type=ResourceType(told.resource_type),
            resource_name=told.resource_name,
            pattern_type=PatternType(told.pattern_type),
            principal=told.principal,
            host=told.host,
            operation=AclOperation(told.operation),
            permission=AclPermission(told.permission_type),
        )
        if told.error_code == NONE:
            deleted.append(acl)
        else:
            failed.append((acl, error_of(told.error_code, told.error_message)))
    return DeletedAcls(tuple(deleted), tuple(failed))
