"""`kafka-producer-perf-test`, as Kafka's ProducerPerformance: how fast records can be written."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.failures import java_text
from pystream.cli.kafka.load.figures import Latencies, Throttle, now_ms
from pystream.cli.kafka.options import Mistake
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.tool import Commands, serve_or_help
from pystream.common.errors import PystreamError
from pystream.common.model import uuid_text

if TYPE_CHECKING:
    from pystream.client.sync.producer import Producer

CLIENT_ID: Final = "perf-producer-client"
TRANSACTION_PREFIX: Final = "performance-producer-"
TRANSACTION_MS: Final = 3_000
INTERVAL_MS: Final = 5_000
LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RENAMED: Final = {"producer_props": "command-property", "producer_config": "command-config"}
OLD_NAMES: Final = {"producer_props": "producer-props", "producer_config": "producer.config"}


def options() -> Commands:
    made = Commands(
        prog="kafka-producer-perf-test", description="This tool is used to verify the producer performance."
    )
    made.add_argument("--bootstrap-server", metavar="BOOTSTRAP-SERVER", help="The servers to connect to.")
    made.add_argument("--topic", required=True, help="Produce records to this topic.")
    made.add_argument("--num-records", type=int, required=True, help="Number of records to produce.")
    made.add_argument("--payload-delimiter", default="\\n", help="Between payloads of --payload-file.")
    made.add_argument("--throughput", type=float, required=True, help="Records a second at most; -1: no limit.")
    made.add_argument("--producer-props", nargs="+", metavar="NAME=VALUE", help="DEPRECATED: --command-property.")
    made.add_argument("--command-property", nargs="+", metavar="NAME=VALUE", help="Settings of the producer.")
    made.add_argument("--producer.config", dest="producer_config", metavar="FILE", help="DEPRECATED: --command-config.")
    made.add_argument("--command-config", metavar="FILE", help="A file of settings of the producer.")
    made.add_argument("--print-metrics", action="store_true", help="What was counted, at the end.")
    made.add_argument("--transactional-id", help="Write in transactions, under this id.")
    made.add_argument("--transaction-duration-ms", type=int, help="A transaction ends after so long; default 3000.")
    made.add_argument("--warmup-records", type=int, default=0, help="A second line leaves out so many records.")
    made.add_argument("--reporting-interval", type=int, default=INTERVAL_MS, help="Ms between lines; default 5000.")
    payload = made.add_mutually_exclusive_group(required=True)
    payload.add_argument("--record-size", type=int, help="Bytes of a record.")
    payload.add_argument("--payload-file", help="A text file with payloads, of which one is chosen at random.")
    payload.add_argument("--payload-monotonic", action="store_true", help="Records are numbers, one after the other.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve_or_help(options(), arguments, work)


def work(made: Commands, given: argparse.Namespace) -> None:
    from pystream.client.sync.producer import Producer

    check(made, given)
    for old, new in RENAMED.items():
        if getattr(given, old) is not None:
            print(
                f"Option --{OLD_NAMES[old]} has been deprecated and will be removed in a future version. Use --{new} "
                "instead."
            )
    payloads = _payloads(given)
    settings = settings_of(given)
    transactional = settings.get("transactional.id") is not None
    if given.warmup_records > 0:
        print(
            f"Warmup first {given.warmup_records} records. Steady state results will print after the complete test "
            "summary."
        )
    with Producer(settings) as producer:
        run = _Run(producer, given, transactional)
        run.send_all(payloads)
        producer.flush()
        print(run.all.total())
        if run.steady is not None:
            print(run.steady.total())
        if given.print_metrics:
            _print_counts(run, settings["client.id"])
    if run.failed:
        raise SystemExit(1)


def check(made: Commands, given: argparse.Namespace) -> None:
    """Ends the tool for arguments that cannot be."""
    if given.num_records <= 0:
        made.error("--num-records should be greater than zero")
    if given.record_size is not None and given.record_size <= 0:
        made.error("--record-size should be greater than zero")
    if given.transaction_duration_ms is not None and given.transaction_duration_ms <= 0:
        made.error("--transaction-duration-ms should be greater than zero")
    if given.warmup_records >= given.num_records:
        made.error("The value for --warmup-records must be strictly fewer than the number of records in the test")
    if given.reporting_interval <= 0:
        made.error("--reporting-interval should be greater than zero")
    if given.command_property and given.producer_props:
        made.error("--command-property and --producer-props cannot be specified together.")
    if given.command_config and given.producer_config:
        made.error("--command-config and --producer.config cannot be specified together.")
    sources = (given.bootstrap_server, given.command_property, given.producer_props)
    if not any((*sources, given.command_config, given.producer_config)):
        made.error("At least one of --bootstrap-server, --command-property or --command-config must be specified.")


def settings_of(given: argparse.Namespace) -> dict[str, Any]:
    """The producer's settings. Raises Mistake."""
    from pystream.client.config import ProducerConfig

    settings: dict[str, Any] = load(given.command_config or given.producer_config)
    for pair in given.command_property or given.producer_props or []:
        pieces = pair.split("=")
        if len(pieces) != 2:
            raise Mistake(f"Invalid property: {pair}")
        settings[pieces[0]] = pieces[1]
    if given.bootstrap_server:
        settings["bootstrap.servers"] = given.bootstrap_server
    settings.setdefault("client.id", CLIENT_ID)
    if given.transactional_id is not None:
        settings["transactional.id"] = given.transactional_id
    elif given.transaction_duration_ms is not None:
        settings.setdefault("transactional.id", TRANSACTION_PREFIX + uuid_text(os.urandom(16)))
    return for_client(ProducerConfig, settings)


