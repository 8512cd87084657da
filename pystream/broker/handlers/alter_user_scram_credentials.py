"""AlterUserScramCredentials (key 51), version 0: passwords of users, salted by the client (KIP-554).

Each user's changes succeed or fail together and are answered once.
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.controller.scram import CredentialChange
from pystream.protocol.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult,
)

REQUEST = AlterUserScramCredentialsRequest


async def handle(
    context: BrokerContext, call: Call, request: AlterUserScramCredentialsRequest
) -> AlterUserScramCredentialsResponse:
    changes = [CredentialChange(deletion.name, deletion.mechanism) for deletion in request.deletions]
    for new in request.upsertions:
        changes.append(
            CredentialChange(new.name, new.mechanism, new.iterations, bytes(new.salt), bytes(new.salted_password))
        )
    outcomes = await context.scram.alter(changes)
    await context.applier.caught_up()
    return AlterUserScramCredentialsResponse(
        results=[
            AlterUserScramCredentialsResult(
                user=outcome.user,
                error_code=0 if outcome.error is None else outcome.error.code,
                error_message=None if outcome.error is None else str(outcome.error),
            )
            for outcome in outcomes
        ]
    )


def failed(request: AlterUserScramCredentialsRequest, code: int, message: str) -> AlterUserScramCredentialsResponse:
    users = dict.fromkeys([*(each.name for each in request.deletions), *(each.name for each in request.upsertions)])
    return AlterUserScramCredentialsResponse(
        results=[AlterUserScramCredentialsResult(user=user, error_code=code, error_message=message) for user in users]
    )
