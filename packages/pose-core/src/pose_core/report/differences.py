"""How an experiment differs from the built-in one that it is named after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pose_core.errors import PoseError
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method

ABSENT = "not set"


class Changed(NamedTuple):
    """A setting with its value in the built-in experiment and in the run."""

    key: str
    built_in: str
    here: str


class ConfigDifference(NamedTuple):
    """The built-in experiment that a run was compared with, if there is one, and what differs."""

    experiment: str | None
    changed: tuple[Changed, ...]


def config_difference(config: Mapping[str, Any]) -> ConfigDifference:
    """Return the settings of a run's config that differ from the built-in experiment of its name, if there is one."""
    try:
        method = get_method(str(config.get("method")))
    except PoseError:
        return ConfigDifference(None, ())
    if config.get("name") not in list(method.experiments()):  # of another type, perhaps, than a text
        return ConfigDifference(None, ())
    name = f"{method.script}/{config['name']}"
    original = load_config(name).model_dump(mode="json")
    theirs, ours = dict(_flat(original)), dict(_flat(config))
    changed = [
        Changed(key, theirs.get(key, ABSENT), value)
        for key, value in ours.items()  # a key that the record lacks is newer than the run
        if value != theirs.get(key, ABSENT)
    ]
    return ConfigDifference(name, tuple(changed))


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False)
