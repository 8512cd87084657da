"""What groups of the new protocols need: a feature of the cluster, and a setting of the broker.

UpdateFeatures switches features, ApiVersions tells of them.
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext
from pystream.common.errors import UnsupportedVersion
from pystream.coordinator.group.group import GroupKind


def check_protocol(context: BrokerContext, kind: GroupKind, feature: str) -> None:
    """Raises UnsupportedVersion while the cluster has not finalized the feature, or this broker leaves it out."""
    if not context.image().features.get(feature):
        raise UnsupportedVersion(f"The feature {feature} is not finalized in this cluster.")
    if kind not in context.config.coordinator.rebalance_protocols:
        raise UnsupportedVersion(f"group.coordinator.rebalance.protocols of this broker leaves {kind} out.")
