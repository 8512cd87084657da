"""Serdes that ask a schema registry: what is asked, what is remembered, what is refused.

The registry is a test double that speaks Confluent's REST paths over real HTTP; part 5 brings a real one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import ipaddress
import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pystream.client import extras
from pystream.client.serdes import (
    AsyncSchemaRegistryClient,
    AvroDeserializer,
    AvroSerializer,
    JsonSchemaDeserializer,
    JsonSchemaSerializer,
    ProtobufDeserializer,
    ProtobufSerializer,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
)
from pystream.common.errors import (
    InvalidConfig,
    MalformedInput,
    MissingExtra,
    SchemaRegistryError,
    SerializationError,
)
from tests.support.messages import Line, Order, an_order
from tests.support.schema_registry import SchemaRegistry

TOPIC = "orders"
USER = {"type": "record", "name": "User", "namespace": "app", "fields": [{"name": "name", "type": "string"}]}
OLDER = {**USER, "fields": [*USER["fields"], {"name": "age", "type": "int", "default": 0}]}
ANN = {"name": "Ann"}
QUICK: dict[str, Any] = {"retries_wait_ms": 1, "retries_max_wait_ms": 1}


@pytest.fixture
def server() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        yield running


@pytest.fixture
def registry(server: SchemaRegistry) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient(url=server.url, **QUICK) as client:
        yield client


def test_a_registry_is_asked_once_for_each_subject_and_id(server: SchemaRegistry, registry: SchemaRegistryClient):
    serializer, deserializer = AvroSerializer(registry, USER), AvroDeserializer(registry)
    for _ in range(3):
        written = serializer(TOPIC, ANN)
        assert deserializer(TOPIC, written) == ANN
    assert server.state.requests == [
        ("POST", "/subjects/orders-value/versions?normalize=false"),
        ("GET", "/schemas/ids/1?subject=orders-value"),
    ]


def test_asyncio_asks_on_its_own_loop(server: SchemaRegistry):
    async def work() -> Any:
        async with AsyncSchemaRegistryClient(url=server.url) as registry:
            written = await AvroSerializer(registry, USER).serialize(TOPIC, ANN)
            assert [await registry.subjects("ord"), await registry.versions("orders-value")] == [["orders-value"], [1]]
            return await AvroDeserializer(registry).deserialize(TOPIC, written)

    assert asyncio.run(work()) == ANN


def test_many_who_want_the_same_ask_once(server: SchemaRegistry, registry: SchemaRegistryClient):
    async def work() -> None:
        async with AsyncSchemaRegistryClient(url=server.url) as asking:
            serializer = AvroSerializer(asking, USER)
            assert len(set(await asyncio.gather(*(serializer.serialize(TOPIC, ANN) for _ in range(100))))) == 1

    asyncio.run(work())
    assert len(server.state.requests) == 1
    serializer = AvroSerializer(registry, USER)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: serializer(TOPIC, ANN), range(8)))) == 1
    assert len(server.state.requests) == 2


def test_asking_that_is_given_up_leaves_nothing_behind(server: SchemaRegistry):
    async def work() -> None:
        server.state.failures = [503] * 3
        async with AsyncSchemaRegistryClient(url=server.url, retries_wait_ms=100_000) as asking:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await AvroSerializer(asking, USER).serialize(TOPIC, ANN)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(work())


def test_a_schema_that_is_not_registered_is_told_when_it_must_be(registry: SchemaRegistryClient):
    serializer = AvroSerializer(registry, USER, {"auto.register.schemas": False})
    with pytest.raises(SchemaRegistryError, match=r"Subject 'orders-value' not found\..*404") as caught:
        serializer(TOPIC, ANN)
    assert (caught.value.status, caught.value.error_code) == (404, 40401)
    registry.register("orders-value", Schema(json.dumps(USER)))
    assert serializer(TOPIC, ANN)[:5] == b"\0\0\0\0\1"


def test_the_latest_version_writes_and_is_looked_for_again_when_its_time_is_over(server: SchemaRegistry):
    with SchemaRegistryClient(url=server.url, cache_latest_ttl_sec=0.1) as registry:
        registry.register("orders-value", Schema(json.dumps(USER)))
        serializer = AvroSerializer(registry, auto_register_schemas=False, use_latest_version=True)
        assert serializer(TOPIC, ANN) == b"\0\0\0\0\1\x06Ann"
        registry.register("orders-value", Schema(json.dumps(OLDER)))
        while (written := serializer(TOPIC, ANN)) == b"\0\0\0\0\1\x06Ann":
            pass
        assert written == b"\0\0\0\0\2\x06Ann\0"


def test_the_latest_version_reads_what_an_older_one_wrote(registry: SchemaRegistryClient):
    written = AvroSerializer(registry, USER)(TOPIC, ANN)
    registry.register("orders-value", Schema(json.dumps(OLDER)))
    assert AvroDeserializer(registry, use_latest_version=True)(TOPIC, written) == {"name": "Ann", "age": 0}
    assert AvroDeserializer(registry, OLDER)(TOPIC, written) == {"name": "Ann", "age": 0}
    by_record = AvroDeserializer(registry, use_latest_version=True, subject_name_strategy="RECORD")
    with pytest.raises(SchemaRegistryError, match=r"'app\.User' not found"):
        by_record(TOPIC, written)


def test_a_given_id_writes(registry: SchemaRegistryClient):
    registry.register("elsewhere", Schema('{"type":"string"}'))
    registry.register("elsewhere", Schema(json.dumps(USER)))
    serializer = AvroSerializer(registry, auto_register_schemas=False, use_schema_id=2)
    assert serializer(TOPIC, ANN) == b"\0\0\0\0\2\x06Ann"


@pytest.mark.parametrize(
    ("strategy", "subject"),
    [
        ("RECORD", "app.User"),
        ("TOPIC_RECORD", "orders-app.User"),
        (lambda topic, is_key, name: f"my-{name}", "my-app.User"),
    ],
)
def test_subjects_are_named_as_one_likes(registry: SchemaRegistryClient, strategy: Any, subject: str):
    AvroSerializer(registry, USER, subject_name_strategy=strategy)(TOPIC, ANN)
    assert registry.subjects() == [subject]


def test_keys_have_a_subject_of_their_own(registry: SchemaRegistryClient):
    serializer = AvroSerializer(registry, USER)
    assert serializer.for_key()(TOPIC, ANN) == serializer(TOPIC, ANN)
    assert registry.subjects() == ["orders-key", "orders-value"]


def test_dataclasses_go_in_and_come_out(registry: SchemaRegistryClient):
    @dataclasses.dataclass
    class User:
        name: str

    written = AvroSerializer(registry, USER)(TOPIC, User("Ann"))
    assert AvroDeserializer(registry, from_dict=lambda fields: User(**fields))(TOPIC, written) == User("Ann")
    assert AvroSerializer(registry, USER, to_dict=lambda name: {"name": name})(TOPIC, "Ann") == written


def test_a_value_that_does_not_fit_is_told(registry: SchemaRegistryClient):
    with pytest.raises(SerializationError, match="orders: dict does not fit its schema"):
        AvroSerializer(registry, USER)(TOPIC, {"surname": "Ann"})
    with pytest.raises(SerializationError, match="orders: dict does not fit its schema"):
        AvroSerializer(registry, USER, strict=True)(TOPIC, {"name": "Ann", "more": 1})
    with pytest.raises(SerializationError, match=r"at \$\.age: -1 is less than the minimum of 0"):
        JsonSchemaSerializer(registry, {"properties": {"age": {"minimum": 0}}})(TOPIC, {"age": -1})
    with pytest.raises(SerializationError, match=r"expected a payments\.Order, found a Line"):
        ProtobufSerializer(registry, Order)(TOPIC, Line())


def test_bytes_that_do_not_fit_are_told(registry: SchemaRegistryClient):
    written = AvroSerializer(registry, USER)(TOPIC, ANN)
    with pytest.raises(SerializationError, match="orders: 2 bytes do not fit schema 1"):
        AvroDeserializer(registry)(TOPIC, written[:-2])
    with pytest.raises(MalformedInput, match="begins with byte 123"):
        AvroDeserializer(registry)(TOPIC, b"{}")
    with pytest.raises(SchemaRegistryError, match="Schema 77 not found"):
        AvroDeserializer(registry)(TOPIC, b"\0\0\0\0\x4d")
    with pytest.raises(MalformedInput, match="of type AVRO, expected JSON"):
        JsonSchemaDeserializer(registry)(TOPIC, written)
    with pytest.raises(SerializationError, match="do not fit"):
        ProtobufDeserializer(message_type=Order)(TOPIC, b"\0\0\0\0\1\0\xff")


def test_json_is_checked_with_what_its_schema_refers_to(registry: SchemaRegistryClient):
    registry.register("age", Schema('{"type": "integer", "minimum": 0}', "JSON"))
    refers = (SchemaReference("age.json", "age", 1),)
    schema = Schema('{"properties": {"age": {"$ref": "age.json"}}}', "JSON", refers)
    serializer = JsonSchemaSerializer(registry, schema)
    assert JsonSchemaDeserializer(registry)(TOPIC, serializer(TOPIC, {"age": 3})) == {"age": 3}
    with pytest.raises(SerializationError, match="-1 is less than the minimum"):
        serializer(TOPIC, {"age": -1})
    unchecked = JsonSchemaSerializer(registry, schema, validate=False)(TOPIC, {"age": -1})
    with pytest.raises(SerializationError, match="-1 is less than the minimum"):
        JsonSchemaDeserializer(registry)(TOPIC, unchecked)
    assert JsonSchemaDeserializer(registry, validate=False)(TOPIC, unchecked) == {"age": -1}


def test_json_schema_never_fetches_what_it_refers_to(server: SchemaRegistry, registry: SchemaRegistryClient):
    outside = Schema(json.dumps({"$ref": f"{server.url}/schemas/ids/1"}), "JSON")
    with pytest.raises(SerializationError, match="Unresolvable"):
        JsonSchemaSerializer(registry, outside)(TOPIC, {})
    assert [path for method, path in server.state.requests if method == "GET"] == []


def test_a_protobuf_schema_that_is_text_needs_the_class(registry: SchemaRegistryClient):
    registry.register("orders-value", Schema('syntax = "proto3"; message Order {}', "PROTOBUF"))
    with pytest.raises(SerializationError, match="message_type="):
        ProtobufDeserializer(registry)(TOPIC, b"\0\0\0\0\1\0")
    written = ProtobufSerializer(registry, Order, subject_name_strategy="RECORD")(TOPIC, an_order())
    with pytest.raises(SerializationError, match="no message at"):
        ProtobufDeserializer(registry)(TOPIC, b"\0\0\0\0\3\x02\x12" + written[7:])


def test_a_registry_without_guids_cannot_do_with_headers(server: SchemaRegistry, registry: SchemaRegistryClient):
    server.state.gives_guids = False
    with pytest.raises(SerializationError, match="gives no GUID"):
        AvroSerializer(registry, USER, schema_id_serializer="header")(TOPIC, ANN, [])
    server.state.gives_guids = True
    with pytest.raises(SerializationError, match="needs the record's headers"):
        AvroSerializer(registry, OLDER, schema_id_serializer="header")(TOPIC, ANN)


def test_refusals_that_may_pass_are_tried_again(server: SchemaRegistry, registry: SchemaRegistryClient):
    server.state.failures = [503, 500, 429]
    assert AvroSerializer(registry, USER)(TOPIC, ANN) == b"\0\0\0\0\1\x06Ann"
    server.state.failures = [500] * 4
    with pytest.raises(SchemaRegistryError, match="Error in the backend data store") as caught:
        AvroSerializer(registry, OLDER)(TOPIC, ANN)
    assert (caught.value.status, caught.value.error_code) == (500, 50001)


def test_the_next_url_is_tried_when_one_does_not_answer(server: SchemaRegistry):
    with SchemaRegistryClient({"schema.registry.url": f"http://127.0.0.1:1,{server.url}"}, **QUICK) as registry:
        assert registry.subjects() == []
    with SchemaRegistryClient(url="http://127.0.0.1:1", max_retries=0) as registry:
        with pytest.raises(SchemaRegistryError, match="is a schema registry listening there"):
            registry.subjects()


def test_credentials_go_along(server: SchemaRegistry):
    with SchemaRegistryClient({"url": server.url, "basic.auth.user.info": "ann:secret"}) as registry:
        registry.subjects()
        assert "secret" not in repr(registry.config)
    with SchemaRegistryClient(url=server.url, bearer_auth_token="token") as registry:
        registry.subjects()
    assert server.state.authorization == ["Basic YW5uOnNlY3JldA==", "Bearer token"]


def certificate(folder: Path) -> tuple[str, str]:
    """The files of a certificate of 127.0.0.1, signed by itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encryption = serialization.BestAvailableEncryption(b"secret")
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, encryption))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_a_registry_behind_tls_is_trusted_and_trusts_by_certificates(tmp_path: Path):
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
    context.load_cert_chain(cert, key, "secret")
    context.verify_mode = ssl.CERT_REQUIRED
    settings = {"ssl.ca.location": cert, "ssl.certificate.location": cert, "ssl.key.location": key}
    with SchemaRegistry(context) as server:
        with SchemaRegistryClient({**settings, "url": server.url, "ssl.key.password": "secret"}) as registry:
            assert registry.subjects() == []
        with SchemaRegistryClient(url=server.url, max_retries=0) as registry:
            with pytest.raises(SchemaRegistryError, match=r"(?i)certificate"):
                registry.subjects()
    with SchemaRegistryClient({"url": "https://127.0.0.1:1", "ssl.ca.location": str(tmp_path / "none")}) as registry:
        with pytest.raises(InvalidConfig, match=r"ssl\.ca\.location"):
            registry.subjects()


