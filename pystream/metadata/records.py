"""Keys and values of the metadata store. Values are JSON objects with a format number `v`, keys sorted, no blanks.

    cluster-id                   the id, plain text, 22 characters
    features                     {"v":1,"levels":{"metadata.version":29}}                 finalized feature levels
    controller             lease {"v":1,"broker":1}                      create_revision = the controller's epoch
    brokers/<id>           lease {"v":1,"incarnation":"…","endpoints":[["PLAINTEXT","host",9092,"PLAINTEXT"]],
                                  "rack":null}                           create_revision = the broker's epoch
    topic-names/<name>           the topic's id, plain text              compared Absent on creation
    topics/<topic id>            {"v":1,"name":"orders","replicas":[[[1],10000]]}
                                 replicas of the partitions in order, with run lengths; never changes but by growing
    p/<topic id>/<partition>     {"v":1,"leader":1,"leader_epoch":3,"partition_epoch":4,"replicas":[1],"isr":[1],
                                  "adding":[],"removing":[]}
                                 only once a partition differs from how it began: the first replica leads, all are in
                                 sync, epochs are 0
    configs/topics/<topic id>    {"v":1,"values":{"retention.ms":"1000"}}                 absent: nothing set
    configs/brokers/<id>         the same, for one broker; `default` for all of them
    configs/groups/<name>        the same, for one group
    configs/client-metrics/<name>    the same, for one subscription to metrics of clients
    scram/<user>                 {"v":1,"mechanisms":{"1":["<salt>",4096,"<stored key>","<server key>"]}}    in base64;
                                 1: SCRAM-SHA-256, 2: SCRAM-SHA-512
    quotas/<entity>              {"v":1,"values":{"producer_byte_rate":1000.0}}    entity: `user=<name>`, `user` for the
                                 default, the same with client-id and ip, several by `/`; names are quoted as in URLs
    pid-block                    "<next producer id that belongs to nobody> <random claim>"

A key whose topic no longer exists is garbage that readers pass over: a topic is gone with `topics/<id>`.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from pystream.common.errors import StoreDamaged
from pystream.common.model import Endpoint, uuid_text

CLUSTER_ID_KEY: Final = "cluster-id"
CONTROLLER_KEY: Final = "controller"
FEATURES_KEY: Final = "features"
PRODUCER_IDS_KEY: Final = "pid-block"
BROKERS: Final = "brokers/"
TOPIC_NAMES: Final = "topic-names/"
TOPICS: Final = "topics/"
PARTITIONS: Final = "p/"
TOPIC_CONFIGS: Final = "configs/topics/"
BROKER_CONFIGS: Final = "configs/brokers/"
GROUP_CONFIGS: Final = "configs/groups/"
CLIENT_METRICS_CONFIGS: Final = "configs/client-metrics/"
SCRAM_USERS: Final = "scram/"
CLIENT_QUOTAS: Final = "quotas/"
ALL_BROKERS: Final = "default"

FORMAT: Final = 1
QuotaEntity = tuple[tuple[str, str | None], ...]  # (type, name or None for the default), by type


class TopicRecord(NamedTuple):
    """A topic as it was created, grown by added partitions: one tuple of replicas per partition."""

    name: str
    replicas: tuple[tuple[int, ...], ...]


class PartitionRecord(NamedTuple):
    """The state of one partition."""

    leader: int
    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()


class ScramCredential(NamedTuple):
    """What proves a user's password without holding it. Source: RFC 5802."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


class BrokerRecord(NamedTuple):
    """A running broker."""

    incarnation: str
    endpoints: tuple[Endpoint, ...]
    rack: str | None = None


def broker_key(node_id: int) -> str:
    return f"{BROKERS}{node_id}"


def topic_name_key(name: str) -> str:
    return f"{TOPIC_NAMES}{name}"


def topic_key(topic_id: bytes) -> str:
    return f"{TOPICS}{uuid_text(topic_id)}"


def partition_key(topic_id: bytes, partition: int) -> str:
    return f"{PARTITIONS}{uuid_text(topic_id)}/{partition}"


def topic_config_key(topic_id: bytes) -> str:
    return f"{TOPIC_CONFIGS}{uuid_text(topic_id)}"


def broker_config_key(name: str) -> str:
    """`name` as in DescribeConfigs: a broker's id, or "" for all brokers."""
    return f"{BROKER_CONFIGS}{name or ALL_BROKERS}"


def group_config_key(group_id: str) -> str:
    return f"{GROUP_CONFIGS}{group_id}"


def client_metrics_config_key(name: str) -> str:
    return f"{CLIENT_METRICS_CONFIGS}{name}"


