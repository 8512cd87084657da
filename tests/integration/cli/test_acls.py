"""`pystream acls` against a broker that has no authorizer: refused, in words that help."""

from __future__ import annotations

from tests.integration.cli.conftest import Command, Outcome


def is_refused(outcome: Outcome) -> bool:
    return (outcome.code, outcome.out) == (4, "") and "authorizer.class.name" in outcome.err


def test_without_an_authorizer_there_are_no_entries_to_list_add_or_delete(pystream: Command):
    entry = ("--resource", "topic", "--name", "orders", "--principal", "User:alice", "--operation", "read")

    assert is_refused(pystream("acls", "list"))
    assert is_refused(pystream("acls", "create", *entry))
    assert is_refused(pystream("acls", "create", *entry, "--dry-run"))
    assert is_refused(pystream("acls", "delete", *entry))


def test_words_that_are_none_are_wrong_usage(pystream: Command):
    outcome = pystream("acls", "list", "--operation", "frobnicate")

    assert outcome.code == 2
    assert "frobnicate" in outcome.err
