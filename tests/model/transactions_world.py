"""A little world for the transaction machine: producers, zombies, a network that loses and repeats, crashes, real logs.

    client ── requests ──► TransactionShard ── records ──► disk (what a crash leaves)
       │                        │ answers and endings, once their records are on the disk
       │                        ▼
       └── batches ──► LocalLog of each partition ◄── markers, in any order, again and again

The plain model beside it knows, for each transaction that a client has begun, what the disk says of its end. Readers
under read_committed are checked against that after every step.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pystream._native.batch import parse_headers
from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.record_reader import RecordReader
from pystream.common.error_codes import CONCURRENT_TRANSACTIONS, NONE
from pystream.common.model import NO_PRODUCER_ID, TRANSACTION_STATE_TOPIC
from pystream.coordinator.machine import Effects, Record
from pystream.coordinator.transaction.config import TransactionConfig
from pystream.coordinator.transaction.shard import NEEDS_PRODUCER_ID, Ending, Identity, Result, TransactionShard
from pystream.coordinator.transaction.state import TransactionState
from pystream.protocol.coordinator_records.codec import RecordCodec
from tests.unit.storage.batches import marker

OK, DUPLICATE, OUT_OF_ORDER, FENCED, NOT_VERIFIED = 0, 20, 21, 22, 25
TOPIC = "events"
TIMEOUT_MS = 1_000
PARTITIONS = 3
EVERYTHING = 1 << 30


@dataclass(eq=False)
class Client:
    """One producer. A zombie is one whose transactional id somebody else has taken since."""

    name: int
    transactional_id: str
    version: int  # of transactions
    identity: Identity | None = None
    transaction: int | None = None  # its label while it is open
    sequences: dict[int, int] = field(default_factory=dict)
    added: set[int] = field(default_factory=set)
    busy: bool = False  # waits for an answer
    broken: bool = False  # a send failed or is in doubt: it can only abort
    fenced: bool = False


@dataclass
class Truth:
    """What a transaction has written for certain, and how it has ended, by the coordinator's disk."""

    values: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)  # by partition: (offset, value)
    outcome: str = "open"


@dataclass(eq=False)
class Sending:
    """A batch on its way; it may arrive late."""

    client: Client
    identity: Identity
    transaction: int
    partition: int
    sequence: int
    value: bytes
    given_up: bool = False


