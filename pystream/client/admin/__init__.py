"""Administration of a cluster, over asyncio. What its operations take is here too, loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystream.client.admin.acls import AclBinding, AclFilter, AclOperation, AclPermission, PatternType, ResourceType
    from pystream.client.admin.configs import AlterConfig, AlterOperation, ConfigResource, ConfigResourceType
    from pystream.client.admin.group_offsets import OffsetAndMetadata
    from pystream.client.admin.groups import GroupType
    from pystream.client.admin.log_dirs import Replica
    from pystream.client.admin.partitions import ElectionType, IsolationLevel
    from pystream.client.admin.quorum import FeatureUpdate, UpgradeType
    from pystream.client.admin.tokens import Principal
    from pystream.client.admin.topics import NewPartitions, NewTopic
    from pystream.client.admin.transactions import AbortTransaction
    from pystream.client.admin.users import Match, QuotaEntity, ScramDeletion, ScramMechanism, ScramUpsertion

__all__ = [
    "AbortTransaction",
    "AclBinding",
    "AclFilter",
    "AclOperation",
    "AclPermission",
    "AlterConfig",
    "AlterOperation",
    "ConfigResource",
    "ConfigResourceType",
    "ElectionType",
    "FeatureUpdate",
    "GroupType",
    "IsolationLevel",
    "Match",
    "NewPartitions",
    "NewTopic",
    "OffsetAndMetadata",
    "PatternType",
    "Principal",
    "QuotaEntity",
    "Replica",
    "ResourceType",
    "ScramDeletion",
    "ScramMechanism",
    "ScramUpsertion",
    "UpgradeType",
]

_HOMES: Final = {  # module -> the names that it has
    "acls": (
        "AclBinding",
        "AclFilter",
        "AclOperation",
        "AclPermission",
        "PatternType",
        "ResourceType",
    ),
    "configs": (
        "AlterConfig",
        "AlterOperation",
        "ConfigResource",
        "ConfigResourceType",
    ),
    "group_offsets": ("OffsetAndMetadata",),
    "groups": ("GroupType",),
    "log_dirs": ("Replica",),
    "partitions": (
        "ElectionType",
        "IsolationLevel",
    ),
    "quorum": (
        "FeatureUpdate",
        "UpgradeType",
    ),
    "tokens": ("Principal",),
    "topics": (
        "NewPartitions",
        "NewTopic",
    ),
    "transactions": ("AbortTransaction",),
    "users": (
        "Match",
        "QuotaEntity",
        "ScramDeletion",
        "ScramMechanism",
        "ScramUpsertion",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
