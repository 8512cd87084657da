"""DescribeAcls (key 29), versions 1-3: the access rules that match a filter.

This broker has no authorizer: SECURITY_DISABLED, as Kafka answers without `authorizer.class.name`.

    1    pattern types (KIP-290)
    2    flexible
    3    resource type user (KIP-373)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import SECURITY_DISABLED
from pystream.protocol.messages.describe_acls import DescribeAclsRequest, DescribeAclsResponse

REQUEST = DescribeAclsRequest
NO_AUTHORIZER = "No Authorizer is configured."


def handle(context: BrokerContext, call: Call, request: DescribeAclsRequest) -> DescribeAclsResponse:
    return failed(request, SECURITY_DISABLED, NO_AUTHORIZER)


def failed(request: DescribeAclsRequest, code: int, message: str) -> DescribeAclsResponse:
    return DescribeAclsResponse(error_code=code, error_message=message)
