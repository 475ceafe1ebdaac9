"""Arrays in NumPy's formats whose headers lie, or whose bytes are damaged."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pose_core.errors import DataError
from pose_core.reading.arrays import read_npy, read_npz

ARRAYS = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "text": np.array(["a", "bc"]),
    "bytes": np.array([b"a", b"bc"]),
    "none": np.zeros((0, 3), np.float32),
    "truth": np.array(True),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_writes(tmp_path: Path, name: str, save: object) -> None:
    assert callable(save)
    save(tmp_path / "a.npz", **ARRAYS)
    np.save(tmp_path / "a.npy", ARRAYS[name])
    for found in (
        read_npz(tmp_path / "a.npz", "data", [name])[name],
        read_npz((tmp_path / "a.npz").read_bytes(), "data", [name])[name],
        read_npy(tmp_path / "a.npy", "data"),
        read_npy(tmp_path / "a.npy", "data", mapped=True),
    ):
        assert np.array_equal(found, ARRAYS[name])
        assert found.dtype == ARRAYS[name].dtype


def npy(header: str, data: bytes = bytes(48)) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def sides(shape: str, code: str = "'<f8'") -> bytes:
    return npy(f"{{'descr': {code}, 'fortran_order': False, 'shape': {shape}}}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(sides("(10000000,)"), "has 80000000 b", id="shape"),
        pytest.param(sides("(10**12,)"), "description of", id="product"),
        pytest.param(sides("(999999999999,)"), "too large: 80", id="huge"),
        pytest.param(sides("(-6,)"), "description of", id="negative"),
        pytest.param(sides("(6,)", "'|O'"), "objects could run code", id="objects"),
        pytest.param(sides("(6,)", "[('a', '<f8')]"), "numbers or text", id="rows"),
        pytest.param(npy("{'descr': '<f8'}"), "not the description of an array", id="keys"),
        pytest.param(npy("(" * 9000), "not the description of an array", id="depth"),
        pytest.param(npy("{}")[:9], "is damaged", id="cut"),
        pytest.param(b"", "beginning is another's", id="empty"),
        pytest.param(b"\x93NUMPY\x07\x00\x04\x00", "beginning is another's", id="version"),
    ],
)  # fmt: skip
def test_lies_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    for mapped in (False, True):
        with pytest.raises(DataError, match=message):
            read_npy(tmp_path / "a.npy", "data", mapped=mapped)
    with pytest.raises(DataError, match=message):
        read_npz(tmp_path / "a.npz", "data", ["x"])


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(DataError, match=r"data .*a\.npz has no array 'y' \(it has x\.npy\)"):
        read_npz(tmp_path / "a.npz", "data", ["x", "y"])
    with pytest.raises(DataError, match=r"none\.npz does not exist"):
        read_npz(tmp_path / "none.npz", "data", ["x"])


def test_damage_ends_in_arrays_or_a_data_error(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, **ARRAYS)
    whole = np.frombuffer(file.getvalue(), np.uint8)
    rng = np.random.default_rng(0)
    for number in range(400):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 2)] = rng.integers(0, 256, 2)
        with suppress(DataError):
            read_npz(
                damaged[: rng.integers(0, len(whole)) if number % 5 == 0 else None].tobytes(), "data", list(ARRAYS)
            )
