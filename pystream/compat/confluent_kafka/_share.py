"""ShareConsumer: confluent_kafka's, over the SDK's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Self

from pystream.client.config import ShareConsumerConfig
from pystream.client.share.delivery import AcknowledgeType as SdkAcknowledgeType
from pystream.client.sync.share import ShareConsumer as SdkShareConsumer
from pystream.common.errors import PystreamError
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import IllegalStateException, KafkaException, as_exception, local
from pystream.compat.confluent_kafka._model import AcknowledgeType
from pystream.compat.confluent_kafka._settings import loaded, parse
from pystream.compat.confluent_kafka._values import Message, TopicPartition, seconds

CLOSED: Final = "Share consumer closed"
EXPLICIT: Final = "explicit"

Outcomes = dict[TopicPartition, set[int]]
OnAcknowledged = Callable[[Outcomes, KafkaException | None], Any]


class Messages:
    """What one poll gave: a sequence that cannot be changed."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._records = list(messages)

    def records(self) -> list[Message]:
        """A list of them."""
        return list(self._records)

    def count(self) -> int:
        return len(self._records)

    def is_empty(self) -> bool:
        return not self._records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._records)

    def __getitem__(self, index: int | slice) -> Message | Messages:
        return Messages(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __repr__(self) -> str:
        return f"Messages({self._records!r})"


class ShareConsumer:
    """Takes messages as a member of a share group; each goes to one member at a time."""

    def __init__(self, config: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        self._closed = True
        named = {**config, **keywords} if isinstance(config, Mapping) else keywords
        if "group.id" not in named and "group_id" not in named:
            raise ValueError("Failed to create share consumer: group.id must be set")
        settings = parse(ShareConsumerConfig, config, keywords, {"error_cb", "stats_cb", "throttle_cb"})
        self._sdk: SdkShareConsumer = loaded(lambda: SdkShareConsumer(settings.sdk))
        self._is_explicit = self._sdk.config.share_acknowledgement_mode == EXPLICIT
        self._closed = False

    def subscribe(self, topics: list[str]) -> None:
        """Take messages of these topics."""
        self._check_open()
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            raise TypeError("expected list of topic unicode strings")
        self._guard(lambda: self._sdk.subscribe(topics))

    def unsubscribe(self) -> None:
        self._check_open()
        self._guard(self._sdk.unsubscribe)

    def subscription(self) -> list[str]:
        self._check_open()
        return sorted(self._sdk.subscription())

    def poll(self, timeout: float = -1) -> Messages:
        """Messages, none after `timeout` seconds. Raises IllegalStateException without a subscription."""
        self._check_open()
        if not self._sdk.subscription():
            raise IllegalStateException("Share consumer is not subscribed to any topic")
        return Messages(map(_message, self._guard(lambda: self._sdk.poll(seconds(timeout)))))

    def acknowledge(self, message: Message, ack_type: AcknowledgeType = AcknowledgeType.ACCEPT) -> None:
        """Say what became of a message."""
        if not isinstance(message, Message):
            raise TypeError("expected Message")
        self.acknowledge_offset(message.topic() or "", message.partition() or 0, message.offset() or 0, ack_type)

    def acknowledge_offset(
        self, topic: str, partition: int, offset: int, ack_type: AcknowledgeType = AcknowledgeType.ACCEPT
    ) -> None:
        """Say what became of a message, by its place."""
        self._check_open()
        if not self._is_explicit:
            raise IllegalStateException("acknowledge needs share.acknowledgement.mode=explicit")
        kind = SdkAcknowledgeType[AcknowledgeType(ack_type).name]
        self._guard(lambda: self._sdk.acknowledge_offset(topic, partition, offset, kind), Codes._STATE)

    def commit_sync(self, timeout: float = 60) -> dict[TopicPartition, KafkaException | None]:
        """Send what was acknowledged; what went wrong with each partition."""
        self._check_open()
        found = self._guard(lambda: self._sdk.commit(seconds(timeout)))
        return {
            TopicPartition.at(place): None if error is None else as_exception(error) for place, error in found.items()
        }

    def commit_async(self) -> None:
        """Send what was acknowledged, soon."""
        self._check_open()
        self._guard(self._sdk.commit_async)

    def set_acknowledgement_commit_callback(self, callback: OnAcknowledged | None) -> None:
        """callback({partition: offsets}, exception or None) is told by poll(), commit_sync() and close()."""
        self._check_open()
        if callback is None:
            self._sdk.set_acknowledgement_commit_callback(None)
            return
        if not callable(callback):
            raise TypeError("expected callback to be callable")
        told = callback

        def tell(result: Any) -> None:
            error = None if result.error is None else as_exception(result.error)
            offsets = {offset for first, last in result.offsets for offset in range(first, last + 1)}
            told({TopicPartition.at(result.partition): offsets}, error)

        self._sdk.set_acknowledgement_commit_callback(tell)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Raises KafkaException: credentials are fixed when the client is made."""
        raise local(Codes._UNSUPPORTED_FEATURE, "make a new client with the new credentials")

    def close(self) -> None:
        """Send what was acknowledged, release the rest, leave the group. Harmless when closed."""
        if not self._closed:
            self._closed = True
            self._guard(self._sdk.close)

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise IllegalStateException(CLOSED)

    def _guard(self, call: Callable[[], Any], code: int | None = None) -> Any:
        try:
            return call()
        except PystreamError as error:
            raise as_exception(error, code=code) from error


def _message(found: Any) -> Message:
    return Message(
        found.topic,
        found.partition,
        found.offset,
        found.key,
        found.value,
        list(found.headers) or None,
        None,
        (found.timestamp_type + 1 if found.timestamp >= 0 else 0, found.timestamp),
        None,
        found.leader_epoch if found.leader_epoch >= 0 else None,
        found.delivery_count,
    )
