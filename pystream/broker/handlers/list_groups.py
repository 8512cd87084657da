"""ListGroups (key 16), versions 0-5: the groups that this broker coordinates, of every kind.

1    throttle time
3    flexible
4    state of each group, filter by states (KIP-518)
5    type of each group, filter by types (KIP-848)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.list_groups import ListGroupsRequest, ListGroupsResponse

REQUEST = ListGroupsRequest


async def handle(context: BrokerContext, call: Call, request: ListGroupsRequest) -> ListGroupsResponse:
    code, groups = await context.groups.list_groups(request.states_filter, request.types_filter)
    return ListGroupsResponse(error_code=code, groups=groups)


def failed(request: ListGroupsRequest, code: int, message: str) -> ListGroupsResponse:
    return ListGroupsResponse(error_code=code)
