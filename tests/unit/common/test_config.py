from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystream.common.clock import DAY_MS, HOUR_MS
from pystream.common.config import (
    ConfigSource,
    ConfigType,
    DynamicConfig,
    Layer,
    Password,
    Synonym,
    definition_of,
    key,
    parse_properties,
)
from pystream.common.errors import InvalidConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    segment_bytes: int = key(
        "segment.bytes", default=1 << 30, minimum=14, dynamic=True, synonyms=("log.segment.bytes",), doc="Rolls."
    )
    retention_ms: int = key(
        "retention.ms",
        type=ConfigType.LONG,
        default=7 * DAY_MS,
        minimum=-1,
        dynamic=True,
        synonyms=(
            Synonym("log.retention.ms"),
            Synonym("log.retention.minutes", 60_000),
            Synonym("log.retention.hours", HOUR_MS, default=168),
        ),
        doc="-1 keeps for ever.",
    )
    cleanup_policy: tuple[str, ...] = key(
        "cleanup.policy", default=("delete",), valid=("delete", "compact"), doc="What is dropped."
    )
    preallocate: bool = key("preallocate", default=False, doc="Reserves space.")
    dirty_ratio: float = key("min.cleanable.dirty.ratio", default=0.5, minimum=0, maximum=1, doc="When to compact.")
    secret: Password | None = key("keystore.password", default=None, doc="A secret.")  # noqa: RUF009
    rack: str | None = key("broker.rack", default=None, doc="Where it stands.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    node_id: int = key("node.id", minimum=0, doc="Who this is.")
    even: int = key("even", default=2, check=lambda n: "must be even" if n % 2 else None, doc="Even.")


TOPIC = definition_of(TopicSettings)


def topic_layer(**values: str) -> Layer:
    return Layer(ConfigSource.DYNAMIC_TOPIC_CONFIG, {k.replace("_", "."): v for k, v in values.items()})


def static_layer(values: dict[str, str]) -> Layer:
    return Layer(ConfigSource.STATIC_BROKER_CONFIG, values)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("retention.ms", "abc", "Invalid value abc for configuration retention.ms: Not a number of type LONG"),
        ("retention.ms", "1_000", "Invalid value 1_000 for configuration retention.ms: Not a number of type LONG"),
        (
            "segment.bytes",
            "2147483648",
            "Invalid value 2147483648 for configuration segment.bytes: Not a number of type INT",
        ),
        ("segment.bytes", "13", "Invalid value 13 for configuration segment.bytes: Value must be at least 14"),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "min.cleanable.dirty.ratio",
            "NaN",
            "Invalid value NaN for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE",
        ),
        (
            "cleanup.policy",
            "delete,shred",
            "Invalid value shred for configuration cleanup.policy: String must be one of: delete, compact",
        ),
        ("no.such.key", "1", "Unknown topic config name: no.such.key"),
    ],
)
def test_bad_values_are_refused_in_kafkas_words(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        TOPIC.validate({name: text})

    assert str(refusal.value) == message


def test_text_becomes_typed_values() -> None:
    config = TOPIC.load(
        Layer(
            ConfigSource.DYNAMIC_TOPIC_CONFIG,
            {
                "segment.bytes": " +100 ",
                "cleanup.policy": "compact , delete",
                "preallocate": "TRUE",
                "broker.rack": "b",
            },
        )
    )

    assert config.segment_bytes == 100
    assert config.cleanup_policy == ("compact", "delete")
    assert config.preallocate is True
    assert config.rack == "b"


def test_a_missing_required_key_is_named() -> None:
    with pytest.raises(InvalidConfig, match=r'^Missing required configuration "node.id" which has no default value\.$'):
        definition_of(NodeSettings).load()


def test_a_keys_own_check_speaks_for_itself() -> None:
    with pytest.raises(InvalidConfig, match=r"^Invalid value 3 for configuration even: must be even$"):
        definition_of(NodeSettings).validate({"even": "3"})


def test_the_strongest_layer_wins() -> None:
    layers = (
        topic_layer(segment_bytes="100"),
        Layer(ConfigSource.DYNAMIC_BROKER_CONFIG, {"log.segment.bytes": "200"}),
        Layer(ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, {"log.segment.bytes": "300"}),
        static_layer({"log.segment.bytes": "400"}),
    )

    assert [TOPIC.load(*layers[n:]).segment_bytes for n in range(5)] == [100, 200, 300, 400, 1 << 30]


def test_a_synonym_in_another_unit_is_scaled() -> None:
    assert TOPIC.load(static_layer({"log.retention.hours": "2"})).retention_ms == 2 * HOUR_MS
    assert TOPIC.load(static_layer({"log.retention.minutes": "3"})).retention_ms == 180_000
    assert TOPIC.load(static_layer({"log.retention.hours": "-1"})).retention_ms == -1


def test_the_finer_synonym_wins_within_a_layer() -> None:
    layer = static_layer({"log.retention.hours": "2", "log.retention.ms": "5"})

    assert TOPIC.load(layer).retention_ms == 5


def test_a_topic_key_is_not_read_from_a_brokers_layer_under_its_bare_name() -> None:
    assert TOPIC.load(static_layer({"segment.bytes": "100"})).segment_bytes == 1 << 30


def test_an_error_names_the_synonym_that_was_written() -> None:
    with pytest.raises(InvalidConfig, match=r"^Invalid value x for configuration log\.retention\.hours: "):
        TOPIC.load(static_layer({"log.retention.hours": "x"}))


def test_explaining_lists_every_place_with_a_value_strongest_first() -> None:
    explained = TOPIC.explain(
        TOPIC.keys["retention.ms"], topic_layer(retention_ms="7"), static_layer({"log.retention.hours": "1"})
    )

    assert (explained.text, explained.source) == ("7", ConfigSource.DYNAMIC_TOPIC_CONFIG)
    assert [(s.name, s.text, s.source) for s in explained.settings] == [
        ("retention.ms", "7", ConfigSource.DYNAMIC_TOPIC_CONFIG),
        ("log.retention.hours", "1", ConfigSource.STATIC_BROKER_CONFIG),
        ("log.retention.hours", "168", ConfigSource.DEFAULT_CONFIG),
    ]


def test_a_default_is_explained_by_the_synonym_that_carries_it() -> None:
    explained = TOPIC.explain(TOPIC.keys["segment.bytes"])

    assert (explained.text, explained.source) == ("1073741824", ConfigSource.DEFAULT_CONFIG)
    assert [s.name for s in explained.settings] == ["log.segment.bytes"]


def test_the_brokers_keys_follow_from_the_topics() -> None:
    keys = {k.name: k for k in TOPIC.broker_keys()}

    assert list(keys) == ["log.segment.bytes", "log.retention.ms", "log.retention.minutes", "log.retention.hours"]
    assert (keys["log.retention.ms"].default, keys["log.retention.hours"].default) == (None, 168)
    assert TOPIC.explain(keys["log.retention.hours"], static_layer({"log.retention.hours": "9"})).text == "9"
    assert TOPIC.explain(keys["log.retention.ms"]).text is None


def test_secrets_are_shown_to_nobody() -> None:
    layer = topic_layer(keystore_password="hunter2")
    config = TOPIC.load(layer)

    assert config.secret is not None
    assert config.secret.reveal() == "hunter2"
    for shown in (str(config), f"{config.secret}", repr(TOPIC.explain(TOPIC.keys["keystore.password"], layer))):
        assert "hunter2" not in shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_real_number_survives_being_written_as_java_does(value: float) -> None:
    ratio = TOPIC.keys["min.cleanable.dirty.ratio"]
    text = ratio.text_of(value)

    assert text is not None
    assert float(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (1.0, "1.0"), (0.0001, "1.0E-4"), (1e10, "1.0E10"), (12345678.0, "1.2345678E7")]
)
def test_real_numbers_look_like_javas(value: float, text: str) -> None:
    assert TOPIC.keys["min.cleanable.dirty.ratio"].text_of(value) == text


