"""ShareConsumer: confluent_kafka's, over the SDK's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Self

from pystream.client.config import ShareConsumerConfig
from pystream.client.share.delivery import AcknowledgeType as SdkAcknowledgeType
from pystream.client.sync.share import ShareConsumer as SdkShareConsumer
from pystream.common.errors import PystreamError
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import (
    ConcurrentModificationException,
    IllegalStateException,
    KafkaError,
    KafkaException,
    as_exception,
    local,
)
from pystream.compat.confluent_kafka._model import AcknowledgeType
from pystream.compat.confluent_kafka._settings import loaded, parse
from pystream.compat.confluent_kafka._telling.background import Subject, start
from pystream.compat.confluent_kafka._telling.events import Events
from pystream.compat.confluent_kafka._values import Message, TopicPartition, number, refuse_credentials, seconds

CLOSED: Final = "Share consumer closed"
EXPLICIT: Final = "explicit"
SLICE_SECONDS: Final = 0.05  # a poll looks up so often for callbacks, where there are any

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


class _Gate:
    """Lets one thread in at a time, and no call that a callback makes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0

    def __enter__(self) -> None:
        """Raises IllegalStateException and ConcurrentModificationException."""
        if not self._lock.acquire(blocking=False):
            if self._owner == threading.get_ident():
                raise IllegalStateException("A share consumer cannot be called from its own callback")
            raise ConcurrentModificationException("Share consumer is not safe for multi-threaded access")
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._owner = 0
        self._lock.release()


