"""pose-dekr end to end: train, evaluate, rescore, predict, export; and bad inputs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import pose_core
from pose_core.cli import method_main
from pose_core.data.images import open_image
from pose_core.inference.video import read_frames
from pose_core.inference.video_writing import video_writer
from pose_core.models.weights import save_weights
from pose_core.plugins.experiments import load_config
from pose_core.plugins.networks import create_model
from pose_core.plugins.predictors import Predictor
from pose_core.synthetic import write_dataset
from pose_dekr.rescore import ScoreNet, read_rescore_data

SMALL = {"width": 16, "blocks": 1, "modules": [1, 1, 1]}
"""Small networks; the 15 heatmaps of CrowdPose are computed from 16 channels."""
TINY = ["model.input_size=[64, 64]", f"model.options={json.dumps(SMALL)}", "run.device=cpu", "test.workers=0",
        "train.workers=0"]  # fmt: skip
STILL = ["augment.flip=0", "augment.rotation=0", "augment.scale=[1, 1]", "augment.shift=0", "test.flip=false"]
SYSTEMS = {"dekr": "dekr_hrnet_w32", "bottomup": "bottomup_hrnet_w32"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write synthetic sets: ``crowdpose``, and ``coco`` with test-dev2017 and images in zip files."""
    root = tmp_path_factory.mktemp("crowds")
    write_dataset(root / "crowdpose", layout="crowdpose", images=3, val_images=2, people=(2, 2), size=(64, 64), seed=1)
    write_dataset(root / "coco", layout="coco", images=4, val_images=3, people=(1, 3), size=(80, 64), zipped=True)
    write_dataset(root / "coco", layout="coco", split="test-dev2017", images=2, people=(1, 2), size=(80, 64))
    return root


def words(verb: str, system: str, root: Path, runs: Path, *more: str) -> list[str]:
    fixed = ["--cfg", f"synthetic_{system}", f"data.root={root}", f"run.dir={runs}", *TINY]
    return [verb, *fixed, *more]


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in ("dekr", "bottomup")])
def learned(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Overfit a network of each system to three images; return the system and the run folder."""
    runs = tmp_path_factory.mktemp("runs")
    system = str(request.param)
    settings = [
        "data.val=train",
        "train.batch_size=3",
        "train.epochs=100",
        "train.lr=6e-3",
        "train.ema=0",
        "train.log_every=100",
    ]
    assert method_main("dekr", words("train", system, data / "crowdpose", runs, *settings, *STILL)) == 0
    return system, runs / f"synthetic_{system}"


@pytest.fixture
def coco(data: Path, tmp_path: Path) -> Callable[..., int]:
    """Run a verb on the COCO layout."""

    def run(verb: str, *more: str, system: str = "dekr") -> int:
        layout = ["data.layout=coco", "data.skeleton=coco17", "data.train=train2017", "data.val=val2017"]
        return method_main("dekr", words(verb, system, data / "coco", tmp_path / "runs", *layout, *more))

    return run


def random_weights(folder: Path, name: str = "dekr_hrnet_w32", joints: int = 17) -> str:
    """Save an untrained checkpoint in the published trainer's form, whose center heatmap is high everywhere."""
    torch.manual_seed(0)
    network = create_model(name, num_joints=joints, **SMALL)
    last = network.head_heatmap[1] if name.startswith("dekr") else network.final_layers[1]  # type: ignore[index]
    last.bias.data.fill_(0.5)  # type: ignore[union-attr]
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, folder / "model_best.pth.tar")
    return str(folder / "model_best.pth.tar")


