"""DescribeClientQuotas (key 48), versions 0-1: the quotas that match a filter (KIP-546).

A filter names types of entities: one name, the default, or any that is set. `strict` leaves out entities that have a
type besides. Without a filter all are answered.

    1    flexible
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pystream.broker.context import BrokerContext, Call
from pystream.common.errors import InvalidRequest, UnsupportedVersion
from pystream.controller.quotas import CLIENT_ID, IP, USER
from pystream.metadata.records import QuotaEntity
from pystream.protocol.messages.describe_client_quotas import (
    ComponentData,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    EntityData,
    EntryData,
    ValueData,
)

REQUEST = DescribeClientQuotasRequest
EXACT, DEFAULT, ANY = 0, 1, 2


def handle(context: BrokerContext, call: Call, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse:
    _check(request.components)
    found = [
        (entity, values)
        for entity, values in context.image().client_quotas.items()
        if _matches(dict(entity), request.components, strict=request.strict)
    ]
    return DescribeClientQuotasResponse(error_message=None, entries=[_entry(*each) for each in found])


def failed(request: DescribeClientQuotasRequest, code: int, message: str) -> DescribeClientQuotasResponse:
    return DescribeClientQuotasResponse(error_code=code, error_message=message, entries=None)


def _check(components: Sequence[ComponentData]) -> None:
    kinds = [component.entity_type for component in components]
    for component in components:
        if kinds.count(component.entity_type) > 1:
            raise InvalidRequest(f"Entity type {component.entity_type} cannot appear more than once in the filter.")
        if component.entity_type == "":
            raise InvalidRequest("Invalid empty entity type.")
        if component.entity_type not in (USER, CLIENT_ID, IP):
            raise UnsupportedVersion(f"Unsupported entity type {component.entity_type}")
        if component.match_type not in (EXACT, DEFAULT, ANY):
            raise InvalidRequest(f"Unknown match type {component.match_type}")
        if component.match_type == EXACT and component.match is None:
            raise InvalidRequest("Request specified MATCH_TYPE_EXACT, but set match string to null.")
        if component.match_type != EXACT and component.match is not None:
            kind = "DEFAULT" if component.match_type == DEFAULT else "SPECIFIED"
            raise InvalidRequest(f"Request specified MATCH_TYPE_{kind}, but also specified a match string.")
    if IP in kinds and len(kinds) > 1:
        raise InvalidRequest(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId "
            "filter component."
        )


def _matches(entity: Mapping[str, str | None], components: Sequence[ComponentData], *, strict: bool) -> bool:
    if strict and len(entity) != len(components):
        return False
    return all(
        component.entity_type in entity
        and (component.match_type == ANY or entity[component.entity_type] == component.match)
        for component in components
    )


def _entry(entity: QuotaEntity, values: Mapping[str, float]) -> EntryData:
    return EntryData(
        entity=[EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
        values=[ValueData(key=key, value=float(value)) for key, value in sorted(values.items())],
    )
