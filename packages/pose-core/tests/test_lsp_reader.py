"""LSP, LSP-extended, and the file that merges LSP with MPII."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pose_core.config import DataConfig
from pose_core.errors import ConfigError, DataError
from pose_core.layouts.reader import read_dataset
from pose_core.skeleton import SKELETONS
from pose_testing.annotations import write_image


def joints(people: int) -> np.ndarray:
    """Return joints ``(N, 14, 3)``: 1-based pixels, and a flag that is set for joint 3 only."""
    points = np.stack(np.meshgrid(np.arange(people), np.arange(14), indexing="ij"), -1) * [3, 2] + 5.0
    flag = np.zeros((people, 14, 1))
    flag[:, 3] = 1
    return np.concatenate([points, flag], -1)


def write(root: Path, matrix: np.ndarray, digits: int) -> DataConfig:
    root.mkdir(exist_ok=True)
    savemat(root / "joints.mat", {"joints": matrix})
    for number in range(1, matrix.shape[2] + 1):
        write_image(root / "images" / f"im{number:0{digits}d}.jpg")
    return DataConfig(layout="lsp", root=str(root), skeleton="lsp14")


def test_lsp_flags_hidden_joints(tmp_path: Path) -> None:
    data = joints(6)
    data[3, 5] = 0, 0, 1  # no such joint
    config = write(tmp_path, data.transpose(2, 1, 0), digits=4)
    train, test = (read_dataset(config, split) for split in ("train", "test"))
    assert [record.image_id for record in train.records] == [1, 2, 3]
    assert [record.image_id for record in test.records] == [4, 5, 6]
    (person,) = test.records[0].persons
    np.testing.assert_array_equal(person.joints[:, :2], data[3, :, :2] - 1)
    assert np.flatnonzero(person.joints[:, 2] == 0).tolist() == [5]
    assert np.flatnonzero(person.joints[:, 2] == 1).tolist() == [3]
    assert person.box == (13.0, 4.0, 0.0, 26.0)
    assert test.records[0].source.endswith("im0004.jpg")


def test_extended_lsp_flags_visible_joints(tmp_path: Path) -> None:
    data = joints(4)
    data[:, 7, 2] = 1
    config = write(tmp_path, data.transpose(1, 2, 0), digits=5)
    found = read_dataset(config, "train")
    assert len(found.records) == 4
    (person,) = found.records[0].persons
    assert np.flatnonzero(person.joints[:, 2]).tolist() == [3, 7]
    assert found.records[0].source.endswith("im00001.jpg")
    with pytest.raises(DataError, match="LSP-extended has no test people"):
        read_dataset(config, "test")


def test_extended_lsp_people_without_joints_are_counted(tmp_path: Path) -> None:
    data = joints(4)
    data[:, 7, 2] = 1
    data[1, :, 2] = 0
    data[2, 3, 2] = 0  # a single labeled joint has no extent either
    found = read_dataset(write(tmp_path, data.transpose(1, 2, 0), digits=5), "train")
    assert [record.image_id for record in found.records] == [1, 4]
    assert found.problems.counts == {"zero-area person": 2}


def test_bad_joint_files(tmp_path: Path) -> None:
    config = write(tmp_path, joints(2).transpose(2, 1, 0), digits=4)
    savemat(tmp_path / "joints.mat", {"joints": np.zeros((3, 16, 2))})
    with pytest.raises(DataError, match=r"shape \(3, 16, 2\), expected \(3, 14, N\) or \(14, 3, N\)"):
        read_dataset(config, "train")
    (tmp_path / "joints.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"is not LSP's joints\.mat"):
        read_dataset(config, "train")
    with pytest.raises(DataError, match="has no split 'val'"):
        read_dataset(write(tmp_path, joints(2).transpose(2, 1, 0), digits=4), "val")


def write_merged(root: Path) -> DataConfig:
    h5py = pytest.importorskip("h5py", reason="the merged file needs the extra pose-core[h5]")
    names = ["mpii/images/a.jpg", "lsp/images/im0001.jpg", "mpii/images/b.jpg", "lsp/images/im0002.jpg"]
    codes = np.zeros((4, 40), np.float64)
    for row, name in enumerate(names):
        codes[row, : len(name)] = list(name.encode())
        write_image(root / name)
    part = np.arange(4 * 16 * 2, dtype=np.float64).reshape(4, 16, 2) + 1
    part[:, 6] = -1
    with h5py.File(root / "lsp_mpii.h5", "w") as file:
        file["imgname"], file["part"] = codes, part
        file["center"], file["scale"] = np.full((4, 2), 50.0), np.full(4, 2.0)
        file["visible"], file["istrain"] = np.ones((4, 16)), np.array([1, 1, 0, 2])
    return DataConfig(layout="lsp_mpii", root=str(root), skeleton="lsp_mpii16")


def test_merged_file(tmp_path: Path) -> None:
    config = write_merged(tmp_path)
    train = read_dataset(config, "train")
    mpii, lsp = (record.persons[0] for record in train.records)
    assert (mpii.center, mpii.scale) == ((50.0, 80.0), (2.5, 2.5))
    assert (lsp.center, lsp.scale) == ((50.0, 50.0), (2.5, 2.5))
    assert mpii.joints[0].tolist() == [1, 2, 2]  # no 1-based offset in this file
    assert np.flatnonzero(mpii.joints[:, 2] == 0).tolist() == [6]
    assert [r.persons[0].annotation_id for r in read_dataset(config, "val").records] == [3]
    assert [r.source for r in read_dataset(config, "test").records] == [str(tmp_path / "mpii" / "images" / "b.jpg")]


def test_bad_merged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_merged(tmp_path)
    with pytest.raises(DataError, match=r"has no split 'valid': it holds train, val, test"):
        read_dataset(config, "valid")
    with pytest.raises(DataError, match=r"'part' has the shape .*, but skeleton 'lsp14' has 14"):
        read_dataset(config.model_copy(update={"skeleton": "lsp14"}), "train")
    (tmp_path / "lsp_mpii.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is not a merged LSP and MPII file"):
        read_dataset(config, "train")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"needs h5py: .*install"):
        read_dataset(config, "train")


def test_the_joint_sets_fit(tmp_path: Path) -> None:
    assert SKELETONS["lsp14"].num_joints == 14
    assert SKELETONS["lsp_mpii16"].joints == SKELETONS["mpii16"].joints
