"""Top-down experiments, from annotation files to the results table, in every layout."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import loadmat
from torch import Tensor

from pose_core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from pose_core.data import coco_file
from pose_core.engine.overfit import overfit
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError, DataError
from pose_core.geometry import box_to_center_scale
from pose_core.layouts.reader import AnnotatedSet, read_dataset
from pose_core.plugins.networks import build_network
from pose_core.reading import json_text
from pose_core.skeleton import get_skeleton
from pose_core.synthetic import write_dataset
from pose_core.topdown import evaluate as module
from pose_core.topdown.config import CropTestConfig, HeatmapConfig, TopDownConfig
from pose_core.topdown.evaluate import evaluate_topdown, merge, score
from pose_core.topdown.scoring import CropResults
from pose_core.topdown.task import HeatmapObjective, TopDownTask
from pose_testing.blur import Blur
from pose_testing.loaders import EXPLAINED, kill_loaders

LAYOUTS = {
    "coco": ("coco17", "val2017", "COCO AP"),
    "crowdpose": ("crowdpose14", "val", "CrowdPose AP"),
    "mpii": ("mpii16", "valid", "MPII PCKh@0.5"),
    "lsp": ("lsp14", "test", "LSP PCK@0.2"),
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small data set of every layout."""
    root = tmp_path_factory.mktemp("people")
    for layout in LAYOUTS:
        write_dataset(root / layout, layout=layout, images=6, val_images=6, people=(1, 3), size=(160, 120), seed=3)
    write_dataset(root / "coco", layout="coco", split="test-dev2017", images=3, people=(1, 2), size=(160, 120))
    return root


def experiment(root: Path, layout: str, **changes: Any) -> TopDownConfig:
    skeleton, split, _ = LAYOUTS[layout]
    data = {"layout": layout, "root": str(root / layout), "skeleton": skeleton, "val": split}
    train = {"coco": "train2017"}.get(layout, "train")
    return TopDownConfig(
        method="lite",
        name="small",
        data=DataConfig(**{"train": train, **data, **changes.pop("data", {})}),
        model=ModelConfig(
            name="simplebaseline_resnet18", input_size=(64, 64), options={"width": 8, "filters": [16, 16, 16]}
        ),
        heatmap=HeatmapConfig(sigma=1.5),
        train=TrainConfig(workers=0, batch_size=4, optimizer="adam", lr=3e-3),
        test=CropTestConfig(**{"batch_size": 4, "workers": 0, **changes.pop("test", {})}),
    )


