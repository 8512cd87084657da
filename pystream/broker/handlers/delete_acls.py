"""DeleteAcls (key 31), versions 1-3: delete the access rules that match each filter.

This broker has no authorizer: SECURITY_DISABLED for each filter, as Kafka answers without `authorizer.class.name`.

    1    pattern types (KIP-290)
    2    flexible
    3    resource type user (KIP-373)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.broker.handlers.describe_acls import NO_AUTHORIZER
from pystream.common.error_codes import SECURITY_DISABLED
from pystream.protocol.messages.delete_acls import DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse

REQUEST = DeleteAclsRequest


def handle(context: BrokerContext, call: Call, request: DeleteAclsRequest) -> DeleteAclsResponse:
    return failed(request, SECURITY_DISABLED, NO_AUTHORIZER)


def failed(request: DeleteAclsRequest, code: int, message: str) -> DeleteAclsResponse:
    return DeleteAclsResponse(
        filter_results=[DeleteAclsFilterResult(error_code=code, error_message=message) for _ in request.filters]
    )
