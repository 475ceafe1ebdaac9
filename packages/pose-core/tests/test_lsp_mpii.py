"""MPII and LSP in one file: built from the official annotations, read, and scored."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from pose_core.cli import main
from pose_core.config import DataConfig, ModelConfig
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation import lsp_pck
from pose_core.layouts.build_lsp_mpii import JOINTS, build, place_images
from pose_core.layouts.check import check_dataset
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.lsp_mpii import ISTRAIN
from pose_core.layouts.mpii import RELEASE
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.table import get_layout
from pose_core.skeleton import SKELETONS
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.evaluate import score
from pose_core.topdown.person_table import PersonTable, tabulate
from pose_core.topdown.scoring import CropResults

h5py: Any = pytest.importorskip("h5py", reason="the merged file needs the extra pose-core[h5]")
SIZE = (160, 120)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return synthetic MPII and LSP, and the file built from them."""
    root = tmp_path_factory.mktemp("sets")
    write_dataset(root / "mpii", layout="mpii", images=5, val_images=3, people=(1, 2), size=SIZE, seed=1)
    write_dataset(root / "lsp", layout="lsp", images=4, size=SIZE, seed=2)
    build(root / "mpii", root / "lsp", root)
    return root


def data_of(root: Path, layout: str) -> DataConfig:
    return DataConfig(layout=layout, root=str(root), skeleton=get_layout(layout).skeleton)


def table(root: Path, layout: str, split: str) -> PersonTable:
    """Return the table of a split's people from which crops are made."""
    found = read_dataset(data_of(root, layout), split)
    return tabulate(found.records, found.skeleton.num_joints, 1.0)


LSP_COLUMNS = [JOINTS.index({"neck": "upper_neck"}.get(name, name)) for name in SKELETONS["lsp14"].joints]


@pytest.mark.parametrize(("split", "parts"), [("train", ["mpii train", "lsp train"]), ("val", ["lsp test"])])
def test_the_merged_file_holds_the_people_of_both(split: str, parts: list[str], sets: Path) -> None:
    merged = table(sets, "lsp_mpii", split)
    known = [(part.split()[0], table(sets / part.split()[0], *part.split())) for part in parts]
    assert len(merged.joints) == sum(len(people.joints) for _, people in known)
    assert merged.sources.tolist() == [source for _, people in known for source in people.sources.tolist()]
    for column in ("center", "scale"):
        expected = np.concatenate([getattr(people, column) for _, people in known])
        np.testing.assert_allclose(getattr(merged, column), expected, rtol=1e-6)
    first = 0
    for layout, people in known:
        rows = merged.joints[first : first + len(people.joints)]
        columns = LSP_COLUMNS if layout == "lsp" else list(range(16))
        labeled = people.joints[..., 2] > 0
        assert labeled.any()
        # A joint at x ≤ 0 cannot be labeled in this file.
        labeled &= people.joints[..., 0] > 0
        np.testing.assert_array_equal(rows[:, columns, 2] > 0, labeled)
        np.testing.assert_array_equal(rows[:, columns][labeled], people.joints[labeled] * [1, 1, 0] + [0, 0, 2])
        assert not rows[:, [c for c in range(16) if c not in columns], 2].any()
        first += len(people.joints)


def test_the_fields_are_the_published_ones(sets: Path) -> None:
    train, _, test = (len(table(sets / "mpii", "mpii", split).joints) for split in ("train", "valid", "test"))
    with h5py.File(sets / "lsp_mpii.h5") as file:
        content = {key: file[key][()] for key in file}
    people = train + 8 + test
    shapes = {key: value.shape for key, value in content.items() if key != "imgname"}
    assert shapes == {
        "part": (people, 16, 2), "visible": (people, 16), "center": (people, 2), "scale": (people,),
        "istrain": (people,),
    }  # fmt: skip
    assert content["istrain"].tolist() == [1] * (train + 4) + [2] * 4 + [0] * test
    names = [bytes(row).partition(b"\0")[0].decode() for row in content["imgname"]]
    assert {name.split("/")[0] for name in names[:train]} == {"mpii"}
    assert names[train] == "lsp/images/im0001.jpg"
    lacking = [JOINTS.index("pelvis"), JOINTS.index("thorax")]
    assert (content["part"][train : train + 8, lacking] <= 0).all()
    assert (content["part"][-test:] <= 0).all()  # MPII's test people have no joints
    assert (content["scale"] > 0).all()
    occluded = loadmat(sets / "lsp" / "joints.mat")["joints"][2].T
    np.testing.assert_array_equal(content["visible"][train : train + 8][:, LSP_COLUMNS], occluded == 0)