def test_only_dynamic_keys_move_and_subscribers_see_old_and_new() -> None:
    config = DynamicConfig(TopicSettings)
    seen: list[tuple[int, int]] = []
    config.subscribe(lambda old, new: seen.append((old.segment_bytes, new.segment_bytes)))

    config.update(topic_layer(segment_bytes="50", preallocate="true"))
    config.update(topic_layer(segment_bytes="50", preallocate="true"))

    assert config.current.segment_bytes == 50
    assert config.current.preallocate is False
    assert seen == [(1 << 30, 50)]


def test_a_refused_update_leaves_the_config_as_it_was() -> None:
    config = DynamicConfig(TopicSettings)

    with pytest.raises(InvalidConfig):
        config.update(topic_layer(segment_bytes="50", retention_ms="x"))

    assert config.current == TopicSettings()


def test_the_documentation_names_every_key() -> None:
    text = TOPIC.document()

    assert "| `segment.bytes` | int | `1073741824` | [14,...] | any time | Rolls. |" in text
    assert all(f"`{name}`" in text for name in TOPIC.keys)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", {"a": "b"}),
        ("  a : b ", {"a": "b "}),
        ("a b c", {"a": "b c"}),
        ("a", {"a": ""}),
        ("# x=1\n! y=2\n\n z=3", {"z": "3"}),
        ("a=1\\\n   2\\\n3", {"a": "123"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        ("a\\=b\\:c\\ d=e", {"a=b:c d": "e"}),
        ("a=\\t\\u0041\\q", {"a": "\tAq"}),
        ("a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=1\na=2", {"a": "2"}),
        ("a = = b", {"a": "= b"}),
        ("a=b\\", {"a": "b"}),
        ("listeners=PLAINTEXT://:9092,SSL://:9093", {"listeners": "PLAINTEXT://:9092,SSL://:9093"}),
    ],
)
def test_properties_are_read_as_java_reads_them(text: str, expected: dict[str, str]) -> None:
    assert parse_properties(text) == expected


def test_a_broken_unicode_escape_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"Malformed \\uxxxx encoding"):
        parse_properties("a=\\u12")


def _escaped(text: str, *, is_key: bool) -> str:
    special = "\\=: #!\t\f" if is_key else "\\ \t\f"
    named = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}
    return "".join(named.get(c) or (f"\\{c}" if c in special else c) for c in text)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_whatever_is_escaped_comes_back(values: dict[str, str]) -> None:
    written = "\n".join(f"{_escaped(k, is_key=True)}={_escaped(v, is_key=False)}" for k, v in values.items())

    assert parse_properties(written) == values


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidConfig):
        assert isinstance(parse_properties(text), dict)
