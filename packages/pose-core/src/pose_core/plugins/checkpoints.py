"""Trained weights by name, and the settings that belong to them.

A method package lists its checkpoints in a table, ``checkpoints.csv``. The file that ``POSE_CHECKPOINTS`` names is one
more table, a laboratory's own: it has a column ``method``, its addresses and experiments may be files relative to the
table, and its entries come before the packages'.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from pose_core.config import Experiment, all_keys, parse_config, update_override
from pose_core.errors import ConfigError, WeightsError
from pose_core.folders import check_folder_name, leads_outside
from pose_core.installation import shell_command
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method, installed_methods, package_file
from pose_core.reading.regular import read_regular
from pose_core.reading.yaml_text import parse_yaml
from pose_core.suggestions import did_you_mean

_log = logging.getLogger(__name__)

REQUIRED = ("name", "experiment", "url")
COLUMNS = (*REQUIRED, "settings", "sha256", "license", "data", "metric", "default", "note")
LARGEST_TABLE = 10 * 2**20
"""Most bytes of a table of checkpoints."""
FIXED = ("data.color", "data.pixels", "data.skeleton", "model.name", "model.options")
"""Settings without which weights give other results than they were trained for: never replaced."""
BOUND = (*FIXED, "model.input_size", "heatmap", "test.shift_heatmap")
"""Settings that come with weights; those that are not fixed may be replaced explicitly."""
WEIGHT_FILES = (".pt", ".pth", ".tar", ".pkl", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights with a name: where they are, and the experiment that they belong to."""

    name: str
    method: str
    experiment: str
    """Name or file of an experiment, as ``load_config`` takes it."""
    settings: tuple[str, ...]
    """Overrides of the experiment, ``key=value``."""
    url: str
    sha256: str
    """SHA-256 of the file at ``url``, or its first digits; "" if unknown."""
    license: str
    data: str
    """The data sets it was trained on, whose terms bind its user."""
    metric: str
    """The published figure."""
    note: str
    default: bool
    """Whether its method uses it where no weights are given."""

    def card(self) -> dict[str, object]:
        """Return what is known about the weights, for their card."""
        return {key: value for key, value in asdict(self).items() if key not in {"url", "sha256", "default"}}


def list_checkpoints(pattern: str = "*") -> list[Checkpoint]:
    """Return the checkpoints whose names match a shell pattern, sorted by name."""
    found: dict[str, Checkpoint] = {}
    for checkpoint in _entries():
        found.setdefault(checkpoint.name, checkpoint)
    return sorted((c for c in found.values() if fnmatchcase(c.name, pattern)), key=lambda c: c.name)


def find_checkpoint(name: str) -> Checkpoint:
    """Return a checkpoint by its name."""
    known = {checkpoint.name: checkpoint for checkpoint in list_checkpoints()}
    if name in known:
        return known[name]
    hint = did_you_mean(name, known, 3, 0.4) or "."
    command = f"{shell_command('pose')} weights list"
    raise WeightsError(f"no weights are named {name!r}, and no such file exists{hint} `{command}` lists them")


def default_checkpoint(method: str | None) -> Checkpoint:
    """Return the checkpoint that a method uses where no weights are given; without a method, that of the first one."""
    # The method that `pose quickstart` uses comes first.
    methods = sorted(installed_methods().values(), key=lambda each: each.quickstart is None)
    wanted = [method] if method is not None else [each.name for each in methods]
    for table in (_own_entries(), _package_entries()):
        defaults = [entry for entry in table if entry.default and entry.method in wanted]
        if defaults:
            return min(defaults, key=lambda entry: wanted.index(entry.method))
    lacks = f"pose-{method} has" if method is not None else "the installed methods have"
    command = f"{shell_command('pose')} weights list"
    raise ConfigError(f"{lacks} no default weights: give --weights a file, or a name that `{command}` shows")


