"""Server reflection under both names that clients ask for: v1, and v1alpha, which older ones know.

Both say the same in the same bytes; grpcio-reflection has the older one only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1ALPHA: Final = "grpc.reflection.v1alpha"
V1: Final = "grpc.reflection.v1"
V1_FILE: Final = "grpc/reflection/v1/reflection.proto"
SERVICE_NAMES: Final = (reflection.SERVICE_NAME, f"{V1}.ServerReflection")


def enable(names: Iterable[str], server: Any) -> None:
    """Tell of the services with these names, and of reflection itself."""
    _describe_v1()
    told = (*names, *SERVICE_NAMES)
    reflection.enable_server_reflection(told, server)
    answered = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(told).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler(f"{V1}.ServerReflection", {"ServerReflectionInfo": answered})
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
