"""Read and write weight files, ours and published ones, without running code from them.

Our networks keep the published names, so one layout serves both. Files differ in the wrapping: bare, or under a key,
with or without the ``module.`` prefix of data-parallel training. Files of the open-mmlab zoo are translated by the
network: see `pose_core.models.zoo`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from pose_core.digests import is_damaged
from pose_core.errors import WeightsError
from pose_core.files import whole_file
from pose_core.models.network import PoseNetwork, to_own_names
from pose_core.models.zoo import UNREAD
from pose_core.reading.checkpoints import check_checkpoint
from pose_core.reading.pickled_numbers import NumberType, number
from pose_core.reading.reasons import quoted
from pose_core.reading.regular import open_regular

WRAPPERS = ("weights", "best_state_dict", "state_dict", "model", "network", "netHg")
"""Keys under which checkpoints keep the network; ours is the first. Files with the last also hold a critic."""
MAX_WRAPPERS = 8
"""Most levels of mappings around a network's state dict."""
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
WHOLE = (torch.int64, torch.int32)
"""Types of the entries that are loaded as floats and as whole numbers."""
Identify = Callable[[Mapping[str, Tensor]], list[str]]
"""State dict → names of the networks that it fits."""


class _Unread:
    """A substitute for an object of a checkpoint that is no weight: it takes any arguments and state, and is empty."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _unread(*_: object) -> type[_Unread]:
    """Return `_Unread` instead of calling ``getattr``, with which training logs name their statistics."""
    return _Unread


# Published checkpoints keep their best score as a NumPy number; its function was renamed in NumPy 2. Those of the
# open-mmlab zoo have arrays in their description of the data set, and training files also the curves of the training.
SAFE_NAMES = (
    (NumberType, "numpy.dtype"),
    (number, "numpy.core.multiarray.scalar"),
    (number, "numpy._core.multiarray.scalar"),
    (_Unread, "numpy.ndarray"),
    (_Unread, "numpy.core.multiarray._reconstruct"),
    (_Unread, "numpy._core.multiarray._reconstruct"),
    (_Unread, "mmengine.logging.history_buffer.HistoryBuffer"),
    (_unread, "builtins.getattr"),
    (_unread, "__builtin__.getattr"),
)


@dataclass(frozen=True)
class LoadReport:
    """The result of loading: the source, the number of entries that fit, and those that do not."""

    source: str
    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    warning: str = ""
    """A reason why the weights may be wrong although all of them fit; "" if there is none."""

    @property
    def complete(self) -> bool:
        """Whether every entry of file and network matched."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        text = f"weights from {self.source}: {self.loaded} entries {'loaded' if self.complete else 'fit'}"
        for title in ("missing", "unexpected", "mismatched"):
            names = getattr(self, title)
            if names:
                text += f"\n  {title} {len(names)}: {_few(names)}"
        return text + (f"\n  {self.warning}" if self.warning else "")


def _few(names: tuple[str, ...], count: int = 4) -> str:
    return ", ".join(map(quoted, names[:count])) + (" …" if len(names) > count else "")


def read_checkpoint(path: str | Path) -> Any:
    """Return the content of a checkpoint file; only tensors and plain values are read."""
    file = Path(path)
    open_regular(file, "weights file", error=WeightsError).close()
    if file.suffix != ".safetensors" and not _looks_like_a_checkpoint(file):
        raise WeightsError(f"weights file {file} is not a PyTorch checkpoint")
    if is_damaged(file):
        raise WeightsError(f"weights file {file} is damaged: its content does not have the digest written with it")
    check_checkpoint(file)
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load(file.read_bytes())
        with torch.serialization.safe_globals(list(SAFE_NAMES)):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error) and "Unsupported" not in str(error):
            raise WeightsError(f"weights file {file} is damaged or not a checkpoint: {quoted(error)}") from None
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise WeightsError(
            f"weights file {file} holds more than tensors and plain values{f' ({quoted(found[1])})' if found else ''}, "
            "and loading it could run code. Save its state_dict alone with the code that wrote it, then load that file"
        ) from None
    except Exception as error:  # a damaged file can fail in any step of reading
        reason = str(error)
        if "PytorchStreamReader" in reason:  # which goes on with advice for PyTorch's developers
            reason = "its archive cannot be read, as if a part of the file were missing"
        raise WeightsError(f"weights file {file} is damaged or not a checkpoint: {quoted(reason)}") from None


def _looks_like_a_checkpoint(file: Path) -> bool:
    """Return whether a file is a zip archive or a pickle, as `torch.save` writes them, by its first bytes."""
    with file.open("rb") as opened:
        return opened.read(2) in {b"PK", *(bytes([0x80, protocol]) for protocol in range(1, 6))}


