"""Quotas of clients: what may be set, which one is in force, and what they do to changes of topics."""

from __future__ import annotations

from typing import Any

import pytest

from pystream.broker.limits.client_quotas import Found, TokenBucket, quota_of, rules_of
from pystream.common.error_codes import (
    INVALID_REQUEST,
    NONE,
    THROTTLING_QUOTA_EXCEEDED,
    UNKNOWN_TOPIC_OR_PARTITION,
    UNSUPPORTED_VERSION,
)
from pystream.protocol.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntityData,
    AlterClientQuotasRequestEntryData,
    OpData,
)
from pystream.protocol.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from pystream.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from pystream.protocol.messages.delete_topics import DeleteTopicsRequest
from pystream.protocol.messages.describe_client_quotas import ComponentData, DescribeClientQuotasRequest
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from tests.support.cold_rig import ColdRig, run_cold

Entity = dict[str, str | None]
EXACT, DEFAULT, ANY = 0, 1, 2


def entry(entity: Entity, **values: float | None) -> AlterClientQuotasRequestEntryData:
    return AlterClientQuotasRequestEntryData(
        entity=[
            AlterClientQuotasRequestEntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()
        ],
        ops=[OpData(key=key, value=value or 0.0, remove=value is None) for key, value in values.items()],
    )


async def alter(rig: ColdRig, *entries: AlterClientQuotasRequestEntryData, validate_only: bool = False) -> list[int]:
    request = AlterClientQuotasRequest(entries=entries, validate_only=validate_only)
    return [result.error_code for result in (await rig.call(request, 1)).entries]


async def describe(rig: ColdRig, *components: tuple[str, int, str | None], strict: bool = False) -> Any:
    request = DescribeClientQuotasRequest(
        components=[
            ComponentData(entity_type=kind, match_type=match_type, match=match)
            for kind, match_type, match in components
        ],
        strict=strict,
    )
    return await rig.call(request, 1)


def told(answer: Any) -> list[tuple[Entity, dict[str, float]]]:
    return [
        (
            {part.entity_type: part.entity_name for part in found.entity},
            {value.key: value.value for value in found.values},
        )
        for found in answer.entries
    ]


def test_quotas_are_set_shown_changed_and_removed():
    async def scenario(rig: ColdRig):
        set_code = await alter(rig, entry({"user": "al/ice=", "client-id": None}, producer_byte_rate=100))
        first = told(await describe(rig))
        await alter(rig, entry({"client-id": None, "user": "al/ice="}, producer_byte_rate=None, request_percentage=1.5))
        second = told(await describe(rig))
        await alter(rig, entry({"user": "al/ice=", "client-id": None}, request_percentage=None))
        return set_code, first, second, told(await describe(rig))

    set_code, first, second, third = run_cold(scenario)

    assert set_code == [NONE]
    assert first == [({"client-id": None, "user": "al/ice="}, {"producer_byte_rate": 100})]
    assert second == [({"client-id": None, "user": "al/ice="}, {"request_percentage": 1.5})]
    assert third == []


def test_what_is_only_validated_changes_nothing():
    async def scenario(rig: ColdRig):
        code = await alter(rig, entry({"user": "a"}, producer_byte_rate=1), validate_only=True)
        return code, told(await describe(rig))

    assert run_cold(scenario) == ([NONE], [])


@pytest.mark.parametrize(
    ("entity", "values"),
    [
        ({}, {"producer_byte_rate": 1}),
        ({"group": "a"}, {"producer_byte_rate": 1}),
        ({"user": "a", "ip": "127.0.0.1"}, {"producer_byte_rate": 1}),
        ({"ip": "no address"}, {"connection_creation_rate": 1}),
        ({"ip": "127.0.0.1"}, {"producer_byte_rate": 1}),
        ({"user": "a"}, {"connection_creation_rate": 1}),
        ({"user": "a"}, {"producer_byte_rate": 0}),
        ({"user": "a"}, {"producer_byte_rate": -1}),
        ({"user": "a"}, {"producer_byte_rate": 1.5}),
        ({"user": "a"}, {"producer_byte_rate": 1e19}),
        ({"user": "a"}, {"request_percentage": float("nan")}),
        ({"ip": "127.0.0.1"}, {"connection_creation_rate": 1.5}),
        ({"ip": "127.0.0.1"}, {"connection_creation_rate": 1 << 31}),
    ],
)
def test_entities_and_values_that_there_are_not_are_refused(entity: Entity, values: dict[str, float]):
    async def scenario(rig: ColdRig):
        good = entry({"user": "good"}, producer_byte_rate=5)
        return await alter(rig, entry(entity, **values), good), told(await describe(rig))

    codes, shown = run_cold(scenario)

    assert codes == [INVALID_REQUEST, NONE]
    assert shown == [({"user": "good"}, {"producer_byte_rate": 5})]


