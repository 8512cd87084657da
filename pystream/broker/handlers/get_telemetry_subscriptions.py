"""GetTelemetrySubscriptions (key 71), version 0: which of its metrics a client is asked for (KIP-714)."""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.broker.monitoring.telemetry import ACCEPTED_CODECS
from pystream.protocol.messages.get_telemetry_subscriptions import (
    GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse,
)

REQUEST = GetTelemetrySubscriptionsRequest


def handle(
    context: BrokerContext, call: Call, request: GetTelemetrySubscriptionsRequest
) -> GetTelemetrySubscriptionsResponse:
    telemetry = context.telemetry
    code, client_instance_id, subscription = telemetry.subscribe(
        bytes(request.client_instance_id), call.handle, call.client_id or "", call.peer
    )
    return GetTelemetrySubscriptionsResponse(
        error_code=code,
        client_instance_id=client_instance_id,
        subscription_id=subscription.subscription_id,
        accepted_compression_types=[int(codec) for codec in ACCEPTED_CODECS],
        push_interval_ms=subscription.interval_ms,
        telemetry_max_bytes=telemetry.maximum_bytes,
        delta_temporality=True,
        requested_metrics=list(subscription.metrics),
    )


def failed(request: GetTelemetrySubscriptionsRequest, code: int, message: str) -> GetTelemetrySubscriptionsResponse:
    return GetTelemetrySubscriptionsResponse(error_code=code)
