"""UpdateFeatures (key 57), versions 0-2: finalized levels of features (KIP-584). All updates of a request, or none.

1    upgrade types in place of "allow downgrade", validate only (KIP-778)
2    no result for each feature: the one of the request says all (KIP-1022)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call, in_time
from pystream.common.errors import KafkaError
from pystream.controller.features import FeatureUpdate, UpgradeType
from pystream.protocol.messages.update_features import (
    FeatureUpdateKey,
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

REQUEST = UpdateFeaturesRequest


async def handle(context: BrokerContext, call: Call, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse:
    async def update() -> None:
        updates = [_update(call.api_version, asked) for asked in request.feature_updates]
        await context.features.update(updates, validate_only=request.validate_only)
        await context.applier.caught_up()

    try:
        await in_time(update(), request.timeout_ms)
    except KafkaError as error:
        return failed(request, error.code, str(error))
    return UpdateFeaturesResponse(
        error_message=None,
        results=[
            UpdatableFeatureResult(feature=asked.feature, error_message=None) for asked in request.feature_updates
        ],
    )


def failed(request: UpdateFeaturesRequest, code: int, message: str) -> UpdateFeaturesResponse:
    return UpdateFeaturesResponse(
        error_code=code,
        error_message=message,
        results=[
            UpdatableFeatureResult(feature=asked.feature, error_code=code, error_message=message)
            for asked in request.feature_updates
        ],
    )


def _update(version: int, asked: FeatureUpdateKey) -> FeatureUpdate:
    kind = asked.upgrade_type
    if version == 0:
        kind = UpgradeType.SAFE_DOWNGRADE if asked.allow_downgrade else UpgradeType.UPGRADE
    return FeatureUpdate(asked.feature, asked.max_version_level, kind)