@pytest.mark.parametrize(
    ("components", "strict", "found"),
    [
        ([], False, {"u", "uc", "c", "d"}),
        ([("user", EXACT, "u")], False, {"u", "uc"}),
        ([("user", EXACT, "u")], True, {"u"}),
        ([("user", ANY, None)], False, {"u", "uc", "d"}),
        ([("user", DEFAULT, None)], False, {"d"}),
        ([("user", EXACT, "u"), ("client-id", ANY, None)], True, {"uc"}),
        ([("ip", ANY, None)], False, set()),
        ([], True, set()),
    ],
)
def test_a_filter_finds_what_it_names(components, strict, found):
    entities: dict[str, Entity] = {
        "u": {"user": "u"},
        "uc": {"user": "u", "client-id": "c"},
        "c": {"client-id": "c"},
        "d": {"user": None},
    }

    async def scenario(rig: ColdRig):
        for entity in entities.values():
            await alter(rig, entry(entity, producer_byte_rate=1))
        return told(await describe(rig, *components, strict=strict))

    shown = [entity for entity, _ in run_cold(scenario)]

    assert {name for name, entity in entities.items() if entity in shown} == found
    assert len(shown) == len(found)


@pytest.mark.parametrize(
    ("components", "code"),
    [
        ([("user", ANY, None), ("user", ANY, None)], INVALID_REQUEST),
        ([("", ANY, None)], INVALID_REQUEST),
        ([("group", ANY, None)], UNSUPPORTED_VERSION),
        ([("user", 3, None)], INVALID_REQUEST),
        ([("user", EXACT, None)], INVALID_REQUEST),
        ([("user", ANY, "u")], INVALID_REQUEST),
        ([("user", ANY, None), ("ip", ANY, None)], INVALID_REQUEST),
    ],
)
def test_a_filter_that_means_nothing_is_refused(components, code):
    async def scenario(rig: ColdRig):
        return await describe(rig, *components)

    answer = run_cold(scenario)

    assert (answer.error_code, answer.entries) == (code, None)


@pytest.mark.parametrize("key", ["producer_byte_rate", "consumer_byte_rate"])
def test_the_largest_long_is_a_rate(key: str):
    async def scenario(rig: ColdRig):
        return await alter(rig, entry({"user": "a"}, **{key: float(2**63 - 1)})), told(await describe(rig))

    assert run_cold(scenario) == ([NONE], [({"user": "a"}, {key: float(2**63)})])


def test_quotas_of_addresses_are_set_shown_and_reach_the_data_plane():
    async def scenario(rig: ColdRig):
        codes = await alter(
            rig,
            entry({"ip": "10.0.0.7"}, connection_creation_rate=3),
            entry({"ip": "::1"}, connection_creation_rate=4),
            entry({"ip": None}, connection_creation_rate=2**31 - 1),
        )
        set_rates = rig.plane.address_rates
        shown = [told(await describe(rig, each)) for each in (("ip", EXACT, "::1"), ("ip", ANY, None))]
        await alter(rig, *(entry({"ip": name}, connection_creation_rate=None) for name in ("10.0.0.7", "::1", None)))
        return codes, set_rates, shown, rig.plane.address_rates

    codes, rates, (one, every), after = run_cold(scenario)

    assert codes == [NONE, NONE, NONE]
    assert rates == ([(bytes(15) + b"\1", 4), (b"\x0a\0\0\x07", 3)], 2**31 - 1, 10_000, 1_000)
    assert one == [({"ip": "::1"}, {"connection_creation_rate": 4})]
    assert len(every) == 3
    assert after == ([], 0, 10_000, 1_000)


