"""`kafka-dump-log`, as Kafka's DumpLogSegments: what lies in the files of a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.records.coordinator_records import as_text
from pystream.cli.kafka.tool import serve
from pystream.common.errors import PystreamError
from pystream.common.model import CONSUMER_OFFSETS_TOPIC, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC

if TYPE_CHECKING:
    from pystream.storage.repair.contents import StoredBatch

INT_MAX: Final = 2**31 - 1
STRING_DECODER: Final = "org.apache.kafka.tools.api.StringDecoder"
DECODERS: Final = {
    "offsets-decoder": CONSUMER_OFFSETS_TOPIC,
    "transaction-log-decoder": TRANSACTION_STATE_TOPIC,
    "share-group-state-decoder": SHARE_GROUP_STATE_TOPIC,
}
NOT_HERE: Final = {
    "cluster-metadata-decoder": "pystream keeps no __cluster_metadata log: see metadata.db, and `pystream cluster`",
    "remote-log-metadata-decoder": "pystream keeps no __remote_log_metadata topic",
}
TOOL: Final = Tool(
    "kafka-dump-log",
    "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly "
    "corrupt log segment.",
    (
        value("files", "REQUIRED: Data and index files of a log, separated by commas.", "file1, file2, ..."),
        flag("print-data-log", "The records' contents, too; set by each decoder."),
        flag("deep-iteration", "Each record; set by --print-data-log."),
        flag("verify-index-only", "Only check an index."),
        flag("index-sanity-check", "Only check whether an index would be made anew."),
        value("max-message-size", "Size of largest message.", "size", int, 5_242_880),
        value("max-bytes", "Read no more of a .log file.", "size", int, INT_MAX),
        value("value-decoder-class", "Of values; Kafka's StringDecoder.", "String", str, STRING_DECODER, bare=True),
        value("key-decoder-class", "Of keys; Kafka's StringDecoder.", "String", str, STRING_DECODER, bare=True),
        flag("offsets-decoder", "Records of __consumer_offsets."),
        flag("transaction-log-decoder", "Records of __transaction_state."),
        flag("share-group-state-decoder", "Records of __share_group_state."),
        flag("cluster-metadata-decoder", "Records of Kafka's __cluster_metadata: not here."),
        flag("remote-log-metadata-decoder", "Records of Kafka's __remote_log_metadata: not here."),
        flag("skip-record-metadata", "Leave out what is not the record's content."),
    ),
)

Parsed = tuple[str | None, str | None]  # key and payload as text
Parse = Callable[[bytes | None, bytes | None], Parsed]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    given.require("files")
    for option, said in NOT_HERE.items():
        if given.has(option):
            raise Mistake(f"--{option}: {said}")
    for option in ("key-decoder-class", "value-decoder-class"):
        if given.value(option) not in (None, STRING_DECODER, "kafka.serializer.StringDecoder"):
            raise WrongUsage(f"{given.value(option)}: there is no Java here; {STRING_DECODER} is known")
    dump = _Dump(given)
    for name in filter(None, given.value("files").split(",")):
        dump.file(Path(name))
    dump.print_faults()


class _Dump:
    """Prints files, and gathers what is wrong with them."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._decoders = [topic for option, topic in DECODERS.items() if given.has(option)]
        with_data = ("print-data-log", *DECODERS, "key-decoder-class", "value-decoder-class")
        self._contents = any(map(given.has, with_data))
        self._deep = self._contents or given.has("deep-iteration")
        self._mismatches: dict[Path, list[tuple[int, int]]] = {}
        self._gaps: dict[Path, list[tuple[int, int]]] = {}

    def file(self, path: Path) -> None:
        print(f"Dumping {path}")
        kinds: dict[str, Callable[[Path], None]] = {
            ".log": self._log,
            ".index": self._offset_index,
            ".timeindex": self._time_index,
            ".snapshot": _producers,
            ".txnindex": _aborted,
        }
        if path.suffix in kinds:
            kinds[path.suffix](path)
        else:
            print(f"Ignoring unknown file {path}", file=sys.stderr)

    # --- segments -----------------------------------------------------------------------------------------------------

    def _log(self, path: Path) -> None:
        from pystream.storage.repair.contents import batches, mapped

        print(f"Log starting offset: {_base(path)}")
        data = mapped(path)
        most = self._given.value("max-bytes")
        parse = _records_as(self._decoders[0]) if self._decoders else _plain
        end, last = 0, -1
        for batch in batches(data[:most]):
            print(_batch_line(batch))
            if self._deep:
                last = self._records(path, batch, parse, last)
            end = batch.position + batch.header.size
        if len(data) > end and most == INT_MAX:
            print(f"Found {len(data) - end} invalid bytes at the end of {path.name}")

    def _records(self, path: Path, batch: StoredBatch, parse: Parse, last: int) -> int:
        """Print the records of a batch; the last offset."""
        header = batch.header
        kind = "LogAppendTime" if header.is_log_append_time else "CreateTime"
        for record in batch.records():
            if last not in (-1, record.offset - 1):
                self._gaps.setdefault(path.absolute(), []).insert(0, (last, record.offset))
            last = record.offset
            line, prefix = "", "| "
            if not self._given.has("skip-record-metadata"):
                sequence = _sequence(header.base_sequence, record.offset - header.base_offset)
                keys = ",".join(name for name, _ in record.headers)
                line = (
                    f"| offset: {record.offset} {kind}: {record.timestamp} keySize: {_size(record.key)} valueSize: "
                    f"{_size(record.value)} sequence: {sequence} headerKeys: [{keys}]"
                )
                prefix = " "
                if header.is_control:
                    line += f" {_marker(record.key, record.value)}"
            if self._contents and not header.is_control:
                key, payload = parse(record.key, record.value)
                line += "" if key is None else f"{prefix}key: {key}"
                line += "" if payload is None else f" payload: {payload}"
            print(line)
        return last

    # --- indexes ------------------------------------------------------------------------------------------------------

    def _offset_index(self, path: Path) -> None:
        from pystream.storage.repair.contents import batches, mapped, offset_entries

        entries = offset_entries(path.read_bytes(), _base(path))
        if not entries:
            print(f"{path} is empty.")
            return
        if self._given.has("index-sanity-check"):
            _check(path, [entry.offset for entry in entries])
            return
        log = mapped(path.with_suffix(".log"))
        for entry in entries:
            at = next(batches(log[entry.position :]), None)
            last = -1 if at is None else at.header.next_offset - 1
            if last != entry.offset:
                self._mismatches.setdefault(path.absolute(), []).insert(0, (entry.offset, last))
            if not self._given.has("verify-index-only"):
                print(f"offset: {entry.offset} position: {entry.position}")

    def _time_index(self, path: Path) -> None:
        from pystream.storage.repair.contents import time_entries

        entries = time_entries(path.read_bytes(), _base(path))
        if self._given.has("index-sanity-check"):
            _check(path, [entry.offset for entry in entries])
            return
        before = -1
        for entry in entries:
            if before >= entry.timestamp:
                print(f"Found out of order timestamp in :{path.absolute()}", file=sys.stderr)
                print(f"  Index timestamp: {entry.timestamp}, Previously indexed timestamp: {before}", file=sys.stderr)
            before = entry.timestamp
            if not self._given.has("verify-index-only"):
                print(f"timestamp: {entry.timestamp} offset: {entry.offset}")

    def print_faults(self) -> None:
        """What the files contradict one another in."""
        for path, found in self._mismatches.items():
            print(f"Mismatches in :{path}", file=sys.stderr)
            for indexed, logged in found:
                print(f"  Index offset: {indexed}, log offset: {logged}", file=sys.stderr)
        for path, found in self._gaps.items():
            print(f"Non-consecutive offsets in {path}", file=sys.stderr)
            for first, second in found:
                print(f"  {first} is followed by {second}", file=sys.stderr)


