"""AlterClientQuotas (key 49), versions 0-1: quotas of users and client ids (KIP-546).

Each entity succeeds or fails by itself and is answered once. The answer waits until this broker goes by the change.

    1    flexible
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.controller.quotas import QuotaChange
from pystream.protocol.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse,
    AlterClientQuotasResponseEntityData,
    AlterClientQuotasResponseEntryData,
)

REQUEST = AlterClientQuotasRequest


async def handle(context: BrokerContext, call: Call, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse:
    changes = [
        QuotaChange(_entity(entry), tuple((op.key, None if op.remove else op.value) for op in entry.ops))
        for entry in request.entries
    ]
    outcomes = await context.quotas.alter(changes, validate_only=request.validate_only)
    await context.applier.caught_up()
    await context.client_quotas.in_force()
    return AlterClientQuotasResponse(
        entries=[
            _result(
                outcome.entity,
                0 if outcome.error is None else outcome.error.code,
                None if outcome.error is None else str(outcome.error),
            )
            for outcome in outcomes
        ]
    )


def failed(request: AlterClientQuotasRequest, code: int, message: str) -> AlterClientQuotasResponse:
    entities = dict.fromkeys(_entity(entry) for entry in request.entries)
    return AlterClientQuotasResponse(entries=[_result(entity, code, message) for entity in entities])


def _entity(entry: AlterClientQuotasRequestEntryData) -> tuple[tuple[str, str | None], ...]:
    return tuple((part.entity_type, part.entity_name) for part in entry.entity)


def _result(
    entity: tuple[tuple[str, str | None], ...], code: int, message: str | None
) -> AlterClientQuotasResponseEntryData:
    return AlterClientQuotasResponseEntryData(
        error_code=code,
        error_message=message,
        entity=[AlterClientQuotasResponseEntityData(entity_type=kind, entity_name=name) for kind, name in entity],
    )
