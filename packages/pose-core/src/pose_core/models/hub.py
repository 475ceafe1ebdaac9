"""Weights on a model hub, ``hf://owner/repo/file``, through huggingface_hub, which keeps its own cache."""

from __future__ import annotations

from pathlib import Path

from pose_core.downloads import is_offline
from pose_core.errors import ConfigError, PoseError
from pose_core.installation import install_hint


def hub_file(address: str) -> Path:
    """Return the local copy of ``hf://owner/repo/path/to/file``, downloaded when first asked for."""
    owner, _, rest = address.removeprefix("hf://").partition("/")
    repo, _, name = rest.partition("/")
    if not (owner and repo and name):
        raise ConfigError(f"{address!r} must have the form hf://owner/repo/file")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise PoseError(f"{address} needs huggingface_hub: {install_hint('hub')}") from None
    try:
        return Path(hf_hub_download(f"{owner}/{repo}", name, local_files_only=is_offline()))
    except Exception as error:  # the hub's own errors, and those of the network libraries below it
        if is_offline():
            raise PoseError(
                f"{address} is not in the cache of huggingface_hub, and POSE_OFFLINE is set. Unset it, or copy the "
                "file from another machine and give its path"
            ) from None
        raise PoseError(f"cannot download {address}: {error}") from None