def scram_user_key(user: str) -> str:
    return f"{SCRAM_USERS}{user}"


def client_quota_key(entity: QuotaEntity) -> str:
    parts = [kind if name is None else f"{kind}={quote(name, safe='')}" for kind, name in sorted(entity, key=str)]
    return CLIENT_QUOTAS + "/".join(parts)


def quota_entity(rest: str) -> QuotaEntity:
    """The entity that a key names behind `quotas/`."""
    pairs = [part.partition("=") for part in rest.split("/")]
    return tuple((kind, unquote(name) if separator else None) for kind, separator, name in pairs)


def initial_partition(replicas: tuple[int, ...]) -> PartitionRecord:
    """How a partition begins: its first replica leads, and all are in sync."""
    return PartitionRecord(replicas[0], 0, 0, replicas, replicas)


def encode_topic(record: TopicRecord) -> bytes:
    runs = [[list(replicas), len(list(run))] for replicas, run in itertools.groupby(record.replicas)]
    return _encode(name=record.name, replicas=runs)


def decode_topic(key: str, value: bytes) -> TopicRecord:
    fields = _decode(key, value)
    try:
        runs = [itertools.repeat(tuple(replicas), count) for replicas, count in fields["replicas"]]
        return TopicRecord(str(fields["name"]), tuple(itertools.chain.from_iterable(runs)))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreDamaged(f"{key}: not a topic: {error!r}") from error


def encode_partition(record: PartitionRecord) -> bytes:
    return _encode(**record._asdict())


def decode_partition(key: str, value: bytes) -> PartitionRecord:
    fields = _decode(key, value)
    try:
        return PartitionRecord(
            fields["leader"],
            fields["leader_epoch"],
            fields["partition_epoch"],
            *(tuple(fields[name]) for name in ("replicas", "isr", "adding", "removing")),
        )
    except (KeyError, TypeError) as error:
        raise StoreDamaged(f"{key}: not the state of a partition: {error!r}") from error


def encode_broker(record: BrokerRecord) -> bytes:
    return _encode(incarnation=record.incarnation, endpoints=[list(e) for e in record.endpoints], rack=record.rack)


def decode_broker(key: str, value: bytes) -> BrokerRecord:
    fields = _decode(key, value)
    try:
        endpoints = tuple(Endpoint(*endpoint) for endpoint in fields["endpoints"])
        return BrokerRecord(fields["incarnation"], endpoints, fields["rack"])
    except (KeyError, TypeError) as error:
        raise StoreDamaged(f"{key}: not a broker: {error!r}") from error


def encode_mapping(name: str, values: Mapping[str, object]) -> bytes:
    """An object with one mapping in it: `values` of a config, `levels` of features."""
    return _encode(**{name: dict(sorted(values.items()))})


def decode_mapping(key: str, value: bytes, name: str) -> dict[str, Any]:
    fields = _decode(key, value)
    if not isinstance(fields.get(name), dict):
        raise StoreDamaged(f"{key}: has no {name}")
    return dict(fields[name])


def encode_scram(credentials: Mapping[int, ScramCredential]) -> bytes:
    """A user's credentials by mechanism."""
    return _encode(
        mechanisms={
            str(mechanism): [_base64(c.salt), c.iterations, _base64(c.stored_key), _base64(c.server_key)]
            for mechanism, c in credentials.items()
        }
    )


def decode_scram(key: str, value: bytes) -> dict[int, ScramCredential]:
    fields = _decode(key, value)
    try:
        return {
            int(mechanism): ScramCredential(_bytes(salt), int(iterations), _bytes(stored_key), _bytes(server_key))
            for mechanism, (salt, iterations, stored_key, server_key) in fields["mechanisms"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreDamaged(f"{key}: no credentials: {error!r}") from error


def encode_controller(broker: int) -> bytes:
    return _encode(broker=broker)


def decode_controller(key: str, value: bytes) -> int:
    broker = _decode(key, value).get("broker")
    if not isinstance(broker, int):
        raise StoreDamaged(f"{key}: names no broker")
    return broker


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _encode(**fields: object) -> bytes:
    return json.dumps({"v": FORMAT, **fields}, sort_keys=True, separators=(",", ":")).encode()


def _decode(key: str, value: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(value)
    except ValueError as error:
        raise StoreDamaged(f"{key}: {error}") from error
    if not isinstance(fields, dict) or fields.get("v") != FORMAT:
        raise StoreDamaged(f"{key}: not an object of format {FORMAT}")
    return fields


def assignment_of(replicas: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Replica lists as records keep them; equal ones are one object, so that many partitions cost little."""
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    return tuple(known.setdefault(tuple(each), tuple(each)) for each in replicas)
