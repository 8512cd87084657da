"""ShareStates: the stored states of share partitions, for those who lead the partitions and for keys 83 to 87.

Every call is handed to the runtime at once, in the order of the calls; what is returned is awaited for the result. None
raises: that the coordinator is not there is a code in the result, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Protocol

from pystream.common.error_codes import UNKNOWN_SERVER_ERROR
from pystream.common.errors import KafkaError
from pystream.common.tasks import contained, contained_now
from pystream.coordinator.machine import Effects, Ticket
from pystream.coordinator.share import state_shard
from pystream.coordinator.share.state import ShareKey
from pystream.coordinator.share.state_shard import Result, ShareStateShard, Write

FAULT = "share state not served"


class Runtime(Protocol):
    """The part of CoordinatorRuntime that is used here."""

    def partition_for(self, key: str) -> int: ...

    def submit(self, partition: int, operation: Callable[[ShareStateShard, Ticket, int, Effects], None]) -> Any: ...

    def led(self) -> Iterable[int]: ...

    def shard(self, partition: int) -> ShareStateShard | None: ...


class ShareStates:
    """See the head of this module."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def initialize(self, key: ShareKey, *, state_epoch: int, start_offset: int) -> Awaitable[Result]:
        return self._run(key, state_shard.initialize(key, state_epoch=state_epoch, start_offset=start_offset))

    def read(self, key: ShareKey, *, leader_epoch: int) -> Awaitable[Result]:
        return self._run(key, state_shard.read(key, leader_epoch=leader_epoch))

    def write(self, key: ShareKey, change: Write) -> Awaitable[Result]:
        return self._run(key, state_shard.write(key, change))

    def delete(self, key: ShareKey) -> Awaitable[Result]:
        return self._run(key, state_shard.delete(key))

    def summary(self, key: ShareKey) -> Awaitable[Result]:
        return self._run(key, state_shard.summary(key))

    def forget_topics(self, topic_ids: Collection[bytes]) -> None:
        """Topics were deleted, and with them what is stored of their partitions. Nobody waits for it."""
        for partition in list(self._runtime.led()):
            if self._runtime.shard(partition) is not None:
                self._runtime.submit(partition, state_shard.forget_topics(topic_ids))

    def _run(self, key: ShareKey, operation: state_shard.Operation) -> Awaitable[Result]:
        pending = contained_now(FAULT, lambda: self._submitted(key, operation), _fault, share_partition=key)
        return contained(FAULT, _result(pending), _fault, share_partition=key)

    def _submitted(self, key: ShareKey, operation: state_shard.Operation) -> Any:
        try:
            return self._runtime.submit(self._runtime.partition_for(str(key)), operation)
        except KafkaError as error:
            return Result(error_code=error.code, error_message=str(error))


async def settled(reply: Any) -> Any:
    """What a runtime gives, now or later."""
    return await reply if isinstance(reply, Awaitable) else reply


def _fault(error: Exception) -> Result:
    return Result(error_code=UNKNOWN_SERVER_ERROR, error_message=str(error))


async def _result(pending: Any) -> Result:
    try:
        result: Result = await settled(pending)
    except KafkaError as error:
        return Result(error_code=error.code, error_message=str(error))
    return result
