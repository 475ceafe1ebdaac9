"""Checkpoints: the state a run needs to continue exactly, and the weights a user loads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from pose_core.config import Experiment, SourceConfig, all_keys, dump_config, update_spelling
from pose_core.digests import DigestWriter
from pose_core.errors import ConfigError, PoseError, WeightsError
from pose_core.files import whole_file
from pose_core.folders import find_data_root
from pose_core.layouts.sources import find_sources
from pose_core.layouts.table import get_layout
from pose_core.models.weights import read_checkpoint
from pose_core.plurals import counted
from pose_core.reading.yaml_text import parse_yaml

FORMAT = 1
FREE_KEYS = (
    "note", "name", "run.dir", "run.name", "run.device", "data.root", "data.allowed_folders", "data.max_skipped",
    "train.workers", "train.log_every", "train.checkpoint_every", "train.validate_every", "train.evaluate_on",
    "train.keep", "test.",
)  # fmt: skip
"""Prefixes of keys that may change when a run is resumed: they do not affect training."""

SAVE_WAITS = (1, 3, 10)
"""Seconds before each further attempt to write a checkpoint."""


def save_checkpoint(path: Path, content: dict[str, Any], keep: int = 1) -> None:
    """Write a checkpoint atomically, with a digest.

    The ``keep - 1`` before it become ``<name>-1.pt``, ``<name>-2.pt``, …. Once there is a checkpoint, there always is a
    complete one, and on file systems with links it always has the name ``path``.
    """
    with whole_file(path) as file:
        writer = DigestWriter(file)
        try:
            torch.save({"format": FORMAT, **content}, cast(IO[bytes], writer))  # only writes and flushes
        except RuntimeError:
            if writer.error is None:
                raise
            raise writer.error from None  # its message names the cause, as that of torch.save does not
        writer.finish()
        _rotate(path, keep)


def _rotate(path: Path, keep: int) -> None:
    """Give the file at ``path`` and those before it the names of the next older ones."""
    names = [path, *(path.with_name(f"{path.stem}-{back}{path.suffix}") for back in range(1, keep))]
    for newer, older in reversed(list(pairwise(names))):
        if newer == path and path.exists():
            spare = path.with_name(f".{path.name}.link")
            spare.unlink(missing_ok=True)
            try:
                os.link(path, spare)
            except OSError:  # a file system without links: for a moment there is only the older name
                spare = path
            spare.replace(older)
        elif newer.exists():
            newer.replace(older)


def read_run_checkpoint(path: Path, config: Experiment, *, inexact: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Read a checkpoint to resume from, and return it with the settings that have changed since, a line each.

    Settings that affect training must not change, unless ``inexact`` allows it: then raise ConfigError.
    """
    content = read_checkpoint(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise WeightsError(f"{path} is not a checkpoint of a training run; give the last.pt of a run folder")
    before = update_spelling(_settings(content, path), type(config), str(path))
    if isinstance(before.get("data"), dict):
        before["data"].setdefault("sources", [])  # a run of an earlier version
    now = parse_yaml(dump_config(config), "config")
    changed = [
        f"{key}: {_at(before, key)!r} before, {_at(now, key)!r} now"
        for key in all_keys(type(config))
        if not key.startswith(FREE_KEYS) and _at(before, key) != _at(now, key) and not _longer(key, before, now, config)
    ]
    # Another network cannot take the weights and the optimizer's state.
    if changed and not (inexact and not any(line.startswith(("method:", "task:", "model.")) for line in changed)):
        raise ConfigError(
            f"{path} was trained with other settings:{_listed(changed)}\n"
            "resume with the settings of config.yaml in the same folder, or start another run with run.name=… (with "
            f"--init {path}, for its weights); with --resume --inexact, settings of the training may change"
        )
    return content, changed


def _settings(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the settings that a checkpoint was trained with."""
    text = content.get("config")
    settings = parse_yaml(text, f"config in {path}", error=WeightsError) if isinstance(text, str) else None
    if not isinstance(settings, dict):
        raise WeightsError(f"{path} holds no settings; give the last.pt of a run folder")
    return settings


def read_last_checkpoint(
    found: Sequence[Path],
    config: Experiment,
    *,
    annotations: str | None,
    processes: int,
    tolerant: bool,
    inexact: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Return the content of the first of a run's checkpoints, newest first, and notes for the user.

    ``tolerant`` passes over damaged ones, and renames them. ``inexact`` allows changed settings, annotations
    (see `annotations_digest`) and numbers of processes, which are a ConfigError otherwise.
    """
    notes = []
    for number, path in enumerate(found, 1):
        try:
            content, changed = read_run_checkpoint(path, config, inexact=inexact)
        except WeightsError as error:
            if number == len(found):
                raise WeightsError(f"{error}. {_advice(path, number)}") from None
            if not tolerant:
                raise WeightsError(f"{error}. To continue from {found[number]}, use --resume=auto") from None
            aside = path.replace(path.with_name(f"{path.stem}.damaged{path.suffix}"))
            notes.append(f"{error}; it is now {aside.name}, and training continues from {found[number].name}")
        else:
            changed += _circumstances(path, content, annotations, processes, inexact=inexact)
            return content, notes + [f"no exact continuation: {line}" for line in changed]
    raise WeightsError("there is no checkpoint")


def _advice(path: Path, number: int) -> str:
    """Return what to do about a run whose ``number`` checkpoints are all damaged."""
    best = path.with_name("best.pt")
    hint = f", or another run from its best weights with --init {best} run.name=…" if best.is_file() else ""
    none = "There is no checkpoint before it (train.keep)" if number == 1 else "So are those before it"
    return f"{none}: start over with --overwrite{hint}"


def _circumstances(
    path: Path, content: Mapping[str, Any], annotations: str | None, processes: int, *, inexact: bool
) -> list[str]:
    """Return what has changed around a checkpoint; raise ConfigError unless it is allowed."""
    found = []
    before = len(content["random"])
    if before != processes:
        found.append(f"{counted(before, 'process', 'processes')} before, {processes} now")
    if content.get("annotations") not in {None, annotations}:
        found.append("the training annotations have changed")
    if found and not inexact:
        raise ConfigError(
            f"{path} cannot be continued exactly: {' and '.join(found)}. To continue in spite of it, use --resume "
            "--inexact"
        )
    return found


def _listed(lines: Sequence[str]) -> str:
    return "".join(f"\n  {line}" for line in lines)


def annotations_digest(config: Experiment) -> str | None:
    """Return the SHA-256 of the training annotations, of all sources; None if the layout has no such file."""
    try:
        sets = [source.data for source in find_sources(config.data)] or [config.data]
        digests = []
        for data in sets:
            layout = get_layout(data.layout)
            with layout.annotation_file(find_data_root(data.root), data.train).open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    except (OSError, PoseError):
        return None


def record_place(config: Experiment) -> dict[str, str]:
    """Return where a run finds its files, for its checkpoints: `find_files` looks there."""
    return {"directory": str(Path.cwd()), "data_root": str(find_data_root(config.data.root).absolute())}


def find_files(config: Experiment, content: Mapping[str, Any]) -> Experiment:
    """Return a checkpoint's experiment with its data, boxes and joint set where training found them, if still there."""
    directory, root = content.get("directory"), content.get("data_root")
    if not isinstance(directory, str) or not isinstance(root, str):  # written by an earlier version
        return config
    found: dict[str, str] = {}
    if Path(root).is_dir():
        found["root"] = root
    for key in ("detections", "skeleton"):
        name = getattr(config.data, key)
        if name is not None and Path(directory, name).is_file():
            found[key] = str(Path(directory, name))
    sources = tuple(_find_source(source, directory) for source in config.data.sources)
    return config.model_copy(update={"data": config.data.model_copy(update={**found, "sources": sources})})


def _find_source(source: SourceConfig, directory: str) -> SourceConfig:
    """Return a source with its data and joint set where training found them, if still there."""
    found = {"name": source.title}
    if Path(directory, source.root).is_dir():
        found["root"] = str(Path(directory, source.root))
    if source.skeleton is not None and Path(directory, source.skeleton).is_file():
        found["skeleton"] = str(Path(directory, source.skeleton))
    return source.model_copy(update=found)


def _at(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    if key == "data.sources" and isinstance(content, list):
        free = ("name", "root", "val", "allowed_folders")  # as data.root, they do not affect training
        return [
            {k: v for k, v in each.items() if k not in free} if isinstance(each, dict) else each for each in content
        ]
    return content


def _longer(key: str, before: Any, now: Any, config: Experiment) -> bool:
    """Return whether a change only makes the run longer, and its schedule does not depend on its length."""
    if key not in {"train.epochs", "train.iterations"}:
        return False
    # Without a number the run has no length of its own.
    was, is_now = (float("inf") if _at(content, key) is None else _at(content, key) for content in (before, now))
    return config.train.schedule in {"multistep", "constant"} and isinstance(was, int | float) and is_now >= was


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of the random generators that training may use."""
    state: dict[str, Any] = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def seed_everything(seed: int, rank: int) -> None:
    """Seed the generators of this process."""
    np.random.seed((seed + rank) % 2**32)  # noqa: NPY002  # for libraries that use it; ours do not
    torch.manual_seed(seed + rank)
