"""What the parts of KafkaAdminClient stand on."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from pystream.client.admin.client import AdminClient as SdkAdminClient
from pystream.common.error_codes import NONE
from pystream.common.errors import KafkaError, PystreamError, UnknownServerError
from pystream.common.model import TopicPartition
from pystream.compat.kafka_python.errors import BrokerResponseError, for_code, translated

T = TypeVar("T")


class Calls:
    """Has the SDK's client, and waits for its answers."""

    _sdk: SdkAdminClient
    config: dict[str, Any]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives. Raises kafka-python's errors."""
        raise TypeError(f"{type(self).__name__} is only a part of KafkaAdminClient, which runs {work!r}")


def code_and_message(found: object) -> tuple[int, str | None]:
    """As answers carry them; errors of the client's own are raised."""
    if not isinstance(found, PystreamError):
        return NONE, None
    if not isinstance(found, KafkaError):
        raise translated(found) from found
    return found.code, str(found)


def raise_first(outcomes: Iterable[object]) -> None:
    """Raises the first error there is."""
    for found in outcomes:
        if isinstance(found, PystreamError):
            raise translated(found) from found


def class_of(found: object) -> type[BrokerResponseError]:
    """The class of an outcome's error; NoError of a success."""
    if isinstance(found, PystreamError) and not isinstance(found, KafkaError):
        raise translated(found) from found
    return for_code(found.code if isinstance(found, KafkaError) else NONE)


def topic_uuid(raw: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=bytes(raw))


def partitions_of(wanted: Mapping[str, Iterable[int]]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partitions in wanted.items() for partition in partitions]


def operations_of(found: Any) -> list[str] | None:
    """Names, as kafka-python gives them."""
    return None if found is None else [operation.name for operation in sorted(found)]


def left_out(item: object) -> UnknownServerError:
    return UnknownServerError(f"no answer about {item}")
