"""DescribeUserScramCredentials (key 50), version 0: mechanisms and iterations of users, never what proves a password.

Without users it is about all. Source: KIP-554.
"""

from __future__ import annotations

from collections import Counter

from pystream.broker.context import BrokerContext, Call
from pystream.common.errors import DuplicateResource, KafkaError, ResourceNotFound
from pystream.metadata.image import ClusterImage
from pystream.protocol.messages.describe_user_scram_credentials import (
    CredentialInfo,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
)

REQUEST = DescribeUserScramCredentialsRequest


def handle(
    context: BrokerContext, call: Call, request: DescribeUserScramCredentialsRequest
) -> DescribeUserScramCredentialsResponse:
    image = context.image()
    mentions = Counter(user.name for user in request.users or ())
    return DescribeUserScramCredentialsResponse(
        error_message=None,
        results=[_described(image, user, mentions[user]) for user in mentions or image.scram_users],
    )


def failed(
    request: DescribeUserScramCredentialsRequest, code: int, message: str
) -> DescribeUserScramCredentialsResponse:
    return DescribeUserScramCredentialsResponse(
        error_code=code,
        error_message=message,
        results=[
            DescribeUserScramCredentialsResult(user=asked.name, error_code=code, error_message=message)
            for asked in request.users or ()
        ],
    )


def _described(image: ClusterImage, user: str, mentions: int) -> DescribeUserScramCredentialsResult:
    error: KafkaError | None = None
    credentials = image.scram_users.get(user, {})
    if mentions > 1:
        error = DuplicateResource(
            f"Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
        )
    elif not credentials:
        error = ResourceNotFound(f"Attempt to describe a user credential that does not exist: {user}")
    if error is not None:
        return DescribeUserScramCredentialsResult(user=user, error_code=error.code, error_message=str(error))
    return DescribeUserScramCredentialsResult(
        user=user,
        error_message=None,
        credential_infos=[
            CredentialInfo(mechanism=mechanism, iterations=credential.iterations)
            for mechanism, credential in sorted(credentials.items())
        ],
    )
