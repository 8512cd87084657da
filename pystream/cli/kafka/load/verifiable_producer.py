"""`kafka-verifiable-producer`, as Kafka's VerifiableProducer: writes numbers, and says in JSON what became of each."""

from __future__ import annotations

import argparse
import itertools
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.failures import java_class, message
from pystream.cli.kafka.load.events import Events
from pystream.cli.kafka.load.figures import Throttle, now_ms
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.tool import Commands, serve_or_help, settings_file
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.client.sync.producer import Producer

UNSET: Final = -1


def options() -> Commands:
    made = Commands(
        prog="verifiable-producer",
        description="Produces increasing integers to a topic, and prints in JSON which were acknowledged.",
    )
    made.add_argument("--topic", required=True, help="Produce messages to this topic.")
    made.add_argument("--bootstrap-server", required=True, help="The servers to connect to.")
    made.add_argument("--max-messages", type=int, default=UNSET, help="So many; -1: until it is stopped.")
    made.add_argument("--throughput", type=int, default=UNSET, help="Messages a second at most; -1: no limit.")
    made.add_argument("--acks", type=int, default=-1, choices=(0, 1, -1), help="Who must have a message.")
    made.add_argument("--producer.config", dest="producer_config", help="DEPRECATED: use --command-config.")
    made.add_argument("--message-create-time", type=int, default=UNSET, help="The first one's time, in ms since 1970.")
    made.add_argument("--value-prefix", type=int, help="Before each value, with a dot.")
    made.add_argument("--repeating-keys", type=int, help="Keys go from 0 to before this, again and again.")
    made.add_argument("--command-config", help="A file of settings of the producer.")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve_or_help(options(), arguments, work, endless=True)


def work(made: Commands, given: argparse.Namespace) -> None:
    from pystream.client.config import ProducerConfig
    from pystream.client.sync.producer import Producer

    path = settings_file(made, given, "producer.config")
    settings: dict[str, Any] = {"bootstrap.servers": given.bootstrap_server, "acks": str(given.acks), "retries": "0"}
    settings |= load(path)
    sender = _Sender(given)
    with Producer(for_client(ProducerConfig, settings)) as producer:
        sender.send_all(producer)
    sender.end()


class _Sender:
    """Sends, and tells of each message what became of it."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._events = Events()
        self._stopped = threading.Event()
        self._start_ms = now_ms()
        self._sent = self._acked = 0

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._stopped.set()

    def send_all(self, producer: Producer) -> None:
        given = self._given
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        self._events.tell("startup_complete")
        throttle = Throttle(given.throughput)
        numbers = itertools.count() if given.max_messages < 0 else range(given.max_messages)
        try:
            for number in numbers:
                if self._stopped.is_set():
                    break
                self._send(producer, number)
                throttle.wait(number + 1)
            producer.flush()
        finally:
            for signal_number, handler in previous.items():
                signal.signal(signal_number, handler)

    def _send(self, producer: Producer, number: int) -> None:
        given = self._given
        text = str(number) if given.value_prefix is None else f"{given.value_prefix}.{number}"
        key = None if given.repeating_keys is None else str(number % given.repeating_keys)
        timestamp = None
        if given.message_create_time != UNSET:
            timestamp = given.message_create_time + now_ms() - self._start_ms
        self._sent += 1

        def told(delivery: Any) -> None:
            error = delivery.exception()
            if isinstance(error, PystreamError):
                self._failed(key, text, error)
                return
            self._acked += 1
            where = {"partition": delivery.partition, "offset": delivery.offset, "topic": delivery.topic}
            self._events.tell("producer_send_success", {"key": key, "value": text, **where})

        try:
            encoded = None if key is None else key.encode()
            producer.send(given.topic, text.encode(), encoded, timestamp=timestamp, on_delivery=told)
        except PystreamError as error:
            self._failed(key, text, error)

    def _failed(self, key: str | None, text: str, error: PystreamError) -> None:
        what = {"exception": f"class {java_class(error)}", "message": message(error)}
        self._events.tell("producer_send_error", {"topic": self._given.topic, "key": key, "value": text, **what})

    def end(self) -> None:
        """The last two events."""
        self._events.tell("shutdown_complete")
        elapsed_ms = max(now_ms() - self._start_ms, 1)
        self._events.tell(
            "tool_data",
            {
                "sent": self._sent,
                "acked": self._acked,
                "target_throughput": self._given.throughput,
                "avg_throughput": 1_000 * self._acked / elapsed_ms,
            },
        )


if __name__ == "__main__":
    main()
