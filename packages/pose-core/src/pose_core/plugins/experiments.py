"""Experiments by name, file or published file."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from pose_core.config import (
    Experiment,
    apply_overrides,
    parse_config,
    read_yaml,
    update_override,
    update_spelling,
)
from pose_core.engine.run_folder import run_path
from pose_core.errors import ConfigError
from pose_core.folders import leads_outside
from pose_core.layouts.table import get_layout
from pose_core.plugins.method import get_method, installed_methods
from pose_core.plugins.pages import Entry, refuse_page
from pose_core.plugins.published import convert_published, is_published, override_published, refuse_published_keys
from pose_core.reading.printable import shortened
from pose_core.suggestions import did_you_mean

_log = logging.getLogger(__name__)


def load_config(name_or_path: str | Path, overrides: Sequence[str] = (), *, method: str | None = None) -> Experiment:
    """Load an experiment: a built-in name, a YAML file, or a published (upper-case) YAML file.

    Built-in names are ``coco_lpn50_256x192`` or, where two installed packages share one, ``pose-lite/coco_…``.
    A file may not choose a folder outside of the current one for its run; an override, ``run.dir=…``, may. Overrides of
    a published file may also name its own keys, ``MODEL.NAME=mrfea1_pose_resnet``. A published file that several
    methods can convert becomes one of ``method``, if given.
    """
    path = Path(name_or_path)
    # A folder may have the name of an experiment, as run folders do.
    is_file = path.suffix in {".yaml", ".yml"} or path.is_file()
    if is_file:
        content = read_yaml(path)
        refuse_page(content, path)
        where = f"config file {path}"
        if is_published(content):
            content, overrides = override_published(content, overrides)
            content = convert_published(content, path.name, method).config
            where = f"config file {path} (converted from the published form)"
    else:
        content = find_experiment(str(name_or_path)).content()
        where = f"config {name_or_path}"
    refuse_published_keys(overrides, where)
    content = {"name": path.name.split(".")[0]} | content
    given = apply_overrides(content, overrides)
    place = f"{where} with {shortened(' '.join(overrides))}" if overrides else where
    named = given.get("method")
    if not isinstance(named, str):
        raise ConfigError(f"{place}: 'method' is missing; it names the package, for example method: lite")
    schema = get_method(named).schema(given, place)
    content = update_spelling(content, schema, where)
    content = apply_overrides(content, [update_override(item, schema) for item in overrides])
    config = parse_config(content, schema, place)
    try:
        get_layout(config.data.layout)
    except ConfigError as error:
        raise ConfigError(f"{place}:\n  'data.layout': {error}") from None
    if is_file and not any(item.startswith("run.dir=") for item in overrides):
        return _kept_inside(config, path)
    return config


def _kept_inside(config: Experiment, path: Path) -> Experiment:
    """Return a file's experiment; raise ConfigError if its run would be written outside of the current folder.

    A run's own config.yaml names the folder that it lies in, also if the folder has been moved.
    """
    named = config.run.dir
    if not leads_outside(named):
        return config
    folder = path.absolute().parent
    if path.name == "config.yaml" and folder.name == run_path(config).name:
        if Path(named).absolute().resolve() == folder.parent.resolve():
            return config
        _log.warning("config file %s: run.dir is %s, where this run is now, instead of %s", path, folder.parent, named)
        return config.model_copy(update={"run": config.run.model_copy(update={"dir": str(folder.parent)})})
    raise ConfigError(
        f"config file {path}: 'run.dir' is {named!r}, and a file may not choose a folder outside of the current one "
        f"to write to: remove it there, or, if you want it, add to the command {shlex.quote(f'run.dir={named}')}"
    )


def override_config(config: Experiment, overrides: Sequence[str]) -> Experiment:
    """Return an experiment with ``key=value`` settings on top."""
    refuse_published_keys(overrides, f"config {config.name}")
    schema = type(config)
    now = [update_override(item, schema) for item in overrides]
    content = apply_overrides(config.model_dump(mode="json"), now)
    return (
        parse_config(content, schema, f"config {config.name} with {shortened(' '.join(overrides))}") if now else config
    )


def find_experiment(name: str) -> Entry:
    """Return a built-in experiment, ``coco_lpn50_256x192`` or ``pose-lite/coco_lpn50_256x192``."""
    package, _, stem = name.rpartition("/")
    methods = [get_method(package)] if package else list(installed_methods().values())
    matches = [(m, m.experiments()[stem]) for m in methods if stem in m.experiments()]
    if len(matches) == 1:
        return matches[0][1]
    if matches:
        names = ", ".join(f"{m.script}/{stem}" for m, _ in matches)
        raise ConfigError(f"several packages have a config {stem!r}: give one of {names}")
    known = [f"{m.script}/{key}" if package else key for m in methods for key in m.experiments()]
    hint = did_you_mean(name, known, 3, 0.4) or "."
    raise ConfigError(f"no config named {name!r}, and no such file{hint} `pose configs` lists the built-in ones")
