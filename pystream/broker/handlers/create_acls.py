"""CreateAcls (key 30), versions 1-3: new access rules, each with a result.

This broker has no authorizer: SECURITY_DISABLED for each, as Kafka answers without `authorizer.class.name`.

    1    pattern types (KIP-290)
    2    flexible
    3    resource type user (KIP-373)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.broker.handlers.describe_acls import NO_AUTHORIZER
from pystream.common.error_codes import SECURITY_DISABLED
from pystream.protocol.messages.create_acls import AclCreationResult, CreateAclsRequest, CreateAclsResponse

REQUEST = CreateAclsRequest


def handle(context: BrokerContext, call: Call, request: CreateAclsRequest) -> CreateAclsResponse:
    return failed(request, SECURITY_DISABLED, NO_AUTHORIZER)


def failed(request: CreateAclsRequest, code: int, message: str) -> CreateAclsResponse:
    return CreateAclsResponse(
        results=[AclCreationResult(error_code=code, error_message=message) for _ in request.creations]
    )
