from __future__ import annotations

import pytest

from pystream.common.errors import StoreDamaged
from pystream.common.model import NO_BROKER, Endpoint
from pystream.metadata import records
from pystream.metadata.image import ClusterImage, Delta, difference
from pystream.metadata.records import BrokerRecord, PartitionRecord, TopicRecord
from pystream.metadata.store import Event, KeyValue

ORDERS = b"orders, 16 bytes"
OTHER = b"another topic id"


def put(revision: int, key: str, value: bytes, created: int | None = None) -> Event:
    return Event(revision, key, KeyValue(key, value, created or revision, revision, 1))


def topic(
    revision: int, name: str = "orders", topic_id: bytes = ORDERS, replicas: tuple[tuple[int, ...], ...] = ((1,), (1,))
) -> Event:
    return put(revision, records.topic_key(topic_id), records.encode_topic(TopicRecord(name, replicas)))


def gone(revision: int, key: str) -> Event:
    return Event(revision, key, None)


def config(revision: int, topic_id: bytes = ORDERS, **values: str) -> Event:
    return put(revision, records.topic_config_key(topic_id), records.encode_mapping("values", values))


def partition(revision: int, index: int, state: PartitionRecord, topic_id: bytes = ORDERS) -> Event:
    return put(revision, records.partition_key(topic_id, index), records.encode_partition(state))


def with_orders() -> ClusterImage:
    return ClusterImage().apply([topic(2), config(2, retention="5")], 2)[0]


def test_a_new_topic_begins_with_its_first_replica_leading_and_all_in_sync() -> None:
    image, delta = ClusterImage().apply([topic(2, replicas=((2, 1), (1, 2)))], 2)

    found = image.topics["orders"]
    assert delta == Delta(created=(found,))
    assert image.topics_by_id == {ORDERS: found}
    assert [(p.index, p.leader, p.leader_epoch, p.isr) for p in found.partitions] == [
        (0, 2, 0, (2, 1)),
        (1, 1, 0, (1, 2)),
    ]


def test_settings_come_with_the_topic_in_whatever_order_they_are_told() -> None:
    image, delta = ClusterImage().apply([config(2, retention="5"), topic(2)], 2)

    assert image.topics["orders"].configs == {"retention": "5"}
    assert delta.reconfigured == ()


def test_an_image_never_changes_under_whoever_holds_it() -> None:
    before = with_orders()
    snapshot = repr(before)

    after, _ = before.apply(
        [partition(3, 0, PartitionRecord(2, 1, 1, (1, 2), (2,))), config(3), topic(3, "x", OTHER)], 3
    )

    assert repr(before) == snapshot
    assert after != before


def test_a_changed_partition_is_told_and_its_neighbours_are_shared() -> None:
    before = with_orders()

    after, delta = before.apply([partition(3, 1, PartitionRecord(NO_BROKER, 4, 7, (1,), (1,)))], 3)

    assert [(p.index, p.leader, p.leader_epoch, p.partition_epoch) for _, p in delta.changed_partitions] == [
        (1, NO_BROKER, 4, 7)
    ]
    assert after.topics["orders"].partitions[0] is before.topics["orders"].partitions[0]
    assert after.partition("orders", 1) == delta.changed_partitions[0][1]


def test_a_grown_topic_tells_its_added_partitions_and_keeps_the_states_of_the_others() -> None:
    moved, _ = with_orders().apply([partition(3, 0, PartitionRecord(2, 5, 6, (1,), (1,)))], 3)

    after, delta = moved.apply([topic(4, replicas=((1,), (1,), (2,)))], 4)

    assert [p.leader_epoch for p in after.topics["orders"].partitions] == [5, 0, 0]
    assert [p.index for _, p in delta.changed_partitions] == [2]
    assert after.topics["orders"].configs == {"retention": "5"}


def test_changed_settings_are_told() -> None:
    after, delta = with_orders().apply([config(3, retention="6")], 3)

    assert delta == Delta(reconfigured=(after.topics["orders"],))
    removed, _ = after.apply([gone(4, records.topic_config_key(ORDERS))], 4)
    assert removed.topics["orders"].configs == {}


def test_a_deleted_topic_takes_everything_along_and_its_garbage_is_passed_over() -> None:
    before = with_orders()

    after, delta = before.apply([gone(3, records.topic_key(ORDERS))], 3)
    later, nothing = after.apply([partition(4, 0, PartitionRecord(1, 1, 1, (1,), (1,))), config(4, a="b")], 4)

    assert delta == Delta(deleted=(before.topics["orders"],))
    assert not later.topics
    assert not later.topics_by_id
    assert not nothing


