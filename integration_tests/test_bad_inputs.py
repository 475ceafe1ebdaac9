"""Mistakes of users: a message that names the file or key and the fix, and the right exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pose_core.cli import main
from pose_testing.tiny import TINY

CFG = ["--cfg", "pose-lite/synthetic_quick"]


@pytest.fixture
def broken(people: Path, tmp_path: Path) -> Callable[[Callable[[dict], object]], Path]:
    """Return a function that copies the data set and damages its training annotations."""

    def damage(change: Callable[[dict], object]) -> Path:
        root = tmp_path / "broken"
        shutil.copytree(people, root)
        file = root / "annotations" / "person_keypoints_train2017.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
        return root

    return damage


def refused(capsys: pytest.CaptureFixture[str], code: int, words: list[str], *mentions: str) -> None:
    capsys.readouterr()
    found = main(words)
    text = capsys.readouterr().err
    print(f"$ pose {' '.join(words[:3])} …\n{text}[exit {found}]")
    assert found == code, text
    assert text.startswith("error: ") or "usage:" in text
    assert "Traceback" not in text
    for mention in mentions:
        assert mention in text, text


def train(root: Path, tmp_path: Path, *more: str) -> list[str]:
    return ["train", *CFG, f"data.root={root}", f"run.dir={tmp_path / 'runs'}", *TINY, *more]


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, ["evla"], "did you mean eval")


def test_unknown_config(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, ["train", "--cfg", "coco_lpn5_256x192"], "coco_lpn50_256x192")


def test_missing_config_file(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, ["train", "--cfg", "nowhere/mine.yaml"], "nowhere/mine.yaml", "does not exist")


def test_malformed_config_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("train: {epochs: 3\nmodel:")
    refused(capsys, 2, ["train", "--cfg", str(tmp_path / "bad.yaml")], "bad.yaml", "YAML")


def test_unknown_key(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, ["show-config", *CFG, "train.epoch=3"], "train.epoch", "train.epochs")


def test_wrong_type(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, ["show-config", *CFG, "train.epochs=many"], "train.epochs", "many")


def test_override_without_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, ["show-config", *CFG, "train.epochs"], "key=value")


def test_method_not_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text("method: unheard\nmodel: {name: lpn_18}\n")
    refused(capsys, 2, ["train", "--cfg", str(tmp_path / "x.yaml")], "unheard", "pose-unheard")


def test_unknown_network(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, train(people, tmp_path, "model.name=lpn_5"), "lpn_5", "lpn_50")


def test_input_size_that_does_not_divide(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, train(people, tmp_path, "model.input_size=[70, 64]"), "input_size", "70")


def test_no_gpu(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    device = "cuda:9" if torch.cuda.is_available() else "cuda"
    refused(capsys, 2, train(people, tmp_path, f"run.device={device}"), device)


def test_missing_data_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 3, train(tmp_path / "nothing", tmp_path), "nothing", "person_keypoints_train2017.json")


def test_malformed_annotations(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    shutil.copytree(people, root)
    file = root / "annotations" / "person_keypoints_train2017.json"
    file.write_text(file.read_text()[:-20])
    refused(capsys, 3, train(root, tmp_path), "person_keypoints_train2017.json", "line")


def test_wrong_joint_count(
    broken: Callable[[Callable[[dict], object]], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken(lambda content: content["annotations"][2].update(keypoints=[1, 2, 2] * 16))
    identity = json.loads((root / "annotations/person_keypoints_train2017.json").read_text())["annotations"][2]["id"]
    refused(capsys, 3, train(root, tmp_path), "person_keypoints_train2017.json", str(identity), "17")


def test_annotation_of_an_unknown_image(
    broken: Callable[[Callable[[dict], object]], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken(lambda content: content["annotations"][0].update(image_id=987654))
    refused(capsys, 3, train(root, tmp_path), "987654")


def test_image_missing(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    shutil.copytree(people, root)
    image = sorted((root / "images" / "train2017").iterdir())[0]
    image.unlink()
    refused(capsys, 3, train(root, tmp_path), image.name)


def test_image_that_does_not_decode(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    shutil.copytree(people, root)
    for image in (root / "images" / "train2017").iterdir():
        image.write_bytes(image.read_bytes()[:40])
    refused(capsys, 3, train(root, tmp_path), ".jpg", "decode")


def test_bad_images_may_be_skipped(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(people, root)
    sorted((root / "images" / "train2017").iterdir())[0].write_bytes(b"not a picture")
    assert main(train(root, tmp_path, "data.on_bad_image=skip", "train.epochs=1")) == 0


def test_a_training_stops_when_most_images_are_bad(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(people, root)
    images = sorted((root / "images" / "train2017").iterdir())
    for image in images[1::2]:
        image.write_bytes(b"not a picture")
    words = train(root, tmp_path, "data.on_bad_image=skip", "train.epochs=1")
    assert main(words) == 3
    text = capsys.readouterr().err
    assert "samples had to be skipped" in text
    assert "data.max_skipped=0.1" in text
    assert main([*words, "data.max_skipped=0.9", "--resume"]) == 0
    for image in images[1::2]:
        image.unlink()
    refused(capsys, 3, train(root, tmp_path, "data.on_bad_image=skip", "run.name=new"), "images are missing (50%)")


def test_weights_missing(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", *CFG, f"data.root={people}", "--weights", "nowhere/best.pt", *TINY]
    refused(capsys, 1, words, "nowhere/best.pt")


def test_weights_that_are_no_checkpoint(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "best.pt").write_bytes(b"hello, I am not a checkpoint")
    words = ["eval", *CFG, f"data.root={people}", "--weights", str(tmp_path / "best.pt"), *TINY]
    refused(capsys, 1, words, "best.pt")


def test_weights_of_another_network(people: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", *CFG, f"data.root={people}", "--weights", str(trained / "best.pt"), *TINY, "model.name=lpn_50"]
    refused(capsys, 1, words, "best.pt", "lpn_18")


def test_eval_without_weights(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, 2, ["eval", *CFG, f"data.root={people}", *TINY], "--weights", "--random-weights")


def test_detections_of_another_split(
    people: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"image_id": 123456789, "category_id": 1, "bbox": [1, 1, 20, 20], "score": 0.9}
    (tmp_path / "other.json").write_text(json.dumps([entry]))
    words = ["eval", *CFG, f"data.root={people}", "--weights", str(trained / "best.pt"), *TINY]
    refused(capsys, 3, [*words, "--boxes", str(tmp_path / "other.json")], "other.json")


def test_a_second_run_in_the_same_folder(people: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *CFG, f"data.root={people}", f"run.dir={trained.parent}", "run.name=tiny", *TINY]
    refused(capsys, 2, words, "--resume")


def test_resume_with_another_config(people: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *CFG, f"data.root={people}", f"run.dir={trained.parent}", "run.name=tiny", *TINY]
    refused(capsys, 2, [*words, "--resume", "train.lr=0.5"], "train.lr")


def test_skeleton_without_sigmas(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bird.yaml").write_text("joints: [beak, wing]\n")
    refused(capsys, 2, train(people, tmp_path, f"data.skeleton={tmp_path / 'bird.yaml'}"), "bird.yaml", "sigmas")


def test_predict_without_an_input(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--cfg", str(trained / "config.yaml"), "--weights", str(trained / "best.pt")]
    refused(capsys, 3, [*words, str(tmp_path / "none.jpg"), "--out", str(tmp_path / "out")], "none.jpg")


def test_published_yaml_with_an_unknown_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w32.yaml").write_text("MODEL: {NAME: pose_hrnet, NUM_JOINT: 17}\nDATASET: {DATASET: coco}\n")
    refused(capsys, 2, ["convert-config", str(tmp_path / "w32.yaml")], "NUM_JOINT", "NUM_JOINTS")


def test_a_yaml_that_is_not_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("method: lite\n")
    refused(capsys, 2, ["convert-config", str(tmp_path / "mine.yaml")], "mine.yaml", "published")
