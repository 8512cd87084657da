"""The admin client: every operation of Kafka's Admin interface, over asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from pystream.client.admin.acls import AclOperations
from pystream.client.admin.configs import ConfigOperations
from pystream.client.admin.group_offsets import GroupOffsetOperations
from pystream.client.admin.groups import GroupOperations
from pystream.client.admin.log_dirs import LogDirOperations
from pystream.client.admin.partitions import PartitionOperations
from pystream.client.admin.quorum import ClusterOperations
from pystream.client.admin.tokens import TokenOperations
from pystream.client.admin.topics import TopicOperations
from pystream.client.admin.transactions import TransactionOperations
from pystream.client.admin.users import UserOperations
from pystream.client.config import AdminConfig


class AdminClient(
    TopicOperations,
    PartitionOperations,
    LogDirOperations,
    ConfigOperations,
    ClusterOperations,
    GroupOperations,
    GroupOffsetOperations,
    TransactionOperations,
    UserOperations,
    AclOperations,
    TokenOperations,
):
    """Administers a cluster.

        async with AdminClient(bootstrap_servers="127.0.0.1:9092") as admin:
            created = await admin.create_topics([NewTopic("orders", num_partitions=6)])
            created.checked()

    Settings as in `AdminConfig`, dotted or as keywords. Operations on many items give `Results`: each item's result or
    error. Other operations raise. Retriable errors are tried again for `timeout_ms` (default.api.timeout.ms).
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        super().__init__(AdminConfig.load(settings, **keywords))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
