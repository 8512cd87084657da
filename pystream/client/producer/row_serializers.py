"""Rows of send_batch through serializers and a partitioner of one's own: a Python object each, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pystream.client.headers import pairs_of
from pystream.client.producer.columns import GivenRows, Rows, object_rows_of, rows_of
from pystream.client.producer.records import Partitioner, Serializers
from pystream.client.serdes.unanswered import Unanswered
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.client.headers import Pairs


class RowSerializers:
    """What rows of one producer go through."""

    def __init__(self, serializers: Serializers, partitioner: Partitioner | None) -> None:
        self._serializers = serializers
        self.partitioner = partitioner

    def begin(self, topic: str, given: GivenRows, partition_count: int) -> Iterator[MadeRows]:
        """The rows in parts, none of them serialized yet. `partition_count` is for the partitioner."""
        serializers = self._serializers
        for part in object_rows_of(given, keys=serializers.has_key, values=serializers.has_value):
            yield MadeRows(serializers, self.partitioner, topic, part, partition_count)


class MadeRows:
    """Some rows, which become serialized: `make` or `make_async`, then `rows`, then `check`."""

    def __init__(
        self,
        serializers: Serializers,
        partitioner: Partitioner | None,
        topic: str,
        given: GivenRows,
        partition_count: int,
    ) -> None:
        self._serializers = serializers
        self._partitioner = partitioner
        self._topic = topic
        self._given = given
        self._partition_count = partition_count
        self._values: list[Any] = []
        self._keys: list[Any] = []
        self._headers: list[Pairs] = []
        self._partitions: list[int | None] = []
        self._error: PystreamError | None = None

    def make(self) -> None:
        """Serialize them, or those in front of one that is refused; blocks where a registry must be asked."""
        self._make(trying=False)

    async def make_async(self) -> None:
        """The same, without blocking the loop but for the serializers' own work."""
        while True:
            try:
                self._make(trying=True)
            except Unanswered as missing:
                try:
                    await missing.resolve_async()
                except PystreamError as error:
                    self._error = error
                    return
            else:
                return

    def rows(self) -> Iterator[Rows]:
        """What was serialized, as the accumulator takes it."""
        given, count = self._given, len(self._values)
        made = GivenRows(
            self._values,
            None if given.keys is None and not self._serializers.has_key else self._keys,
            self._headers if any(self._headers) else None,
            given.timestamps if isinstance(given.timestamps, int | None) else given.timestamps[:count],
            self._partitions if self._partitioner is not None else self._given_partitions(count),
            given.common,
        )
        return rows_of(made)

    def check(self) -> None:
        """Raises what a serializer raised."""
        if self._error is not None:
            raise self._error

    def _given_partitions(self, count: int) -> Any:
        partitions = self._given.partitions
        return partitions if isinstance(partitions, int | None) else partitions[:count]

    def _make(self, *, trying: bool) -> None:
        """Go on with the first that is not made. Raises Unanswered."""
        given, topic = self._given, self._topic
        partitions = given.partitions
        try:
            for row in range(len(self._values), len(given.values)):
                headers = pairs_of(given.headers[row]) if given.headers is not None and given.headers[row] else []
                key = None if given.keys is None else given.keys[row]
                key, value = self._serializers.made(topic, key, given.values[row], headers, trying=trying)
                if self._partitioner is not None:
                    partition = partitions if isinstance(partitions, int | None) else partitions[row]
                    self._partitions.append(self._placed(key, partition))
                self._keys.append(key)
                self._headers.append(headers)
                self._values.append(value)
        except PystreamError as error:
            self._error = error

    def _placed(self, key: Any, partition: Any) -> int | None:
        if (partition is None or partition < 0) and self._partitioner is not None:
            return self._partitioner(self._topic, key, self._partition_count)
        return int(partition)
