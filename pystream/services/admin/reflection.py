"""What others than our clients ask of a server: health, and reflection under both names, v1 and v1alpha.

Both versions of reflection say the same in the same bytes; grpcio-reflection has the older one only. Their streams stay
open for as long as a client likes: only so many do, so that they leave room for calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1ALPHA: Final = "grpc.reflection.v1alpha"
V1: Final = "grpc.reflection.v1"
V1_FILE: Final = "grpc/reflection/v1/reflection.proto"
SERVICE_NAMES: Final = (reflection.SERVICE_NAME, f"{V1}.ServerReflection")


class Streams:
    """The streams of one kind: at most so many at once."""

    def __init__(self, most: int, noun: str) -> None:
        self._most = most
        self._noun = noun
        self._open = 0

    @asynccontextmanager
    async def one_more(self, context: Any) -> AsyncIterator[None]:
        """For as long as one is open. Ends the call with RESOURCE_EXHAUSTED where there are too many."""
        if self._open >= self._most:
            said = f"{self._open} streams of {self._noun} are open, as many as the server allows"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, said)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """grpc.health.v1, with a bound on who watches."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._streams = Streams(most, "health")

    async def Watch(self, request: Any, context: Any) -> None:
        """As its base does."""
        async with self._streams.one_more(context):
            await super().Watch(request, context)


class Pool:
    """The default pool of descriptions, which finds methods too: protobuf's own finds services and no part of them."""

    def __init__(self) -> None:
        pool = descriptor_pool.Default()
        self._pool = pool
        self.FindFileByName = pool.FindFileByName
        self.FindMessageTypeByName = pool.FindMessageTypeByName
        self.FindExtensionByNumber = pool.FindExtensionByNumber
        self.FindAllExtensions = pool.FindAllExtensions

    def FindFileContainingSymbol(self, name: str) -> Any:
        """Raises KeyError for a name that nothing has."""
        try:
            return self._pool.FindFileContainingSymbol(name)
        except KeyError:
            service, _, method = name.rpartition(".")
            described = self._pool.FindServiceByName(service)
            if method not in described.methods_by_name:
                raise
            return described.file


class Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """Both versions, with a bound on streams."""

    def __init__(self, names: Iterable[str], most: int) -> None:
        super().__init__(names, Pool())
        self._streams = Streams(most, "reflection")

    async def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        """As its base does."""
        async with self._streams.one_more(context):
            async for answer in super().ServerReflectionInfo(request_iterator, context):
                yield answer


def enable(names: Iterable[str], server: Any, most: int) -> None:
    """Tell of the services with these names, and of reflection itself."""
    _describe_v1()
    answered = grpc.stream_stream_rpc_method_handler(
        Reflection((*names, *SERVICE_NAMES), most).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in SERVICE_NAMES:
        handlers = grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": answered})
        server.add_generic_rpc_handlers((handlers,))


def _describe_v1() -> None:
    """Add the description of v1 to the pool, from that of v1alpha, unless somebody has."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(V1_FILE)
    except KeyError:
        described = descriptor_pb2.FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
        described.name, described.package = V1_FILE, V1
        for field in (field for message in described.message_type for field in message.field if field.type_name):
            field.type_name = _in_v1(field.type_name)
        for method in (method for service in described.service for method in service.method):
            method.input_type, method.output_type = _in_v1(method.input_type), _in_v1(method.output_type)
        pool.AddSerializedFile(described.SerializeToString())


def _in_v1(name: str) -> str:
    return name.replace(f".{V1ALPHA}.", f".{V1}.")
