"""The loop on one's own data: train, look at the worst images, correct them, train again; and what a network sees."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_core.cli import main, method_main
from pose_core.inference.relabel import write_worst
from pose_core.inference.worst import find_worst
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.experiments import load_config
from pose_core.plugins.predictors import Predictor
from pose_core.synthetic import write_dataset

sys.path.append(str(Path(__file__).parents[1] / "shared" / "benchmark"))  # the fuzzer has a run.py, too

import careless_annotator

TINY = [
    "model.name=simplebaseline_resnet18",
    "model.options={width: 8}",
    "model.input_size=[64,64]",
    "train.batch_size=8",
    "train.workers=0",
    "test.workers=0",
    "train.epochs=1",
]
TINY += ["train.validate_every=1", "run.device=cpu", "train.warmup=0"]


@pytest.fixture
def careless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a data set with damaged training labels."""
    write_dataset(tmp_path / "people", layout="coco", images=9, val_images=2, people=(2, 2), size=(120, 90), seed=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["", "damage", "--root", "people", "--images", "6"])
    careless_annotator.main()
    return tmp_path / "people"


def read(file: Path) -> dict:
    return json.loads(file.read_text())


def test_a_careless_annotator_damages_what_it_says(careless: Path) -> None:
    truth, damaged = read(careless_annotator.truth_file(careless)), read(careless / "annotations" / "careless.json")
    said = read(careless / "careless_images.json")
    assert sorted(said.values()) == ["missing", "missing", "moved", "moved", "swapped", "swapped"]

    def people(content: dict, image_id: int) -> list[list[float]]:
        return [each["keypoints"] for each in content["annotations"] if each["image_id"] == image_id]

    for image in truth["images"]:
        before, after = people(truth, image["id"]), people(damaged, image["id"])
        kind = said.get(str(image["id"]))
        assert (before == after) == (kind is None)
        assert (len(before) - len(after)) == (kind == "missing")


