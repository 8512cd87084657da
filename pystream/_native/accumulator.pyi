"""The producer's buffer: records of any thread become batches for the sender, within one exact memory bound."""

from collections.abc import Callable
from typing import final

from pystream._native.appender import Appender
from pystream._native.delivery import ProducerBatch

@final
class Accumulator(Appender):
    """Appending may come from any thread; all else from the one that sends.

        append* ──► [open batch] ──full, linger over, flush──► ready() ─► drain() ──► in flight ─► complete() | fail()
                        ▲ one per partition                                  ▲            │
                        └────────────────────────────────────────────────────┴─ retry() | split()

    `limit_bytes` (buffer.memory) bounds what the batches take, compressed or not, in flight too.  `on_ready` is called
    from append* when the sender has something to do and does not know it: at most once between two calls of ready().
    `on_memory` is called when memory came back after an append was refused.  Both must be quick and not raise; they
    are called without any lock, from whichever thread.  Topics and append* are Appender's.
    """

    def __new__(
        cls,
        *,
        limit_bytes: int = 33_554_432,
        batch_bytes: int = 16_384,
        bulk_bytes: int = 0,
        linger_ms: int = 5,
        max_request_bytes: int = 1_048_576,
        delivery_timeout_ms: int = 120_000,
        codec: int = 0,
        level: int | None = None,
        transactional: bool = False,
        ignore_keys: bool = False,
        adaptive: bool = True,
        on_ready: Callable[[], object] | None = None,
        on_memory: Callable[[], object] | None = None,
    ) -> Accumulator: ...

    # the sender
    def ready(self, now_ms: int) -> list[tuple[str, int]]:
        """(topic, partition) of what can be drained now, beginning with another one each time.

        Left out: muted partitions, batches in back-off, and what idempotence forbids yet (a retry that is not the
        first in flight; a new producer epoch while the old one is in flight).
        """
    def next_deadline(self) -> int | None:
        """The monotonic millisecond at which ready() or expire() may next find something new by time alone.

        It lies behind the time of the last ready(), which has told what was due by then.
        """
    def drain(self, topic: str, partition: int, now_ms: int, max_bytes: int = ...) -> ProducerBatch | None:
        """The first batch of the partition, finished and in flight; None when nothing is ready or it is above `max_bytes`.

        Compression and CRC happen here, once, without the GIL.  A retry of the same producer id and epoch keeps its
        bytes.  Batches leave a partition in order.
        """
    def complete(self, batch: ProducerBatch, base_offset: int, log_append_time_ms: int = -1) -> None:
        """Delivered: resolves its deliveries.  -1, -1 with acks=0.  Of a batch that is done: nothing."""
    def fail(
        self,
        batch: ProducerBatch,
        error: BaseException,
        *,
        close_gap: bool = False,
        record_errors: dict[int, BaseException] | None = None,
    ) -> None:
        """Give up: its deliveries raise `error`, or that of `record_errors` by index.  Of a batch that is done: nothing.

        `close_gap`: the broker certainly did not append it, so the sequences of the partition's later batches move up.
        """
    def retry(self, batch: ProducerBatch, not_before_ms: int = 0) -> None:
        """Back to the front of its partition, in order of sequence; drained again after `not_before_ms`."""
    def split(self, batch: ProducerBatch) -> int:
        """A batch that is too large for the broker goes back as smaller ones; how many, 0 when it has a single record.

        Calls with many rows begin batches of at most half its size from then on.
        """
    def expire(self, now_ms: int) -> list[ProducerBatch]:
        """Batches older than delivery_timeout_ms, taken off, in flight or not: fail() them.

        With attempts > 0 it is unknown whether the broker has them.
        """
    def take_all(self) -> list[ProducerBatch]:
        """All that is not in flight, taken off, for an aborted transaction or a close without waiting: fail() them."""
    def incomplete(self) -> list[ProducerBatch]:
        """All that is not done, in flight or not: what a flush waits for."""
    def begin_flush(self) -> None:
        """Until as many end_flush(): nothing lingers."""
    def end_flush(self) -> None: ...
    def mute(self, topic: str, partition: int) -> None:
        """ready() leaves it out until unmute()."""
    def unmute(self, topic: str, partition: int) -> None: ...
    def close(self) -> None:
        """Refuse what comes from now on; what is there can still be sent, and does not linger."""

    # idempotence
    def set_producer(self, producer_id: int, producer_epoch: int) -> None:
        """What batches are stamped with from now on; a partition takes it over when nothing of it is in flight or to retry.

        Its sequence begins at 0 again then.
        """
    def rewrite_sequences(self, topic: str, partition: int) -> None:
        """The partition's retries too take their sequences from the next producer epoch, and wait for it.

        For a partition whose sequence is broken (KIP-360): then get that epoch and set_producer().
        """
    def next_sequence(self, topic: str, partition: int) -> int: ...

    # figures
    @property
    def limit_bytes(self) -> int: ...
    @property
    def used_bytes(self) -> int:
        """What the batches take, those done but still viewed too; never above `limit_bytes` but while split() works."""
    @property
    def scratch_bytes(self) -> int:
        """Memory of the compressors, which is kept and not counted in `used_bytes`."""
    @property
    def codec_ns(self) -> int:
        """Nanoseconds of CPU time that went into compression, the checksums of what it gave included."""
    @property
    def queued_records(self) -> int: ...
    @property
    def in_flight_batches(self) -> int: ...
    def in_flight(self, topic: str, partition: int) -> int:
        """Batches of the partition in flight."""