def _base(path: Path) -> int:
    name = path.name.partition(".")[0]
    if not name.isdecimal():
        raise Mistake(f'For input string: "{name}"')
    return int(name)


def _check(path: Path, offsets: Sequence[int]) -> None:
    if any(one > other for one, other in pairwise(offsets)):
        raise Mistake(f"Corrupt index found, index file ({path.absolute()}) has offsets that go back")
    print(f"{path} passed sanity check.")


def _size(data: bytes | None) -> int:
    return -1 if data is None else len(data)


def _sequence(base: int, delta: int) -> int:
    """Sequences turn over at the largest int32."""
    return base if base < 0 else (base + delta) % (INT_MAX + 1)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _batch_line(batch: StoredBatch) -> str:
    header = batch.header
    horizon = batch.delete_horizon_ms
    return (
        f"baseOffset: {header.base_offset} lastOffset: {header.next_offset - 1} count: {header.record_count} "
        f"baseSequence: {header.base_sequence} lastSequence: "
        f"{_sequence(header.base_sequence, header.last_offset_delta)} producerId: {header.producer_id} "
        f"producerEpoch: {header.producer_epoch} partitionLeaderEpoch: {header.partition_leader_epoch} "
        f"isTransactional: {_flag(header.is_transactional)} isControl: {_flag(header.is_control)} deleteHorizonMs: "
        f"{'OptionalLong.empty' if horizon is None else f'OptionalLong[{horizon}]'} position: {batch.position} "
        f"{'LogAppendTime' if header.is_log_append_time else 'CreateTime'}: {header.max_timestamp} size: {header.size} "
        f"magic: {header.magic} compresscodec: {batch.codec} crc: {header.crc} isvalid: {_flag(batch.is_valid)}"
    )