def test_an_ipv4_address_that_is_mapped_into_ipv6_is_that_address():
    async def scenario(rig: ColdRig):
        codes = await alter(rig, entry({"ip": "::ffff:10.0.0.7"}, connection_creation_rate=3))
        return codes, rig.plane.address_rates[0]

    assert run_cold(scenario) == ([NONE], [(b"\x0a\0\0\x07", 3)])


def test_a_host_stands_for_the_address_that_it_has_and_an_address_by_itself_goes_before():
    async def scenario(rig: ColdRig):
        host = {"ip": "localhost"}
        codes = await alter(rig, entry(host, connection_creation_rate=3))
        alone = rig.plane.address_rates[0]
        addresses = [entry({"ip": name}, connection_creation_rate=9) for name in ("127.0.0.1", "::1")]
        codes += await alter(rig, *addresses)
        both = rig.plane.address_rates[0]
        codes += await alter(rig, entry(host, connection_creation_rate=None))
        return codes, alone, both, rig.plane.address_rates[0]

    codes, alone, both, after = run_cold(scenario)

    assert codes == [NONE] * 4
    assert alone in ([(b"\x7f\0\0\1", 3)], [(bytes(15) + b"\1", 3)])
    assert both == after == [(bytes(15) + b"\1", 9), (b"\x7f\0\0\1", 9)]


def test_a_host_that_is_gone_can_be_rid_of_its_quota():
    async def scenario(rig: ColdRig):
        return await alter(rig, entry({"ip": "no address"}, connection_creation_rate=None))

    assert run_cold(scenario) == [NONE]


KEY = "producer_byte_rate"
ME = "ANONYMOUS"
LADDER = [
    (("client-id", "c"), ("user", ME)),
    (("client-id", None), ("user", ME)),
    (("user", ME),),
    (("client-id", "c"), ("user", None)),
    (("client-id", None), ("user", None)),
    (("user", None),),
    (("client-id", "c"),),
    (("client-id", None),),
]


@pytest.mark.parametrize("place", range(len(LADDER)))
def test_the_narrowest_quota_is_in_force(place):
    quotas = {entity: {KEY: float(number + 1)} for number, entity in enumerate(LADDER) if number >= place}

    assert quota_of(quotas, KEY, "c") == Found(place + 1, place in (2, 5))


def test_others_quotas_are_nobody_elses_and_keys_are_looked_up_by_themselves():
    quotas = {
        (("user", "bob"),): {KEY: 1.0},
        (("client-id", "c"),): {"consumer_byte_rate": 2.0},
        (("client-id", None),): {KEY: 3.0},
    }

    assert quota_of(quotas, KEY, "c") == Found(3.0, False)
    assert quota_of(quotas, "consumer_byte_rate", "c") == Found(2.0, False)
    assert quota_of(quotas, "consumer_byte_rate", "other") is None


def test_rules_name_every_client_and_all_others_first():
    quotas = {
        (("user", ME),): {KEY: 100.0},
        (("client-id", "c"), ("user", ME)): {"request_percentage": 0.5, KEY: 7.0},
    }

    assert rules_of(quotas) == [
        (None, (100, 0, 0), (True, False, False)),
        ("c", (7, 0, 5_000), (False, False, False)),
    ]
    assert rules_of({(("ip", None),): {"connection_creation_rate": 1.0}}) == []


def test_a_change_of_quotas_reaches_the_data_plane():
    async def scenario(rig: ColdRig):
        await alter(rig, entry({"client-id": "c"}, consumer_byte_rate=5))
        before = rig.plane.quota_rules
        await alter(rig, entry({"client-id": "c"}, consumer_byte_rate=None))
        return before, rig.plane.quota_rules

    assert run_cold(scenario) == (
        [(None, (0, 0, 0), (False, False, False)), ("c", (0, 5, 0), (False, False, False))],
        [],
    )


def test_a_bucket_of_tokens_fills_up_to_its_burst_and_may_be_overdrawn_once():
    bucket = TokenBucket(rate=2, burst=4, now_ms=0)

    assert bucket.throttle_ms(0) == 0
    bucket.spend(10)
    assert bucket.throttle_ms(0) == 3_000
    assert bucket.throttle_ms(2_000) == 1_000
    assert bucket.throttle_ms(3_000) == 0
    bucket.spend(1)
    assert bucket.throttle_ms(3_000) == 500


