"""SerializingProducer, DeserializingConsumer, DeserializingShareConsumer: clients that call serializers by themselves.

The key comes before the value, so that what is done for one can be known to the other; a message is changed when both
are done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pystream.compat.confluent_kafka._consumer import Consumer
from pystream.compat.confluent_kafka._errors import KafkaError, local
from pystream.compat.confluent_kafka._producer import Producer
from pystream.compat.confluent_kafka._share import Messages, ShareConsumer
from pystream.compat.confluent_kafka._values import Message
from pystream.compat.confluent_kafka.error import (
    ConsumeError,
    KeyDeserializationError,
    KeySerializationError,
    ValueDeserializationError,
    ValueSerializationError,
)
from pystream.compat.confluent_kafka.serialization import MessageField, SerializationContext

Serde = Callable[..., Any]


def _taken(config: Mapping[str, Any], names: tuple[str, str]) -> tuple[dict[str, Any], Serde | None, Serde | None]:
    """The settings without the serializers, and those. Raises TypeError."""
    left = dict(config)
    key, value = (left.pop(name, None) for name in names)
    for given in (key, value):
        if given is not None and not callable(given):
            raise TypeError(f"expected a serializer, which can be called, found {given!r}")
    return left, key, value


def _deserialized(
    message: Message, key_deserializer: Serde | None, value_deserializer: Serde | None
) -> tuple[Any, Any]:
    """Key and value. Raises KeyDeserializationError and ValueDeserializationError."""
    key, value = message.key(), message.value()
    context = SerializationContext(message.topic() or "", MessageField.KEY, message.headers())
    if key_deserializer is not None:
        try:
            key = key_deserializer(key, context)
        except Exception as error:
            raise KeyDeserializationError(error, message) from error
    context.field = MessageField.VALUE
    if value_deserializer is not None:
        try:
            value = value_deserializer(value, context)
        except Exception as error:
            raise ValueDeserializationError(error, message) from error
    return key, value


class SerializingProducer(Producer):
    """A Producer with `key.serializer` and `value.serializer`."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        settings, self._key_serializer, self._value_serializer = _taken(conf, ("key.serializer", "value.serializer"))
        super().__init__(settings)

    def produce(  # type: ignore[override]  # confluent_kafka has key before value here
        self,
        topic: str,
        key: Any = None,
        value: Any = None,
        partition: int = -1,
        on_delivery: Any = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """As Producer.produce. Raises KeySerializationError and ValueSerializationError too."""
        self._check_open()  # before serializers, which may register a schema
        if not isinstance(topic, str):
            raise TypeError(f"topic must be a str, not {type(topic).__name__}")
        context = SerializationContext(topic, MessageField.KEY, headers)
        if self._key_serializer is not None:
            try:
                key = self._key_serializer(key, context)
            except Exception as error:
                raise KeySerializationError(error) from error
        context.field = MessageField.VALUE
        if self._value_serializer is not None:
            try:
                value = self._value_serializer(value, context)
            except Exception as error:
                raise ValueSerializationError(error) from error
        super().produce(topic, value, key, partition, None, on_delivery, timestamp, headers)


class DeserializingConsumer(Consumer):
    """A Consumer with `key.deserializer` and `value.deserializer`; poll() raises what is no message."""

    def __init__(self, conf: Mapping[str, Any]) -> None:
        settings, self._key_deserializer, self._value_deserializer = _taken(
            conf, ("key.deserializer", "value.deserializer")
        )
        super().__init__(settings)

    def poll(self, timeout: float | None = None) -> Message | None:
        """As Consumer.poll. Raises ConsumeError, KeyDeserializationError and ValueDeserializationError."""
        message = super().poll(timeout)
        if message is None:
            return None
        if (failure := message.error()) is not None:
            raise ConsumeError(failure, kafka_message=message)
        key, value = _deserialized(message, self._key_deserializer, self._value_deserializer)
        message.set_key(key)
        message.set_value(value)
        return message

    def consume(self, num_messages: int = 1, timeout: float | None = None) -> list[Message]:
        """Raises KafkaException: confluent_kafka has none here, either."""
        raise local(KafkaError._NOT_IMPLEMENTED, "DeserializingConsumer has no consume(): use poll()")


class DeserializingShareConsumer(ShareConsumer):
    """A ShareConsumer with `key.deserializer` and `value.deserializer`.

    A message that does not deserialize stays in what poll() gives, with its bytes and an error(); it can be rejected.
    """

    def __init__(self, conf: Mapping[str, Any]) -> None:
        settings, self._key_deserializer, self._value_deserializer = _taken(
            conf, ("key.deserializer", "value.deserializer")
        )
        super().__init__(settings)

    def poll(self, timeout: float = -1) -> Messages:
        """As ShareConsumer.poll."""
        messages = super().poll(timeout)
        for message in messages:
            if message.error() is None:
                self._deserialize(message)
        return messages

    def _deserialize(self, message: Message) -> None:
        if message.topic() is None:
            raise TypeError("Message topic is None")
        try:
            key, value = _deserialized(message, self._key_deserializer, self._value_deserializer)
        except (KeyDeserializationError, ValueDeserializationError) as error:
            message.set_error(error.args[0])
            return
        message.set_key(key)
        message.set_value(value)
