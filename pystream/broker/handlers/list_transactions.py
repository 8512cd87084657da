"""ListTransactions (key 66), versions 0-2: the transactional ids that this broker coordinates (KIP-664).

0    filters by state and by producer id
1    filter by how long a transaction has run (KIP-994)
2    filter by a regular expression over the id (KIP-1152)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.list_transactions import (
    ListTransactionsRequest,
    ListTransactionsResponse,
    TransactionState,
)

REQUEST = ListTransactionsRequest


def handle(context: BrokerContext, call: Call, request: ListTransactionsRequest) -> ListTransactionsResponse:
    listed = context.transactions.listed(
        request.producer_id_filters,
        request.state_filters,
        request.duration_filter,
        request.transactional_id_pattern,
    )
    return ListTransactionsResponse(
        unknown_state_filters=context.transactions.unknown_states(request.state_filters),
        transaction_states=[
            TransactionState(
                transactional_id=each.transactional_id, producer_id=each.producer_id, transaction_state=each.state
            )
            for each in listed
        ],
    )


def failed(request: ListTransactionsRequest, code: int, message: str) -> ListTransactionsResponse:
    return ListTransactionsResponse(error_code=code)
