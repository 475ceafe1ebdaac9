"""Checkpoints that lie about their tensors, or hold none that a network can use."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from pose_core.errors import WeightsError
from pose_core.models.weights import load_weights, network_state, read_checkpoint
from pose_core.reading import checkpoints
from pose_core.reading.checkpoints import check_checkpoint


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def saved(file: Path, content: object, *, old: bool = False) -> Path:
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file


@pytest.mark.parametrize("old", [False, True])
def test_checkpoints_are_read_as_before(tmp_path: Path, old: bool) -> None:
    content = {
        "weights": network().state_dict(),
        "best": np.float64(0.5),
        "order": OrderedDict(a=(1, (2, (3,))), b={"c": [1, "x", None, True, 2**40]}),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }
    found = read_checkpoint(saved(tmp_path / "a.pt", content, old=old))
    assert (found["best"], found["order"]) == (0.5, content["order"])
    assert load_weights(network(), found).complete


def repacked(file: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive again, with other members."""
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, change.get(name.partition("/")[2], content))
    return file


def test_a_deep_key_is_refused(tmp_path: Path) -> None:
    # Hashing it overflows the stack.
    bomb = b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"Ns."
    (tmp_path / "bare.pkl").write_bytes(bomb)
    archive = repacked(saved(tmp_path / "a.pt", {"w": torch.zeros(2)}), {"data.pkl": bomb})
    for file in (tmp_path / "bare.pkl", archive):
        with pytest.raises(WeightsError, match="its tuples are more than 100 deep"):
            read_checkpoint(file)


def test_archives_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "a.pt", {"w": torch.zeros(100_000)})
    repacked(file, {}, zipfile.ZIP_DEFLATED)
    check_checkpoint(file)
    monkeypatch.setattr(checkpoints, "ALWAYS_ALLOWED", 1000)
    with pytest.raises(WeightsError, match=r"unpacks to 40\d kB from \d\.\d kB"):
        read_checkpoint(file)
    monkeypatch.setattr(checkpoints, "MAX_PICKLE", 100)
    with pytest.raises(WeightsError, match="bytes that are not tensors, of at most 100 bytes"):
        read_checkpoint(saved(tmp_path / "a.pt", {"w": torch.zeros(2)}))
    with pytest.raises(WeightsError, match="more than 100 bytes that are not tensors"):
        read_checkpoint(saved(tmp_path / "old.pt", {"w": torch.zeros(2)}, old=True))


def test_tensors_longer_than_their_content_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.pt", {"w": torch.zeros(4)})
    with zipfile.ZipFile(file) as archive:
        content = archive.read("a/data.pkl")
    lying = content.replace(b"K\x04tq", b"M\x00\x40tq")
    assert lying != content
    with pytest.raises(WeightsError, match="its tensor 0 has 16 bytes, but is said to have 66 kB"):
        read_checkpoint(repacked(file, {"data.pkl": lying}))
    old = saved(tmp_path / "old.pt", {"w": torch.zeros(4)}, old=True)
    old.write_bytes(old.read_bytes().replace(b"K\x04Nt", b"J\0\0\0\x7fNt"))
    with pytest.raises(WeightsError, match=r"is said to have 8\.5 GB"):
        read_checkpoint(old)


def test_the_header_of_a_safetensors_file_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match=r"header says that it has 1099\.5 GB"):
        read_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.filterwarnings("ignore")  # of sparse and quantized tensors
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.full((4, 3, 3, 3), torch.nan), "the entry 0.weight has values that are not finite"),
        (lambda: torch.full((4, 3, 3, 3), torch.inf, dtype=torch.float16), "not finite"),
        (
            lambda: torch.zeros(4, 3, 3, 3, dtype=torch.complex64),
            "the entry 0.weight is of complex64, but the network's is of",
        ),
        (lambda: torch.zeros(4, 3, 3, 3, dtype=torch.int8), "is of int8"),
        (lambda: torch.zeros(4, 3, 3, 3, dtype=torch.bool), "is of bool"),
        (lambda: torch.zeros(4, 3, 3, 3).to(torch.float8_e4m3fn), "is of float8_e4m3fn"),
        (lambda: torch.zeros(4, 3, 3, 3).to_sparse(), "the entry 0.weight is sparse; save dense tensors"),
        (lambda: torch.quantize_per_tensor(torch.zeros(4, 3, 3, 3), 1.0, 0, torch.qint8), "is quantized"),
        (lambda: torch.zeros(4, 3, 3, 3, device="meta"), "is without content"),
        (lambda: torch.zeros(1).expand(4, 3, 3, 3), "has 4 bytes; save it with .contiguous"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_entries_that_are_no_weights_are_refused(make: Callable[[], torch.Tensor], message: str, strict: bool) -> None:
    state = {**network().state_dict(), "0.weight": make()}
    with pytest.raises(WeightsError, match=message):
        load_weights(network(), state, strict=strict)


def test_large_values_are_loaded() -> None:
    state = {**network().state_dict(), "0.weight": torch.full((4, 3, 3, 3), 60_000.0, dtype=torch.float16)}
    assert load_weights(network(), state).complete  # their sum overflows


def test_endless_wrappers_end() -> None:
    content: dict[str, object] = {}
    content["model"] = content
    with pytest.raises(WeightsError, match="holds no network"):
        network_state(content, "a.pt")


def test_names_are_shown_without_control_characters(tmp_path: Path) -> None:
    state = {**network().state_dict(), "a\x1b[31m" + "b" * 500: torch.zeros(1)}
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_weights(network(), tmp_path / "a.safetensors")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_damaged_checkpoints_end_in_a_weights_error(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    rng = np.random.default_rng(0)
    for old in (False, True):
        whole = np.frombuffer(saved(file, {"weights": network().state_dict()}, old=old).read_bytes(), np.uint8)
        for number in range(120):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
            file.write_bytes(damaged[: rng.integers(0, len(whole)) if number % 5 == 0 else None].tobytes())
            try:
                load_weights(network(), file)
            except WeightsError as error:
                text = str(error)
                assert len(text) < 2000, text


def test_pickles_of_every_protocol_are_walked_through(tmp_path: Path) -> None:
    content = {"a": [(1, 2), (1, 2, 3), (1, 2, 3, 4), ()], "b": {1, 2}, "c": frozenset({3}), "d": b"x", "e": 1.5}
    for protocol in range(2, 6):
        file = io.BytesIO(pickle.dumps(content, protocol))
        checkpoints._outline(file)
        assert not file.read()
