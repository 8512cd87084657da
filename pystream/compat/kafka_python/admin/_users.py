"""Access control lists and credentials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pystream.client.admin import acls as sdk_acls
from pystream.client.admin import users as sdk_users
from pystream.common.config import Password
from pystream.common.errors import PystreamError
from pystream.compat.kafka_python.admin._calls import Calls, class_of
from pystream.compat.kafka_python.admin._model import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from pystream.compat.kafka_python.errors import NoError, translated


class UserCalls(Calls):
    """Calls on who may do what."""

    def describe_acls(self, acl_filter: ACLFilter) -> tuple[list[ACL], Any]:
        """The entries that match, and NoError."""
        found = self._run(self._sdk.describe_acls(_filter(acl_filter)))
        return [_acl(each) for each in found], NoError

    def create_acls(self, acls: Iterable[ACL]) -> dict[str, list[Any]]:
        """{"succeeded": [entries], "failed": [(entry, error)]}."""
        wanted = list(acls)
        if not all(isinstance(acl, ACL) for acl in wanted):
            raise TypeError("acls must contain ACL objects")
        by_ours = {_binding(acl): acl for acl in wanted}
        told: dict[str, list[Any]] = {"succeeded": [], "failed": []}
        for binding, each in self._run(self._sdk.create_acls(by_ours)).items():
            if isinstance(each, PystreamError):
                told["failed"].append((by_ours[binding], translated(each)))
            else:
                told["succeeded"].append(by_ours[binding])
        return told

    def delete_acls(self, acl_filters: Iterable[ACLFilter]) -> list[tuple[ACLFilter, list[tuple[ACL, Any]], Any]]:
        """For each filter the entries that it deleted, and its error."""
        by_ours = {_filter(each): each for each in acl_filters}
        told: list[tuple[ACLFilter, list[tuple[ACL, Any]], Any]] = []
        for ours, each in self._run(self._sdk.delete_acls(by_ours)).items():
            if isinstance(each, PystreamError):
                told.append((by_ours[ours], [], class_of(each)))
                continue
            deleted: list[tuple[ACL, Any]] = [(_acl(acl), NoError) for acl in each.deleted]
            deleted += [(_acl(acl), class_of(error)) for acl, error in each.failed]
            told.append((by_ours[ours], deleted, NoError))
        return told

    def describe_user_scram_credentials(self, users: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """{user: {"error": …, "credential_infos": […]}}."""
        told: dict[str, dict[str, Any]] = {}
        for user, each in self._run(self._sdk.describe_user_scram_credentials(users)).items():
            if isinstance(each, PystreamError):
                told[user] = {"error": str(translated(each)), "credential_infos": []}
                continue
            infos = [{"mechanism": ScramMechanism(int(info.mechanism)), "iterations": info.iterations} for info in each]
            told[user] = {"error": None, "credential_infos": infos}
        return told

    def alter_user_scram_credentials(
        self, alterations: Iterable[UserScramCredentialUpsertion | UserScramCredentialDeletion]
    ) -> dict[str, str | None]:
        """{user: None, or what went wrong}."""
        wanted = [_alteration(each) for each in alterations]
        found = self._run(self._sdk.alter_user_scram_credentials(wanted))
        return {
            user: str(translated(each)) if isinstance(each, PystreamError) else None for user, each in found.items()
        }


def _alteration(
    each: UserScramCredentialUpsertion | UserScramCredentialDeletion,
) -> sdk_users.ScramUpsertion | sdk_users.ScramDeletion:
    mechanism = sdk_users.ScramMechanism(each.mechanism.value)
    if isinstance(each, UserScramCredentialDeletion):
        return sdk_users.ScramDeletion(each.user, mechanism)
    password = each.password.decode() if isinstance(each.password, bytes) else each.password
    return sdk_users.ScramUpsertion(each.user, mechanism, Password(password), each.iterations, each.salt)


def _binding(acl: ACL) -> sdk_acls.AclBinding:
    return sdk_acls.AclBinding(
        resource_type=sdk_acls.ResourceType(acl.resource_pattern.resource_type.value),
        resource_name=acl.resource_pattern.resource_name or "",
        principal=acl.principal or "",
        operation=sdk_acls.AclOperation(acl.operation.value),
        permission=sdk_acls.AclPermission(acl.permission_type.value),
        pattern_type=sdk_acls.PatternType(acl.resource_pattern.pattern_type.value),
        host=acl.host or "",
    )


def _filter(wanted: ACLFilter) -> sdk_acls.AclFilter:
    return sdk_acls.AclFilter(
        resource_type=sdk_acls.ResourceType(wanted.resource_pattern.resource_type.value),
        resource_name=wanted.resource_pattern.resource_name,
        principal=wanted.principal,
        operation=sdk_acls.AclOperation(wanted.operation.value),
        permission=sdk_acls.AclPermission(wanted.permission_type.value),
        pattern_type=sdk_acls.PatternType(wanted.resource_pattern.pattern_type.value),
        host=wanted.host,
    )


def _acl(found: sdk_acls.AclBinding) -> ACL:
    pattern = ResourcePattern(
        ResourceType(int(found.resource_type)),
        found.resource_name,
        ACLResourcePatternType(int(found.pattern_type)),
    )
    return ACL(
        found.principal,
        found.host,
        ACLOperation(int(found.operation)),
        ACLPermissionType(int(found.permission)),
        pattern,
    )
