"""A person's own joints from end to end: an animal of four joints, by the commands of the README."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pose_core.cli import main, method_main
from pose_core.skeleton import read_skeleton
from pose_testing.annotations import coco_content, person, write_image

SMALL = ["model.input_size=[64, 64]", "train.batch_size=4", "train.workers=0", "test.workers=0", "run.device=cpu"]


@pytest.fixture
def animals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write train.json and val.json with foxes of four joints, and stand beside them."""
    for number, split in enumerate(("train", "val")):
        content = coco_content(images=4, people=0)
        for image in content["images"]:
            image["id"] += 10 * number
            image["file_name"] = f"{split}{image['id']}.jpg"
            write_image(tmp_path / "my/images" / image["file_name"], 64, 48, image["id"])
            content["annotations"].append(person(image["id"], image["id"], 4, category_id=3))
        fox = {"id": 3, "name": "fox", "keypoints": ["nose", "leftEar", "rightEar", "tail"], "skeleton": [[1, 4]]}
        content["categories"] = [{"id": 1, "name": "tree"}, fox]
        (tmp_path / "my" / f"{split}.json").write_text(json.dumps(content))
    again = json.loads((tmp_path / "my/train.json").read_text())
    rng = np.random.default_rng(0)
    for annotation in again["annotations"]:
        annotation["keypoints"] = [
            value if number % 3 == 2 else value + float(rng.normal())
            for number, value in enumerate(annotation["keypoints"])
        ]
    (tmp_path / "second.json").write_text(json.dumps(again))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_joints_of_an_animal_are_trained_scored_and_drawn(animals: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--annotations", "my/train.json", "second.json"]
    assert main(["data", "new-skeleton", "my/train.json", *files, "--out", "fox.yaml"]) == 0
    said = capsys.readouterr().out
    assert "left and right: leftEar and rightEar" in said
    made = read_skeleton("fox.yaml")
    assert made.flip_pairs == ((1, 2),)
    assert all(0.01 < sigma < 0.1 for sigma in made.sigmas)
    # The lines that it prints work as they stand.
    check, train = (line.partition(": ")[2].split() for line in said.splitlines()[-2:])
    assert main(check[1:]) == 0
    data = [*train, "data.val=val.json", *SMALL]
    assert method_main("lite", ["overfit", "--cfg", "synthetic_quick", *data, "--steps", "3", "--images", "2"]) in {
        0,
        1,
    }
    assert method_main("lite", ["train", "--cfg", "synthetic_quick", *data, "train.epochs=1", "run.name=fox"]) == 0
    best = "runs/fox/best.pt"
    assert method_main("lite", ["eval", "--weights", best]) == 0
    assert "evaluator=COCO AP" in capsys.readouterr().out
    photo = "my/images/val11.jpg"
    assert method_main("lite", ["predict", photo, "--weights", best, "--boxes", "gt", "--out", "out"]) == 0
    (found,) = Path("out").rglob("val11*.json")
    people = json.loads(found.read_text())["people"]
    assert list(people[0]["keypoints"]) == ["nose", "leftEar", "rightEar", "tail"]
    assert list(Path("out").rglob("val11*.jpg"))
