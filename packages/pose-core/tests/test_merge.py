"""Merging several splits into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pose_core.cli import main
from pose_core.config import DataConfig
from pose_core.layouts.reader import read_dataset
from pose_core.synthetic import write_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_dataset(tmp_path, layout="crowdpose", images=3, val_images=2, people=(1, 3), size=(120, 90))
    return tmp_path


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_crowdpose_trainval_is_train_and_then_val(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "merge", "--root", str(root)]) == 0
    train, val, both = (
        json.loads((root / f"json/crowdpose_{s}.json").read_text()) for s in ("train", "val", "trainval")
    )
    assert list(both) == ["categories", "images", "annotations"]
    assert both["categories"] == train["categories"]
    assert both["images"] == train["images"] + val["images"]
    strip = [{k: v for k, v in a.items() if k != "id"} for a in both["annotations"]]
    assert strip == [{k: v for k, v in a.items() if k != "id"} for a in train["annotations"] + val["annotations"]]
    ids = [a["id"] for a in both["annotations"]]
    assert len(set(ids)) == len(ids)
    assert "5 images" in capsys.readouterr().out
    data = DataConfig(layout="crowdpose", root=str(root), skeleton="crowdpose14")
    records = read_dataset(data, "trainval").records
    assert len(records) == 5


def test_ids_in_two_files_get_new_numbers(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "json/crowdpose_val.json"
    train = json.loads((root / "json/crowdpose_train.json").read_text())
    content = json.loads(file.read_text())
    content["annotations"][0]["id"] = train["annotations"][0]["id"]
    change(file, annotations=content["annotations"])
    assert main(["data", "merge", "--root", str(root)]) == 0
    text = capsys.readouterr().out
    assert "annotation ids were in two files and were replaced" in text
    both = json.loads((root / "json/crowdpose_trainval.json").read_text())
    ids = [a["id"] for a in both["annotations"]]
    assert len(set(ids)) == len(ids)


def test_what_cannot_be_merged_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        code = main(["data", "merge", "--root", str(root), "--name", "both", *words])
        assert code in {2, 3}
        assert not (root / "json/crowdpose_both.json").exists()
        return capsys.readouterr().err

    train, val = (root / f"json/crowdpose_{split}.json" for split in ("train", "val"))
    good = json.loads(val.read_text())
    assert "at least two splits" in refused("--splits", "train")
    assert "crowdpose_nosuch.json does not exist" in refused("--splits", "train", "nosuch")
    assert "is one of the files to merge" in refused("--name", "val")
    change(val, images=[{k: v for k, v in image.items() if k != "crowdIndex"} for image in good["images"]])
    text = refused()
    assert "has no 'crowdIndex' (2 of 2 lack it)" in text
    assert "crowdpose_val.json" in text
    change(val, images=json.loads(train.read_text())["images"])
    assert f"is in {train} and in {val}; remove it" in refused()
    change(val, images=good["images"], categories=[{"id": 1, "name": "cat"}])
    assert "the categories or joints of" in refused()
    change(val, categories=None)
    assert "needs the lists images, annotations, categories" in refused()
    val.write_text('{"images": [')
    assert "not valid JSON" in refused()
