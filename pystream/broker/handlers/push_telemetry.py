"""PushTelemetry (key 72), version 0: metrics of a client, as OTLP (KIP-714). They are shown on /metrics."""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.push_telemetry import PushTelemetryRequest, PushTelemetryResponse

REQUEST = PushTelemetryRequest


def handle(context: BrokerContext, call: Call, request: PushTelemetryRequest) -> PushTelemetryResponse:
    code = context.telemetry.push(
        bytes(request.client_instance_id),
        call.handle,
        call.client_id or "",
        call.peer,
        subscription_id=request.subscription_id,
        terminating=request.terminating,
        codec=request.compression_type,
        metrics=bytes(request.metrics),
    )
    return PushTelemetryResponse(error_code=code)


def failed(request: PushTelemetryRequest, code: int, message: str) -> PushTelemetryResponse:
    return PushTelemetryResponse(error_code=code)
