"""Columns of HDF5 files that reach outside, promise too much, or are damaged."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_core.errors import DataError

h5py: Any = pytest.importorskip("h5py", reason="HDF5 files need the extra pose-core[h5]")
hdf5: Any = pytest.importorskip("pose_core.reading.hdf5")


def read(file: Path, name: str = "x") -> np.ndarray:
    found: np.ndarray = hdf5.read_columns(file, [name], "a test")[name]
    return found


@pytest.mark.parametrize(
    "values",
    [np.arange(6.0).reshape(3, 2), np.arange(3, dtype=">i4"), np.array([b"a", b"bc"]), np.array([True]), np.float32(2)],
)
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"compression": "lzf", "shuffle": True}])
def test_numbers_and_text(tmp_path: Path, values: Any, options: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, **options if np.ndim(values) else {})
    found = read(tmp_path / "a.h5")
    assert np.array_equal(found, values)
    assert found.dtype == np.asarray(values).dtype


def test_text_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{'n' * (row % 7)}{row}" for row in range(2500)]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = names
    assert [name.decode() for name in read(tmp_path / "a.h5")] == names
    monkeypatch.setattr(hdf5, "ALWAYS_ALLOWED", 100)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = ["a" * 3000] * 2 * 50
    assert len(read(tmp_path / "b.h5")) == 100  # each text is stored for itself


def outside(file: Any, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(range(64)))
    file.create_dataset("x", (8,), "u1", external=[(str(folder / "secret"), 0, 8)])


def virtual(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "y", (4,))
    file.create_virtual_dataset("x", layout)


def linked(file: Any, link: Any) -> None:
    file["y"] = np.zeros(3)
    file["x"] = link


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(outside, "'x' has its data in another file", id="external"),
        pytest.param(virtual, "'x' has its data in another file", id="virtual"),
        pytest.param(lambda file, _: linked(file, h5py.ExternalLink("b.h5", "y")), "'x' is a link", id="external link"),
        pytest.param(lambda file, _: linked(file, h5py.SoftLink("/y")), "'x' is a link", id="soft link"),
        pytest.param(lambda file, _: file.create_group("x"), "not a field with data", id="group"),
        pytest.param(lambda file, _: file.create_dataset("x", data=h5py.Empty("f8")), "not a field with", id="empty"),
        pytest.param(lambda file, _: file.create_dataset("x", (10**8, 2), "f4"), r"\(100000000, 2\), of", id="rows"),
        pytest.param(
            lambda file, _: file.create_dataset("x", (10**6, 9), "f4", fillvalue=7), "36 MB, of which 0", id="fill"),
        pytest.param(
            lambda file, _: file.create_dataset("x", (9,), "f4", chunks=(10**8,), maxshape=(None,)), "of", id="chunk"),
        pytest.param(
            lambda file, _: file.create_dataset("x", (2,), h5py.vlen_dtype("f8")), "must be numbers", id="vlen"),
        pytest.param(lambda file, _: file.create_dataset("x", (2,), h5py.ref_dtype), "must be numbers", id="reference"),
        pytest.param(lambda file, _: file.create_dataset("x", (2,), "f8,f8"), "must be numbers or text", id="compound"),
        pytest.param(lambda file, _: file.create_dataset("y", (2,), "f8"), r"no field 'x' \(it has y\)", id="none"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_file_is_refused(tmp_path: Path, write: Any, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write(file, tmp_path)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.h5")


def test_unknown_filters_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((4,)), plist)
    with pytest.raises(DataError, match="by the filter 32015, which is not of HDF5; use gzip"):
        read(tmp_path / "a.h5")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"annotation file .*none\.h5 does not exist"):
        read(tmp_path / "none.h5")
    (tmp_path / "a.h5").write_bytes(b"text")
    with pytest.raises(DataError, match=r"is not a test: .*; fetch or build it again"):
        read(tmp_path / "a.h5")


def test_damage_ends_in_values_or_a_data_error(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(40.0).reshape(20, 2), compression="gzip", chunks=(7, 2))
        file["name"] = ["a", "bc"]
    whole = np.frombuffer((tmp_path / "a.h5").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for number in range(300):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 1 + number % 4)] = rng.integers(0, 256, 1 + number % 4)
        cut = damaged[: rng.integers(0, len(whole)) if number % 5 == 0 else len(whole)]
        (tmp_path / "b.h5").write_bytes(cut.tobytes())
        for name in ("x", "name"):
            with suppress(DataError):
                read(tmp_path / "b.h5", name)
