"""Bad inputs: the exit code, a message that says what to do, and no lost results."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pose_core.cli import method_main
from pose_core.models.weights import save_weights
from pose_core.plugins.networks import create_model
from pose_core.synthetic import write_dataset

Words = Callable[..., list[str]]
TASKS = ("hgpose", "advpose", "hgpose-ae", "advpose-ae")
EMBEDDING = ("hgpose-ae", "advpose-ae")
SHORT = ["train.iterations=2", "train.batch_size=2"]


@pytest.fixture
def refused(words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command, checks its exit code and returns its error output."""

    def run(code: int, verb: str, task: str, *more: str) -> str:
        capsys.readouterr()
        assert method_main("advpose", words(verb, task, tmp_path / "runs", *more)) == code
        text = capsys.readouterr().err
        assert "Traceback" not in text
        assert "This is a bug" not in text
        return text

    return run


def read_coco(root: Path, split: str) -> tuple[Path, dict[str, Any]]:
    file = root / "annotations" / f"person_keypoints_{split}.json"
    return file, json.loads(file.read_text())


@pytest.fixture
def empty_places(sets: Path, tmp_path: Path) -> Path:
    """Write a COCO set in which every second image has no people, and the first only a crowd."""
    root = tmp_path / "coco"
    shutil.copytree(sets / "coco", root)
    for split in ("train2017", "val2017"):
        file, content = read_coco(root, split)
        empty = {image["id"] for image in content["images"][1::2]}
        crowd = content["images"][0]["id"]
        for annotation in content["annotations"]:
            if annotation["image_id"] == crowd:
                run = {"counts": [0, 400, 80 * 64 - 400], "size": [64, 80]}
                annotation.update(iscrowd=1, num_keypoints=0, keypoints=[0] * 51, segmentation=run)
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] not in empty]
        file.write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("task", EMBEDDING)
def test_images_without_people_train_and_evaluate(
    task: str, empty_places: Path, words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = f"data.root={empty_places}"
    assert method_main("advpose", words("train", task, tmp_path, where, *SHORT, "train.batch_size=1")) == 0
    best = str(tmp_path / f"synthetic_{task.replace('-', '_')}" / "best.pt")
    assert method_main("advpose", words("eval", task, tmp_path, where, "--weights", best)) == 0
    assert "evaluator=COCO AP" in capsys.readouterr().out
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((70, 90, 3), 127, np.uint8))
    out = ["--weights", best, "--out", str(tmp_path / "out")]
    found = words("predict", task, tmp_path, str(tmp_path / "empty.png"), *out)
    assert method_main("advpose", [*found, "test.detection_threshold=50"]) == 0
    assert json.loads((tmp_path / "out/empty.json").read_text())["people"] == []
    assert (tmp_path / "out/empty.jpg").is_file()


@pytest.mark.parametrize("task", EMBEDDING)
def test_batches_without_people_train(task: str, sets: Path, words: Words, tmp_path: Path) -> None:
    # With on_bad_image=skip, images that do not open are replaced by black ones without people.
    root = tmp_path / "coco"
    shutil.copytree(sets / "coco", root)
    for image in (root / "images/train2017").iterdir():
        image.write_bytes(b"not an image")
    settings = [f"data.root={root}", "data.on_bad_image=skip", "data.max_skipped=1", *SHORT]
    assert method_main("advpose", words("train", task, tmp_path, *settings)) == 0
    folder = tmp_path / f"synthetic_{task.replace('-', '_')}"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(row["push"], row["pull"]) for row in rows if row["split"] == "train"] == [(0, 0), (0, 0)]
    assert all(math.isfinite(row["loss"]) for row in rows if row["split"] == "train")


