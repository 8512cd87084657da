"""KafkaError and KafkaException, and what the SDK's errors become in them."""

from __future__ import annotations

import builtins
from typing import Final

from pystream.common import errors
from pystream.compat.confluent_kafka._codes import NAMES, Codes, text_of

_LOCAL: Final[tuple[tuple[type[Exception], int], ...]] = (  # the first that fits; broker errors have their own numbers
    (errors.DeliveryTimeout, Codes._MSG_TIMED_OUT),
    (errors.BufferFull, Codes._QUEUE_FULL),
    (errors.NoOffsetForPartition, Codes._AUTO_OFFSET_RESET),
    (errors.CommitFailed, Codes.ILLEGAL_GENERATION),
    (errors.NoBrokersAvailable, Codes._ALL_BROKERS_DOWN),
    (errors.ClientForked, Codes._DESTROY),
    (errors.Closed, Codes._DESTROY),
    (errors.NetworkFailure, Codes._TRANSPORT),
    (errors.DeadlineExceeded, Codes._TIMED_OUT),
    (errors.ClientError, Codes._STATE),
    (errors.LimitExceeded, Codes._BAD_MSG),
    (errors.MalformedInput, Codes._BAD_MSG),
)
_FATAL: Final = (errors.ProducerFenced, errors.InvalidProducerEpoch)
_ABORTABLE: Final = (errors.TransactionAbortable, errors.CommitFailed)


class KafkaError(Codes):
    """An error as a value: what delivery reports, messages and KafkaException carry. Compares with its number."""

    __slots__ = ("_code", "_fatal", "_reason", "_retriable", "_txn_requires_abort")

    def __init__(
        self,
        error: int,
        reason: builtins.str | None = None,
        fatal: bool = False,
        retriable: bool = False,
        txn_requires_abort: bool = False,
    ) -> None:
        self._code = int(error)
        self._reason = reason
        self._fatal = bool(fatal)
        self._retriable = bool(retriable)
        self._txn_requires_abort = bool(txn_requires_abort)

    def code(self) -> int:
        """Its number: one of the class attributes."""
        return self._code

    def name(self) -> builtins.str:
        """The name of that number."""
        return NAMES.get(self._code, f"ERR_{self._code}?")

    def str(self) -> builtins.str:
        """What it says."""
        return self._reason or text_of(self._code)

    def fatal(self) -> bool:
        """Whether the client cannot be used any more."""
        return self._fatal

    def retriable(self) -> bool:
        """Whether the same call may be tried again."""
        return self._retriable

    def txn_requires_abort(self) -> bool:
        """Whether the transaction must be aborted, and can begin anew then."""
        return self._txn_requires_abort

    def __repr__(self) -> builtins.str:
        kind = "FATAL," if self._fatal else ""
        return f'KafkaError{{{kind}code={self.name()},val={self._code},str="{self.str()}"}}'

    __str__ = __repr__

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return self._code

    def __eq__(self, other: object) -> bool:
        return self._code == _number(other)

    def __ne__(self, other: object) -> bool:
        return self._code != _number(other)

    def __lt__(self, other: object) -> bool:
        number = _number(other)
        return NotImplemented if number is None else self._code < number

    def __le__(self, other: object) -> bool:
        number = _number(other)
        return NotImplemented if number is None else self._code <= number

    def __gt__(self, other: object) -> bool:
        number = _number(other)
        return NotImplemented if number is None else self._code > number

    def __ge__(self, other: object) -> bool:
        number = _number(other)
        return NotImplemented if number is None else self._code >= number


class KafkaException(Exception):
    """Raised with a KafkaError as its only argument."""


class IllegalStateException(RuntimeError):
    """A call that makes no sense in the state that the object is in."""


class ConcurrentModificationException(RuntimeError):
    """Two threads used what belongs to one."""


def _number(other: object) -> int | None:
    if isinstance(other, KafkaError):
        return other._code
    return other if isinstance(other, int) else None


def code_of(error: BaseException) -> int:
    """The number for an error of the SDK."""
    if isinstance(error, errors.CommitFailed) and isinstance(error.__cause__, errors.KafkaError):
        return error.__cause__.code
    for kind, code in _LOCAL:
        if isinstance(error, kind):
            return code
    if isinstance(error, errors.KafkaError):
        return error.code
    return Codes._TIMED_OUT if isinstance(error, TimeoutError) else Codes._FAIL


def as_kafka_error(
    error: BaseException, what: builtins.str = "", code: int | None = None, *, fatal: bool | None = None
) -> KafkaError:
    """An error of the SDK as confluent_kafka tells it; `what` was being done."""
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        return error.args[0]
    number = code_of(error) if code is None else code
    where = "Broker: " if isinstance(error, errors.KafkaError) and number >= 0 else "Local: "
    if number == Codes._MSG_TIMED_OUT:
        where = f"{text_of(number)}: "
    return KafkaError(
        number,
        f"{what}{where}{error}",
        fatal=isinstance(error, _FATAL) if fatal is None else fatal,
        retriable=isinstance(error, errors.KafkaError) and error.retriable,
        txn_requires_abort=isinstance(error, _ABORTABLE),
    )


def as_exception(error: BaseException, what: builtins.str = "", code: int | None = None) -> KafkaException:
    """The same, to be raised."""
    return error if isinstance(error, KafkaException) else KafkaException(as_kafka_error(error, what, code))


def local(code: int, reason: builtins.str | None = None) -> KafkaException:
    """An error of the client's own, to be raised."""
    return KafkaException(KafkaError(code, reason))
