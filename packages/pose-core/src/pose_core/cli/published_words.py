"""Settings in the spelling of the published code: after a published file, pairs of words, ``TEST.FLIP_TEST False``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from pose_core.errors import ConfigError

_KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*")
_SECTIONS = ("ASA.", "CUDNN.", "DATASET.", "DEBUG.", "LOSS.", "MODEL.", "RESCORE.", "STN.", "TEST.", "TRAIN.")
_ALONE = ("AUTO_RESUME", "DATA_DIR", "GPUS", "LOG_DIR", "OUTPUT_DIR", "PIN_MEMORY", "PRINT_FREQ", "RANK", "WORKERS")
MODEL_FILE = "TEST.MODEL_FILE"


def join_pairs(words: Sequence[str], *, among_files: bool = False) -> list[str]:
    """Return words with each pair of a published key and its value as one word, ``KEY=VALUE``.

    With ``among_files``, other words may be names of files, such as TEST.JPG.
    """
    joined: list[str] = []
    rest = iter(words)
    for word in rest:
        if not (_is_key(word) if among_files else _KEY.fullmatch(word)):
            joined.append(word)
            continue
        value = next(rest, None)
        if value is None or _is_key(value):
            raise ConfigError(f"{word} has no value; published settings are pairs of words, for example {word} VALUE")
        joined.append(f"{word}={value}")
    return joined


def _is_key(word: str) -> bool:
    """Return whether a word is a key of the published files, and not the name of a file that exists."""
    is_like = bool(_KEY.fullmatch(word)) and (word in _ALONE or word.startswith(_SECTIONS))
    return is_like and not Path(word).exists()


def take_published(args: argparse.Namespace) -> None:
    """Refuse published keys after any other file than a published one, whose TEST.MODEL_FILE becomes ``--weights``.

    That is the one of the settings, or else the file's own, unless weights are given.
    """
    if "cfg" not in args:  # other commands name their experiment themselves
        return
    cfg, overrides = args.cfg, getattr(args, "overrides", [])
    has_keys = any(word.partition("=")[0].isupper() for word in overrides)
    if not isinstance(cfg, str | None) or not (has_keys or (cfg and "weights" in args)):
        return
    from pose_core.config import read_yaml
    from pose_core.plugins.published import is_published, refuse_published_keys

    content = read_yaml(Path(cfg)) if cfg and cfg.endswith((".yaml", ".yml")) else {}
    if not is_published(content):
        refuse_published_keys(overrides, f"config {cfg}" if cfg else "the experiment")
        return
    if "weights" not in args:
        return
    given = [word.partition("=")[2] for word in overrides if word.startswith(f"{MODEL_FILE}=")]
    section = content.get("TEST")
    file = given[-1] if given else section.get("MODEL_FILE") if isinstance(section, dict) else None
    if isinstance(args.weights, str):
        if given and file not in ("", args.weights):
            raise ConfigError(f"--weights {args.weights} and {MODEL_FILE} {file} name two files; give one of them")
    elif args.weights is None and file and not getattr(args, "random_weights", False):
        args.weights = str(file)