class World:
    """One schedule. The logs live longer than a schedule: each begins where the last one has ended."""

    def __init__(self, logs: list[LocalLog], seed: int, first_producer_id: int) -> None:
        self.random = random.Random(seed)
        self.logs = logs
        self.starts = [log.end_offset for log in logs]
        self.config = TransactionConfig()
        self.codec = RecordCodec(TRANSACTION_STATE_TOPIC)
        self.next_id = first_producer_id
        self.now_ms = 1_000_000
        self.ticket = 0
        self.disk: list[tuple[bytes, bytes | None]] = []
        self.unwritten: list[Record] = []
        self.held: list[tuple[int, Callable[[Any], None], Any]] = []  # (records before it, callback, answer)
        self.callbacks: dict[int, Callable[[Any], None]] = {}
        self.endings: dict[Ending, set[tuple[str, int]]] = {}  # what is left to be marked
        self.sendings: list[Sending] = []
        self.truths: dict[int, Truth] = {}
        self.open_by_id: dict[str, int | None] = {}
        self.clients = [Client(number, f"id-{seed}-{number % 2}", self.random.choice((0, 2))) for number in range(3)]
        self.labels = 0
        self.crashes = 0
        self.load()

    # ---- the coordinator

    def load(self) -> None:
        """Start anew from the disk; nobody who waited is answered."""
        self.shard = TransactionShard(0, self.config)
        self.effects = Effects(self.shard.replay)
        self.unwritten, self.held, self.callbacks = [], [], {}
        for key, value in self.disk:
            decoded = self.codec.decode(key, value)
            self.shard.replay(Record(decoded.key, decoded.value))
        for client in self.clients:
            client.busy = False
        self.endings = {ending: set(ending.partitions) for ending in self.shard.unfinished()}

    def submit(self, operation: Callable[..., None], then: Callable[[Any], None], **arguments: Any) -> None:
        self.ticket += 1
        self.callbacks[self.ticket] = then
        operation(self.shard, self.ticket, self.now_ms, self.effects, **arguments)
        self.unwritten += self.effects.records
        self.effects.records.clear()
        for answer in self.effects.answers:
            self.held.append((len(self.unwritten), self.callbacks.pop(answer.ticket), answer.response))
        self.effects.answers.clear()

    def write(self, count: int) -> None:
        """The next `count` records reach the disk; answers that waited for them are given."""
        for record in self.unwritten[:count]:
            self.disk.append(self.codec.encode(record.key, record.value))
            self.learn(record)
        self.unwritten = self.unwritten[count:]
        ready = [(then, answer) for before, then, answer in self.held if before <= count]
        self.held = [(before - count, then, answer) for before, then, answer in self.held if before > count]
        for then, answer in ready:
            then(answer)

    def learn(self, record: Record) -> None:
        """The plain model: a decision counts from the moment in which it is on the disk."""
        state = TransactionState(record.value.transaction_status)
        transactional_id = record.key.transactional_id
        label = self.open_by_id.get(transactional_id)
        if label is not None and state in (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT):
            self.truths[label].outcome = "committed" if state is TransactionState.PREPARE_COMMIT else "aborted"
            self.open_by_id[transactional_id] = None

    def crash(self) -> None:
        """Any number of the records that were under way have made it."""
        self.crashes += 1
        kept = self.random.randint(0, len(self.unwritten))
        for record in self.unwritten[:kept]:
            self.disk.append(self.codec.encode(record.key, record.value))
            self.learn(record)
        for client in self.clients:  # who waited does not know what has become of it
            if client.busy:
                client.broken = True
        self.load()

    # ---- markers

    def begin_ending(self, ending: Ending | None) -> None:
        if ending is not None and ending not in self.endings:
            self.endings[ending] = set(ending.partitions)

    def deliver_marker(self) -> None:
        """One marker arrives; whether its acknowledgement does is another question."""
        waiting = [(ending, place) for ending, left in self.endings.items() for place in sorted(left)]
        if not waiting:
            return
        ending, place = self.random.choice(waiting)
        self.append_marker(ending, place)
        if self.random.random() < 0.75:
            self.endings[ending].discard(place)

    def append_marker(self, ending: Ending, place: tuple[str, int]) -> None:
        data = marker(ending.producer_id, ending.producer_epoch, commit=ending.committed)
        status = self.logs[place[1]].append(data, transaction_version=ending.transaction_version)[0][0]
        assert status == OK, f"marker {ending} to {place} is refused with {status}"

    def complete_one(self) -> None:
        done = [ending for ending, left in self.endings.items() if not left]
        if done:
            ending = self.random.choice(done)
            self.submit(TransactionShard.complete, lambda answer: self.endings.pop(ending, None), ending=ending)

    # ---- producers

    def init(self, client: Client, fresh_id: int = NO_PRODUCER_ID) -> None:
        client.busy = True
        recovers = client.identity is not None and client.broken and client.version < 2 and not client.fenced

        def then(result: Result) -> None:
            client.busy = False
            if result.error == NEEDS_PRODUCER_ID:
                self.next_id += 1
                self.init(client, self.next_id)
                return
            self.begin_ending(result.ending)
            if result.error == NONE:
                client.identity = Identity(result.producer_id, result.producer_epoch)
                client.sequences.clear()
                client.added.clear()
                client.transaction, client.broken, client.fenced = None, False, False
            elif result.error != CONCURRENT_TRANSACTIONS:
                client.identity, client.transaction = None, None

        self.submit(
            TransactionShard.init_producer,
            then,
            transactional_id=client.transactional_id,
            timeout_ms=TIMEOUT_MS,
            expected=client.identity if recovers else None,
            server_version=2,
            fresh_id=fresh_id,
        )

    def send(self, client: Client) -> None:
        """A client that has an identity writes one record into its transaction."""
        if client.identity is None or client.busy or client.broken or client.fenced:
            return
        if client.transaction is None:
            self.labels += 1
            client.transaction = self.labels
            client.added.clear()
            self.truths[self.labels] = Truth()
        partition = self.random.randrange(PARTITIONS)
        sequence = client.sequences.get(partition, 0)
        value = f"{client.transaction}:{partition}:{sequence}:{client.name}".encode()
        sending = Sending(client, client.identity, client.transaction, partition, sequence, value)
        client.busy = True
        if client.version < 2 and partition not in client.added:
            self.add(sending, lambda: self.arrive(sending))
        elif self.random.random() < 0.05:
            self.give_up(sending)
        else:
            self.arrive(sending)

    def give_up(self, sending: Sending) -> None:
        """The client waits no longer; the batch may arrive all the same."""
        sending.given_up = True
        sending.client.busy, sending.client.broken = False, True
        self.sendings.append(sending)

    def add(self, sending: Sending, then: Callable[[], None]) -> None:
        """The partition joins the transaction; the permit is given in the step that has looked."""
        identity, places = sending.identity, frozenset([(TOPIC, sending.partition)])
        transactional_id = sending.client.transactional_id

        def added(code: int) -> None:
            found = self.shard.transactions.get(transactional_id)
            if code == NONE and found is not None and found.holds(*identity, places):
                self.logs[sending.partition].permit_transaction(*identity)
                if not sending.given_up:
                    sending.client.added.add(sending.partition)
                    self.open_by_id[transactional_id] = sending.transaction
                then()
            elif not sending.given_up:
                sending.client.busy = False
                if code != CONCURRENT_TRANSACTIONS:
                    sending.client.broken = True

        self.submit(
            TransactionShard.add_partitions,
            added,
            transactional_id=transactional_id,
            producer=identity,
            partitions=places,
            client_version=sending.client.version,
        )

    def arrive(self, sending: Sending, *, asked: bool = False) -> None:
        """The batch comes to its partition, which asks the coordinator when it does not know the transaction."""
        data = self.batch_of(sending)
        status, offset, _ = self.logs[sending.partition].append(data, from_client=True)[0]
        if status == NOT_VERIFIED and not asked:
            if sending.client.version >= 2:
                self.add(sending, lambda: self.arrive(sending, asked=True))
            else:
                self.verify(sending)
            return
        client = sending.client
        if status == OK:
            truth = self.truths[sending.transaction]
            truth.values.setdefault(sending.partition, []).append((offset, sending.value))
            if not sending.given_up:
                client.sequences[sending.partition] = sending.sequence + 1
                client.added.add(sending.partition)
        elif not sending.given_up:
            client.broken = True
            client.fenced = client.fenced or status == FENCED
        if not sending.given_up:
            client.busy = False

    def verify(self, sending: Sending) -> None:
        """Transactions of version 1: the client must have added the partition itself."""
        places = frozenset([(TOPIC, sending.partition)])

        def verified(codes: dict[tuple[str, int], int]) -> None:
            found = self.shard.transactions.get(sending.client.transactional_id)
            good = all(code == NONE for code in codes.values())
            if good and found is not None and found.holds(*sending.identity, places):
                self.logs[sending.partition].permit_transaction(*sending.identity)
            self.arrive(sending, asked=True)

        self.submit(
            TransactionShard.verify_partitions,
            verified,
            transactional_id=sending.client.transactional_id,
            producer=sending.identity,
            partitions=places,
        )

    def batch_of(self, sending: Sending) -> bytes:
        builder = RecordBatchBuilder(
            producer_id=sending.identity.producer_id,
            producer_epoch=sending.identity.producer_epoch,
            base_sequence=sending.sequence,
            transactional=True,
        )
        builder.append(sending.value, timestamp=self.now_ms)
        return builder.build()

    def end(self, client: Client, fresh_id: int = NO_PRODUCER_ID, *, commit: bool | None = None) -> None:
        if client.identity is None or client.busy or (client.transaction is None and client.version < 2):
            return
        if commit is None:
            commit = not client.broken and client.transaction is not None and self.random.random() < 0.6
        client.busy = True

        def then(result: Result) -> None:
            client.busy = False
            if result.error == NEEDS_PRODUCER_ID:
                self.next_id += 1
                self.end(client, self.next_id, commit=commit)
                return
            self.begin_ending(result.ending)
            if result.error == NONE:
                if client.version >= 2:
                    client.identity = Identity(result.producer_id, result.producer_epoch)
                    client.sequences.clear()
                    client.broken = False
                elif client.broken:
                    self.init(client)  # KIP-360: a new epoch, so that what is in doubt is fenced
                client.transaction = None
            elif result.error != CONCURRENT_TRANSACTIONS:
                client.broken = client.fenced = True

        self.submit(
            TransactionShard.end,
            then,
            transactional_id=client.transactional_id,
            producer=client.identity,
            commit=commit,
            client_version=client.version,
            fresh_id=fresh_id,
        )

    def time_passes(self) -> None:
        self.now_ms += self.random.choice((10, 400, TIMEOUT_MS + 1))
        for transactional_id in self.shard.timed_out(self.now_ms):
            self.submit(
                TransactionShard.abort_timed_out,
                self.begin_ending,
                transactional_id=transactional_id,
                server_version=self.random.choice((0, 2)),
            )

    def late_arrival(self) -> None:
        if self.sendings:
            self.arrive(self.sendings.pop(self.random.randrange(len(self.sendings))))

    # ---- the schedule

    def step(self) -> None:
        client = self.random.choice(self.clients)
        action = self.random.random()
        if action < 0.38:
            if client.identity is None or ((client.fenced or client.broken) and self.random.random() < 0.5):
                if not client.busy:
                    self.init(client)
            else:
                self.send(client)
        elif action < 0.47:
            self.end(client)
        elif action < 0.70:
            self.write(self.random.randint(len(self.unwritten) // 2, len(self.unwritten)))
        elif action < 0.86:
            self.deliver_marker()
        elif action < 0.95:
            self.complete_one()
        elif action < 0.97:
            self.late_arrival()
        elif action < 0.98:
            self.time_passes()
        elif action < 0.99:
            if not client.busy:
                self.init(client)
        else:
            self.crash()

    def settle(self) -> None:
        """No more work: everything that was begun comes to its end."""
        for _ in range(4):
            self.write(len(self.unwritten))
            self.now_ms += TIMEOUT_MS + 1
            for transactional_id in self.shard.timed_out(self.now_ms):
                self.submit(
                    TransactionShard.abort_timed_out,
                    self.begin_ending,
                    transactional_id=transactional_id,
                    server_version=2,
                )
            self.write(len(self.unwritten))
            for ending, left in list(self.endings.items()):
                for place in sorted(left):
                    self.append_marker(ending, place)
                left.clear()
                self.submit(
                    TransactionShard.complete, lambda answer, e=ending: self.endings.pop(e, None), ending=ending
                )
            self.write(len(self.unwritten))
            for client in self.clients:
                client.busy = False
            while self.sendings:
                self.late_arrival()

    # ---- the reader

    def check_reader(self) -> None:
        """Of each transaction a reader sees all that it has written below the last stable offset, or nothing."""
        for partition in range(PARTITIONS):
            seen: dict[int, list[bytes]] = {}
            limit = self.last_stable_offset(partition)
            for value in self.read_committed(partition):
                seen.setdefault(int(value.split(b":")[0]), []).append(value)
            for label, values in seen.items():
                truth = self.truths[label]
                assert truth.outcome == "committed", f"{values} of a transaction that is {truth.outcome}"
                written = [value for offset, value in truth.values[partition] if offset < limit]
                assert values == written, f"torn: {values} of {written}"

    def check_end(self) -> None:
        """All is decided, all that was committed is there, and nothing is open for ever."""
        self.check_reader()
        assert all(log.first_undecided_offset is None for log in self.logs), "a transaction hangs"
        for label, truth in self.truths.items():
            for partition, values in truth.values.items():
                prefix = f"{label}:".encode()
                seen = [value for value in self.read_committed(partition) if value.startswith(prefix)]
                expected = [value for _, value in values] if truth.outcome == "committed" else []
                assert seen == expected, (label, truth)

    def last_stable_offset(self, partition: int) -> int:
        undecided = self.logs[partition].first_undecided_offset
        return self.logs[partition].end_offset if undecided is None else undecided

    def read_committed(self, partition: int) -> list[bytes]:
        """What a consumer makes of a Fetch answer: all below the last stable offset but the aborted ranges."""
        log = self.logs[partition]
        start = self.starts[partition]
        limit = self.last_stable_offset(partition)
        if limit <= start:
            return []
        data = log.read(offset=start, max_bytes=EVERYTHING, limit_offset=limit)
        begins = sorted(log.aborted_transactions(offset=start, limit_offset=limit), key=lambda each: each[1])
        aborting: set[int] = set()
        values: list[bytes] = []
        position = 0
        for header in parse_headers(data):
            batch = memoryview(data)[position : position + header.size]
            position += header.size
            while begins and begins[0][1] <= header.next_offset - 1:
                aborting.add(begins.pop(0)[0])
            if header.is_control:
                aborting.discard(header.producer_id)
            elif header.producer_id not in aborting:
                values += [bytes(record.value) for record in RecordReader(batch)]
        return values
