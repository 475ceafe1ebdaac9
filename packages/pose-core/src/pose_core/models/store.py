"""Downloaded checkpoints, kept as SafeTensors files below ``POSE_HOME``, each with a card that says what it is.

A checkpoint is converted once. Its card, a JSON file of the same name, has the source, its hash, the license, the data
set and the published figure, and the hash of the converted file. ``POSE_KEEP_DOWNLOADS=1`` keeps the original, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pose_core.downloads import digest_of, fetch, file_name, local_path, locked
from pose_core.errors import PoseError, WeightsError
from pose_core.files import whole_file, write_json
from pose_core.folders import cache_home, make_cache

_log = logging.getLogger(__name__)


def stored_weights(url: str, sha256: str, card: Mapping[str, object]) -> Path:
    """Return the SafeTensors file of a checkpoint's network, downloaded and converted when first asked for.

    ``url`` is http, https or file; ``sha256`` the hash of the file there or its first digits, "" if unknown; ``card``
    what is known about it: name, license, data, metric, experiment, settings.
    """
    target = stored_path(url, sha256, card)
    if is_whole(target):
        return target
    try:
        make_cache("weights")
        with locked(target):
            if target.exists() and not is_whole(target):
                _log.warning("%s is damaged: its hash differs from its card's; it is made anew", target)
            if not is_whole(target):
                _store(url, sha256, card, target)
    except OSError as error:
        raise PoseError(
            f"cannot write {target}: {error.strerror or error}. POSE_HOME sets the folder of downloaded weights"
        ) from None
    return target


def stored_path(url: str, sha256: str, card: Mapping[str, object]) -> Path:
    """Return the file that `stored_weights` returns, whether it exists or not."""
    name = re.sub(r"[^\w.+-]+", "_", str(card.get("name") or Path(file_name(url)).stem))
    return cache_home() / "weights" / f"{name}-{_key(url, sha256)}.safetensors"


def read_card(weights: Path) -> dict[str, Any] | None:
    """Return the card of a stored file; None for other files."""
    path = weights.with_suffix(".json")
    if weights.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}, the card of {weights.name}, cannot be read: {error}") from None
    return card if isinstance(card, dict) and "stored_sha256" in card else None


def is_whole(weights: Path) -> bool:
    """Return whether a stored file is the one that its card describes."""
    if not weights.is_file():
        return False
    try:
        card = read_card(weights)
    except WeightsError:
        return False
    return card is not None and digest_of(weights) == card["stored_sha256"]


def _key(url: str, sha256: str) -> str:
    """Return eight digits that tell files of one name apart."""
    if sha256:
        return sha256[:8].lower()
    if urlsplit(url).scheme == "file":
        path = local_path(url)
        if not path.is_file():
            raise WeightsError(f"weights file {path} does not exist")
        return digest_of(path)[:8]  # the file may change
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def _store(url: str, sha256: str, card: Mapping[str, object], target: Path) -> None:
    downloads = cache_home() / "downloads"
    key = _key(url, sha256)
    source = downloads / (file_name(url) if key in file_name(url) else f"{key}-{file_name(url)}")
    if urlsplit(url).scheme == "file" and not source.exists():
        source = local_path(url)
    fetch(url, source, sha256=sha256, about=_about(card))
    digest = digest_of(source)
    if not digest.startswith(sha256.lower()):
        raise WeightsError(
            f"{source} is not the expected file: its SHA-256 is {digest}, expected {sha256}; replace or delete it"
        )
    import safetensors.torch  # what is here already is found without torch

    from pose_core.models.weights import network_state, read_checkpoint

    downloaded = source.parent == downloads
    try:
        content = read_checkpoint(source)
        state = network_state(content, source.name)
    except WeightsError:
        if downloaded and not sha256:  # some other page: the next try must not read it again
            source.unlink()
        raise
    with whole_file(target) as file:
        file.write(safetensors.torch.save({name: value.contiguous().clone() for name, value in state.items()}))
    record = {
        **card,
        "url": url,
        "sha256": digest,
        "stored": target.name,
        "stored_sha256": digest_of(target),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if isinstance(content, Mapping) and isinstance(content.get("config"), str):  # a checkpoint of a training run
        record |= {key: content[key] for key in ("config", "directory", "data_root") if key in content}
    write_json(target.with_suffix(".json"), record, indent=2)
    if downloaded and not os.environ.get("POSE_KEEP_DOWNLOADS"):
        with contextlib.suppress(OSError):
            source.unlink()
            downloads.rmdir()  # if nothing else is in it


def _about(card: Mapping[str, object]) -> str:
    """Return a line about a checkpoint: its name, figure, data set and license."""
    parts = [str(card[key]) for key in ("name", "metric") if card.get(key)]
    parts += [
        f"{title} {card[key]}" for key, title in (("data", "trained on"), ("license", "license")) if card.get(key)
    ]
    return ", ".join(parts)
