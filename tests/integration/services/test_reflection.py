"""What a client learns that knows nothing of pystream: services by reflection, health, a call without a stub."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from pystream.client.grpc.faces import Admin
from pystream.client.operations.registry import HOMES
from pystream.services.admin.naming import service_name
from tests.integration.services.conftest import fresh
from tests.support.admin_process import AdminProcess

# As grpcurl does it: nothing of pystream is imported.
STRANGER = """
import json, sys
import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, service, method, request = sys.argv[1:]
with grpc.insecure_channel(address) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    described = pool.FindServiceByName(service).FindMethodByName(method)
    call = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(described.output_type).FromString,
    )
    answer = call(json_format.Parse(request, GetMessageClass(described.input_type)()))
    shown = {
        "services": sorted(database.get_services()),
        "answer": json_format.MessageToDict(answer, preserving_proto_field_name=True, descriptor_pool=pool),
        "ours": sorted(name for name in sys.modules if name.startswith("pystream")),
    }
print(json.dumps(shown))
"""
SERVICES = sorted(
    [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        *("pystream.admin.v1.MetricService", "pystream.admin.v1.RecordService"),
        *(f"pystream.admin.v1.{service_name(noun)}" for noun in HOMES),
    ]
)


def test_a_client_without_stubs_lists_services_and_calls_a_method(server: AdminProcess, admin: Admin):
    name = fresh("reflected")
    admin.topics.create_topics(topics=[name], partitions=3)

    result = subprocess.run(
        [
            *(sys.executable, "-c", STRANGER, server.address),
            *("pystream.admin.v1.TopicService", "DescribeTopics", json.dumps({"topics": [name, "nowhere"]})),
        ],
        cwd="/",
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )

    shown = json.loads(result.stdout)
    assert shown["ours"] == []
    assert shown["services"] == SERVICES
    (described,) = shown["answer"]["results"]
    assert (described["name"], len(described["partitions"])) == (name, 3)
    (failure,) = shown["answer"]["failures"]
    assert failure["error"]["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "UNKNOWN_TOPIC_OR_PARTITION",
            "domain": "kafka.apache.org",
            "metadata": {"code": "3", "retriable": "true"},
        }
    ]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_answers_in_both_versions(server: AdminProcess, version: str):
    """What is the same in both is read by the older one's messages; each describes itself."""
    service = f"grpc.reflection.{version}.ServerReflection"
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=service),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"{service}.ServerReflectionInfo"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"{service}.Nothing"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="pystream.admin.v1.Nothing"),
    ]

    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        listed, described, of_method, *unknown = call(iter(asked), timeout=60)

    assert sorted(each.name for each in listed.list_services_response.service) == SERVICES
    (file,) = described.file_descriptor_response.file_descriptor_proto
    found = descriptor_pb2.FileDescriptorProto.FromString(file)
    assert found.package == f"grpc.reflection.{version}"
    assert {method.input_type for method in found.service[0].method} == {f".{found.package}.ServerReflectionRequest"}
    assert of_method.file_descriptor_response == described.file_descriptor_response
    assert [answer.error_response.error_code for answer in unknown] == [grpc.StatusCode.NOT_FOUND.value[0]] * 2


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_each_service_is_healthy(server: AdminProcess, service: str):
    with grpc.insecure_channel(server.address) as channel:
        told = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service), timeout=60)
        statuses = (answer.status for answer in told)

        assert health_pb2.HealthCheckResponse.SERVING in statuses


def test_an_unknown_service_has_no_health(server: AdminProcess):
    with grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="Nobody"), timeout=30)

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