def _marker(key: bytes | None, content: bytes | None) -> str:
    kind = int.from_bytes((key or b"")[2:4], "big")
    if kind in (0, 1) and content is not None and len(content) >= 6:
        name = "COMMIT" if kind else "ABORT"
        return f"endTxnMarker: {name} coordinatorEpoch: {int.from_bytes(content[2:6], 'big', signed=True)}"
    return f"controlType: UNKNOWN({kind})"


def _plain(key: bytes | None, content: bytes | None) -> Parsed:
    def text(data: bytes | None) -> str | None:
        return None if data is None else data.decode("utf-8", "replace")

    return text(key), text(content)


def _records_as(topic: str) -> Parse:
    def parse(key: bytes | None, content: bytes | None) -> Parsed:
        try:
            return as_text(topic, key, content)
        except PystreamError as error:
            return f"Error: {error}", None

    return parse


def _producers(path: Path) -> None:
    from pystream.storage.repair.contents import producers

    for producer_id, epoch, sequence, offset, delta, timestamp, coordinator_epoch, first in producers(path):
        batch = ""
        if sequence >= 0:
            batch = (
                f"firstSequence: {(sequence - delta) % (INT_MAX + 1)} lastSequence: {sequence} lastOffset: {offset} "
                f"offsetDelta: {delta} timestamp: {timestamp}"
            )
        transaction = "OptionalLong.empty" if first < 0 else f"OptionalLong[{first}]"
        print(
            f"producerId: {producer_id} producerEpoch: {epoch} coordinatorEpoch: {coordinator_epoch} "
            f"currentTxnFirstOffset: {transaction} lastTimestamp: {timestamp} {batch}"
        )


def _aborted(path: Path) -> None:
    from pystream.storage.repair.contents import aborted

    for entry in aborted(path.read_bytes()):
        print(
            f"version: {entry.version} producerId: {entry.producer_id} firstOffset: {entry.first_offset} lastOffset: "
            f"{entry.last_offset} lastStableOffset: {entry.last_stable_offset}"
        )


if __name__ == "__main__":
    main()