class ShareConsumer:
    """Takes messages as a member of a share group; each goes to one member at a time.

    Used by one thread at a time. What cannot be done in this state raises IllegalStateException, what makes no sense as
    an argument ValueError.
    """

    _closed = True  # before __init__, which a subclass may forget

    def __init__(self, config: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        if not self._closed:
            raise RuntimeError("Share consumer is already initialized")
        if not isinstance(config, Mapping | None) or (config is None and not keywords):
            raise TypeError("expected configuration dict")
        named = {**(config or {}), **keywords}
        if "group.id" not in named and "group_id" not in named:
            raise ValueError("Failed to create share consumer: group.id must be set")
        if "on_commit" in named:
            raise ValueError("on_commit is not supported by share consumers: they acknowledge")
        try:
            settings = parse(ShareConsumerConfig, config, keywords, set())
            self._sdk: SdkShareConsumer = loaded(lambda: SdkShareConsumer(settings.sdk))
        except KafkaException as error:
            raise ValueError(f"Failed to create share consumer: {error.args[0].str()}") from error
        self._is_explicit = self._sdk.config.share_acknowledgement_mode == EXPLICIT
        self._gate = _Gate()
        self._events = Events()
        self._polled_at: float | None = None
        self._closed = False
        self._has_callbacks = bool(settings.callbacks) or settings.logger is not None
        start(Subject("consumer", self._sdk._engine.cluster, self._sdk._runner, self._events), settings)

    def subscribe(self, topics: list[str]) -> None:
        """Take messages of these topics; of none: leave the group."""
        self._check_open()
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            raise TypeError("expected list of topic unicode strings")
        if "" in topics or len(set(topics)) != len(topics):
            raise ValueError("Failed to set subscription: each topic has a name, and stands there once")
        with self._gate:
            self._polled_at = None
            self._guard(lambda: self._sdk.subscribe(topics) if topics else self._sdk.unsubscribe())

    def unsubscribe(self) -> None:
        self._check_open()
        with self._gate:
            self._polled_at = None
            self._guard(self._sdk.unsubscribe)

    def subscription(self) -> list[str]:
        self._check_open()
        with self._gate:
            return sorted(self._sdk.subscription())

    def poll(self, timeout: float = -1) -> Messages:
        """Messages, none after `timeout` seconds. Raises IllegalStateException without a subscription, and what
        callbacks raise; KafkaException(_MAX_POLL_EXCEEDED) when the last one is longer ago than max.poll.interval.ms.
        """
        self._check_open()
        given = seconds(number(timeout))
        with self._gate:
            self._events.serve_all()
            if not self._sdk.subscription():
                raise IllegalStateException("Share consumer is not subscribed to any topic")
            self._check_in_time()
            try:
                return self._take(None if given is None else time.monotonic() + given)
            finally:
                self._polled_at = time.monotonic()

    def _check_in_time(self) -> None:
        allowed = self._sdk.config.max_poll_interval_ms / 1000
        if self._polled_at is not None and time.monotonic() - self._polled_at > allowed:
            self._polled_at = None
            raise local(Codes._MAX_POLL_EXCEEDED, "Application maximum poll interval exceeded")

    def _take(self, ends_at: float | None) -> Messages:
        """What comes until then; callbacks are served meanwhile."""
        while True:
            left = None if ends_at is None else max(ends_at - time.monotonic(), 0.0)
            wait = left
            if self._has_callbacks:
                wait = SLICE_SECONDS if left is None else min(left, SLICE_SECONDS)
            found = self._guard(lambda wait=wait: self._sdk.poll(wait))  # type: ignore[misc]
            if found:
                return Messages(map(_message, found))
            self._events.serve_all()
            if wait == left:
                return Messages()

    def acknowledge(self, message: Message, ack_type: AcknowledgeType = AcknowledgeType.ACCEPT) -> None:
        """Say what became of a message."""
        self._check_open()
        if not isinstance(message, Message):
            raise TypeError("expected Message")
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is None or partition is None or offset is None:
            raise ValueError("Failed to acknowledge: the message has no topic, partition or offset")
        self.acknowledge_offset(topic, partition, offset, ack_type)

    def acknowledge_offset(
        self, topic: str, partition: int, offset: int, ack_type: AcknowledgeType = AcknowledgeType.ACCEPT
    ) -> None:
        """Say what became of a message, by its place."""
        self._check_open()
        if not isinstance(topic, str) or not isinstance(partition, int) or not isinstance(offset, int):
            raise TypeError("expected a topic's name, a partition and an offset")
        if not topic or partition < 0 or offset < 0:
            raise ValueError(f"Failed to acknowledge: {topic!r} [{partition}] at {offset} is no place of a message")
        kind = SdkAcknowledgeType[AcknowledgeType(ack_type).name]
        with self._gate:
            if not self._is_explicit:
                raise IllegalStateException("acknowledge needs share.acknowledgement.mode=explicit")
            self._guard(lambda: self._sdk.acknowledge_offset(topic, partition, offset, kind))

    def commit_sync(self, timeout: float = 60) -> dict[TopicPartition, KafkaException | None]:
        """Send what was acknowledged; what went wrong with each partition."""
        self._check_open()
        given = seconds(number(timeout))
        with self._gate:
            self._events.serve_all()
            found = self._guard(lambda: self._sdk.commit(given))
        return {
            TopicPartition.at(place): None if error is None else as_exception(error) for place, error in found.items()
        }

    def commit_async(self) -> None:
        """Send what was acknowledged, soon."""
        self._check_open()
        with self._gate:
            self._events.serve_all()
            self._guard(self._sdk.commit_async)

    def set_acknowledgement_commit_callback(self, callback: OnAcknowledged | None) -> None:
        """callback({partition: offsets}, exception or None) is told by poll(), commit_sync() and close()."""
        self._check_open()
        if callback is not None and not callable(callback):
            raise TypeError("expected callback to be callable")
        told = callback

        def tell(result: Any) -> None:
            error = None if result.error is None else as_exception(result.error)
            offsets = {offset for first, last in result.offsets for offset in range(first, last + 1)}
            if told is not None:
                told({TopicPartition.at(result.partition): offsets}, error)

        with self._gate:
            self._sdk.set_acknowledgement_commit_callback(None if told is None else tell)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Raises KafkaException: credentials are fixed when the client is made."""
        self._check_open()
        refuse_credentials(username, password)

    def close(self) -> None:
        """Send what was acknowledged, release the rest, leave the group; serve callbacks. Harmless when closed."""
        if self._closed:
            return
        with self._gate:
            self._closed = True
            self._guard(self._sdk.close)
            self._events.serve_all()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise IllegalStateException(CLOSED)

    def _guard(self, call: Callable[[], Any]) -> Any:
        """What `call` gives; the SDK's errors as this client tells them."""
        try:
            return call()
        except PystreamError as error:
            failure = as_exception(error)
            what: KafkaError = failure.args[0]
            if what.code() == Codes._STATE:
                raise IllegalStateException(what.str()) from error
            raise failure from error


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