def test_the_loop_from_training_to_corrected_training(careless: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--cfg", "synthetic_quick", "data.root=people", *TINY]
    assert method_main("lite", ["train", *data, "data.train=careless.json", "run.name=before"]) == 0
    worst = Path("worst")
    assert main(["data", "worst", "runs/before", "--split", "train", "--count", "4", "--out", "worst"]) == 0
    captured = capsys.readouterr().out
    merge, train = captured.splitlines()[-2].split("data merge ")[1].split(), captured.splitlines()[-1].split()[-1]
    assert merge[:2] == ["--into", "people/annotations/careless.json"]
    sys.argv = ["", "correct", "--root", "people", "--file", merge[2]]
    careless_annotator.main()
    assert main(["data", "merge", *merge]) == 0
    corrected = {
        Path(each["file_name"]).name for each in read(worst / "annotations/person_keypoints_default.json")["images"]
    }
    truth, merged = read(careless_annotator.truth_file(careless)), read(Path(merge[-1]))
    damaged = read(careless / "annotations" / "careless.json")
    assert len(merged["images"]) == 9
    for image in merged["images"]:
        source = truth if Path(image["file_name"]).name in corrected else damaged
        wanted = [each["keypoints"] for each in source["annotations"] if each["image_id"] == image["id"]]
        have = [each["keypoints"] for each in merged["annotations"] if each["image_id"] == image["id"]]
        assert sorted(filter(any, have)) == sorted(filter(any, wanted))
    assert method_main("lite", ["train", *data, train, "run.name=after"]) == 0
    assert main(["data", "worst", "runs/before", "--out", "worst"]) == 2
    assert "worst is not empty, and may hold corrected labels" in capsys.readouterr().err
    assert main(["data", "worst", "runs/nothing", "--out", "other"]) == 2
    assert "runs/nothing/best.pt does not exist" in capsys.readouterr().err
    assert main(["data", "worst", "runs/before", "test.batch_size=1", "--out", "held_out", "--count", "1"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == "and train again with: data.val=corrected/val2017.json"
    assert "written: held_out, the worst 1 of 2 images" in text
    photos = ["data", "worst", "runs/before", "--split", "people/images/val2017", "--out", "photos"]
    assert main(photos) == 2
    assert "has no annotated people" in capsys.readouterr().err
    assert main([*photos, "--detector", "whole"]) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assert command.endswith("data check --layout coco --root photos --splits person_keypoints_default.json")
    assert len(read(Path("photos/label_studio.json"))) == 2
    assert main([*photos[:-1], "again", "--detector", "whole", "--by", "error"]) == 2
    assert "--by error compares with annotations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("experiment", "layout"),
    [("pose-advpose/synthetic_hgpose_ae", "crowdpose"), ("pose-mrpose/synthetic_mpii", "mpii")],
)
def test_other_kinds_of_networks_and_layouts_are_ranked(experiment: str, layout: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_dataset(root, layout=layout, images=3, val_images=2, people=(2, 2), size=(160, 120))
    skeleton = {"crowdpose": "crowdpose14", "mpii": "mpii16"}[layout]
    settings = [f"data.root={root}", f"data.layout={layout}", f"data.skeleton={skeleton}", "data.train=train"]
    config = load_config(experiment, [*settings, "test.flip=false"])
    predictor = Predictor.from_config(config, "random", "cpu")
    records = read_dataset(config.data, "train", keep_unlabeled=True).records
    findings = find_worst(predictor.worker, records)
    assert sorted(each.record.image_id for each in findings) == sorted(record.image_id for record in records)
    assert findings[0].error > 0.5
    written = write_worst(findings, predictor.skeleton, tmp_path / "worst", count=2)
    content = read(written.folder / "annotations" / "person_keypoints_default.json")
    assert content["categories"][0]["keypoints"] == list(predictor.skeleton.joints)
    assert len(content["images"]) == 2


KINDS = {
    "pose-lite/synthetic_quick": "coco",
    "pose-mrpose/synthetic_mpii": "mpii",
    "pose-asda/synthetic_plain": "mpii",
    "pose-advpose/synthetic_advpose": "mpii",
    "pose-advpose/synthetic_advpose_ae": "coco",
    "pose-dekr/synthetic_dekr": "crowdpose",
    "pose-dekr/synthetic_bottomup": "crowdpose",
}


@pytest.mark.parametrize("experiment", KINDS)
def test_every_kind_of_method_shows_its_samples(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset("data", layout=KINDS[experiment], images=3, val_images=1, people=(2, 2), size=(160, 120))
    words = ["data", "browse", "--cfg", experiment, "data.root=data", "--count", "2", "--draws", "2"]
    assert main([*words, "--out", "first.png"]) == 0
    assert main([*words, "--out", "again.png"]) == 0
    assert main([*words, "--out", "later.png", "--epoch", "2"]) == 0
    first, again, later = (cv2.imread(name) for name in ("first.png", "again.png", "later.png"))
    assert np.array_equal(first, again)
    assert first.shape == later.shape
    assert (first != later).any()
    assert first.std() > 20


def test_pasted_parts_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset("data", layout="mpii", images=3, val_images=1, people=(1, 1), size=(160, 120))
    assert method_main("asda", ["build-parts", "--synthetic", "2", "--out", "parts"]) == 0
    words = ["data", "browse", "--count", "2", "data.root=data", "parts.annotations=parts/part_anns.json"]
    words += ["parts.counts=[2]"]
    assert main([*words, "--cfg", "pose-asda/synthetic_random", "--out", "with.png"]) == 0
    assert main([*words, "--cfg", "pose-asda/synthetic_plain", "--out", "without.png"]) == 0
    pasted, plain = cv2.imread("with.png"), cv2.imread("without.png")
    assert pasted.shape == plain.shape
    changed = (pasted != plain).any(2).mean()
    assert 0.02 < changed < 0.6


def test_the_page_of_samples_escapes_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset("data", layout="coco", images=3, val_images=1, people=(1, 1), size=(120, 90))
    words = ["data", "browse", "--cfg", "synthetic_quick", "data.root=data", "--count", "1", "--out", "samples.html"]
    assert main([*words, "name=<script>alert(1)"]) == 0
    page = Path("samples.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1): training samples" in page
    assert page.count("<figure>") == 6


def test_settings_without_an_experiment_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "browse", "--root", str(tmp_path), "train.epochs=1"]) == 2
    assert "give --cfg" in capsys.readouterr().err
    assert main(["data", "browse"]) == 2
    assert "--root DIR to see annotations, or --cfg" in capsys.readouterr().err