def checkpoint_config(checkpoint: Checkpoint, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a checkpoint, under the checkpoint's name, with ``overrides`` on top."""
    config = load_config(checkpoint.experiment, [*checkpoint.settings, *overrides])
    return bind_config(config.model_copy(update={"name": checkpoint.name}), checkpoint.name, overrides)


def locate_weights(weights: str | Path) -> Path:
    """Return the file of weights: given as a file, a name, ``hf://owner/repo/file`` or a URL, which are downloaded."""
    checkpoint = _named(weights)
    if checkpoint is not None:
        from pose_core.models.store import stored_weights

        return stored_weights(checkpoint.url, checkpoint.sha256, checkpoint.card())
    text = str(weights)
    if text.startswith("hf://"):
        from pose_core.models.hub import hub_file

        return hub_file(text)
    if _is_url(text):
        from pose_core.models.store import stored_weights

        return stored_weights(text, "", {})
    return Path(weights)


def config_of(weights: str | Path) -> Experiment | None:
    """Return the experiment that weights were trained by; None if nothing says so.

    It is known for a checkpoint with a name, for a downloaded file with its card, and for a run's checkpoints.
    """
    bound = _bound_experiment(weights)
    if bound is not None:
        return bound[0]
    path = locate_weights(weights)
    from pose_core.models.store import read_card

    card = read_card(path)
    if card is not None:
        return _run_config(card, path)
    from pose_core.models.weights import read_checkpoint

    return _run_config(read_checkpoint(path), path)


def bind_config(config: Experiment, weights: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Return an experiment with the settings and the name that come with named weights, if ``weights`` are such.

    The settings are those of the color order, pixel values, joints, network (these are fixed), input size and decoding.
    Where they replace the experiment's, a warning says so. ``overrides`` are those that the experiment has already:
    they hold, unless they contradict a fixed setting. In an experiment that has the weights' name, as this function and
    `checkpoint_config` return it, all that is not fixed holds.
    """
    bound = _bound_experiment(weights)
    if bound is None:
        return config
    own, keys = bound
    if own.method != config.method and own.model.name != config.model.name:
        raise ConfigError(
            f"the weights {weights} are of the method {own.method!r} and the network {own.model.name}, but the config "
            f"{config.name} is of the method {config.method!r} and the network {config.model.name}"
        )
    schema, content, theirs = type(config), config.model_dump(mode="json"), own.model_dump(mode="json")
    replaced = [update_override(item, schema).partition("=")[0] for item in overrides]
    shared, has_name = set(all_keys(type(own))), config.name == own.name
    for key in [key for key in all_keys(schema) if key in shared and _is_below(key, keys)]:
        needed, has = _at(theirs, key), _at(content, key)
        if needed == has or (key not in FIXED and (has_name or _is_below(key, replaced))):
            continue
        if _is_below(key, replaced):
            raise ConfigError(f"{key}={_text(has)} contradicts the weights {weights}, which need {_text(needed)}")
        _log.warning("%s=%s instead of %s: the weights %s need it", key, _text(needed), _text(has), weights)
        _set(content, key, needed)
    content["name"] = own.name
    return parse_config(content, schema, f"config {config.name} with weights {weights}")


def check_network(name: str, num_joints: int, options: Mapping[str, object], weights: str | Path) -> None:
    """Raise where named weights are of another network; nothing is downloaded for that."""
    bound = _bound_experiment(weights)
    if bound is None:
        return
    own = bound[0]
    from pose_core.skeleton import get_skeleton

    joints = get_skeleton(own.data.skeleton).num_joints
    if (own.model.name, joints, own.model.options) != (name, num_joints, dict(options)):
        more = "".join(f", {key}={value!r}" for key, value in own.model.options.items())
        raise WeightsError(
            f"weights {weights} are not of this network: they need create_model({own.model.name!r}, "
            f"num_joints={joints}{more})"
        )


def _entries() -> list[Checkpoint]:
    """Return the entries of all tables."""
    return _own_entries() + _package_entries()


def _own_entries() -> list[Checkpoint]:
    """Return the entries of the table that `POSE_CHECKPOINTS` names."""
    own = os.environ.get("POSE_CHECKPOINTS")
    if not own:
        return []
    path = Path(own).expanduser()
    if not path.is_file():
        raise ConfigError(f"POSE_CHECKPOINTS: the table {path} does not exist")
    return _read_table(path, None)


def _package_entries() -> list[Checkpoint]:
    """Return the entries of the installed methods' tables."""
    tables = [(method, package_file(method.package, "checkpoints.csv")) for method in installed_methods().values()]
    return [entry for method, table in tables if table is not None for entry in _read_table(table, method.name)]


def _read_table(path: Path, method: str | None) -> list[Checkpoint]:
    """Read a table of checkpoints; without ``method``, the table has it as a column."""
    needed = (*REQUIRED, "method") if method is None else REQUIRED
    content = read_regular(path, "table of weights", limit=LARGEST_TABLE, error=ConfigError)
    try:
        text = content.decode("utf-8-sig")
        if not text.translate({10: None, 13: None, 9: None}).isprintable():
            raise ConfigError(f"table of weights {path} holds characters that cannot be shown: remove them")
        reader = csv.DictReader(StringIO(text, newline=""))
        columns, rows = reader.fieldnames or (), list(reader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"table of weights {path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise ConfigError(f"table of weights {path} is not a CSV file: {error}") from None
    lacking = [column for column in needed if column not in columns]
    unknown = [column for column in columns if column not in (*COLUMNS, *needed)]
    if lacking or unknown:
        what = [f"lacks the column {each}" for each in lacking] + [
            f"has an unknown column {each[:40]!r}" for each in unknown[:3]
        ]
        raise ConfigError(
            f"table of weights {path} {' and '.join(what)}; columns are {', '.join((*COLUMNS, 'method'))}"
        )
    return [_read_row(row, path, line, method) for line, row in enumerate(rows, start=2)]


def _read_row(row: Mapping[str, str | None], path: Path, line: int, method: str | None) -> Checkpoint:
    def value(column: str) -> str:
        return (row.get(column) or "").strip()

    empty = [column for column in REQUIRED if not value(column)]
    if empty:
        raise ConfigError(f"table of weights {path}, line {line}: {', '.join(empty)} must not be empty")
    name = method if method is not None else value("method").removeprefix("pose-")
    experiment, url, sha256 = value("experiment"), value("url"), value("sha256").lower()
    if not re.fullmatch(r"[0-9a-f]{0,64}", sha256):
        raise ConfigError(f"table of weights {path}, line {line}: sha256 {sha256!r} must be hexadecimal digits")
    if experiment.endswith((".yaml", ".yml")):
        experiment = str(path.parent / experiment)
    elif "/" not in experiment:
        experiment = f"{get_method(name).script}/{experiment}"
    return Checkpoint(
        value("name"), name, experiment, tuple(value("settings").split()), _absolute(url, path), sha256,
        value("license"), value("data"), value("metric"), value("note"),
        value("default").lower() in {"yes", "true", "1"},
    )  # fmt: skip


def _absolute(url: str, table: Path) -> str:
    return url if "://" in url else (table.parent / url).resolve().as_uri()


def _is_url(text: str) -> bool:
    return urlsplit(text).scheme in {"http", "https", "file"}


def _named(weights: str | Path) -> Checkpoint | None:
    """Return the checkpoint that is meant by its name or its URL; None for anything else, and for a file."""
    text = str(weights)
    if _is_url(text):
        return next((entry for entry in _entries() if entry.url == text), None)
    if isinstance(weights, Path) or text.startswith("hf://") or Path(text).exists():
        return None
    if os.sep in text or "/" in text or Path(text).suffix.lower() in WEIGHT_FILES:
        return None
    return find_checkpoint(text)


def _bound_experiment(weights: str | Path) -> tuple[Experiment, tuple[str, ...]] | None:
    """Return the experiment of named weights or of a downloaded file, and the keys of it that come with the weights.

    None for other files, with which nothing comes.
    """
    checkpoint = _named(weights)
    if checkpoint is not None:
        name, experiment, settings = checkpoint.name, checkpoint.experiment, checkpoint.settings
    elif Path(weights).suffix != ".safetensors" or _is_url(str(weights)) or str(weights).startswith("hf://"):
        return None
    else:
        from pose_core.models.store import read_card

        card = read_card(Path(weights))
        if card is None or not card.get("experiment"):
            return None
        name, experiment, settings = card["name"], card["experiment"], tuple(card.get("settings", ()))
    try:
        check_folder_name(name)  # files are named by it
    except ValueError as error:
        raise WeightsError(f"{weights}: the name of these weights, {name!r}, {error}") from None
    config = load_config(experiment, settings).model_copy(update={"name": name})
    own = [item.partition("=")[0] for item in settings]
    return config, (*BOUND, *(key for key in own if not key.startswith(("data.", "train.", "run."))))


def _run_config(content: object, path: Path) -> Experiment | None:
    """Return the experiment in a run's checkpoint, or in the card of one; None for other content."""
    if not isinstance(content, Mapping) or not isinstance(content.get("config"), str):
        return None
    settings = parse_yaml(content["config"], f"config in {path}", error=WeightsError)
    if not isinstance(settings, dict) or not isinstance(settings.get("method"), str):
        raise WeightsError(f"{path} holds a config that names no method; give the experiment with --cfg")
    schema = get_method(settings["method"]).schema(settings, str(path))
    from pose_core.engine.checkpoint import find_files

    settings = _without_place(settings)
    config = find_files(parse_config(settings, schema, f"config in {path}"), content)
    folder = path.absolute().parent
    if not (folder / "config.yaml").is_file():  # not in its run's folder
        return config
    run = config.run.model_copy(update={"dir": str(folder.parent), "name": folder.name})
    return config.model_copy(update={"run": run})


def _without_place(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's settings without a run folder that is outside of the current one, or on another machine."""
    run = settings.get("run")
    if not isinstance(run, Mapping):
        return dict(settings)
    place = {key: str(run[key]) for key in ("dir", "name") if run.get(key) is not None}
    outside = leads_outside(place.get("dir", "")) or len(Path(place.get("name", "")).parts) > 1
    kept = {key: value for key, value in run.items() if not outside or key not in place}
    return {**settings, "run": kept}


def _at(content: Mapping[str, Any], key: str) -> Any:
    value: Any = content
    for part in key.split("."):
        value = value[part]
    return value


def _set(content: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        content = content[parent]
    content[last] = value


def _is_below(key: str, others: Sequence[str]) -> bool:
    return any(key == other or key.startswith(f"{other}.") for other in others)


def _text(value: object) -> str:
    return (
        str(value)
        if isinstance(value, str)
        else str(yaml.safe_dump(value, default_flow_style=True)).split("\n...")[0].strip()
    )
