"""The generated codecs against kio 0.6.5, whose schemas they are made from: build, write, read.

    asv run --bench Codecs                               as the other benchmarks
    python benchmarks/micro/bench_codecs.py              the table of ratios: CPU time, best of 30, one run

kio is the oracle of our tests and never part of pystream; without it installed only our side runs.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from pystream.protocol.messages import api_versions, join_group, metadata, offset_commit

NO_DELAY = timedelta(0)
TOPIC_IDS = [UUID(int=number + 1) for number in range(100)]
TOPIC_ID_BYTES = [topic_id.bytes for topic_id in TOPIC_IDS]


class Case(NamedTuple):
    """A response and how both sides build it."""

    kio_schema: str
    version: int
    ours: Callable[[], Any]
    kio: Callable[[Any], Any]  # given kio's module of the response


def metadata_ours() -> metadata.MetadataResponse:
    """100 topics of 6 partitions, 28.8 kB."""
    return metadata.MetadataResponse(
        brokers=[metadata.MetadataResponseBroker(node_id=n, host=f"broker{n}.example", port=9092) for n in range(3)],
        cluster_id="cluster",
        controller_id=1,
        topics=[
            metadata.MetadataResponseTopic(
                name=f"topic-{number:03}",
                topic_id=topic_id,
                partitions=[
                    metadata.MetadataResponsePartition(
                        partition_index=n, leader_id=1, leader_epoch=0, replica_nodes=[0, 1, 2], isr_nodes=[0, 1, 2]
                    )
                    for n in range(6)
                ],
            )
            for number, topic_id in enumerate(TOPIC_ID_BYTES)
        ],
    )


def metadata_kio(schema: Any) -> Any:
    from kio.schema.errors import ErrorCode

    return schema.MetadataResponse(
        throttle_time=NO_DELAY,
        brokers=tuple(schema.MetadataResponseBroker(node_id=n, host=f"broker{n}.example", port=9092) for n in range(3)),
        cluster_id="cluster",
        controller_id=1,
        topics=tuple(
            schema.MetadataResponseTopic(
                error_code=ErrorCode.none,
                name=f"topic-{number:03}",
                topic_id=topic_id,
                partitions=tuple(
                    schema.MetadataResponsePartition(
                        error_code=ErrorCode.none,
                        partition_index=n,
                        leader_id=1,
                        leader_epoch=0,
                        replica_nodes=(0, 1, 2),
                        isr_nodes=(0, 1, 2),
                    )
                    for n in range(6)
                ),
            )
            for number, topic_id in enumerate(TOPIC_IDS)
        ),
    )


def api_versions_ours() -> api_versions.ApiVersionsResponse:
    """60 keys."""
    return api_versions.ApiVersionsResponse(
        api_keys=[api_versions.ApiVersion(api_key=key, min_version=0, max_version=9) for key in range(60)],
        finalized_features_epoch=3,
    )


def api_versions_kio(schema: Any) -> Any:
    from kio.schema.errors import ErrorCode

    return schema.ApiVersionsResponse(
        error_code=ErrorCode.none,
        throttle_time=NO_DELAY,
        api_keys=tuple(schema.ApiVersion(api_key=key, min_version=0, max_version=9) for key in range(60)),
        finalized_features_epoch=3,
    )


def offset_commit_ours() -> offset_commit.OffsetCommitResponse:
    """One topic of 50 partitions."""
    partitions = [offset_commit.OffsetCommitResponsePartition(partition_index=n) for n in range(50)]
    return offset_commit.OffsetCommitResponse(
        topics=[offset_commit.OffsetCommitResponseTopic(name="payments", partitions=partitions)]
    )


def offset_commit_kio(schema: Any) -> Any:
    from kio.schema.errors import ErrorCode

    partitions = tuple(
        schema.OffsetCommitResponsePartition(partition_index=n, error_code=ErrorCode.none) for n in range(50)
    )
    return schema.OffsetCommitResponse(
        throttle_time=NO_DELAY, topics=(schema.OffsetCommitResponseTopic(name="payments", partitions=partitions),)
    )


def join_group_ours() -> join_group.JoinGroupResponse:
    """10 members."""
    return join_group.JoinGroupResponse(
        generation_id=7,
        protocol_type="consumer",
        protocol_name="range",
        leader="member-0",
        member_id="member-1",
        members=[
            join_group.JoinGroupResponseMember(member_id=f"member-{n}", metadata=b"subscription of a member")
            for n in range(10)
        ],
    )


def join_group_kio(schema: Any) -> Any:
    from kio.schema.errors import ErrorCode

    return schema.JoinGroupResponse(
        throttle_time=NO_DELAY,
        error_code=ErrorCode.none,
        generation_id=7,
        protocol_type="consumer",
        protocol_name="range",
        leader="member-0",
        skip_assignment=False,
        member_id="member-1",
        members=tuple(
            schema.JoinGroupResponseMember(member_id=f"member-{n}", metadata=b"subscription of a member")
            for n in range(10)
        ),
    )


CASES = {
    "Metadata v12, 100 topics x 6": Case("metadata", 12, metadata_ours, metadata_kio),
    "ApiVersions v4, 60 keys": Case("api_versions", 4, api_versions_ours, api_versions_kio),
    "OffsetCommit v9, 50 partitions": Case("offset_commit", 9, offset_commit_ours, offset_commit_kio),
    "JoinGroup v9, 10 members": Case("join_group", 9, join_group_ours, join_group_kio),
}


class Work(NamedTuple):
    """The three things that are measured, as calls without arguments."""

    build: Callable[[], Any]
    write: Callable[[], Any]
    read: Callable[[], Any]


def work_of_ours(case: Case) -> Work:
    value = case.ours()
    data = value.encode(case.version)
    return Work(case.ours, partial(value.encode, case.version), partial(type(value).decode, data, case.version))


def work_of_kio(case: Case) -> Work:
    from kio.index import load_entity_module
    from kio.serial import entity_reader, entity_writer
    from kio.static.constants import EntityType

    schema = load_entity_module(case.kio_schema, case.version, EntityType.response)
    value = case.kio(schema)
    write_to, read_from = entity_writer(type(value)), entity_reader(type(value))

    def write() -> bytes:
        output = io.BytesIO()
        write_to(output, value)
        return output.getvalue()

    data = write()
    if data != case.ours().encode(case.version):
        raise AssertionError("both sides must write the same bytes")
    return Work(partial(case.kio, schema), write, partial(read_from, data, 0))


class Codecs:
    """Build, write and read a response with our codec and with kio's."""

    params = (tuple(CASES), ("ours", "kio"))
    param_names = ("message", "codec")

    def setup(self, message: str, codec: str) -> None:
        try:
            self.work = work_of_ours(CASES[message]) if codec == "ours" else work_of_kio(CASES[message])
        except ImportError as error:  # asv's word for: not here
            raise NotImplementedError("kio is not installed") from error

    def time_build(self, message: str, codec: str) -> None:
        self.work.build()

    def time_write(self, message: str, codec: str) -> None:
        self.work.write()

    def time_read(self, message: str, codec: str) -> None:
        self.work.read()


