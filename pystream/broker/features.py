"""Features of the cluster that some requests need: UpdateFeatures switches them, ApiVersions tells of them."""

from __future__ import annotations

from pystream.broker.context import BrokerContext
from pystream.common.errors import UnsupportedVersion


def check_feature(context: BrokerContext, name: str, level: int = 1) -> None:
    """Raises UnsupportedVersion while the cluster has not finalized this level of the feature."""
    if context.image().features.get(name, 0) < level:
        raise UnsupportedVersion(f"The feature {name} is not at level {level} in this cluster.")