def test_an_overfitted_network_finds_the_training_poses(
    learned: tuple[str, Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system, folder = learned
    metrics = torch.load(folder / "best.pt", weights_only=True)["metrics"]
    print(f"{system}: AP {metrics['AP']:.3f}, AP50 {metrics['AP50']:.3f} on three overfitted images")
    # Bottom-Up fits Gaussians to heatmaps, which are rough after such short training.
    assert metrics["AP"] > (0.5 if system == "dekr" else 0.3)
    assert metrics["AP50"] > 0.75
    logged = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert {"heatmap", "offset", "loss"} <= {key.rpartition("/")[2] for key in logged}
    kinds = [""] if system == "dekr" else ["_regression", "_final"]
    names = {f"keypoints_train{kind}_results.json" for kind in kinds}
    assert {path.name for path in (folder / "results").iterdir()} == {*names, "evaluation.json"}
    assert json.loads((folder / "results" / "evaluation.json").read_text())["results"] == min(names)
    entries = json.loads((folder / "results" / max(names)).read_text())
    points = np.array(entries[0]["keypoints"]).reshape(-1, 3)
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    assert entries[0]["bbox"] == pytest.approx([*low, *(high - low)])
    capsys.readouterr()
    again = words("eval", system, data / "crowdpose", folder.parent, "--weights", str(folder / "best.pt"))
    assert method_main("dekr", [*again, "data.val=train", "test.flip=false"]) == 0
    text = capsys.readouterr().out
    assert f"{metrics['AP']:.3f}" in text
    assert "boxes=none flip=no" in text


def test_people_are_found_in_a_panorama(learned: tuple[str, Path], data: Path) -> None:
    system, folder = learned
    photo = sorted((data / "crowdpose" / "images").iterdir())[0]
    image = open_image(str(photo))
    config = load_config(f"pose-dekr/synthetic_{system}", [*TINY, "test.flip=false"])
    predictor = Predictor.from_config(config, weights=str(folder / "best.pt"), device="cpu")
    alone = predictor(image)
    alone = alone.keypoints[alone.pose_scores > 0.1]
    place = 9 * 64
    long = np.full((64, 20 * 64, 3), image.mean((0, 1)), np.uint8)
    long[:, place : place + 64] = image
    found = predictor(long).keypoints
    away = np.linalg.norm(found[None] - alone[:, None] - [place, 0], axis=-1).mean(-1)
    assert len(alone) == 2
    assert away.min(1).max() < 8, "of 64 pixels: the network has seen people only in the middle of its input"


def test_predictions_in_images_and_videos(learned: tuple[str, Path], data: Path, tmp_path: Path) -> None:
    system, folder = learned
    photo = sorted((data / "crowdpose" / "images").iterdir())[0]
    truth = json.loads((data / "crowdpose/json/crowdpose_train.json").read_text())
    entry = next(image for image in truth["images"] if image["file_name"] == photo.name)
    people = np.array([a["keypoints"] for a in truth["annotations"] if a["image_id"] == entry["id"]])
    image = open_image(str(photo))
    with video_writer(tmp_path / "clip.mp4", 10) as write:
        for shift in range(4):
            write(np.roll(image, shift, 1))
    out = tmp_path / "out"
    setting = ["--weights", str(folder / "best.pt"), "--out", str(out), "--threshold", "0.0", "test.flip=false"]
    command = words("predict", system, data / "crowdpose", tmp_path, str(photo), str(tmp_path / "clip.mp4"), *setting)
    assert method_main("dekr", [*command, "--fps", "5"]) == 0
    content = json.loads((out / f"{photo.stem}.json").read_text())
    found = np.array([list(person["keypoints"].values()) for person in content["people"]])[..., :2]
    visible = people.reshape(len(people), -1, 3)[..., 2] > 0
    away = [
        min(np.linalg.norm(found - person.reshape(-1, 3)[:, :2], axis=2)[:, seen].mean(1))
        for person, seen in zip(people, visible, strict=True)
    ]
    print(f"{system}: mean distance of each person's joints, {away} px")
    assert max(away) < 4
    assert "box" not in content["people"][0]
    lines = [json.loads(line) for line in (out / "clip.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 2]
    assert len(list(read_frames(out / "clip.mp4"))) == 2
    predictor = pose_core.Predictor.from_config(
        pose_core.load_config(f"pose-dekr/synthetic_{system}", [*TINY, "test.flip=false"]), folder / "best.pt"
    )
    poses = predictor(photo)
    assert np.allclose(poses.keypoints[0], found[0], atol=0.02)
    assert (np.diff(poses.pose_scores) <= 0).all()
    several = list(predictor.predict_many([image, photo]))
    assert np.allclose(several[0].keypoints, several[1].keypoints)


def test_the_main_result_of_bottom_up_is_a_setting(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = random_weights(tmp_path, "bottomup_hrnet_w32", joints=14)
    command = words("eval", "bottomup", data / "crowdpose", tmp_path, "--weights", weights, "--out", str(tmp_path))
    assert method_main("dekr", [*command, "test.result=regression"]) == 0
    text = capsys.readouterr().out
    assert text.index("(final)") < text.index("(regression)")
    assert "decode=regression " in text
    config = pose_core.load_config("pose-dekr/synthetic_bottomup", [*TINY, "test.result=regression"])
    image = json.loads((data / "crowdpose/json/crowdpose_test.json").read_text())["images"][0]
    found = pose_core.Predictor.from_config(config, weights)(data / "crowdpose/images" / image["file_name"])
    entries = json.loads((tmp_path / "results/keypoints_test_regression_results.json").read_text())
    written = [entry["keypoints"] for entry in entries if entry["image_id"] == image["id"]]
    assert len(written) == len(found.keypoints) > 0
    assert np.allclose(np.array(written).reshape(-1, 14, 3)[..., :2], found.keypoints, atol=0.02)


def test_an_image_without_people_has_none(learned: tuple[str, Path], data: Path, tmp_path: Path) -> None:
    system, folder = learned
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((70, 90, 3), 127, np.uint8))
    setting = ["--weights", str(folder / "best.pt"), "--out", str(tmp_path / "out"), "test.center_threshold=50"]
    command = words("predict", system, data, tmp_path, str(tmp_path / "empty.png"), *setting)
    assert method_main("dekr", command) == 0
    assert json.loads((tmp_path / "out/empty.json").read_text())["people"] == []
    assert (tmp_path / "out/empty.jpg").is_file()


def test_rescoring_from_data_to_evaluation(
    learned: tuple[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system, folder = learned
    weights = ["--weights", str(folder / "best.pt"), "test.flip=false", "data.val=train"]
    runs, root, file, score = folder.parent, data / "crowdpose", tmp_path / "deep/data.npz", tmp_path / "net/score.pt"
    assert method_main("dekr", words("rescore-data", system, root, runs, *weights, "--out", str(file))) == 0
    assert "mean similarity" in capsys.readouterr().out
    collected = read_rescore_data(file)
    assert collected.points.shape[1:] == (14, 2)
    assert collected.oks.max() > 0.5
    train = ["--data", str(file), "--out", str(score), "rescore.epochs=40"]
    assert method_main("dekr", words("rescore-train", system, root, runs, *train)) == 0
    text = capsys.readouterr().out
    losses = [float(line.split()[-1]) for line in text.splitlines() if line.startswith("epoch")]
    assert losses[-1] < losses[0]
    rescoring = [f"rescore.weights={score}", "--out", str(tmp_path / "with")]
    assert method_main("dekr", words("eval", system, root, runs, *weights, *rescoring)) == 0
    assert "+rescore" in capsys.readouterr().out
    name = "keypoints_train_results.json" if system == "dekr" else "keypoints_train_final_results.json"
    plain, scored = (json.loads((f / "results" / name).read_text()) for f in (folder, tmp_path / "with"))
    assert {tuple(e["keypoints"]) for e in plain} == {tuple(e["keypoints"]) for e in scored}
    assert sorted(e["score"] for e in plain) != sorted(e["score"] for e in scored)


@pytest.mark.parametrize("system", SYSTEMS)
def test_coco_in_zip_files_trains_and_is_evaluated_at_several_scales(
    system: str, coco: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["train.iterations=2", "train.batch_size=2", "train.workers=1", "run.name=short"]
    assert coco("train", *short, system=system) == 0
    capsys.readouterr()
    weights = ["--weights", str(tmp_path / "runs/short/best.pt"), "test.scales=[0.5, 1, 2]"]
    assert coco("eval", *weights, "test.workers=1", system=system) == 0
    text = capsys.readouterr().out
    assert "scales=2,1,0.5 evaluator=COCO AP" in text
    assert "AP (M)" in text


@pytest.mark.parametrize("system", SYSTEMS)
def test_test_dev_gives_files_for_the_server(
    system: str, coco: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = random_weights(tmp_path, SYSTEMS[system])
    words = ["--weights", weights, "--out", str(tmp_path), "data.val=test-dev2017", "test.nms=0.2"]
    assert coco("eval", *words, system=system) == 0
    assert "nothing to score here" in capsys.readouterr().out
    files = sorted((tmp_path / "results").glob("keypoints_*"))
    kinds = [""] if system == "dekr" else ["_final", "_regression"]
    assert [file.name for file in files] == [f"keypoints_test-dev2017{kind}_results.json" for kind in kinds]
    for file in files:
        entries = json.loads(file.read_text())
        assert entries
        assert set(entries[0]) == {"image_id", "category_id", "keypoints", "score", "bbox"}
        assert all(len(entry["keypoints"]) == 51 for entry in entries)


@pytest.mark.parametrize("system", SYSTEMS)
def test_networks_export(system: str, coco: Callable[..., int], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra pose-core[export] is not installed")
    pytest.importorskip("onnxscript", reason="the extra pose-core[export] is not installed")
    file = tmp_path / "net.onnx"
    weights = random_weights(tmp_path, SYSTEMS[system])
    assert coco("export", "--weights", weights, "--out", str(file), "--batch", "1", system=system) == 0
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["heatmaps", "offsets"]


def test_a_folder_that_predicts_without_pytorch(
    coco: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra pose-core[export] is not installed")
    pytest.importorskip("onnxscript", reason="the extra pose-core[export] is not installed")
    weights = ["--weights", random_weights(tmp_path)]
    assert coco("export", *weights, "--bundle", str(tmp_path / "poses"), "--no-flip") == 0
    text = capsys.readouterr().out
    assert "its keypoints differ from PyTorch's by at most" in text
    assert f"try: python {tmp_path}/poses/predict.py PHOTO\n" in text
    assert json.loads((tmp_path / "poses" / "settings.json").read_text())["flip"] is False
    assert coco("export", *weights, "--out", str(tmp_path / "net.onnx"), "--flip") == 2
    assert "--flip and --no-flip go with --end-to-end or --bundle" in capsys.readouterr().err
    assert coco("export", *weights, "--out", str(tmp_path / "net.xml"), "--format", "torch") == 2
    assert "a file of format torch ends in .pt2" in capsys.readouterr().err


@pytest.fixture
def refused(coco: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(code: int, verb: str, *words: str, system: str = "dekr") -> str:
        capsys.readouterr()
        assert coco(verb, *words, system=system) == code
        text = capsys.readouterr().err
        assert "Traceback" not in text
        return text

    return run


def test_a_checkpoint_of_the_other_system_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    network = create_model("bottomup_hrnet_w32")
    save_weights(network, tmp_path / "other.pt")
    full = ["model.options={}"]
    assert "the file fits bottomup_hrnet_w32" in refused(1, "eval", "--weights", str(tmp_path / "other.pt"), *full)


def test_bad_scales_and_boxes_are_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    weights = ["--weights", random_weights(tmp_path)]
    assert "test.scales=[0.0, 1.0]: 0 is not a size" in refused(2, "eval", *weights, "test.scales=[0, 1]")
    assert "unknown key 'test.boxes'" in refused(2, "eval", *weights, "--boxes", "gt")
    (tmp_path / "boxes.json").write_text("[]")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    words = [str(tmp_path / "a.png"), "--boxes", str(tmp_path / "boxes.json"), "--out", str(tmp_path / "out")]
    assert "finds people by itself; remove --boxes" in refused(2, "predict", *weights, *words)


def test_missing_scoring_networks_and_data_are_named(refused: Callable[..., str], tmp_path: Path) -> None:
    weights = ["--weights", random_weights(tmp_path)]
    assert "rescore.use=true needs rescore.weights" in refused(2, "eval", *weights, "rescore.use=true")
    text = refused(2, "eval", *weights, "rescore.use=true", "rescore.weights=no.pth")
    assert "rescore.weights no.pth does not exist; make one with pose-dekr rescore-data" in text
    assert "rescore data no.npz does not exist" in refused(3, "rescore-train", "--data", "no.npz", "--out", "x.pt")
    save_weights(ScoreNet(14), tmp_path / "crowd.pt")
    text = refused(1, "eval", *weights, "rescore.use=true", f"rescore.weights={tmp_path / 'crowd.pt'}")
    assert "mismatched" in text


def test_a_corrupt_zip_member_is_named_or_skipped(
    data: Path,
    refused: Callable[..., str],
    coco: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    (root / "annotations").symlink_to(data / "coco/annotations")
    archive = data / "coco/images/val2017.zip"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(root / "images/val2017.zip", "w") as target:
        names = [name for name in source.namelist() if not name.endswith("/")]
        for name in names:
            content = source.read(name)
            target.writestr(name, content[:300] if name == names[1] else content)
    words = ["--weights", random_weights(tmp_path), f"data.root={root}", "--out", str(tmp_path / "out")]
    text = refused(3, "eval", *words)
    assert f"val2017.zip@{Path(names[1]).name} does not decode" in text
    assert coco("eval", *words, "data.on_bad_image=skip") == 0
    assert "skipped: 1 image missing" in capsys.readouterr().out


def test_crowdpose_without_its_index_is_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "crowd"
    (root / "json").mkdir(parents=True)
    (root / "images").symlink_to(data / "crowdpose/images")
    content = json.loads((data / "crowdpose/json/crowdpose_test.json").read_text())
    for image in content["images"]:
        del image["crowdIndex"]
    (root / "json/crowdpose_test.json").write_text(json.dumps(content))
    weights = random_weights(tmp_path, joints=14)
    command = words("eval", "dekr", root, tmp_path, "--weights", weights, "--out", str(tmp_path / "out"))
    assert method_main("dekr", command) == 3
    text = capsys.readouterr().err
    assert "has no 'crowdIndex', which divides CrowdPose's images into easy" in text


def test_a_training_split_without_people_is_refused(
    coco: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "images/train2017").mkdir(parents=True)
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for split in ("train2017", "val2017"):
        (root / f"annotations/person_keypoints_{split}.json").write_text(json.dumps(content))
    assert coco("train", f"data.root={root}") == 2
    assert "the training set has no people" in capsys.readouterr().err