def cpu_us(call: Callable[[], Any], repeats: int = 30) -> float:
    """CPU-microseconds of one call: the best of `repeats` rounds of about a millisecond."""
    started = time.process_time_ns()
    call()
    number = max(1, 1_000_000 // max(1, time.process_time_ns() - started))
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time_ns()
        for _ in range(number):
            call()
        best = min(best, (time.process_time_ns() - started) / number)
    return best / 1000


def main() -> None:
    """Print a Markdown table; both sides take turns within one run."""
    print(f"Python {sys.version.split()[0]}, CPU-µs\n")
    print("| response | build | write | kio build | kio write | **kio / ours** | read | kio read | ours / kio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, case in CASES.items():
        (build, kio_build), (write, kio_write), (read, kio_read) = (
            (cpu_us(ours), cpu_us(kio)) for ours, kio in zip(work_of_ours(case), work_of_kio(case), strict=True)
        )
        ratio = (kio_build + kio_write) / (build + write)
        figures = [build, write, kio_build, kio_write]
        cells = [f"{figure:.1f}" for figure in figures] + [f"**{ratio:.1f}**", f"{read:.1f}", f"{kio_read:.1f}"]
        print(f"| {name} | {' | '.join(cells)} | {read / kio_read:.2f} |")


if __name__ == "__main__":
    main()
