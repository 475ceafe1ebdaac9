"""Check a package's table of trained weights."""

from __future__ import annotations

import csv
import re
from importlib.resources import files
from typing import Any

import torch

from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method
from pose_core.plugins.networks import bare_network


def table_rows(method: str) -> list[dict[str, str]]:
    """Return the rows of a method's ``checkpoints.csv``."""
    with files(get_method(method).package).joinpath("checkpoints.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_table(method: str) -> dict[str, Any]:
    """Check that every row resolves to an experiment whose network can be built; return the experiments by name.

    Of rows that differ in the number of joints only, one network is built.
    """
    rows = table_rows(method)
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    assert names == sorted(names)
    assert [row["default"] for row in rows if row["default"]] == ["yes"]
    configs: dict[str, Any] = {}
    built = set()
    for row in rows:
        name = row["name"]
        assert re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", name), name
        assert row["url"].startswith("https://"), name
        # The zoo names its files by the first digits of their hash.
        assert row["sha256"] in row["url"], name
        assert row["license"], name
        assert row["data"], name
        config = load_config(f"pose-{method}/{row['experiment']}", row["settings"].split())
        configs[name] = config
        assert name.split(".")[0] == config.model.name, name
        width, height = config.model.input_size
        assert re.search(rf"_({height}x{width}|{height})(_|$)", name), name
        network = repr((config.model.name, config.model.options))
        if network not in built:
            built.add(network)
            with torch.device("meta"):
                bare_network(config)
    return configs
