"""Copies of data sets with parts on the evaluation images: changed pixels, unchanged annotations."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pose_asda.config import AsdaConfig
from pose_asda.occlude import occlude
from pose_asda.task import AsdaTask
from pose_core.cli import method_main
from pose_core.config import dump_config
from pose_core.errors import DataError
from pose_core.folders import find_data_root
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.networks import build_network
from pose_core.synthetic import write_dataset
from pose_core.topdown.evaluate import evaluate_topdown

LAYOUTS = {
    "mpii": ("train", "valid", "mpii16"),
    "coco": ("train2017", "val2017", "coco17"),
    "crowdpose": ("train", "val", "crowdpose14"),
}


def of_layout(config: AsdaConfig, layout: str, root: Path) -> AsdaConfig:
    train, val, skeleton = LAYOUTS[layout]
    change = {"layout": layout, "root": str(root), "train": train, "val": val, "skeleton": skeleton}
    return config.model_copy(update={"data": config.data.model_copy(update=change)})


def jpegs(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "images").rglob("*.jpg")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_with_parts_is_read_and_scored_like_the_original(
    layout: str, config: AsdaConfig, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "clean", layout, 2, (2, 2), 0, val_images=3)
    clean = of_layout(config, layout, tmp_path / "clean")
    images, parts = occlude(clean, tmp_path / "hidden", 2)
    hidden = of_layout(config, layout, tmp_path / "hidden")
    before, after = (read_dataset(each.data, each.data.val) for each in (clean, hidden))
    assert (images, parts) == (3, 2 * before.num_persons)
    for one, other in zip(before.records, after.records, strict=True):
        for person, same in zip(one.persons, other.persons, strict=True):
            assert np.array_equal(person.joints, same.joints)
        changed = np.abs(cv2.imread(one.source).astype(int) - cv2.imread(other.source)).max(2) > 30
        assert 0.005 < changed.mean() < 0.7
    network = AsdaTask(hidden, build_network).networks()["pose"].eval()
    assert evaluate_topdown(network, hidden, torch.device("cpu"), tmp_path / "out").metrics
    occlude(clean, tmp_path / "again", 2)
    assert jpegs(tmp_path / "again") == jpegs(tmp_path / "hidden")
    occlude(clean, tmp_path / "other", 2, seed=1)
    assert jpegs(tmp_path / "other") != jpegs(tmp_path / "hidden")


def test_images_of_an_archive_become_a_folder(config: AsdaConfig, tmp_path: Path) -> None:
    write_dataset(tmp_path / "clean", "mpii", 1, (1, 1), 0, val_images=2)
    occlude(of_layout(config, "mpii", tmp_path / "clean"), tmp_path / "hidden", 1)
    folder = tmp_path / "clean/images"
    with zipfile.ZipFile(tmp_path / "clean/images.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
            path.unlink()
    folder.rmdir()
    occlude(of_layout(config, "mpii", tmp_path / "clean"), tmp_path / "from-archive", 1)
    assert jpegs(tmp_path / "from-archive") == jpegs(tmp_path / "hidden")


def test_nothing_is_written_outside_the_folder(config: AsdaConfig, tmp_path: Path) -> None:
    write_dataset(tmp_path / "clean", "mpii", 1, (1, 1), 0, val_images=1)
    file = tmp_path / "clean/annot/valid.json"
    content = json.loads(file.read_text())
    (tmp_path / "stray.jpg").write_bytes((tmp_path / "clean/images" / content[0]["image"]).read_bytes())
    content[0]["image"] = "../../stray.jpg"
    file.write_text(json.dumps(content))
    clean = of_layout(config, "mpii", tmp_path / "clean")
    with pytest.raises(DataError, match="leads out of its folder"):
        occlude(clean, tmp_path / "hidden", 1)
    content[0]["image"] = str(tmp_path / "stray.jpg")
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"leads out of .*data\.allowed_folders"):
        occlude(clean, tmp_path / "hidden", 1)
    data = clean.data.model_copy(update={"allowed_folders": (str(tmp_path),)})
    with pytest.raises(DataError, match=r"valid\.json: image .*stray\.jpg is outside"):
        occlude(clean.model_copy(update={"data": data}), tmp_path / "hidden", 1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clean", "stray.jpg"]


def test_the_command(config: AsdaConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(dump_config(config))
    out = tmp_path / "hidden"
    words = ["occlude", "--cfg", str(file), "--out", str(out), "--parts"]
    assert method_main("asda", [*words, "0"]) == 2
    assert "--parts 0: at least one part" in capsys.readouterr().err
    assert method_main("asda", [*words, "1"]) == 0
    assert f"4 images, 4 parts in {out}" in capsys.readouterr().out
    assert method_main("asda", [*words, "1"]) == 2
    assert "is not empty; give --out another folder" in capsys.readouterr().err
    assert (find_data_root(str(out)) / "annot/gt_valid.mat").exists()