def perfect(found: AnnotatedSet) -> CropResults:
    """Return the annotations as predictions."""
    rows = [(record, person) for record in found.records for person in record.persons]
    places = [
        (person.center, person.scale) if person.box is None else box_to_center_scale(person.box, 1.0)
        for _, person in rows
    ]
    keypoints = np.stack([person.joints for _, person in rows]).astype(np.float32)
    keypoints[..., 2] = 1
    return CropResults(
        keypoints,
        np.array([center for center, _ in places], np.float32),
        np.array([scale for _, scale in places], np.float32),
        np.ones(len(rows), np.float32),
        np.array([record.image_id for record, _ in rows]),
        np.array([person.annotation_id for _, person in rows]),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_annotations_themselves_score_full_marks(layout: str, people: Path, tmp_path: Path) -> None:
    # People who stand in one another must not be suppressed here.
    config = experiment(people, layout, test={"oks_threshold": 1.0})
    found = read_dataset(config.data, config.data.val)
    evaluation = score(perfect(found), found, config, tmp_path, write=True)
    assert evaluation.name == LAYOUTS[layout][2]
    best = 1.0 if layout in {"coco", "crowdpose"} else 100.0
    assert evaluation.value == pytest.approx(best)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("swap", [False, True])
def test_the_hourglass_s_mpii_is_scored_on_the_people_of_the_ground_truth(
    swap: bool, people: Path, tmp_path: Path
) -> None:
    h5py = pytest.importorskip("h5py", reason="the hourglass's files need the extra pose-core[h5]")
    root = tmp_path / "mpii"
    shutil.copytree(people / "mpii", root)
    (root / "annot" / "valid.json").rename(tmp_path / "valid.json")
    rows = json.loads((tmp_path / "valid.json").read_text())
    rows = rows[::-1] if swap else rows
    with h5py.File(root / "valid.h5", "w") as file:
        file["imgname"] = np.array([row["image"].encode() for row in rows])
        for key, field in (("part", "joints"), ("center", "center"), ("scale", "scale")):
            file[key] = np.array([row[field] for row in rows])
    config = experiment(people, "mpii", data={"root": str(root)})
    network = Blur(16)
    if swap:
        with pytest.raises(DataError, match=r"valid\.h5: \d+ of \d+ people are not those of the ground truth"):
            evaluate_topdown(network, config, CPU, tmp_path)
    else:
        known = evaluate_topdown(network, experiment(people, "mpii"), CPU, tmp_path)
        assert evaluate_topdown(network, config, CPU, tmp_path).metrics == known.metrics


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_is_scored_by_its_layout_s_protocol(layout: str, people: Path, tmp_path: Path) -> None:
    config = experiment(people, layout)
    network = Blur(get_skeleton(config.data.skeleton).num_joints)
    evaluation = evaluate_topdown(network, config, CPU, tmp_path)
    assert evaluation.report.splitlines()[-1] == (
        f"boxes=ground-truth flip=yes decode=argmax+quarter scales=1 evaluator={LAYOUTS[layout][2]}"
    )
    headline = {"coco": "AP", "crowdpose": "AP"}.get(layout, "Mean")
    assert evaluation.value == evaluation.metrics[headline]
    assert evaluate_topdown(network, config, CPU, tmp_path).metrics == evaluation.metrics
    if headline == "Mean":
        found = read_dataset(config.data, config.data.val)
        shape = (found.num_persons, found.skeleton.num_joints, 2)
        assert loadmat(tmp_path / "results" / "pred.mat")["preds"].shape == shape


class Spoiled(Blur):
    """A network whose maps of one ``joint`` are multiplied by ``factor``."""

    def __init__(self, joints: int, joint: int, factor: float) -> None:
        super().__init__(joints)
        self.factors = torch.ones(joints, 1, 1)
        self.factors[joint] = factor

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.factors


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_of_nan_count_as_empty_ones(
    layout: str, people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = experiment(people, layout)
    skeleton = get_skeleton(config.data.skeleton)
    joint = next(joint for joint in range(skeleton.num_joints) if skeleton.flip_order[joint] == joint)
    empty = evaluate_topdown(Spoiled(skeleton.num_joints, joint, 0.0), config, CPU, tmp_path)
    assert not caplog.records
    spoiled = evaluate_topdown(Spoiled(skeleton.num_joints, joint, float("nan")), config, CPU, tmp_path)
    assert spoiled.metrics == empty.metrics
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (layout in {"coco", "crowdpose"})
    assert all("joints of" in text and "NaN is their score" in text for text in told)


def test_the_result_file_has_the_published_form(people: Path, tmp_path: Path) -> None:
    evaluate_topdown(Blur(17), experiment(people, "coco"), CPU, tmp_path)
    text = (tmp_path / "results" / "keypoints_val2017_results.json").read_text()
    entries = json.loads(text)
    assert list(entries[0]) == ["category_id", "center", "image_id", "keypoints", "scale", "score"]
    assert len(entries[0]["keypoints"]) == 51
    assert text.startswith('[\n    {\n        "category_id": 1')
    assert [entry["image_id"] for entry in entries] == sorted(entry["image_id"] for entry in entries)


def test_detected_boxes_are_scored_and_named(people: Path, tmp_path: Path) -> None:
    file = next((people / "coco" / "person_detection_results").glob("COCO_val2017*.json"))
    where = {"detections": str(file.relative_to(people / "coco"))}
    config = experiment(people, "coco", data=where, test={"boxes": "detections", "flip": False})
    evaluation = evaluate_topdown(Blur(17), config, CPU, tmp_path)
    assert f"boxes=detections({file.name}) flip=no" in evaluation.report
    entries = json.loads((tmp_path / "results" / "keypoints_val2017_results.json").read_text())
    assert entries
    # A detector that finds nobody worth keeping still gives a table.
    config = experiment(people, "coco", data={**where, "min_box_score": 2.0}, test={"boxes": "detections"})
    assert evaluate_topdown(Blur(17), config, CPU, tmp_path).value == 0
    with pytest.raises(ConfigError, match=r"data\.detections"):
        evaluate_topdown(Blur(17), experiment(people, "coco", test={"boxes": "detections"}), CPU, tmp_path)


@pytest.mark.parametrize("world", [2, 3, 9])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_shards_merge_to_the_same_number_and_file(
    layout: str, world: int, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(people, layout)
    network = Blur(get_skeleton(config.data.skeleton).num_joints)
    whole = evaluate_topdown(network, config, CPU, tmp_path / "one")
    dataset = module.crop_dataset(config, read_dataset(config.data, config.data.val).records, training=False)
    shards = []
    for rank in range(world):
        monkeypatch.setattr(module, "rank_and_world_size", lambda rank=rank: (rank, world))
        shards.append(module.predict_dataset(network, dataset, config, CPU))
    monkeypatch.setattr(module, "gather_objects", lambda mine: shards)
    monkeypatch.setattr(module, "rank_and_world_size", lambda: (0, world))
    split = evaluate_topdown(network, config, CPU, tmp_path / "several")
    assert split.metrics == whole.metrics
    for file in (tmp_path / "one" / "results").glob("*.json"):
        assert (tmp_path / "several" / "results" / file.name).read_bytes() == file.read_bytes()
    # Only the first process writes.
    monkeypatch.setattr(module, "rank_and_world_size", lambda: (1, world))
    assert evaluate_topdown(network, config, CPU, tmp_path / "second").metrics == whole.metrics
    assert not (tmp_path / "second").exists()


def test_merging_orders_by_image_and_annotation() -> None:
    def rows(*pairs: tuple[int, int]) -> CropResults:
        ids = np.array(pairs)
        some = np.zeros((len(pairs), 2), np.float32)
        return CropResults(np.zeros((len(pairs), 17, 3)), some, some, some[:, 0], ids[:, 0], ids[:, 1])

    merged = merge([rows((3, 1), (1, 9)), rows((1, 2))])
    assert merged.image_id.tolist() == [1, 1, 3]
    assert merged.annotation_id.tolist() == [2, 9, 1]


def test_a_test_split_without_annotations_is_predicted_but_not_scored(people: Path, tmp_path: Path) -> None:
    file = next((people / "coco" / "person_detection_results").glob("COCO_test-dev2017*.json"))
    data = {"val": "test-dev2017", "detections": str(file)}
    config = experiment(people, "coco", data=data, test={"boxes": "detections"})
    evaluation = evaluate_topdown(Blur(17), config, CPU, tmp_path)
    assert evaluation.metrics == {}
    assert "upload" in evaluation.report
    server = json.loads((tmp_path / "results" / "person_keypoints_test-dev2017_small_results.json").read_text())
    assert set(server[0]) == {"image_id", "category_id", "keypoints", "score"}
    with pytest.raises(DataError, match=r"test\.boxes=detections"):
        evaluate_topdown(Blur(17), experiment(people, "coco", data=data), CPU, tmp_path)


def test_mpii_s_test_split_needs_no_detections(people: Path, tmp_path: Path) -> None:
    folder = people / "mpii" / "annot"
    rows = json.loads((folder / "valid.json").read_text())
    bare = [{key: row[key] for key in ("image", "center", "scale")} for row in rows]
    (folder / "test.json").write_text(json.dumps(bare))
    evaluation = evaluate_topdown(Blur(16), experiment(people, "mpii", data={"val": "test"}), CPU, tmp_path)
    assert "are not public" in evaluation.report
    assert loadmat(tmp_path / "results" / "pred.mat")["preds"].shape == (len(rows), 16, 2)


@pytest.mark.parametrize("damage", ["missing", "broken"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_that_cannot_be_read_stop_or_count_as_missed(layout: str, damage: str, tmp_path: Path) -> None:
    write_dataset(tmp_path / layout, layout=layout, images=4, val_images=4, people=(1, 1), size=(160, 120), seed=1)
    config = experiment(tmp_path, layout)
    found = read_dataset(config.data, config.data.val)
    joints = found.skeleton.num_joints
    last = Path(found.records[-1].source)
    if damage == "missing":
        last.unlink()
    else:
        last.write_bytes(b"no picture")
    with pytest.raises(DataError, match=last.name):
        evaluate_topdown(Blur(joints), config, CPU, tmp_path / "stopped")
    config = experiment(tmp_path, layout, data={"on_bad_image": "skip"})
    evaluation = evaluate_topdown(Blur(joints), config, CPU, tmp_path / "skipped")
    what = "1 missing image " if damage == "missing" else "1 person in images that cannot be decoded"
    assert f"skipped: {what}" in evaluation.report


def test_an_evaluation_without_most_images_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "coco", images=1, val_images=4, people=(1, 1), size=(160, 120), seed=1)
    config = experiment(tmp_path, "coco", data={"on_bad_image": "skip", "max_skipped": 0.5})
    pictures = [Path(record.source) for record in read_dataset(config.data, config.data.val).records]
    for number, picture in enumerate(pictures[:3]):
        picture.write_bytes(b"no picture")
        if number < 2:
            assert "cannot be decoded" in evaluate_topdown(Blur(17), config, CPU, tmp_path / "out").report
    with pytest.raises(DataError, match=r"3 of 4 samples had to be skipped.*data\.max_skipped=0\.5"):
        evaluate_topdown(Blur(17), config, CPU, tmp_path / "out")


def test_a_person_without_a_prediction_is_a_miss(people: Path, tmp_path: Path) -> None:
    config = experiment(people, "mpii", data={"on_bad_image": "skip"})
    found = read_dataset(config.data, config.data.val)
    results = perfect(found)
    fewer = CropResults(*(column[:-2] for column in results))
    whole = score(results, found, config, tmp_path, write=False).value
    assert 0 < score(fewer, found, config, tmp_path, write=False).value < whole


def test_the_task_overfits_a_few_people(people: Path) -> None:
    result = overfit(partial(TopDownTask, build=build_network), experiment(people, "coco"), images=2, steps=60)
    assert result.last_loss < 0.5 * result.first_loss


def test_the_task_gives_the_engine_what_it_asks_for(people: Path, tmp_path: Path) -> None:
    task = TopDownTask(experiment(people, "coco"), build_network)
    networks = task.networks()
    assert list(networks) == ["pose"]
    data = task.training_set()
    assert task.training_set() is data
    assert len(data.groups) == len(data)
    assert data[(0, 0)].images.shape == (64, 64, 3)
    assert task.objective(CPU).state_dict() == {}
    assert task.evaluate(networks, CPU, tmp_path).name == "COCO AP"
    small = task.config.model.model_copy(update={"input_size": (60, 64)})
    with pytest.raises(ConfigError, match="multiples of 32"):
        TopDownTask(task.config.model_copy(update={"model": small}), build_network).networks()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_annotations_are_read_again_only_if_they_have_changed(
    layout: str, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(people / layout, tmp_path / layout)
    config = experiment(tmp_path, layout)
    found = read_dataset(config.data, config.data.val)
    files = [found.annotation_file, *found.layout.ground_truth_files(found)]
    for file in files:
        os.utime(file, (1e9, 1e9))
    opened: list[str] = []
    monkeypatch.setattr(module, "read_dataset", lambda *given: opened.append("read") or read_dataset(*given))
    parse = json_text.parse_json
    monkeypatch.setattr(
        json_text, "parse_json", lambda *given, **options: opened.append("parsed") or parse(*given, **options)
    )
    stream = coco_file.stream_json
    monkeypatch.setattr(
        coco_file, "stream_json", lambda *given, **options: opened.append("parsed") or stream(*given, **options)
    )
    task = TopDownTask(config, build_network)
    networks = {"pose": Blur(len(get_skeleton(config.data.skeleton).joints))}
    first = task.evaluate(networks, CPU, tmp_path)
    assert opened.count("read") == 1
    assert opened.count("parsed") <= 2, "once for the people, once for scoring"
    opened.clear()
    assert task.evaluate(networks, CPU, tmp_path) == first
    assert not opened
    os.utime(files[0], (2e9, 1.1e9))
    assert task.evaluate(networks, CPU, tmp_path) == first
    assert opened.count("read") == 1


def test_a_loader_killed_during_a_training_step_is_explained(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeatmapObjective, "step", kill_loaders)
    config = experiment(people, "coco").model_copy(update={"run": RunConfig(dir=str(tmp_path), device="cpu")})
    config = config.model_copy(update={"train": config.train.model_copy(update={"workers": 1})})
    with pytest.raises(DataError, match=EXPLAINED):
        train(TopDownTask(config, build_network))


def test_a_killed_loader_of_an_evaluation_is_explained(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "predict_crops", kill_loaders)
    config = experiment(people, "coco", test={"workers": 1, "batch_size": 1})
    with pytest.raises(DataError, match=EXPLAINED):
        evaluate_topdown(Blur(17), config, CPU, tmp_path)
