"""What became of a message that was sent: Delivery for one, Deliveries for many, and the ProducerBatch they travel in."""

from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple, Self, final

NO_OFFSET: int
"""The offset of a delivery that is not done, failed, or was sent with acks=0."""

class Span(NamedTuple):
    """Messages of one call that travelled in one batch: consecutive offsets, unless another thread sent between them."""

    topic: str
    partition: int
    first_offset: int
    record_count: int
    error: BaseException | None

@final
class ProducerBatch:
    """Records of one partition on their way to its leader; bytes-like (the finished record batch v2) once drained.

    The bytes stay the same from one drain to the next as long as producer id, epoch and sequence do.  The memory goes
    back when the batch is done and nobody views it any more.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def record_count(self) -> int: ...
    @property
    def size_bytes(self) -> int:
        """Of the finished batch; before it is drained, of its records uncompressed with the header."""
    @property
    def memory_bytes(self) -> int:
        """What the batch takes of the accumulator's limit."""
    @property
    def created_ms(self) -> int:
        """Monotonic time of the first record."""
    @property
    def attempts(self) -> int:
        """How often it was drained."""
    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def base_sequence(self) -> int:
        """-1 before it is drained, and without a producer id."""
    @property
    def base_offset(self) -> int:
        """NO_OFFSET until the leader has told it."""
    def done(self) -> bool: ...
    def exception(self) -> BaseException | None:
        """Why it failed; None while it is under way and after success."""
    def add_callback(self, callback: Callable[[ProducerBatch], object]) -> None:
        """Call it once the batch is done, from the thread that completes it; at once if it is done already."""
    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is done or `timeout` seconds have passed; whether it is done.  A signal interrupts it."""
    def __await__(self) -> Generator[Any]: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Delivery:
    """The fate of one message: a light future, which is also the message's metadata.

    Nothing is made for waiting until somebody waits.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int:
        """NO_OFFSET until it is done."""
    @property
    def timestamp(self) -> int:
        """Milliseconds: the record's own, or the broker's when the topic keeps the time of appending."""
    def done(self) -> bool: ...
    def result(self, timeout: float | None = None) -> Self:
        """Itself, delivered.  Blocks; raises what the delivery failed with, and TimeoutError after `timeout` seconds."""
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What it failed with, None when it was delivered.  Blocks as result() does."""
    def add_callback(self, callback: Callable[[Delivery], object]) -> None:
        """Call it with this delivery once done, from the thread that completes it; at once if it is done already."""
    def __await__(self) -> Generator[Any, None, Self]:
        """Itself, delivered; raises what the delivery failed with.  On any event loop."""

@final
class Deliveries:
    """The fate of all messages of one append_many() or append_columns()."""

    @property
    def taken(self) -> int:
        """How many rows were taken; fewer than given when the memory is full: wait, then give the rest."""
    def __len__(self) -> int:
        """The same as `taken`."""
    def __iter__(self) -> Iterator[Span]: ...
    def done(self) -> bool: ...
    def result(self, timeout: float | None = None) -> list[Span]:
        """Where they went, a span a batch.  Blocks; raises the first error, and TimeoutError after `timeout` seconds."""
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The first error; None when all were delivered.  Blocks as result() does."""
    def spans(self) -> list[Span]:
        """What is known now, without waiting."""
    def add_callback(self, callback: Callable[[Deliveries], object]) -> None:
        """Call it once all are done."""
    def __await__(self) -> Generator[Any, None, list[Span]]: ...
