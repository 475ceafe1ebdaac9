"""Experiments by name, file or published file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pose_core.config import Experiment, apply_overrides, parse_config, read_yaml
from pose_core.errors import ConfigError
from pose_core.plugins.method import Method, find_experiment, get_method, resolve
from pose_core.plugins.pages import refuse_page


def load_config(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Load an experiment: a built-in name, a YAML file of ours, or a published (upper-case) YAML.

    Built-in names are ``coco_lpn50_256x192`` or, where two installed packages share one, ``pose-lite/coco_…``.
    Overrides of a published file may also name its own keys, ``MODEL.NAME=mrfea1_pose_resnet``.
    """
    path = Path(name_or_path)
    # A folder may well be called like an experiment: runs are.
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        content = read_yaml(path)
        refuse_page(content, path)
        where = f"config file {path}"
        if is_published(content):
            from pose_core.plugins.convert import convert_published

            content, overrides = override_published(content, overrides)
            content = convert_published(content, path.name).config
            where = f"config file {path} (converted from the published form)"
    else:
        content = find_experiment(str(name_or_path)).content()
        where = f"config {name_or_path}"
    content = apply_overrides(content, overrides)
    content.setdefault("name", path.name.split(".")[0])
    if overrides:
        where += f" with {' '.join(overrides)}"
    method = content.get("method")
    if not isinstance(method, str):
        raise ConfigError(f"{where}: 'method' is missing; it names the package, for example method: lite")
    return parse_config(content, config_schema(get_method(method), content, where), where)


def config_schema(method: Method, content: Mapping[str, Any], where: str) -> type[Experiment]:
    """The schema of a method's configs; a method of several kinds of tasks chooses by what a file says."""
    found = resolve(method.config)
    schema: type[Experiment] = found if isinstance(found, type) else found(content, where)
    return schema


def override_published(content: Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Set the published (upper-case) keys among ``overrides``; returns the file's new content and the other ones."""
    published = [item for item in overrides if item.partition("=")[0].isupper()]
    return apply_overrides(content, published), [item for item in overrides if item not in published]


def is_published(content: Mapping[str, Any]) -> bool:
    """Whether a YAML is in the published repositories' upper-case form."""
    return any(isinstance(content.get(key), dict) for key in ("MODEL", "DATASET", "TEST", "TRAIN"))
