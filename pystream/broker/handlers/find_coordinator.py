"""FindCoordinator (key 10), versions 0-6: which broker coordinates a group, a transactional id or a share partition.

There is no group or transaction coordinator in this broker, so every key asked for is answered with
COORDINATOR_NOT_AVAILABLE, which clients retry, and a message that says why.

    0    one group
    1    key type (0 group, 1 transaction), throttle time, error message
    3    flexible
    4    many keys of one type, a result each (KIP-699)
    5    error TRANSACTION_ABORTABLE (KIP-890)
    6    key type 2, share group (KIP-932)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import COORDINATOR_NOT_AVAILABLE, INVALID_REQUEST
from pystream.common.logging import get_logger
from pystream.common.model import NO_BROKER
from pystream.protocol.messages.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse

logger = get_logger(__name__)

REQUEST = FindCoordinatorRequest
FIRST_VERSION_WITH_MANY_KEYS = 4
FIRST_VERSION_WITH_SHARE_GROUPS = 6
KEY_TYPES = {0: "group", 1: "transaction", 2: "share"}
NO_PORT = -1


def handle(context: BrokerContext, call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    kind = KEY_TYPES.get(request.key_type)
    if kind is None or (kind == "share" and call.api_version < FIRST_VERSION_WITH_SHARE_GROUPS):
        return failed(request, INVALID_REQUEST, f"key type {request.key_type} does not exist")
    logger.limited("coordinator asked for, but there is none", kind=kind, client_id=call.client_id)
    return failed(request, COORDINATOR_NOT_AVAILABLE, f"this broker has no {kind} coordinator")


def failed(request: FindCoordinatorRequest, code: int, message: str) -> FindCoordinatorResponse:
    """Both forms at once: the fields of a single key (versions 0-3), and one result for each key (4 and later)."""
    return FindCoordinatorResponse(
        error_code=code,
        error_message=message,
        node_id=NO_BROKER,
        host="",
        port=NO_PORT,
        coordinators=[
            Coordinator(key=key, node_id=NO_BROKER, host="", port=NO_PORT, error_code=code, error_message=message)
            for key in request.coordinator_keys
        ],
    )