@pytest.mark.parametrize("task", TASKS)
def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_last_good_checkpoint(
    task: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    # After the first step the weights are not finite.
    diverging = [
        "train.lr=1e38",
        "train.optimizer=sgd",
        "train.schedule=constant",
        "train.clip_norm=null",
        "train.ema=0",
    ]
    text = refused(1, "train", task, *diverging, *SHORT, "train.iterations=4")
    folder = tmp_path / "runs" / f"synthetic_{task.replace('-', '_')}"
    assert "is not finite at step 2" in text
    content = torch.load(folder / "last.pt", weights_only=True)
    assert (
        f"The last good checkpoint is {folder / 'last.pt'}, of step {content['step']}. Start another run from" in text
    )
    assert content["step"] < 2
    networks = content["networks"].values()
    assert all(torch.isfinite(value.double()).all() for state in networks for value in state.values())
    assert "stopped by PoseError" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("task", ["advpose", "advpose-ae"])
def test_a_diverged_critic_is_named(task: str, refused: Callable[..., str]) -> None:
    text = refused(1, "train", task, "adversarial.lr=1e38", *SHORT, "train.iterations=4")
    named = text.partition(" is not finite")[0]
    assert "loss_g" in named
    assert "loss_hg_content" not in named


def test_a_checkpoint_of_another_task_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "other.pt"
    save_weights(create_model("hg_stack2", num_joints=17, channels=16, depth=2), file)
    text = refused(1, "eval", "advpose-ae", "--weights", str(file))
    assert f"weights from {file}" in text
    assert "the file fits no network that is installed" in text
    # For a network of full size, the message names it.
    save_weights(create_model("hg_ae_stack1", num_joints=17), file)
    text = refused(1, "eval", "hgpose", "model.name=hg_stack1", "model.options={}", "--weights", str(file))
    assert "the file fits hg_ae_stack1" in text


def test_a_run_of_another_task_is_not_resumed(refused: Callable[..., str], words: Words, tmp_path: Path) -> None:
    plain = words("train", "hgpose-ae", tmp_path / "runs", *SHORT, "run.name=mine", "train.validate_every=0")
    assert method_main("advpose", plain) == 0
    text = refused(2, "train", "advpose-ae", *SHORT, "run.name=mine", "--resume")
    assert "task: 'hgpose-ae' before, 'advpose-ae' now" in text
    assert "start another run with run.name=" in text


@pytest.mark.parametrize("task", ["advpose", "advpose-ae"])
def test_the_critic_is_not_dropped_or_joined_on_resuming(
    task: str, refused: Callable[..., str], words: Words, tmp_path: Path
) -> None:
    run = words("train", task, tmp_path / "runs", *SHORT, "run.name=mine", "train.validate_every=0")
    assert method_main("advpose", run) == 0
    text = refused(2, "train", task, *SHORT, "run.name=mine", "train.validate_every=0", "--resume", "--no-adversarial")
    assert "adversarial.use: True before, False now" in text


@pytest.mark.parametrize("verb", ["train", "eval"])
def test_ids_that_are_not_in_the_annotation_file(verb: str, refused: Callable[..., str], tmp_path: Path) -> None:
    weights = [] if verb == "train" else ["--random-weights"]
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n77\n78\n")
    text = refused(3, verb, "advpose-ae", f"split.valid_ids={ids}", *weights)
    assert "split.valid_ids: " in text
    assert "77, 78; set data.train and data.val to the split that holds them" in text
    assert "no such file" in refused(2, verb, "hgpose-ae", "split.valid_ids=nowhere.txt", *weights)


def test_held_out_images_are_evaluated_and_not_trained(words: Words, sets: Path, tmp_path: Path) -> None:
    content = read_coco(sets / "coco", "train2017")[1]
    held = [image["id"] for image in content["images"]][:2]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, held)))
    split = [f"split.valid_ids={tmp_path / 'ids.txt'}", "data.val=train2017", "test.detection_threshold=0"]
    assert method_main("advpose", words("train", "advpose-ae", tmp_path, *split, *SHORT)) == 0
    entries = json.loads((tmp_path / "synthetic_advpose_ae/results/keypoints_train2017_results.json").read_text())
    assert {entry["image_id"] for entry in entries} == set(held)


def test_the_merged_file_trains_and_without_a_field_is_refused(
    sets: Path, words: Words, refused: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    h5py: Any = pytest.importorskip("h5py", reason="the merged file needs the extra pose-core[h5]")
    (tmp_path / "mpii").symlink_to(sets / "mpii")
    write_dataset(tmp_path / "lsp", layout="lsp", images=2, size=(96, 96), seed=2)
    folders = ["--mpii", str(tmp_path / "mpii"), "--lsp", str(tmp_path / "lsp"), "--out", str(tmp_path)]
    assert method_main("advpose", ["build-lsp-mpii", *folders]) == 0
    merged = [f"data.root={tmp_path}", "data.layout=lsp_mpii", "data.skeleton=lsp_mpii16", "data.val=val"]
    assert method_main("advpose", words("train", "advpose", tmp_path / "runs", *merged, *SHORT)) == 0
    assert "evaluator=LSP PCK@0.2" in capsys.readouterr().out
    with h5py.File(tmp_path / "lsp_mpii.h5", "a") as file:
        del file["istrain"]
    text = refused(3, "train", "advpose", *merged, "run.name=second")
    assert "lsp_mpii.h5 is not a merged LSP and MPII file: it has no field 'istrain'" in text
