"""Deserializers at work: messages whose key and value are what the deserializers made of them.

The records of a fetch are decoded when they are handed out, those in front of one that does not decode as usual; then
the next poll raises SerializationError, which names the record, and goes on raising it until the user seeks past it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pystream._native.message_batch import Message
from pystream.client.serdes.unanswered import Unanswered
from pystream.common.errors import PystreamError, SchemaRegistryError, SerializationError

Deserializer: TypeAlias = Callable[..., Any]
"""`deserializer(topic, data)`; with an attribute `uses_headers` that is true, `deserializer(topic, data, headers)`."""
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    M = TypeVar("M", Message, "DecodedMessage", default=Message)
else:
    from typing import TypeVar

    M = TypeVar("M")  # what a consumer gives: Message, or DecodedMessage with deserializers
NOT_FOUND: Final = 404  # HTTP's
_Step: TypeAlias = Callable[[Message, "bytes | None"], Any]


class DecodedMessage:
    """A message whose `key` and `value` are decoded; `raw` is the message as it came."""

    __slots__ = ("key", "raw", "value")

    def __init__(self, raw: Message, key: Any, value: Any) -> None:
        self.raw: Final = raw
        self.key = key
        self.value = value

    @property
    def topic(self) -> str:
        return self.raw.topic

    @property
    def partition(self) -> int:
        return self.raw.partition

    @property
    def offset(self) -> int:
        return self.raw.offset

    @property
    def timestamp(self) -> int:
        """Milliseconds; -1 is none."""
        return self.raw.timestamp

    @property
    def timestamp_type(self) -> int:
        """CREATE_TIME or LOG_APPEND_TIME."""
        return self.raw.timestamp_type

    @property
    def leader_epoch(self) -> int:
        """-1 when the broker did not say."""
        return self.raw.leader_epoch

    @property
    def delivery_count(self) -> int | None:
        """How often a share group has given it out, this time included; None of a consumer that is in none."""
        return self.raw.delivery_count

    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        return self.raw.headers

    def __repr__(self) -> str:
        return f"DecodedMessage({self.topic}-{self.partition}, offset {self.offset}, {self.key!r}: {self.value!r})"


Advice: TypeAlias = Callable[[Message], str]
"""What to do about a record that does not decode."""


def seek_past(message: Message) -> str:
    """The advice of consumers, which stay in front of it."""
    return f"to go on, seek to {message.offset + 1}"


class Decoder:
    """Applies the deserializers of one consumer."""

    def __init__(
        self,
        key: Deserializer | None,
        value: Deserializer | None,
        *,
        may_block: bool,
        advice: Advice = seek_past,
    ) -> None:
        """Unless it `may_block`, deserializers that must ask a registry have Unasked raised instead."""
        self._advice = advice
        turn = getattr(key, "for_key", None)
        self._key = _step(key if turn is None else turn(), may_block)
        self._value = _step(value, may_block)

    def decode(self, messages: Iterable[Message]) -> list[DecodedMessage]:
        """The messages decoded, up to the first that cannot be. Raises when that is the first of them.

        SerializationError names the record; Unasked says what to ask before it is tried again. SchemaRegistryError: the
        registry could not be asked; the record is not to blame.
        """
        decoded: list[DecodedMessage] = []
        for message in messages:
            try:
                key = self._apply(self._key, message, message.key, "key")
                value = self._apply(self._value, message, message.value, "value")
            except (PystreamError, Unasked):
                if not decoded:
                    raise
                break
            decoded.append(DecodedMessage(message, key, value))
        return decoded

    def _apply(self, step: _Step | None, message: Message, data: bytes | None, what: str) -> Any:
        if step is None or data is None:
            return data
        try:
            return step(message, data)
        except Unanswered as missing:
            raise Unasked(missing, message, what, self._advice) from None
        except Exception as error:
            if _is_passing(error):
                raise
            raise _refused(message, what, error, self._advice) from error


class Unasked(Exception):
    """Not an error: a registry must be asked before a record can be decoded."""

    def __init__(self, missing: Unanswered, message: Message, what: str, advice: Advice) -> None:
        super().__init__(str(missing))
        self._missing = missing
        self._advice = advice
        self._message = message
        self._what = what

    async def resolve(self) -> None:
        """Ask, on the running loop. Raises as `decode`."""
        try:
            await self._missing.resolve_async()
        except PystreamError as error:
            if _is_passing(error):
                raise
            raise _refused(self._message, self._what, error, self._advice) from error


def _is_passing(error: Exception) -> bool:
    """Whether it is no fault of the record: the registry is away, or refuses us; 404 is a schema that nobody has."""
    return isinstance(error, SchemaRegistryError) and error.status != NOT_FOUND


def _refused(message: Message, what: str, error: Exception, advice: Advice) -> SerializationError:
    place = f"{message.topic}-{message.partition} at offset {message.offset}"
    refused = SerializationError(
        f"{place}: the {what}'s deserializer refused it: {str(error) or type(error).__name__}; {advice(message)}"
    )
    refused.topic, refused.partition, refused.offset = message.topic, message.partition, message.offset
    return refused


def decoder(
    key: Deserializer | None, value: Deserializer | None, *, may_block: bool, advice: Advice = seek_past
) -> Callable[[Sequence[Message]], list[DecodedMessage]] | None:
    """What decodes messages; None where there is nothing to do."""
    return None if key is None and value is None else Decoder(key, value, may_block=may_block, advice=advice).decode


def _step(deserializer: Deserializer | None, may_block: bool) -> _Step | None:
    if deserializer is None:
        return None
    attempt: Deserializer = deserializer if may_block else getattr(deserializer, "attempt", deserializer)
    if getattr(deserializer, "uses_headers", False):
        return lambda message, data: attempt(message.topic, data, message.headers)
    return lambda message, data: attempt(message.topic, data)