def test_a_name_may_come_back_under_another_id_within_one_batch() -> None:
    before = with_orders()

    after, delta = before.apply([gone(3, records.topic_key(ORDERS)), topic(4, "orders", OTHER)], 4)

    assert after.topics["orders"].topic_id == OTHER
    assert [t.topic_id for t in delta.deleted] == [ORDERS]
    assert [t.topic_id for t in delta.created] == [OTHER]
    assert after.topics["orders"].configs == {}


def test_brokers_controller_features_and_ids_are_read() -> None:
    endpoint = Endpoint("PLAINTEXT", "host", 9092)
    events = [
        put(2, "cluster-id", b"abc"),
        put(3, "brokers/1", records.encode_broker(BrokerRecord("run", (endpoint,), "rack-a"))),
        put(4, "controller", records.encode_controller(1)),
        put(5, "features", records.encode_mapping("levels", {"metadata.version": 29})),
        put(6, "configs/brokers/default", records.encode_mapping("values", {"a": "1"})),
        put(7, "configs/brokers/1", records.encode_mapping("values", {"a": "2"})),
        put(8, "somebody-elses/key", b"\xff"),
    ]

    image, delta = ClusterImage().apply(events, 8)

    assert image.cluster_id == "abc"
    assert (image.brokers[1].epoch, image.brokers[1].rack) == (3, "rack-a")
    assert image.brokers[1].endpoint("PLAINTEXT") == endpoint
    assert image.brokers[1].endpoint("SSL") is None
    assert (image.controller_id, image.controller_epoch) == (1, 4)
    assert (image.features, image.features_epoch) == ({"metadata.version": 29}, 5)
    assert (image.broker_configs(""), image.broker_configs("1"), image.broker_configs("2")) == (
        {"a": "1"},
        {"a": "2"},
        {},
    )
    assert delta == Delta(brokers=frozenset({1}), broker_configs=frozenset({"", "1"}), features=True, controller=True)


def test_a_broker_that_left_is_told() -> None:
    value = records.encode_broker(BrokerRecord("run", ()))
    image, _ = ClusterImage().apply([put(2, "brokers/1", value), put(2, "controller", records.encode_controller(1))], 2)

    after, delta = image.apply([gone(3, "brokers/1"), gone(3, "controller")], 3)

    assert (after.brokers, after.controller_id) == ({}, NO_BROKER)
    assert (delta.brokers, delta.controller) == (frozenset({1}), True)


def test_only_the_revision_differs_when_nothing_of_ours_changed() -> None:
    before = with_orders()

    after, delta = before.apply([put(3, "pid-block", b"1000")], 3)

    assert not delta
    assert after.topics is before.topics
    assert after.revision == 3


def test_the_difference_of_two_images_is_found_without_events() -> None:
    before = with_orders()
    events = [topic(3, "x", OTHER), partition(3, 0, PartitionRecord(9, 1, 1, (1,), (1,)))]
    after, delta = before.apply(events, 3)

    assert difference(before, after) == delta
    assert difference(after, before).deleted == delta.created


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (records.topic_key(ORDERS), b"{"),
        (records.topic_key(ORDERS), b'{"v":1,"name":"x"}'),
        (records.topic_key(ORDERS), b'{"v":2,"name":"x","replicas":[]}'),
        (records.topic_key(ORDERS), b"[]"),
        ("topics/not-an-id", b'{"v":1,"name":"x","replicas":[]}'),
        ("brokers/1", b'{"v":1}'),
        ("configs/brokers/1", b'{"v":1,"values":3}'),
        ("controller", b'{"v":1,"broker":"x"}'),
        (records.partition_key(ORDERS, 0), b'{"v":1,"leader":1}'),
    ],
)
def test_a_value_that_nobody_here_wrote_is_damage(key: str, value: bytes) -> None:
    with pytest.raises(StoreDamaged, match=key.split("/")[0]):
        with_orders().apply([put(3, key, value)], 3)


def test_ten_thousand_partitions_are_one_small_record() -> None:
    record = TopicRecord("big", ((1,),) * 10_000)
    written = records.encode_topic(record)

    assert len(written) < 100
    assert records.decode_topic("k", written) == record