def test_the_merged_file_passes_the_check(sets: Path) -> None:
    report = check_dataset("lsp_mpii", sets, list(ISTRAIN), decode="all")
    assert report.ok, report


def test_of_the_release_alone_trainval_is_taken(sets: Path, tmp_path: Path) -> None:
    mpii = tmp_path / "mpii"
    (mpii / "images").mkdir(parents=True)
    shutil.copy(sets / "mpii" / RELEASE, mpii)
    built = build(mpii, sets / "lsp", tmp_path)
    everyone = sum(len(table(sets / "mpii", "mpii", split).joints) for split in ("train", "valid"))
    assert [(part.split, part.becomes) for part in built.people] == [
        ("trainval", "train"), ("train", "train"), ("test", "val"), ("test", "test"),
    ]  # fmt: skip
    assert next(iter(built.people.values())) == everyone
    assert "no MPII people remain for validation" in str(built)


def test_people_without_a_position_and_joints_at_the_edge_are_reported(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "mpii" / "annot", tmp_path / "mpii" / "annot")
    (tmp_path / "mpii" / "images").mkdir()
    (tmp_path / "mpii" / "annot" / "test.json").unlink()
    file = tmp_path / "mpii" / "annot" / "train.json"
    rows = json.loads(file.read_text())
    rows[0]["center"] = [-1, -1]
    rows[1].update(joints=[[0.5, 9], *rows[1]["joints"][1:]], joints_vis=[1] * 16)
    file.write_text(json.dumps(rows))
    built = build(tmp_path / "mpii", sets / "lsp", tmp_path)
    text = str(built)
    assert "skipped: 1 people whose annotation has no position" in text
    assert f"{built.outside} labeled joints have x ≤ 0" in text
    assert built.outside >= 1
    assert "no people: MPII's test annotations are missing" in text
    assert next(iter(built.people.values())) == len(rows) - 1
    with h5py.File(built.file) as merged:
        assert merged["part"][0, 0].tolist() == [-0.5, 8]  # kept, though it is not labeled there


def perfect(found: AnnotatedSet, error: np.ndarray) -> CropResults:
    """Return predictions that differ from the annotations by ``error`` ``(N, K, 2)``."""
    rows = [(record, who) for record in found.records for who in record.persons]
    keypoints = np.stack([who.joints for _, who in rows]).astype(np.float32)
    keypoints[..., :2] += error
    count = len(rows)
    return CropResults(
        keypoints,
        np.zeros((count, 2), np.float32),
        np.ones((count, 2), np.float32),
        np.ones(count, np.float32),
        np.array([record.image_id for record, _ in rows]),
        np.array([who.annotation_id for _, who in rows]),
    )


def settings(root: Path, layout: str, split: str) -> TopDownConfig:
    data = data_of(root, layout).model_copy(update={"val": split})
    return TopDownConfig(
        method="crops", name="merged", data=data, model=ModelConfig(name="hg_stack2", input_size=(64, 64))
    )


def test_lsp_scores_the_same_from_its_own_file_and_from_the_merged_one(sets: Path, tmp_path: Path) -> None:
    own, merged = settings(sets / "lsp", "lsp", "test"), settings(sets, "lsp_mpii", "val")
    found, both = (read_dataset(config.data, config.data.val) for config in (own, merged))
    error = np.random.default_rng(3).normal(0, 6, (found.num_persons, 14, 2))
    spread = np.full((found.num_persons, 16, 2), 1e4)
    spread[:, LSP_COLUMNS] = error
    alone = score(perfect(found, error), found, own, tmp_path / "own", write=True)
    together = score(perfect(both, spread), both, merged, tmp_path / "merged", write=True)
    assert 0 < alone.metrics["Mean@0.1"] < alone.metrics["Mean"] < 100
    assert together.metrics == pytest.approx(alone.metrics)
    assert together.name == alone.name == "LSP PCK@0.2"
    assert loadmat(tmp_path / "merged" / "pred.mat")["preds"].shape == (4, 16, 2)
    assert lsp_pck(perfect(found, error * 0).keypoints, perfect(found, error * 0).keypoints)["Mean"] == 100


