"""Checkpoints: the state a run needs to continue exactly, and the weights a user loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from pose_core.config import Experiment, all_keys, dump_config, update_spelling
from pose_core.errors import ConfigError, WeightsError
from pose_core.files import whole_file
from pose_core.folders import find_data_root
from pose_core.models.weights import read_checkpoint

FORMAT = 1
FREE_KEYS = (
    "note", "name", "run.dir", "run.name", "run.device", "data.root", "train.workers", "train.log_every",
    "train.checkpoint_every", "train.validate_every", "test.",
)  # fmt: skip
"""Prefixes of keys that may change when a run is resumed: they do not affect training."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with whole_file(path) as file:
        torch.save({"format": FORMAT, **content}, file)


def read_run_checkpoint(path: Path, config: Experiment) -> dict[str, Any]:
    """Read a checkpoint to resume from; raise ConfigError if its settings would train another network."""
    content = read_checkpoint(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise WeightsError(f"{path} is not a checkpoint of a training run; give the last.pt of a run folder")
    before = update_spelling(yaml.safe_load(content["config"]), type(config), str(path))
    now = yaml.safe_load(dump_config(config))
    changed = [
        key
        for key in all_keys(type(config))
        if not key.startswith(FREE_KEYS) and _at(before, key) != _at(now, key) and not _longer(key, before, now, config)
    ]
    if changed:
        lines = "".join(f"\n  {key}: {_at(before, key)!r} before, {_at(now, key)!r} now" for key in changed)
        raise ConfigError(
            f"{path} was trained with other settings:{lines}\n"
            "resume with the settings of config.yaml in the same folder, or start another run with run.name=…"
        )
    return content


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
    return config.model_copy(update={"data": config.data.model_copy(update=found)})


def _at(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def _longer(key: str, before: Any, now: Any, config: Experiment) -> bool:
    """Return whether a change only makes the run longer, and its schedule does not depend on its length."""
    if key not in {"train.epochs", "train.iterations"}:
        return False
    # Without a number the run has no length of its own.
    was, is_now = (float("inf") if _at(content, key) is None else _at(content, key) for content in (before, now))
    return config.train.schedule in {"multistep", "constant"} and is_now >= was


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
