"""Producer: confluent_kafka's, over the SDK's engine.

    produce() ── topic known ──► accumulator ──► brokers ──► Events ──► poll(), flush(): on_delivery
        └── not yet: waits in order, here ──┘

produce() never waits: what it cannot take at once is refused with BufferError, and a topic that is not known yet keeps
its messages until it is, or message.timeout.ms is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Self, TypeVar

from pystream.client.cluster.retry import Deadline
from pystream.client.config import ProducerConfig
from pystream.client.sync.producer import Producer as SdkProducer
from pystream.common.config import INT_MAX
from pystream.common.errors import (
    ClientError,
    Closed,
    InvalidProducerEpoch,
    InvalidTimestamp,
    InvalidTxnState,
    MessageTooLarge,
    ProducerFenced,
    PystreamError,
    UnknownTopicOrPartition,
)
from pystream.common.errors import KafkaError as BrokerError
from pystream.compat.confluent_kafka import _arguments as arguments
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import KafkaError, KafkaException, as_exception, as_kafka_error, local
from pystream.compat.confluent_kafka._metadata import ClusterMetadata, list_topics
from pystream.compat.confluent_kafka._partitioners import ANY_PARTITION, PARTITIONERS
from pystream.compat.confluent_kafka._settings import invalid_value, loaded, parse
from pystream.compat.confluent_kafka._telling.background import Subject, start, weakly
from pystream.compat.confluent_kafka._telling.events import Events, LastRaised
from pystream.compat.confluent_kafka._values import (
    TIMESTAMP_CREATE_TIME,
    Message,
    TopicPartition,
    refuse_credentials,
    seconds,
)

T = TypeVar("T")
NOW: Final = -1
CLOSED: Final = "Producer has been closed"
LEVELS: Final = ("gzip", "lz4", "zstd")
SHORT_SECONDS: Final = 0.2  # a flush() of less is one step in confluent_kafka, and ends with the first exception
FENCED: Final = (ProducerFenced, InvalidProducerEpoch)

OnDelivery = Callable[[KafkaError | None, Message], Any]


class Purged(ClientError):
    """The application took the message back with purge()."""


class _Record(NamedTuple):
    """What was produced, for its delivery report."""

    topic: str
    value: Any
    key: Any
    headers: list[tuple[bytes, bytes | None]] | None
    partition: int
    timestamp_ms: int
    on_delivery: OnDelivery | None
    produced_at: float


class Producer:
    """Asynchronous producer. Callbacks are called by poll() and flush(), in the thread that calls those."""

    _closed = True  # before __init__, which a subclass may forget

    def __init__(self, config: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        self._closed = True
        settings = parse(ProducerConfig, config, keywords, {"on_delivery"})
        level, codec = settings.own["compression.level"], str(settings.sdk.get("compression.type"))
        if level >= 0 and codec in LEVELS:
            settings.sdk.setdefault(f"compression.{codec}.level", max(level, 1))
        if settings.own["partitioner"] not in PARTITIONERS:
            raise invalid_value("partitioner", settings.own["partitioner"])
        self._partition_of = PARTITIONERS[settings.own["partitioner"]]
        self._limit: int = settings.own["queue.buffering.max.messages"] or 1 << 62
        self._only_errors: bool = settings.own["delivery.report.only.error"]
        self._on_delivery: OnDelivery | None = settings.callback("on_delivery")
        self._events = Events()
        self._lock = threading.Lock()
        self._outstanding = 0
        self._waiting: dict[str, list[_Record]] = {}  # topics that are not known yet
        self._unfinished = ""  # the call about transactions that ran out of time: only it may be made again
        self._sdk: SdkProducer = loaded(lambda: SdkProducer(settings.sdk))
        self._engine = self._sdk._engine
        self._runner = self._sdk._runner
        self._append = self._engine.append_now
        self._count_of = self._engine.accumulator.partition_count
        self._fatal: KafkaError | None = None  # why nothing more can be sent
        self._closed = False
        start(Subject("producer", self._engine.cluster, self._runner, self._events, weakly(self.__len__, 0)), settings)

    # --- producing ----------------------------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int = ANY_PARTITION,
        callback: OnDelivery | None = None,
        on_delivery: OnDelivery | None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """Queue a message. Raises BufferError when the queue is full, KafkaException for what can never be sent.

        Raises TypeError, ValueError and OverflowError for arguments that confluent_kafka does not take either.
        """
        if self._closed:
            raise RuntimeError(CLOSED)
        arguments.topic_name(topic)
        if self._outstanding >= self._limit:
            raise BufferError("Local: Queue full")
        record = _Record(
            topic,
            arguments.field(value, 2),
            arguments.field(key, 3),
            arguments.headers(headers),
            arguments.whole(partition, INT_MAX),
            arguments.whole(timestamp, arguments.LARGEST_TIMESTAMP) or NOW,
            callback or on_delivery or self._on_delivery,
            time.monotonic(),
        )
        if self._fatal is not None:
            raise local(Codes._FATAL, "Unable to produce message: Local: Fatal error")
        with self._lock:
            self._outstanding += 1
        try:
            if not self._try(record) and not self._keep(record):
                self._try(record)
        except BaseException:
            self._done()
            raise

    def _try(self, record: _Record) -> bool:
        """Hand a record to the accumulator; False when its topic is not known yet."""
        topic = record.topic
        if topic in self._waiting:
            return False
        try:
            delivery = self._append(
                topic, record.value, record.key, record.headers, self._place(record), record.timestamp_ms
            )
        except UnknownTopicOrPartition as error:
            if self._count_of(topic) > 0:
                raise local(Codes._UNKNOWN_PARTITION, f"Unable to produce message: {error}") from error
            return False
        except InvalidTimestamp as error:
            self._failed(record, as_kafka_error(error))
            return True
        except MessageTooLarge as error:
            raise as_exception(error, "Unable to produce message: ", Codes.MSG_SIZE_TOO_LARGE) from error
        except Closed:
            self._check()
            raise
        except InvalidTxnState as error:
            raise as_exception(error, "Unable to produce message: ", Codes._STATE) from error
        except PystreamError as error:
            raise as_exception(error, "Unable to produce message: ") from error
        if delivery is None:
            raise BufferError("Local: Queue full")
        delivery.add_callback(partial(self._delivered, record))
        return True

    def _place(self, record: _Record) -> int:
        if record.partition != ANY_PARTITION:
            return record.partition
        count = self._count_of(record.topic)
        return self._partition_of(record.key, count) if count > 0 else ANY_PARTITION

    def _keep(self, record: _Record) -> bool:
        """Keep a record until its topic is known; False when it is known by now."""
        topic = record.topic
        with self._lock:
            kept = self._waiting.get(topic)
            if kept is not None:
                kept.append(record)
                return True
            if self._count_of(topic) > 0:
                return False
            self._waiting[topic] = [record]
        asyncio.run_coroutine_threadsafe(self._learn(topic), self._runner.loop)
        return True

    async def _learn(self, topic: str) -> None:
        """In the loop: once the topic is known its records go on, in order; else they fail."""
        deadline = Deadline(self._engine.cluster.clock, self._engine.config.delivery_timeout_ms, "producing")
        try:
            await self._engine.learn(topic, ANY_PARTITION, deadline)
        except PystreamError as error:
            with self._lock:
                records = self._waiting.pop(topic, [])
            for record in records:
                self._failed(record, as_kafka_error(error, code=_code_of_unknown(error)))
            return
        while True:
            with self._lock:
                records = self._waiting.get(topic, [])
                if not records:
                    self._waiting.pop(topic, None)
                    return
                self._waiting[topic] = []
            for record in records:
                await self._send_late(record)

    async def _send_late(self, record: _Record) -> None:
        try:
            delivery = await self._engine.append(
                record.topic, record.value, record.key, record.headers, self._place(record), record.timestamp_ms
            )
        except UnknownTopicOrPartition as error:
            self._failed(record, as_kafka_error(error, code=Codes._UNKNOWN_PARTITION))
        except PystreamError as error:
            self._failed(record, as_kafka_error(error))
        else:
            delivery.add_callback(partial(self._delivered, record))

    def produce_batch(
        self,
        topic: str,
        messages: list[dict[str, Any]],
        partition: int = ANY_PARTITION,
        callback: OnDelivery | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> int:
        """Queue dicts with the arguments of produce(); how many. One that cannot be gets its error as "_error"."""
        self._check_open()
        if not isinstance(messages, list):
            raise TypeError("messages must be a list")
        for index, message in enumerate(messages):
            arguments.batch_message(index, message)
        queued = 0
        for message in messages:
            report = message.get("callback") or on_delivery or callback
            try:
                self.produce(
                    topic,
                    message.get("value"),
                    message.get("key"),
                    partition if message.get("partition") is None else message["partition"],
                    report,
                    None,
                    message.get("timestamp") or 0,
                    message.get("headers"),
                )
            except BufferError:
                message["_error"] = KafkaError(Codes._QUEUE_FULL)
            except KafkaException as error:
                message["_error"] = error.args[0]
            else:
                queued += 1
        return queued

    # --- delivery reports ---------------------------------------------------------------------------------------------

    def _delivered(self, record: _Record, delivery: Any) -> None:
        """A record's fate is known; in the loop."""
        error = delivery.exception(0)
        if error is None and (record.on_delivery is None or self._only_errors):
            self._done()
        elif error is None:
            message = Message(
                record.topic,
                delivery.partition,
                delivery.offset,
                record.key,
                record.value,
                None,  # confluent_kafka does not tell them either
                None,
                (TIMESTAMP_CREATE_TIME, delivery.timestamp),
                time.monotonic() - record.produced_at,
            )
            self._report(record.on_delivery, None, message)
        else:
            code = Codes._PURGE_QUEUE if isinstance(error, Purged) else None
            if isinstance(error, FENCED) and self._engine.transactions is not None:
                self._note_fenced(error)
            self._failed(record, as_kafka_error(error, code=code, fatal=False), delivery.partition)

    def _failed(self, record: _Record, error: KafkaError, partition: int | None = None) -> None:
        if record.on_delivery is None:
            self._done()
            return
        place = record.partition if partition is None else partition
        message = Message(
            record.topic,
            place,
            -1001,
            record.key,
            record.value,
            None,
            error,
            (TIMESTAMP_CREATE_TIME, record.timestamp_ms),
            time.monotonic() - record.produced_at,
        )
        self._report(record.on_delivery, error, message)

    def _note_fenced(self, error: BaseException) -> KafkaError:
        """From now on calls raise this error; the first poll() or flush() to come does, too, as confluent_kafka's."""
        with self._lock:
            if self._fatal is not None:
                return self._fatal
            fatal = self._fatal = KafkaError(Codes._FENCED, as_kafka_error(error).str(), fatal=True)

        def call() -> None:
            raise KafkaException(fatal)

        self._events.put(call)
        return fatal

    def _report(self, on_delivery: OnDelivery | None, error: KafkaError | None, message: Message) -> None:
        def call() -> None:
            self._done()
            if on_delivery is not None:
                on_delivery(error, message)

        self._events.put(call)

    def _done(self) -> None:
        with self._lock:
            self._outstanding -= 1
            idle = self._outstanding == 0
        if idle:
            self._events.wake()

    def poll(self, timeout: float | None = None) -> int:
        """Serve callbacks, waiting up to `timeout` seconds for the first one; how many were served."""
        self._check_open()
        given = seconds(timeout)
        ends_at = None if given is None else time.monotonic() + given
        if not self._events.wait(lambda: self._closed, ends_at):
            return 0
        return self._events.serve()

    def flush(self, timeout: float | None = None) -> int:
        """Wait until everything is delivered or has failed, serving callbacks; how many are left after `timeout`.

        What callbacks raise ends it when all have been called: the last exception comes out.
        """
        self._check_open()
        given = seconds(timeout)
        ends_at = None if given is None else time.monotonic() + given
        is_short = given is not None and given < SHORT_SECONDS
        every = LastRaised()
        hurry = asyncio.run_coroutine_threadsafe(self._hurry(), self._runner.loop)
        try:
            while True:
                with contextlib.nullcontext() if is_short else every:
                    self._events.serve() if is_short else self._events.serve_all()
                if self._outstanding == 0 and not self._events:
                    break
                if not self._events.wait(lambda: self._outstanding == 0, ends_at):
                    break
        finally:
            hurry.cancel()
        every.end()
        return len(self)

    async def _hurry(self) -> None:
        """Until cancelled: nothing lingers."""
        accumulator = self._engine.accumulator
        accumulator.begin_flush()
        try:
            self._engine.sender.wake()
            await asyncio.get_running_loop().create_future()
        finally:
            accumulator.end_flush()

    def __len__(self) -> int:
        """Messages and callbacks that wait."""
        return 0 if self._closed else self._outstanding

    def __bool__(self) -> bool:
        return True

    def purge(self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True) -> None:
        """Fail what waits to be sent; what is in flight is left to its own fate, which is reported as it comes."""
        self._check_open()
        if not in_queue:
            return

        async def take_back() -> None:
            with self._lock:
                kept, self._waiting = self._waiting, {}
            for records in kept.values():
                for record in records:
                    self._failed(record, KafkaError(Codes._PURGE_QUEUE, "Local: Purged in queue"))
            for batch in self._engine.accumulator.take_all():
                self._engine.accumulator.fail(batch, Purged("purged in queue"))

        self._run(take_back())

    # --- transactions -------------------------------------------------------------------------------------------------

    def init_transactions(self, timeout: float | None = None) -> None:
        """Before the first transaction: ends what an earlier producer of this transactional.id left."""
        transactions = self._transactional("init_transactions")
        self._transact("init_transactions", transactions.initialize(), timeout)

    def begin_transaction(self) -> None:
        transactions = self._transactional("begin_transaction")
        try:
            transactions.begin()
        except PystreamError as error:
            raise as_exception(error, code=Codes._STATE if isinstance(error, InvalidTxnState) else None) from error

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: Any, timeout: float | None = None
    ) -> None:
        """Commit a consumer's positions together with the messages."""
        transactions = self._transactional("send_offsets_to_transaction")
        offsets = {
            (position.topic, position.partition): _Committed(position.offset, position.leader_epoch, position.metadata)
            for position in positions
            if position.offset >= 0
        }
        if offsets:
            self._transact("send_offsets_to_transaction", transactions.send_offsets(offsets, group_metadata), timeout)

    def commit_transaction(self, timeout: float | None = None) -> None:
        """Flush, serve callbacks, commit."""
        transactions = self._transactional("commit_transaction")
        self.flush(timeout)
        self._transact("commit_transaction", transactions.commit(), timeout)

    def abort_transaction(self, timeout: float | None = None) -> None:
        transactions = self._transactional("abort_transaction")
        self._transact("abort_transaction", transactions.abort(), timeout)
        self._events.serve()

    def _transactional(self, call: str) -> Any:
        """Raises KafkaException without transactional.id, and while another call than `call` is to be made again."""
        self._check_open()
        if self._fatal is not None:
            raise KafkaException(self._fatal)
        if self._unfinished not in ("", call):
            reason = f"Conflicting {self._unfinished} API call is already in progress"
            raise KafkaException(KafkaError(Codes._CONFLICT, reason, retriable=True))
        try:
            return self._engine.transactional()
        except PystreamError as error:
            raise as_exception(error, code=Codes._NOT_CONFIGURED) from error

    def _transact(self, call: str, work: Coroutine[Any, Any, None], timeout: float | None) -> None:
        self._unfinished = ""
        try:
            self._run(work, timeout)
        except KafkaException as error:
            if error.args[0].code() == Codes._TIMED_OUT:
                self._unfinished = call
            raise

    # --- life ---------------------------------------------------------------------------------------------------------

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        """What there is in the cluster, or of one topic."""
        self._check_open()
        return self._run(list_topics(self._engine.cluster, topic, seconds(timeout)))

    def cluster_id(self, timeout: float = -1) -> str | None:
        return self.list_topics("", timeout).cluster_id

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Raises KafkaException: credentials are fixed when the client is made."""
        self._check_open()
        refuse_credentials(username, password)

    def close(self, timeout: float | None = None) -> bool:
        """Flush, for at most `timeout` seconds, and let go of everything. Harmless when closed.

        What callbacks raise comes out when it is closed.
        """
        if self._closed:
            return True
        try:
            self.flush(timeout)
        finally:
            self._closed = True
            self._sdk.close(0)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(CLOSED)

    def _check(self) -> None:
        """Raises what the producer failed with for good, as a fatal error."""
        failure = self._engine.failure
        if failure is not None:
            raise KafkaException(self._note_fenced(failure)) from failure
        raise RuntimeError(CLOSED)

    def _run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        try:
            found: T = self._runner.run(work, timeout_s=seconds(timeout))
            return found
        except TimeoutError as error:
            raise KafkaException(KafkaError(Codes._TIMED_OUT, f"Local: {error}", retriable=True)) from error
        except PystreamError as error:
            if self._engine.failure is not None:
                raise KafkaException(self._note_fenced(error)) from error
            code = Codes._STATE if isinstance(error, InvalidTxnState) else None
            raise as_exception(error, code=code) from error


class _Committed(NamedTuple):
    offset: int
    leader_epoch: int | None
    metadata: str | None


def _code_of_unknown(error: PystreamError) -> int | None:
    """Of messages whose topic was not told of in time; None: the error's own."""
    if isinstance(error, UnknownTopicOrPartition):
        return Codes._UNKNOWN_TOPIC
    return None if isinstance(error, BrokerError | Closed) else Codes._MSG_TIMED_OUT