def _payloads(given: argparse.Namespace) -> Iterator[bytes]:
    if given.payload_monotonic:
        return (b"%d" % number for number in range(given.num_records))
    chosen = random.Random(0)
    if given.record_size is not None:
        letters = LETTERS * (given.record_size // len(LETTERS) + 2)
        return (
            letters[start : start + given.record_size]
            for start in (chosen.randrange(len(LETTERS)) for _ in range(given.num_records))
        )
    path = Path(given.payload_file)
    print(f"Reading payloads from: {path.absolute()}")
    if not path.exists() or path.stat().st_size == 0:
        raise Mistake("File does not exist or empty file provided.")
    delimiter = "\n" if given.payload_delimiter == "\\n" else given.payload_delimiter
    payloads = path.read_bytes().split(delimiter.encode())
    while len(payloads) > 1 and not payloads[-1]:
        payloads.pop()
    print(f"Number of records read: {len(payloads)}")
    return (chosen.choice(payloads) for _ in range(given.num_records))


class _Run:
    """Sends, and keeps count."""

    def __init__(self, producer: Producer, given: argparse.Namespace, transactional: bool) -> None:
        self._producer = producer
        self._given = given
        self._transactional = transactional
        warm = given.warmup_records
        self.sent = self.sent_bytes = self.failed = 0
        self.all = Latencies(given.num_records, given.reporting_interval)
        self.steady: Latencies | None = None
        self._warm = warm

    def send_all(self, payloads: Iterator[bytes]) -> None:
        given, producer = self._given, self._producer
        duration_ms = given.transaction_duration_ms or TRANSACTION_MS
        throttle = Throttle(given.throughput)
        if self._transactional:
            producer.init_transactions()
        began_ms: int | None = None
        for number, payload in enumerate(payloads):
            if self._warm > 0 and number == self._warm:
                records = given.num_records - self._warm
                self.steady = Latencies(records, given.reporting_interval, " steady state", windows=False)
            if self._transactional and began_ms is None:
                producer.begin_transaction()
                began_ms = now_ms()
            sent_ms = now_ms()
            producer.send(given.topic, payload, on_delivery=self._told(sent_ms, len(payload), self.steady))
            self.sent += 1
            self.sent_bytes += len(payload)
            if began_ms is not None and sent_ms - began_ms >= duration_ms:
                producer.commit_transaction()
                began_ms = None
            throttle.wait(number + 1)
        if began_ms is not None:
            producer.commit_transaction()

    def _told(self, sent_ms: int, size_bytes: int, steady: Latencies | None) -> Any:
        def told(delivery: Any) -> None:
            error = delivery.exception()
            if isinstance(error, PystreamError):
                self.failed += 1
                print(java_text(error), file=sys.stderr)
                return
            at_ms = now_ms()
            self.all.record(at_ms - sent_ms, size_bytes, at_ms)
            if steady is not None:
                steady.record(at_ms - sent_ms, size_bytes, at_ms)

        return told


def _print_counts(run: _Run, client_id: str) -> None:
    counts = {
        "record-error-total": run.failed,
        "record-send-bytes-total": run.sent_bytes,
        "record-send-total": run.sent,
    }
    names = {f"producer-metrics:{name}:{{client-id={client_id}}}": count for name, count in counts.items()}
    width = max(map(len, names))
    print(f"\n{'Metric Name':<{width}}   Value")
    for name, count in names.items():
        print(f"{name:<{width}} : {float(count):.3f}")


if __name__ == "__main__":
    main()