def test_operators_operations(registry: SchemaRegistryClient):
    schema = Schema(json.dumps(USER))
    registered = registry.register("users", schema)
    assert registry.lookup("users", schema).version == 1
    assert registry.schema(1) == schema
    assert registered.guid is not None
    assert registry.schema(registered.guid) == schema
    assert registry.compatible("users", Schema(json.dumps(OLDER)))
    assert [registry.set_compatibility("full", "users"), registry.compatibility("users")] == ["FULL", "FULL"]
    assert registry.compatibility() == "BACKWARD"
    registry.register("users", Schema(json.dumps(OLDER)))
    assert registry.version("users").version == 2
    assert registry.delete_version("users", 1) == 1
    assert registry.versions("users") == [2]
    assert registry.delete_subject("users") == [2]
    with pytest.raises(SchemaRegistryError, match="not found"):
        registry.version("users")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8081"}, "expected http://"),
        ({"url": ""}, "empty"),
        ({"url": "http://a", "timeuot": 1}, "did you mean timeout"),
    ],
)
def test_settings_that_cannot_be_are_told(settings: dict[str, Any], message: str):
    with pytest.raises(InvalidConfig, match=message):
        SchemaRegistryClient(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use.latest.version": True}, "auto.register.schemas=false"),
        ({"use_schema_id": 3}, "auto.register.schemas=false"),
        ({"subject.name.strategy": "BEST"}, "expected one of TOPIC"),
        ({"auto.register.schema": True}, r"did you mean auto\.register\.schemas"),
        ({"schema.id.serializer": "footer"}, "footer"),
    ],
)
def test_settings_of_serializers_that_cannot_be_are_told(
    registry: SchemaRegistryClient, settings: dict[str, Any], message: str
):
    with pytest.raises(InvalidConfig, match=message):
        AvroSerializer(registry, USER, settings)


