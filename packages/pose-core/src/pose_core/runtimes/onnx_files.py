"""Networks with their weights as ONNX files below ``POSE_HOME/runtimes``: writing one takes seconds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from pose_core import machine
from pose_core.digests import digest_of_arrays
from pose_core.files import lock_file, open_in_place, whole_file
from pose_core.folders import cache_home, make_cache
from pose_core.models.inference_copy import folded_copy
from pose_core.runtimes.onnx_graph import OPSET, network_graph, onnx_content

FOLDER = "runtimes"
KEPT = 8
"""Files that are kept: those used last."""
POLL = 0.2
"""Seconds between looks at a lock that another process holds."""


def onnx_path(network: nn.Module, input_size: tuple[int, int], multiple: int | None = None) -> Path:
    """Return the file of a network with its weights; it need not exist."""
    arrays = {name: value.detach().cpu().float().numpy() for name, value in network.state_dict().items()}
    # Layers without weights and strides are not in the state dict.
    described = (
        digest_of_arrays(arrays),
        repr(network),
        input_size,
        multiple,
        OPSET,
        sorted(machine.versions().items()),
    )
    return cache_home() / FOLDER / f"{hashlib.sha256(repr(described).encode()).hexdigest()[:24]}.onnx"


def stored_network(network: nn.Module, input_size: tuple[int, int], multiple: int | None, file: Path) -> Path | bytes:
    """Return the ``file`` of a network for normalized images, which is written if needed.

    If it cannot be written, return its content. Another process that is writing the same file is waited for.
    """
    try:
        make_cache(FOLDER)
        with _locked(file.with_suffix(".lock")):
            if not file.exists():
                content = onnx_bytes(network, input_size, multiple)
                with whole_file(file) as opened:
                    opened.write(content)
            file.touch()
    except OSError:
        return onnx_bytes(network, input_size, multiple)
    kept = sorted(file.parent.glob("*.onnx"), key=lambda each: each.stat().st_mtime, reverse=True)[KEPT:]
    for old in kept:
        old.unlink(missing_ok=True)
        old.with_suffix(".lock").unlink(missing_ok=True)
    return file


@torch.no_grad()
def onnx_bytes(network: nn.Module, input_size: tuple[int, int], multiple: int | None = None) -> bytes:
    """Return a network for normalized images as an ONNX file's content, with batch norm folded."""
    return onnx_content(network_graph(folded_copy(network), input_size, multiple=multiple), OPSET, {})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock in a block; wait for another process that holds it."""
    with open_in_place(path) as file:
        while True:
            try:
                lock_file(file)
                break
            except (BlockingIOError, PermissionError):
                time.sleep(POLL)
        yield
