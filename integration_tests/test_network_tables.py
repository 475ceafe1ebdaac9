"""The tables of recorded networks are complete, and say what the networks are."""

from __future__ import annotations

import pytest

from pose_core.plugins.method import package_file
from pose_core.plugins.network_tables import TABLE, read_table, recorded_networks
from pose_core.plugins.networks import list_models, record_network
from pose_testing.network_tables import networks_by_package


@pytest.mark.parametrize("package", networks_by_package())
def test_a_table_has_all_networks_of_its_package(package: str) -> None:
    # `python -m pose_testing.network_tables` writes the tables anew.
    table = package_file(package, TABLE)
    assert table is not None
    assert tuple(read_table(table)) == networks_by_package()[package]


@pytest.mark.parametrize("name", list_models())
def test_a_network_is_as_recorded(name: str) -> None:
    assert recorded_networks()[name] == record_network(name)