def test_a_package_that_is_missing_is_named_with_its_extra():
    with pytest.raises(MissingExtra, match=r"Avro needs no_such_avro.*pip install 'pystream\[avro\]'"):
        extras.need("no_such_avro.schema", extra="avro", what="Avro")


def record_of(name: str, /, **fields: str) -> str:
    members = [{"name": field, "type": kind} for field, kind in fields.items()]
    return json.dumps({"type": "record", "name": name, "fields": members})


def referring(registry: SchemaRegistryClient) -> Schema:
    """A schema that refers to two others, one of which refers to a third."""
    registry.register("street", Schema(record_of("Street", text="string")))
    street = SchemaReference("Street", "street", 1)
    registry.register("place", Schema(record_of("Place", street="Street"), "AVRO", (street,)))
    registry.register("name", Schema(record_of("Name", text="string")))
    references = (SchemaReference("Place", "place", 1), SchemaReference("Name", "name", 1))
    return Schema(record_of("Person", place="Place", name="Name"), "AVRO", references)


SOMEBODY = {"place": {"street": {"text": "High Street"}}, "name": {"text": "Ann"}}
SMALL: dict[str, Any] = {**QUICK, "cache_capacity": 1}


def test_a_cache_that_holds_less_than_one_schema_refers_to_is_enough(server: SchemaRegistry):
    with SchemaRegistryClient(url=server.url, **SMALL) as registry:
        schema = referring(registry)
        serializer, deserializer = AvroSerializer(registry, schema), AvroDeserializer(registry)
        before = len(server.state.requests)
        for _ in range(3):
            assert deserializer(TOPIC, serializer(TOPIC, SOMEBODY)) == SOMEBODY
        assert len(server.state.requests) - before == 2 * (1 + 3)  # the schema and what it refers to, once for each


