"""Each of the four tasks end to end: train, evaluate, predict, export, and resume exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat

import pose_core
from pose_core.cli import method_main
from pose_core.errors import DataError
from pose_core.files import write_json
from pose_core.layouts.reader import read_dataset
from pose_core.models.weights import save_weights
from pose_core.plugins.networks import create_model
from pose_core.plugins.tasks import build_task
from pose_core.topdown.config import TopDownConfig
from pose_testing.loaders import EXPLAINED, kill_loaders

Array = np.ndarray
Words = Callable[..., list[str]]
Tiny = Callable[..., TopDownConfig]
TASKS = ("hgpose", "advpose", "hgpose-ae", "advpose-ae")
LOGGED = {"hgpose": {"acc"}, "hgpose-ae": {"push", "pull", "detection"}}
ADVERSARIAL_METRICS = {
    "loss_hg_content", "loss_d", "loss_d_real", "loss_d_fake", "loss_g", "kt", "balance", "measure"
}  # fmt: skip


def plain(task: str) -> str:
    """Return the task with the same network and data, but without a critic."""
    return task.replace("adv", "hg")


def named(task: str) -> str:
    return f"synthetic_{task.replace('-', '_')}"


def overfitting(task: str, sets: Path) -> list[str]:
    """Return settings that overfit one stack to two images."""
    still = ["augment.flip=0", "augment.rotation=0", "test.flip=false", "train.ema=0", "train.batch_size=2"]
    still += ["train.log_every=100"]
    if plain(task) == "hgpose":
        found = [f"data.root={sets / 'mpii'}", "data.train=valid", "data.val=valid", "model.name=hg_stack1"]
        still += [
            "heatmap.sigma=1.5",
            "augment.scale=0",
            "augment.color=0",
            'model.options={"channels": 32, "depth": 2}',
        ]
    else:
        found = [f"data.root={sets / 'pairs'}", "data.train=val2017", "data.val=val2017", "model.name=hg_ae_stack1"]
        still += ["augment.scale=[1, 1]", "augment.shift=0", "augment.saturation=0", "augment.brightness=0"]
        # The original code's variant with batch norm trains faster.
        still += ['model.options={"channels": 32, "depth": 2, "increase": 8, "outputs": 34, "bn": true}']
        still += ["heatmap.push=0.1", "heatmap.pull=0.1"]
    schedule = ["train.optimizer=adamw", "train.lr=1e-2", "train.schedule=onecycle", "train.epochs=60"]
    return [*found, *still, *schedule, "train.validate_every=0"]


@pytest.mark.parametrize("task", TASKS)
def test_an_overfitted_network_finds_the_training_poses(
    task: str, sets: Path, words: Words, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = overfitting(task, sets)
    assert method_main("advpose", words("train", task, tmp_path, *settings)) == 0
    folder = tmp_path / named(task)
    best = str(folder / "best.pt")
    metrics = torch.load(best, weights_only=True)["metrics"]
    is_single = plain(task) == "hgpose"
    key = "Mean" if is_single else "AP50"
    with capsys.disabled():
        print(f"{task}: {key} {metrics[key]:.3f}", end=" ")
    assert metrics[key] > (60 if is_single else 0.75)
    logged = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    expected = {"loss", "lr"} | LOGGED[plain(task)] | (ADVERSARIAL_METRICS if task.startswith("adv") else set())
    assert expected <= set(logged)
    assert not (ADVERSARIAL_METRICS & set(logged)) or task.startswith("adv")
    if is_single:
        assert 0 < metrics["batch_pck"] <= 1

    capsys.readouterr()
    again = words("eval", task, tmp_path, "--weights", best, "--out", str(tmp_path / "again"), *settings)
    assert method_main("advpose", again) == 0
    table = capsys.readouterr().out
    assert f"{metrics[key]:.3f}" in table
    assert ("evaluator=MPII PCKh@0.5" if is_single else "boxes=none flip=no decode=tags+refine") in table

    config = tiny(task, *settings)
    predictor = pose_core.Predictor.from_config(config, best)
    compare = same_as_single if is_single else same_as_everyone
    compare(config, predictor, words("predict", task, tmp_path, "--weights", best, *settings), tmp_path)


def same_as_single(config: TopDownConfig, predictor: pose_core.Predictor, command: list[str], folder: Path) -> None:
    """Compare the poses of ``predict`` with boxes and of the Python interface with those of ``eval``."""
    found = read_dataset(config.data, config.data.val)
    evaluated = loadmat(folder / "again/results/pred.mat")["preds"] - 1
    boxes = []
    for record in found.records:
        (person,) = record.persons
        side = np.asarray(person.scale)[0] * 200 / 1.25
        x, y = np.asarray(person.center) - side / 2
        boxes.append({"image_id": int(Path(record.source).stem), "bbox": [x, y, side, side], "score": 1.0})
    write_json(folder / "boxes.json", boxes)
    images = [record.source for record in found.records]
    out = folder / "predicted"
    more = ["--boxes", str(folder / "boxes.json"), "--out", str(out)]
    assert method_main("advpose", [*command, *images, *more]) == 0
    for row, (record, entry) in enumerate(zip(found.records, boxes, strict=True)):
        image = Path(record.source)
        assert (out / image.name).is_file()
        content = json.loads((out / f"{image.stem}.json").read_text())
        points = np.array(list(content["people"][0]["keypoints"].values()))
        assert np.abs(points[:, :2] - evaluated[row]).max() < 0.05
        poses = predictor(image, np.array([entry["bbox"]]))
        assert np.abs(poses.keypoints[0] - evaluated[row]).max() < 0.05


def same_as_everyone(config: TopDownConfig, predictor: pose_core.Predictor, command: list[str], folder: Path) -> None:
    """Compare the poses of ``predict`` and of the Python interface with those of ``eval``."""
    found = read_dataset(config.data, config.data.val)
    entries = json.loads((folder / f"again/results/keypoints_{config.data.val}_results.json").read_text())
    out = folder / "predicted"
    images = [record.source for record in found.records]
    assert method_main("advpose", [*command, *images, "--out", str(out)]) == 0
    for record in found.records:
        mine = [entry for entry in entries if entry["image_id"] == record.image_id]
        evaluated = np.array([entry["keypoints"] for entry in mine]).reshape(len(mine), -1, 3)
        content = json.loads((out / f"{Path(record.source).stem}.json").read_text())
        points = np.array([list(person["keypoints"].values()) for person in content["people"]])
        assert len(points) == len(mine) >= len(record.persons)
        assert np.abs(points[..., :2] - evaluated[..., :2]).max() < 0.05
        poses = predictor(record.source)
        assert np.abs(poses.keypoints - evaluated[..., :2]).max() < 0.05


def random_weights(file: Path, task: str) -> str:
    """Save a checkpoint of an untrained small network; return its file."""
    torch.manual_seed(0)
    if plain(task) == "hgpose":
        network = create_model("hg_stack2", num_joints=16, channels=16, depth=2)
    else:
        network = create_model("hg_ae_stack2", num_joints=17, channels=16, depth=2, increase=8, outputs=34)
    save_weights(network, file)
    return str(file)


@pytest.mark.parametrize("task", ["hgpose", "advpose-ae"])
def test_networks_export(task: str, words: Words, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra pose-core[export] is not installed")
    pytest.importorskip("onnxscript", reason="the extra pose-core[export] is not installed")
    file = tmp_path / "net.onnx"
    weights = random_weights(tmp_path / "random.pt", task)
    command = words("export", task, tmp_path, "--weights", weights, "--out", str(file), "--batch", "1")
    assert method_main("advpose", command) == 0
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    # One output per stack; with tags, they follow the heatmaps' channels.
    shapes = {output.name: output.shape for output in session.get_outputs()}
    channels = 16 if task == "hgpose" else 34
    assert list(shapes.values()) == [[1, channels, 16, 16]] * 2


@pytest.mark.parametrize("task", ["advpose", "advpose-ae"])
def test_a_resumed_adversarial_run_ends_with_identical_networks(task: str, words: Words, tmp_path: Path) -> None:
    # k changes visibly; the weight average, the critic's optimizer and the schedule must be restored.
    settings = ["adversarial.start=0.5", "adversarial.rate=0.1", "train.ema=0.9", "train.epochs=3"]
    settings += ["train.batch_size=2", "train.schedule=constant", "train.weight_decay=0", "train.validate_every=0"]
    assert method_main("advpose", words("train", task, tmp_path, *settings, "run.name=whole")) == 0
    halves = words("train", task, tmp_path, *settings, "run.name=halves")
    assert method_main("advpose", [*halves, "train.iterations=4"]) == 0
    middle = torch.load(tmp_path / "halves/last.pt", weights_only=True)
    assert method_main("advpose", [*halves, "--resume"]) == 0
    assert method_main("advpose", [*halves, "--resume", "train.iterations=5"]) == 2  # shorter than it is
    whole, resumed = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "halves"))
    assert whole["step"] == resumed["step"] > middle["step"] == 4
    assert whole["objective"]["k"] not in (0.5, middle["objective"]["k"])
    left = set(unequal(whole, resumed))
    assert left == {"/config"}
    assert set(whole["networks"]) == set(whole["updater"]["optimizers"]) == {"pose", "critic"}
    moments = whole["updater"]["optimizers"]["critic"]["state"]
    assert int(moments[0]["step"]) == whole["step"]
    assert float(moments[0]["exp_avg_sq"].sum()) > 0
    assert any(unequal(middle["networks"]["critic"], resumed["networks"]["critic"]))
    logged = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "halves")
    ]
    keys = ["step", *sorted(ADVERSARIAL_METRICS)]
    adversarial = [[[row[key] for key in keys] for row in rows if row["split"] == "train"] for rows in logged]
    assert adversarial[0] == adversarial[1]


def unequal(one: object, other: object, where: str = "") -> list[str]:
    """Return the paths at which two nested checkpoints differ in any bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        lost = [f"{where}/{key}" for key in one.keys() ^ other.keys()]
        shared = one.keys() & other.keys()
        return lost + [path for key in shared for path in unequal(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [path for number, pair in pairs for path in unequal(*pair, f"{where}/{number}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [where]
    return [] if one == other else [where]


def test_a_killed_loader_of_the_published_accuracy_is_explained(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    task = build_task(tiny("hgpose", "test.workers=1"))
    monkeypatch.setattr(task, "content", kill_loaders)
    with pytest.raises(DataError, match=EXPLAINED):
        task.batch_accuracy(task.networks()["pose"], torch.device("cpu"))
