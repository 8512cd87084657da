"""Every handler on random requests, well formed and damaged: an answer that decodes or a closed connection.

To a well-formed request there is one result for each item that it asks for, also where the whole request fails.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from pystream._native.wire import Reader, Writer
from pystream.broker.registry import HANDLER_MODULES, Registry
from pystream.common.error_codes import UNKNOWN_SERVER_ERROR
from pystream.common.logging import event_of
from pystream.protocol.api_keys import ADVERTISED, ApiKey, name_of
from pystream.protocol.catalogue import request_class, response_class
from pystream.protocol.headers import RequestHeader, read_response_header
from pystream.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from tests.support.codec_values import entities, sample
from tests.support.cold_rig import ColdRig, StandInQueue, run_cold
from tests.support.requested_items import REQUESTED, WITHOUT_ITEMS, missing_or_surplus

ROUNDS, FULL_ROUNDS = 20, 500
FAULTS = {"request failed", "response does not encode", "task failed"}
CORRELATION_ID = 7
PATIENCE_SECONDS = 20


def requests(api_key: int, version: int, rounds: int) -> Iterator[bytes]:
    """Frames with random bodies, the same ones in each run; none waits for records, which nobody writes."""
    ours = request_class(api_key)
    (entity,) = [e for e in entities() if e.kind == "request" and e.version == version and e.ours is ours]
    header = RequestHeader(api_key=api_key, api_version=version, correlation_id=CORRELATION_ID, client_id="random")
    writer = Writer()
    header.write(writer)
    for seed in range(rounds):
        frame = writer.getvalue() + sample(entity, seed)
        request = body_of(frame, api_key, version)
        if getattr(request, "max_wait_ms", 0) > 0:
            request.max_wait_ms = 0
            frame = writer.getvalue() + request.encode(version)
        yield frame


def damaged(frame: bytes, seed: int) -> bytes:
    """The frame cut short, with a few bytes changed, or with bytes put in."""
    source = random.Random(seed)
    changed = bytearray(frame)
    match source.randrange(3):
        case 0:
            del changed[source.randrange(8, len(changed) + 1) :]
        case 1:
            for _ in range(source.randrange(1, 4)):
                changed[source.randrange(8, len(changed))] = source.randrange(256)
        case _:
            place = source.randrange(8, len(changed) + 1)
            changed[place:place] = source.randbytes(source.randrange(1, 9))
    return bytes(changed)


def body_of(frame: bytes, api_key: int, version: int) -> Any:
    """The request of a well-formed frame."""
    _, reader = RequestHeader.parse(frame)
    return request_class(api_key).read(reader, version)


def test_items_are_known_of_every_key():
    assert {*HANDLER_MODULES} <= {*REQUESTED, *WITHOUT_ITEMS}
    assert {*REQUESTED} & WITHOUT_ITEMS == set()


@pytest.mark.parametrize("api_key", HANDLER_MODULES, ids=lambda key: HANDLER_MODULES[key])
def test_a_request_that_fails_as_a_whole_fails_in_each_of_its_items(api_key: int, full: bool):
    low, high = ADVERTISED[api_key]
    for version in range(low, high + 1):
        handler = Registry().find(api_key, version)
        for frame in requests(api_key, version, FULL_ROUNDS if full else ROUNDS):
            request = body_of(frame, api_key, version)
            encoded = handler.failed(request, UNKNOWN_SERVER_ERROR, "it failed").encode(version)
            response = response_class(api_key).read(Reader(encoded), version)
            assert missing_or_surplus(api_key, version, request, response) == (set(), [])


@pytest.mark.parametrize("api_key", HANDLER_MODULES, ids=lambda key: HANDLER_MODULES[key])
def test_random_requests_find_no_fault_in_a_handler(api_key: int, full: bool, caplog: pytest.LogCaptureFixture):
    low, high = ADVERTISED[api_key]
    rounds = FULL_ROUNDS if full else ROUNDS

    async def scenario(rig: ColdRig) -> int:
        topic = CreatableTopic(name="orders", num_partitions=2, replication_factor=1)
        await rig.call(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
        answered = 0
        for version in range(low, high + 1):
            for seed, frame in enumerate(requests(api_key, version, rounds)):
                for sent in (frame, damaged(frame, seed)):
                    try:
                        async with asyncio.timeout(PATIENCE_SECONDS):
                            answer = await rig.send(sent)
                    except TimeoutError:  # the damage asked for it
                        assert body_of(sent, api_key, version).max_wait_ms > PATIENCE_SECONDS * 1_000
                        continue
                    if answer == StandInQueue.CLOSED:
                        continue
                    answered += 1
                    reader = Reader(answer)
                    assert read_response_header(reader, api_key, version) == CORRELATION_ID
                    response = response_class(api_key).read(reader, version)
                    reader.finish()
                    if sent is frame:
                        request = body_of(frame, api_key, version)
                        assert missing_or_surplus(api_key, version, request, response) == (set(), []), (version, seed)
        return answered

    answered = run_cold(scenario)

    assert answered >= rounds * (high - low + 1), name_of(ApiKey(api_key))
    assert [record for record in caplog.records if event_of(record) in FAULTS] == []