def test_a_small_cache_is_enough_on_a_loop_and_with_the_latest_version(server: SchemaRegistry):
    with SchemaRegistryClient(url=server.url, **SMALL) as registry:
        registry.register("orders-value", referring(registry))

    async def work() -> None:
        async with AsyncSchemaRegistryClient(url=server.url, **SMALL) as asking:
            writes = AvroSerializer(asking, auto_register_schemas=False, use_latest_version=True)
            reads = AvroDeserializer(asking, use_latest_version=True)
            for _ in range(2):
                assert await reads.deserialize(TOPIC, await writes.serialize(TOPIC, SOMEBODY)) == SOMEBODY

    asyncio.run(work())


def test_what_was_heard_for_a_schema_that_cannot_be_is_forgotten(server: SchemaRegistry):
    with SchemaRegistryClient(url=server.url, **SMALL) as registry:
        registry.register("orders-value", Schema(record_of("Person", place="Nowhere")))
        serializer = AvroSerializer(registry, auto_register_schemas=False, use_latest_version=True)
        with pytest.raises(SerializationError, match=r"not a schema of Avro"):
            serializer(TOPIC, SOMEBODY)
        registry.register("orders-value", Schema(json.dumps(USER)))
        registry.forget()
        assert serializer(TOPIC, ANN) == b"\0\0\0\0\2\x06Ann"


