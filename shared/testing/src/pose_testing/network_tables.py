"""Measure networks for the tables that packages keep of them.

python -m pose_testing.network_tables     # write every installed package's networks.csv anew
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pose_core.plugins.method import installed_methods
from pose_core.plugins.network_tables import TABLE, Record, write_table
from pose_core.plugins.networks import OWN_NAMES, record_network


def networks_by_package() -> dict[str, tuple[str, ...]]:
    """Return the names of each package's networks."""
    methods = installed_methods().values()
    return {"pose_core": tuple(sorted(OWN_NAMES)), **{each.package: tuple(sorted(each.networks)) for each in methods}}


def main() -> None:
    """Write all tables."""
    for package, names in networks_by_package().items():
        networks: dict[str, Record] = {name: record_network(name) for name in names}
        table = Path(str(files(package)), TABLE)
        write_table(table, networks)
        print(f"{table}: {len(networks)} networks")


if __name__ == "__main__":
    main()
