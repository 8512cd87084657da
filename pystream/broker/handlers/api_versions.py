"""ApiVersions (key 18), versions 0-4: what this broker offers.

The list is the pinned table cut down to the keys that are answered; clients take it as a promise. Features are listed
only once what they promise works; those with a lowest level of 0 are for version 4 and later.

The two keys of client telemetry are listed only while the cluster has a subscription to metrics of clients: librdkafka
would otherwise ask every broker it meets, and say so in its log (KIP-714).

    0    bare list
    1    throttle time
    3    flexible; the client's software name and version; features (KIP-482, KIP-511, KIP-584)
    4    features with a lowest version of 0 (KIP-1022)

A version that we do not know is answered by `unsupported_version_response`: a v0 body with error 35 and the range of
this key alone, so that the client can ask again (KIP-511). The response header is v0 in every version, flexible or not.
Tagged fields that hold their default are not written: librdkafka before 2.2 misreads finalized_features_epoch = -1.
"""

from __future__ import annotations

import re
import struct

from pystream.broker.context import BrokerContext, Call
from pystream.broker.monitoring.telemetry import Software
from pystream.common.error_codes import INVALID_REQUEST, UNSUPPORTED_VERSION
from pystream.protocol.api_keys import ADVERTISED, TELEMETRY_KEYS, ApiKey
from pystream.protocol.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

REQUEST = ApiVersionsRequest
# Lowest and highest level: 3.3-IV3, the lowest that Kafka 4 supports, and 4.2-IV1, that of a fresh Kafka 4.2.
# The others have a level 0, which means that the cluster goes without.
SUPPORTED_FEATURES = {
    "metadata.version": (7, 29),
    "transaction.version": (0, 2),
    "group.version": (0, 1),
    "share.version": (0, 1),
    "streams.version": (0, 1),
}
FIRST_VERSION_WITH_LEVEL_0 = 4  # older clients do not read a lowest level of 0 (KAFKA-17492)
NO_FEATURES_EPOCH = -1
FIRST_VERSION_WITH_SOFTWARE_NAME = 3
_SOFTWARE_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
_CORRELATION_ID_AT = 4
_UNSUPPORTED = struct.Struct(">ihihhh")  # correlation id, error, count of one, key, lowest, highest version


def handle(context: BrokerContext, call: Call, request: ApiVersionsRequest) -> ApiVersionsResponse:
    if call.api_version >= FIRST_VERSION_WITH_SOFTWARE_NAME and not _is_valid(request):
        return failed(request, INVALID_REQUEST, "")
    if request.client_software_name:
        software = Software(request.client_software_name, request.client_software_version)
        context.telemetry.met(call.handle, software)
    image = context.image()
    return ApiVersionsResponse(
        api_keys=[
            ApiVersion(api_key=key, min_version=low, max_version=high)
            for key, low, high in context.advertised
            if key not in TELEMETRY_KEYS or image.configs_of_client_metrics
        ],
        supported_features=[
            SupportedFeatureKey(name=name, min_version=low, max_version=high)
            for name, (low, high) in SUPPORTED_FEATURES.items()
            if low or call.api_version >= FIRST_VERSION_WITH_LEVEL_0
        ],
        finalized_features=[
            FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
            for name, level in image.features.items()
            if name in SUPPORTED_FEATURES
        ],
        finalized_features_epoch=image.features_epoch if image.features else NO_FEATURES_EPOCH,
    )


def failed(request: ApiVersionsRequest, code: int, message: str) -> ApiVersionsResponse:
    return ApiVersionsResponse(error_code=code)


def unsupported_version_response(frame: bytes) -> bytes | None:
    """Header and body that answer an unknown version of this key; None when the frame holds no correlation id.

    header v0: correlation id int32 | body v0: error int16 = 35, count int32 = 1, key int16 = 18, lowest, highest int16
    """
    if len(frame) < _CORRELATION_ID_AT + 4:
        return None
    (correlation_id,) = struct.unpack_from(">i", frame, _CORRELATION_ID_AT)
    low, high = ADVERTISED[ApiKey.API_VERSIONS]
    return _UNSUPPORTED.pack(correlation_id, UNSUPPORTED_VERSION, 1, ApiKey.API_VERSIONS, low, high)


def _is_valid(request: ApiVersionsRequest) -> bool:
    return all(_SOFTWARE_NAME.fullmatch(t) for t in (request.client_software_name, request.client_software_version))