def test_what_was_heard_before_the_registry_refused_is_asked_anew(server: SchemaRegistry):
    with SchemaRegistryClient(url=server.url, **QUICK) as registry:
        lost = SchemaReference("Place", "nowhere", 1)
        registry.register("orders-value", Schema(record_of("Person", place="Place"), "AVRO", (lost,)))
        serializer = AvroSerializer(registry, auto_register_schemas=False, use_latest_version=True)
        with pytest.raises(SchemaRegistryError):
            serializer(TOPIC, SOMEBODY)
        registry.register("orders-value", Schema(json.dumps(USER)))
        registry.forget()
        assert serializer(TOPIC, ANN)[5:] == b"\x06Ann"


def test_what_was_heard_on_a_loop_before_the_registry_refused_is_asked_anew(server: SchemaRegistry):
    async def work() -> None:
        async with AsyncSchemaRegistryClient(url=server.url, **QUICK) as registry:
            lost = SchemaReference("Place", "nowhere", 1)
            await registry.register("orders-value", Schema(record_of("Person", place="Place"), "AVRO", (lost,)))
            serializer = AvroSerializer(registry, auto_register_schemas=False, use_latest_version=True)
            with pytest.raises(SchemaRegistryError):
                await serializer.serialize(TOPIC, SOMEBODY)
            await registry.register("orders-value", Schema(json.dumps(USER)))
            registry.forget()
            assert (await serializer.serialize(TOPIC, ANN))[5:] == b"\x06Ann"

    asyncio.run(work())
