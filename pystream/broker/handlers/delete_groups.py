"""DeleteGroups (key 42), versions 0-2: forget groups without members, and their offsets. One result for each id.

1    only throttling after the answer (KIP-219)
2    flexible
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.delete_groups import DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse

REQUEST = DeleteGroupsRequest


async def handle(context: BrokerContext, call: Call, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    return DeleteGroupsResponse(results=await context.groups.delete_groups(request.groups_names))


def failed(request: DeleteGroupsRequest, code: int, message: str) -> DeleteGroupsResponse:
    names = dict.fromkeys(request.groups_names)
    return DeleteGroupsResponse(results=[DeletableGroupResult(group_id=name, error_code=code) for name in names])
