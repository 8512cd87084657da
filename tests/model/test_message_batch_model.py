"""MessageBatch against plain Python: which messages of a fetch answer a consumer sees, and where it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pystream._native.message_batch import MessageBatch
from pystream._native.record_builder import RecordBatchBuilder
from tests.support.record_strategies import fields

PRODUCERS = (-1, 7, 8)
ABORT, COMMIT = 0, 1


@dataclass(frozen=True)
class Sent:
    """One batch: records, or a marker."""

    base_offset: int
    values: tuple[bytes | None, ...]
    producer_id: int
    codec: int
    leader_epoch: int
    marker: int | None = None

    @property
    def next_offset(self) -> int:
        return self.base_offset + len(self.values)

    def encode(self) -> bytes:
        transactional = self.producer_id >= 0
        builder = RecordBatchBuilder(
            codec=self.codec, base_offset=self.base_offset, partition_leader_epoch=self.leader_epoch,
            producer_id=self.producer_id, producer_epoch=0 if transactional else -1,
            base_sequence=0 if transactional and self.marker is None else -1, transactional=transactional,
            control=self.marker is not None,
        )  # fmt: skip
        for value in self.values:
            key = None if self.marker is None else bytes([0, 0, 0, self.marker])
            builder.append(value, timestamp=3, key=key)
        return builder.build()


@st.composite
def logs(draw: st.DrawFn) -> list[Sent]:
    """Batches one behind the other, with gaps; a producer's marker ends its transaction."""
    offset = draw(st.integers(0, 1 << 40))
    log = []
    for _ in range(draw(st.integers(0, 12))):
        producer_id = draw(st.sampled_from(PRODUCERS))
        kind = draw(st.sampled_from((None, None, ABORT, COMMIT))) if producer_id >= 0 else None
        values = (b"marker",) if kind is not None else tuple(draw(st.lists(fields(), min_size=1, max_size=5)))
        codec = 0 if kind is not None else draw(st.sampled_from((0, 0, 1, 4)))
        log.append(Sent(offset, values, producer_id, codec, draw(st.integers(0, 2)), kind))
        offset = log[-1].next_offset + draw(st.integers(0, 3))
    return log


def aborted_in(log: list[Sent]) -> list[tuple[int, int]]:
    """As a broker lists them: transactions that an abort marker in the log ends."""
    began: dict[int, int] = {}
    found = []
    for batch in log:
        if batch.producer_id >= 0 and batch.marker is None:
            began.setdefault(batch.producer_id, batch.base_offset)
        elif batch.marker is not None and batch.producer_id in began:
            first = began.pop(batch.producer_id)
            found += [(batch.producer_id, first)] if batch.marker == ABORT else []
    return found


def visible(log: list[Sent], from_offset: int, aborted: list[tuple[int, int]]) -> list[tuple[int, bytes | None, int]]:
    """(offset, value, leader epoch) of what is to be seen."""
    seen = []
    for place, batch in enumerate(log):
        if batch.marker is not None or is_aborted(log[place:], batch, aborted):
            continue
        rows = enumerate(batch.values, start=batch.base_offset)
        seen += [(offset, value, batch.leader_epoch) for offset, value in rows if offset >= from_offset]
    return seen


def is_aborted(rest: list[Sent], batch: Sent, aborted: list[tuple[int, int]]) -> bool:
    """Its transaction is listed, and the producer's next marker is the one that aborts it."""
    ends = [other.marker for other in rest if other.producer_id == batch.producer_id and other.marker is not None]
    listed = any(producer == batch.producer_id and first <= batch.base_offset for producer, first in aborted)
    return batch.producer_id >= 0 and listed and bool(ends) and ends[0] == ABORT


@given(logs(), st.integers(-3, 30), st.booleans(), st.integers(0, 60))
def test_a_consumer_sees_what_the_model_sees(log, behind, committed_only, cut):
    first = log[0].base_offset if log else 0
    from_offset = max(0, first + behind)
    aborted = aborted_in(log) if committed_only else []
    data = b"".join(batch.encode() for batch in log)
    whole = log
    if log and cut:
        data, whole = data[:-cut], log[:-1]
    batch = MessageBatch(data, "t", 0, from_offset=from_offset, aborted=aborted)
    expected = visible(log, from_offset, aborted)
    if whole is not log:
        expected = [row for row in expected if row[0] < log[-1].base_offset]
    assert [(message.offset, message.value, message.leader_epoch) for message in batch] == expected
    assert batch.next_offset == max([from_offset, *(sent.next_offset for sent in whole)])
    assert batch.last_leader_epoch == (whole[-1].leader_epoch if whole else -1)
    assert batch.error is None


@given(logs(), st.data())
def test_messages_in_front_of_damage_are_seen(log, data):
    if not log:
        return
    place = data.draw(st.integers(0, len(log) - 1))
    encoded = [bytearray(batch.encode()) for batch in log]
    encoded[place][data.draw(st.integers(21, len(encoded[place]) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    batch = MessageBatch(b"".join(encoded), "t", 0)
    assert [message.offset for message in batch] == [offset for offset, _, _ in visible(log[:place], 0, [])]
    assert batch.next_offset == (log[place - 1].next_offset if place else 0)
    assert batch.error is not None
