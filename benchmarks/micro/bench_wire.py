"""The cursor of the protocol codecs, and the codecs of the messages that a client sends most."""

from __future__ import annotations

from pystream._native.wire import Reader, Writer
from pystream.protocol.messages.metadata import MetadataRequest, MetadataResponse

FIELDS = 1000


class Cursor:
    """1,000 fields, one call each."""

    def setup(self) -> None:
        writer = Writer()
        for number in range(FIELDS):
            writer.int32(number)
        self.integers = writer.getvalue()
        writer.clear()
        for number in range(FIELDS):
            writer.compact_string(f"topic-{number}")
        self.strings = writer.getvalue()
        self.writer = writer

    def time_read_int32(self) -> None:
        take = Reader(self.integers).int32
        for _ in range(FIELDS):
            take()

    def time_read_compact_string(self) -> None:
        take = Reader(self.strings).compact_string
        for _ in range(FIELDS):
            take()

    def time_write_int32(self) -> None:
        self.writer.clear()
        put = self.writer.int32
        for number in range(FIELDS):
            put(number)


class Metadata:
    """A Metadata answer of one broker and `topics` topics with 6 partitions each."""

    params = ((1, 100, 1000),)
    param_names = ("topics",)
    version = 12

    def setup(self, topics: int) -> None:
        from pystream.protocol.messages import metadata

        partitions = [
            metadata.MetadataResponsePartition(
                partition_index=number, leader_id=1, replica_nodes=[1], isr_nodes=[1], offline_replicas=[]
            )
            for number in range(6)
        ]
        rows = [
            metadata.MetadataResponseTopic(name=f"topic-{number}", partitions=partitions) for number in range(topics)
        ]
        broker = metadata.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=9092)
        self.response = MetadataResponse(brokers=[broker], cluster_id="c", controller_id=1, topics=rows)
        self.encoded = self.encode()
        writer = Writer()
        MetadataRequest(topics=None).write(writer, self.version)
        self.request = writer.getvalue()

    def encode(self) -> bytes:
        writer = Writer()
        self.response.write(writer, self.version)
        return writer.getvalue()

    def time_write_response(self, topics: int) -> None:
        self.encode()

    def time_read_response(self, topics: int) -> None:
        MetadataResponse.read(Reader(self.encoded), self.version)

    def time_read_request(self, topics: int) -> None:
        MetadataRequest.read(Reader(self.request), self.version)