def network_state(content: Any, source: str) -> dict[str, Tensor]:
    """Return the network's state dict of a checkpoint: unwrapped, without ``module.``."""
    state = content
    for _ in range(MAX_WRAPPERS):
        if not isinstance(state, Mapping) or _is_state(state):
            break
        key = next((key for key in WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if key is None:
            have = ", ".join(quoted(name) if isinstance(name, str) else type(name).__name__ for name in list(state)[:8])
            raise WeightsError(f"{source} holds no network: expected tensors, or one of {WRAPPERS}; it has {have}")
        state = state[key]
    if not isinstance(state, Mapping) or not _is_state(state):
        raise WeightsError(f"{source} holds no network: it is a {type(content).__name__}")
    for key, value in state.items():
        _check_memory(key, value, source)
    found = {re.sub(r"^((model\.)?module\.|_orig_mod\.)+", "", key): value for key, value in state.items()}
    if len(found) < len(state):
        raise WeightsError(f"{source} has entries twice, with and without a prefix such as 'module.': save one network")
    return found


def _check_memory(key: str, value: Tensor, source: str) -> None:
    """Raise a WeightsError if an entry is not a plain tensor, with memory for each of its elements."""
    if value.is_quantized or value.layout != torch.strided:
        kind = "quantized" if value.is_quantized else "sparse"
        raise WeightsError(f"{source}: the entry {quoted(key)} is {kind}; save dense tensors of floats")
    if value.is_meta:  # shapes tell which network a file fits; `_check_values` refuses to load it
        return
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise WeightsError(
            f"{source}: the entry {quoted(key)} of shape {tuple(value.shape)} has {value.untyped_storage().nbytes()} "
            "bytes; save it with .contiguous()"
        )


def _check_values(key: str, value: Tensor, own: Tensor, source: str) -> None:
    """Raise a WeightsError if an entry has no content, another kind of numbers than the network's, or is not finite."""
    if value.is_meta:
        raise WeightsError(f"{source}: the entry {quoted(key)} is without content; save dense tensors of floats")
    if value.dtype not in (FLOATS if own.is_floating_point() else WHOLE):
        raise WeightsError(
            f"{source}: the entry {quoted(key)} is of {str(value.dtype).removeprefix('torch.')}, but the network's is "
            f"of {str(own.dtype).removeprefix('torch.')}; save it as that"
        )
    # A sum is finite only if all are, and much faster; it may overflow.
    if value.is_floating_point() and not value.sum().isfinite() and not value.isfinite().all():
        raise WeightsError(
            f"{source}: the entry {quoted(key)} has values that are not finite (NaN or infinite): take an earlier "
            "checkpoint, or download the file again"
        )


def companion_state(path: str | Path, name: str, published: str) -> dict[str, Tensor]:
    """Return weights of a network trained together with the pose network: of a run's last.pt or a ``published`` key."""
    content = read_checkpoint(path)
    wrapped = content if isinstance(content, Mapping) else {}
    networks = wrapped.get("networks")
    state = (networks.get(name) if isinstance(networks, Mapping) else None) or wrapped.get(published)
    if not isinstance(state, Mapping):
        raise WeightsError(
            f"{path} holds no {name}; give the last.pt of a run that has one, or a published checkpoint "
            f"with {published!r}"
        )
    return network_state(state, f"{path}, {name}")


def companion_states(path: str | Path) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts of the networks trained together with the pose network, by name: of a run's last.pt."""
    content = read_checkpoint(path)
    networks = content.get("networks") if isinstance(content, Mapping) else None
    if not isinstance(networks, Mapping):
        return {}
    return {name: network_state(state, f"{path}, {name}") for name, state in networks.items() if name != "pose"}


def _is_state(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


def load_weights(
    model: nn.Module,
    weights: str | Path | Mapping[str, object],
    *,
    strict: bool = True,
    identify: Identify | None = None,
) -> LoadReport:
    """Load weights into ``model``, from a file or a state dict, in our layout or the published one.

    A mismatch raises WeightsError, which names the networks that fit according to ``identify``; ``strict=False`` loads
    the entries that fit and reports the rest.
    """
    if isinstance(weights, Mapping):
        source, content = "the given state dict", weights
    else:
        source, content = str(weights), read_checkpoint(weights)
    given = network_state(content, source)
    state = to_own_names(model, given)
    own = model.state_dict()
    # Checkpoints of PyTorch before 1.0 have no batch counters; they are not used.
    missing = tuple(key for key in own if key not in state and not key.endswith("num_batches_tracked"))
    unexpected = tuple(key for key in state if key not in own)
    mismatched = tuple(key for key in own if key in state and state[key].shape != own[key].shape)
    fitting = {key: state[key] for key in own if key in state and key not in mismatched}
    report = LoadReport(source, len(fitting), missing, unexpected, mismatched, style_warning(model, source))
    if strict and not report.complete:
        raise WeightsError(f"{report}\n{_explain(given, state, own, identify)}")
    for key, value in fitting.items():
        _check_values(key, value, own[key], source)
    model.load_state_dict(fitting, strict=False)
    return report


def style_warning(model: nn.Module, source: str) -> str:
    """Return a warning if a file's name suggests another ResNet style than the network's, "" otherwise.

    The content does not tell: the caffe style has the stage's stride on the first 1×1 convolution, with the same names
    and shapes.
    """
    style = model.style if isinstance(model, PoseNetwork) else None
    if style in {None, "caffe"} or "caffe" not in Path(source).name.lower():
        return ""
    return f"the file's name says caffe, but the network has {style} style: is model.name missing _caffe?"


def _explain(
    given: dict[str, Tensor], state: dict[str, Tensor], own: Mapping[str, Tensor], identify: Identify | None
) -> str:
    """Explain for which network a file is that does not fit: ``given`` has its own names, ``state`` the network's."""
    head = "final_layer.weight"
    if head in state and head in own and len(state[head]) != len(own[head]):
        joints = f"the file has {len(state[head])} joints, the network {len(own[head])}; "
    else:
        joints = ""
    entries = {key: value for key, value in given.items() if not key.startswith(UNREAD)}
    names = identify(entries) if identify is not None else []
    if names:
        return f"{joints}the file fits {' or '.join(names)}"
    if {"fc.weight", "classifier.weight"} & state.keys():
        return "the file is an ImageNet classifier's: give it as model.pretrained, which loads the backbone"
    return f"{joints}the file fits no network that is installed; load what fits with --partial-weights or strict=False"


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write only a network's weights, atomically; as safetensors if ``path`` has that extension."""
    state = model.state_dict()
    target = Path(path)
    with whole_file(target) as file:
        if target.suffix == ".safetensors":
            file.write(safetensors.torch.save({key: value.contiguous() for key, value in state.items()}))
        else:
            torch.save(state, file)
