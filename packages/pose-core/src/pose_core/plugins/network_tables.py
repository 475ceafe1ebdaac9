"""Recorded sizes and costs of networks, so that listing them builds none.

A package's table, ``networks.csv``, has one line for each of its networks, measured with 17 joints and an input of
256x192. A test holds the tables to the networks, which may also be missing in them: those are measured when needed.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from pose_core.plugins.method import installed_methods, package_file

TABLE = "networks.csv"
NUM_JOINTS = 17
INPUT_SIZE = (192, 256)
"""Width and height."""


class Record(NamedTuple):
    """Size and cost of a network with 17 joints at 256x192."""

    parameters: int
    macs: int
    """True multiply-adds."""
    published: int
    """Multiply-adds as the published tables count them."""
    kernels: int
    """Elements of all weights with three or more dimensions, less those that depend on the number of joints.

    Published files that name or group a network's weights differently have the same number.
    """
    kernels_per_joint: int
    """Elements of these weights for each joint."""


def recorded_networks() -> dict[str, Record]:
    """Return the recorded networks of the core and of all installed methods by name."""
    packages = ["pose_core", *(method.package for method in installed_methods().values())]
    tables = [table for package in packages if (table := package_file(package, TABLE))]
    return {name: record for table in tables for name, record in read_table(table).items()}


def read_table(path: Path) -> dict[str, Record]:
    """Read a table of networks."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row.pop("name"): Record(**{key: int(value) for key, value in row.items()}) for row in csv.DictReader(file)
        }


def write_table(path: Path, networks: dict[str, Record]) -> None:
    """Write a table of networks."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", *Record._fields])
        writer.writerows([name, *record] for name, record in networks.items())