def test_mpii_s_test_people_are_predicted_and_not_scored(sets: Path, tmp_path: Path) -> None:
    config = settings(sets, "lsp_mpii", "test")
    found = read_dataset(config.data, "test")
    evaluation = score(perfect(found, np.zeros((1, 1, 2))), found, config, tmp_path, write=True)
    assert (evaluation.name, dict(evaluation.metrics)) == ("none (no annotations)", {})
    assert "data.layout=mpii data.skeleton=mpii16 data.val=valid" in evaluation.report
    assert len(loadmat(tmp_path / "pred.mat")["preds"]) == found.num_persons > 0


def test_the_command_writes_links_and_says_how_to_check(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "build-lsp-mpii", "--mpii", str(sets / "mpii"), "--lsp", str(sets / "lsp"), "--out", str(tmp_path)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"ln -s {(sets / 'mpii').resolve()} {tmp_path / 'mpii'}" in told
    assert f"pose data check --layout lsp_mpii --root {tmp_path} --splits train val test" in told
    assert main(words) == 2
    assert "lsp_mpii.h5 exists; give --force" in capsys.readouterr().err
    assert main([*words, "--force", "--link"]) == 0
    assert "linked: " in capsys.readouterr().out
    assert check_dataset("lsp_mpii", tmp_path, ["train"], decode="none").ok
    assert (tmp_path / "lsp_mpii.h5").read_bytes() == (sets / "lsp_mpii.h5").read_bytes()
    assert place_images(tmp_path / "mpii", sets / "mpii", link=False) == ""
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"other exists and is not .*move it away, then run ln -s"):
        place_images(tmp_path / "other", sets / "mpii", link=True)


def test_invalid_input_of_the_build_is_reported(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"annotation file .*nothing.annot.train\.json does not exist"):
        build(tmp_path / "nothing", sets / "lsp", tmp_path)
    with pytest.raises(DataError, match=r"annotation file .*nothing.joints\.mat does not exist"):
        build(sets / "mpii", tmp_path / "nothing", tmp_path)
    with pytest.raises(ConfigError, match="--mpii-train 'valid' must be train or trainval"):
        build(sets / "mpii", sets / "lsp", tmp_path, mpii_train="valid")
    savemat(tmp_path / "nothing" / "joints.mat", {"joints": np.zeros((3, 16, 4))})
    with pytest.raises(DataError, match=r"'joints' has the shape \(3, 16, 4\), expected \(3, 14, N\)"):
        build(sets / "mpii", tmp_path / "nothing", tmp_path)
    savemat(tmp_path / "nothing" / "joints.mat", {"joints": np.ones((14, 3, 4)) + np.arange(14)[:, None, None]})
    (tmp_path / "nothing" / "images").mkdir()
    with pytest.raises(DataError, match="LSP-extended has no test people"):
        build(sets / "mpii", tmp_path / "nothing", tmp_path)
    shutil.copytree(sets / "mpii" / "annot", tmp_path / "mpii" / "annot")
    (tmp_path / "mpii" / "images").mkdir()
    rows = json.loads((tmp_path / "mpii" / "annot" / "train.json").read_text())
    rows[1]["joints"].pop()
    (tmp_path / "mpii" / "annot" / "train.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"train\.json: annotation 1: 15 joints and 16 'joints_vis'"):
        build(tmp_path / "mpii", sets / "lsp", tmp_path)
    assert not (tmp_path / "lsp_mpii.h5").exists()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"writing lsp_mpii\.h5 needs h5py: .* install .*h5py>="):
        build(sets / "mpii", sets / "lsp", tmp_path)


@pytest.mark.parametrize("field", ["imgname", "part", "center", "scale", "istrain"])
def test_a_merged_file_without_a_field(field: str, sets: Path, tmp_path: Path) -> None:
    shutil.copy(sets / "lsp_mpii.h5", tmp_path)
    with h5py.File(tmp_path / "lsp_mpii.h5", "a") as file:
        del file[field]
    message = rf"lsp_mpii\.h5 is not a merged LSP and MPII file: it has no field '{field}' \(it has "
    with pytest.raises(DataError, match=message):
        read_dataset(data_of(tmp_path, "lsp_mpii"), "train")