async def make_topics(rig: ColdRig, version: int, *names: str) -> Any:
    topics = [CreatableTopic(name=name, num_partitions=8, replication_factor=1) for name in names]
    return await rig.call(CreateTopicsRequest(topics=topics, timeout_ms=10_000), version)


def test_topic_changes_beyond_the_quota_are_refused_one_by_one():
    async def scenario(rig: ColdRig):
        await alter(rig, entry({"client-id": None}, controller_mutation_rate=0.5))
        created = await make_topics(rig, 7, "a", "b", "c")
        topics = [CreatePartitionsTopic(name="a", count=9, assignments=None)]
        grown = await rig.call(CreatePartitionsRequest(topics=topics, timeout_ms=10_000), 3)
        return created, grown, await rig.call(DeleteTopicsRequest(topic_names=["a"], timeout_ms=10_000), 5)

    created, grown, deleted = run_cold(scenario)

    assert [(topic.name, topic.error_code) for topic in created.topics] == [
        ("a", NONE),
        ("b", THROTTLING_QUOTA_EXCEEDED),
        ("c", THROTTLING_QUOTA_EXCEEDED),
    ]
    assert 4_000 < created.throttle_time_ms <= 6_000
    assert [result.error_code for result in grown.results] == [THROTTLING_QUOTA_EXCEEDED]
    assert grown.throttle_time_ms > 0
    assert [result.error_code for result in deleted.responses] == [THROTTLING_QUOTA_EXCEEDED]


def test_a_change_that_overdraws_the_quota_is_made_and_nobody_waits_until_the_next():
    async def scenario(rig: ColdRig):
        await alter(rig, entry({"client-id": None}, controller_mutation_rate=0.001))
        return await make_topics(rig, 7, "a"), await make_topics(rig, 7, "b")

    first, second = run_cold(scenario)

    assert (first.topics[0].error_code, first.throttle_time_ms) == (NONE, 0)
    assert second.topics[0].error_code == THROTTLING_QUOTA_EXCEEDED
    assert second.throttle_time_ms > 7_000_000


def test_a_topic_that_is_made_for_who_asks_for_it_counts_against_his_quota():
    async def asked_for(rig: ColdRig, name: str) -> int:
        request = MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=True)
        return (await rig.call(request, 12)).topics[0].error_code

    async def scenario(rig: ColdRig):
        await alter(rig, entry({"client-id": None}, controller_mutation_rate=0.001))
        codes = [await asked_for(rig, name) for name in ("first", "second")]
        return codes, set(rig.context.image().topics)

    assert run_cold(scenario) == ([NONE, UNKNOWN_TOPIC_OR_PARTITION], {"first"})


def test_what_cannot_be_done_costs_no_quota():
    async def scenario(rig: ColdRig):
        await make_topics(rig, 7, "there")
        await alter(rig, entry({"client-id": None}, controller_mutation_rate=0.001))
        topics = [CreatePartitionsTopic(name="missing", count=900, assignments=None)]
        more = CreatePartitionsRequest(topics=topics, timeout_ms=10_000)
        return [
            (await make_topics(rig, 7, "there", "bad name")).throttle_time_ms,
            (await rig.call(more, 3)).throttle_time_ms,
            (await rig.call(more, 1)).throttle_time_ms,
            (await make_topics(rig, 7, "new")).topics[0].error_code,
        ]

    assert run_cold(scenario) == [0, 0, 0, NONE]


def test_an_older_client_is_not_refused_but_told_to_wait():
    async def scenario(rig: ColdRig):
        await alter(rig, entry({"user": None}, controller_mutation_rate=0.5))
        return await make_topics(rig, 5, "a", "b")

    created = run_cold(scenario)

    assert [topic.error_code for topic in created.topics] == [NONE, NONE]
    assert created.throttle_time_ms > 10_000


def test_without_a_quota_nobody_waits():
    async def scenario(rig: ColdRig):
        return await make_topics(rig, 7, "a", "b", "c")

    created = run_cold(scenario)

    assert [topic.error_code for topic in created.topics] == [NONE, NONE, NONE]
    assert created.throttle_time_ms == 0


@pytest.mark.parametrize("rate", [1e300, float("inf")])
def test_a_rate_above_all_counting_is_one_that_nobody_reaches(rate: float):
    ((_, rates, _),) = rules_of({(("client-id", None),): {"request_percentage": rate}})
    assert 1 << 40 < rates[2] < 1 << 63
