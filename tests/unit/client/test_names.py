"""The names of the SDK: lazy, complete, and the same for type checkers."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest

import pystream
import pystream.client
import pystream.client.admin
from pystream.client import aio
from pystream.client.admin.client import AdminClient as AsyncAdminClient
from pystream.client.sync.admin import AdminClient
from tests.architecture.house import ROOT

# The methods of org.apache.kafka.clients.admin.Admin in Apache Kafka 4.2, in our spelling; without those that hand
# Java's metrics objects in.
KAFKA_ADMIN = """
    abort_transaction add_raft_voter alter_client_quotas alter_consumer_group_offsets
    alter_partition_reassignments alter_replica_log_dirs alter_share_group_offsets alter_streams_group_offsets
    alter_user_scram_credentials client_instance_id close create_acls create_delegation_token create_partitions
    create_topics delete_acls delete_consumer_group_offsets delete_consumer_groups delete_records
    delete_share_group_offsets delete_share_groups delete_streams_group_offsets delete_streams_groups
    delete_topics describe_acls describe_classic_groups describe_client_quotas describe_cluster describe_configs
    describe_consumer_groups describe_delegation_token describe_features describe_log_dirs
    describe_metadata_quorum describe_producers describe_replica_log_dirs describe_share_groups
    describe_streams_groups describe_topics describe_transactions describe_user_scram_credentials elect_leaders
    expire_delegation_token fence_producers force_terminate_transaction incremental_alter_configs
    list_client_metrics_resources list_config_resources list_consumer_group_offsets list_consumer_groups
    list_groups list_offsets list_partition_reassignments list_share_group_offsets list_streams_group_offsets
    list_topics list_transactions metrics remove_members_from_consumer_group remove_raft_voter
    renew_delegation_token unregister_broker update_features
"""
INTERPRETER_RUNS = 5
IMPORT_SECONDS = 0.030


@pytest.mark.parametrize("module", [pystream.client, pystream.client.admin, aio])
def test_every_name_that_is_promised_can_be_had(module):
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
        assert name in dir(module)


def test_the_root_has_the_names_of_the_sdk_and_no_others():
    assert [
        name for name in pystream.client.__all__ if getattr(pystream, name) is not getattr(pystream.client, name)
    ] == []
    assert pystream.aio is aio
    assert pystream.__all__ == sorted([*pystream.client.__all__, "aio", "client", "compat", "testing"])
    assert [name for name in pystream.__all__ if not hasattr(pystream, name)] == []
    with pytest.raises(AttributeError, match="Produce"):
        _ = pystream.Produce


@pytest.mark.parametrize("module", [pystream, pystream.client, pystream.client.admin, aio])
def test_what_a_module_lists_is_what_it_promises(module):
    assert sorted({*dir(module)} - {"__version__"}) == module.__all__


def test_type_checkers_are_told_all_names_of_the_root():
    stub = ast.parse((ROOT / "pystream/__init__.pyi").read_text())
    told = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == {"aio", "client", "compat", "testing", *pystream.client.__all__}


def test_importing_pystream_takes_next_to_nothing():
    """The best of some runs, of processor time: other tests may be running."""
    script = "import time; began = time.process_time(); import pystream; print(time.process_time() - began)"
    runs = [
        float(subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True).stdout)
        for _ in range(INTERPRETER_RUNS)
    ]
    assert min(runs) < IMPORT_SECONDS


@pytest.mark.parametrize("package", ["client", "compat", "testing", "aio"])
def test_packages_are_there_without_an_import_of_their_own(package: str):
    script = f"import pystream, sys; assert 'pystream.client' not in sys.modules; print(pystream.{package}.__name__)"
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.strip().endswith(package)


def operations(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(member)
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_the_synchronous_admin_client_has_every_operation_of_the_other_with_its_arguments():
    assert operations(AdminClient) == {
        name: signature if name != "close" else inspect.signature(AdminClient.close)
        for name, signature in operations(AsyncAdminClient).items()
    }


def test_every_operation_of_kafkas_admin_interface_is_there():
    assert sorted(set(KAFKA_ADMIN.split()) - operations(AsyncAdminClient).keys()) == []
