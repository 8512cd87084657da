"""`kafka-delegation-tokens`, as Kafka's DelegationTokenCommand.

Tokens are for clients that have proved who they are, which this client cannot yet: a broker without SASL does not have
them, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, flag, value
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.tool import bootstrap, serve

ACTIONS: Final = ("create", "renew", "expire", "describe")
REQUIRED: Final = {
    "create": ("max-life-time-period",),
    "renew": ("hmac", "renew-time-period"),
    "expire": ("hmac", "expiry-time-period"),
    "describe": (),
}
TOOL: Final = Tool(
    "kafka-delegation-tokens",
    "This tool helps to create, renew, expire, or describe delegation tokens.",
    (
        value("bootstrap-server", "REQUIRED: server(s) to use for bootstrapping.", "String"),
        value("command-config", "REQUIRED: Properties of the admin client, which must authenticate.", "String"),
        flag("create", "Create a new delegation token."),
        flag("renew", "Renew a delegation token."),
        flag("expire", "Expire a delegation token."),
        flag("describe", "Describe delegation tokens."),
        value("owner-principal", "Whose token it is.", "String", bare=True),
        value("renewer-principal", "Who may renew it.", "String", bare=True),
        value("max-life-time-period", "Ms that it lives at most; -1: as the broker is set.", "Long", int, bare=True),
        value("renew-time-period", "Ms that it lives longer; -1: as the broker is set.", "Long", int, bare=True),
        value("expiry-time-period", "Ms until it ends; -1: at once.", "Long", int, bare=True),
        value("hmac", "The token's HMAC.", "String", bare=True),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    actions = [action for action in ACTIONS if given.has(action)]
    if len(actions) != 1:
        raise WrongUsage("Command must include exactly one action: --create, --renew, --expire or --describe")
    given.require("bootstrap-server", "command-config", *REQUIRED[actions[0]])
    bootstrap(given)
    load(given.value("command-config"))
    raise Mistake(
        f"--{actions[0]}: delegation tokens need a connection that is authenticated by SASL, and this version speaks "
        "PLAINTEXT only"
    )


if __name__ == "__main__":
    main()
