"""Several data sets in one training: joints by name, sampling weights, evaluation by source, exact continuation."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from pose_core.bottomup.config import WarpConfig
from pose_core.bottomup.dataset import BottomUpDataset, PartlyLabeledBatch, labeled_channels
from pose_core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from pose_core.config.reading import apply_overrides, dump_config, parse_config
from pose_core.data.mixture import Mixture
from pose_core.data.sampler import AGAIN, Draws, epoch_batches
from pose_core.engine.checkpoint import annotations_digest, find_files, read_run_checkpoint, record_place
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.layouts.points import FAR_AWAY
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.sources import Source, check_splits, find_sources
from pose_core.skeleton import SKELETONS, get_skeleton
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import CropTestConfig, HeatmapConfig, TopDownConfig
from pose_core.topdown.device_decode import EncodedCrops
from pose_core.topdown.mixed_table import read_mixed_table
from pose_core.topdown.person_table import read_table
from pose_core.topdown.task import TopDownTask
from pose_testing.annotations import coco_content, write_coco
from pose_testing.blur import Blur

CPU = torch.device("cpu")
VAL = {"coco": "val2017", "mpii": "valid", "crowdpose": "val", "lsp": "test"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    for seed, layout in enumerate(VAL):
        write_dataset(root / layout, layout=layout, images=4, val_images=4, people=(1, 2), size=(128, 96), seed=seed)
    return root


def block(sets: Path, layout: str, **changes: Any) -> dict[str, Any]:
    return {"layout": layout, "root": str(sets / layout), "val": VAL[layout], **changes}


def data(sets: Path, *sources: dict[str, Any], **changes: Any) -> DataConfig:
    return DataConfig(**{"root": str(sets / "coco"), "sources": sources, **changes})


def build(config: Any) -> nn.Module:
    return Blur(get_skeleton(config.data.skeleton).num_joints)


def experiment(given: DataConfig, folder: Path = Path(), **train_changes: Any) -> TopDownConfig:
    return TopDownConfig(
        method="blur",
        data=given,
        model=ModelConfig(name="blur", input_size=(48, 64)),
        heatmap=HeatmapConfig(sigma=1.0),
        train=TrainConfig(**{"epochs": 2, "batch_size": 6, "workers": 0, "lr": 1e-2, **train_changes}),
        test=CropTestConfig(workers=0, batch_size=8),
        run=RunConfig(dir=str(folder / "runs"), device="cpu"),
    )


# settings


def test_sources_are_given_as_yaml_or_on_the_command_line() -> None:
    content = {"method": "blur", "model": {"name": "blur"}, "data": {"root": "data/coco"}}
    override = "data.sources=[{root: data/coco}, {root: data/mpii, layout: mpii, weight: 0.5, joints: {nose: null}}]"
    config = parse_config(apply_overrides(content, [override]), TopDownConfig, "config")
    assert [source.title for source in config.data.sources] == ["coco", "mpii"]
    assert config.data.sources[1].joints == {"nose": None}
    assert parse_config(yaml.safe_load(dump_config(config)), TopDownConfig, "copy") == config


def test_the_file_in_the_readme_is_an_experiment(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    (text,) = (block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "sources:" in block)
    config = parse_config(yaml.safe_load(text), TopDownConfig, "README.md")
    _, mpii = find_sources(config.data)
    assert (mpii.name, mpii.val, mpii.weight) == ("mpii", "valid", 0.5)
    assert {"left_hip", "right_hip"} < set(mpii.joints.lacking)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([{"rooot": "a"}], r"unknown key 'data.sources.0.rooot'; did you mean data.sources.0.root"),
        ([{"layout": "coco"}], r"'data.sources.0.root' is required and missing"),
        ([{"root": "a", "weight": 0}], r"'data.sources.0.weight' is 0: input should be greater than 0"),
        ([{"root": "x/a"}, {"root": "y/a"}], r"data\.sources: two sources are called a; give each its own name"),
        ([{"root": "."}], r"data\.sources: the name '' of a source must be the name of a folder; set its name"),
    ],
)
def test_wrong_sources_are_named(sources: list[dict[str, Any]], message: str) -> None:
    content = {"method": "blur", "model": {"name": "blur"}, "data": {"sources": sources}}
    with pytest.raises(ConfigError, match=message):
        parse_config(content, TopDownConfig, "config")


def test_joints_are_matched_by_name_and_by_hand(sets: Path) -> None:
    (mpii,) = find_sources(data(sets, block(sets, "mpii")))
    assert mpii.joints.lacking == ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    (given,) = find_sources(data(sets, block(sets, "mpii", joints={"nose": "head_top", "left_hip": None})))
    assert "nose" not in given.joints.lacking
    assert "left_hip" in given.joints.lacking
    with pytest.raises(ConfigError, match=r"data\.sources, mpii: joint 'chin', given for 'nose', is not one of"):
        find_sources(data(sets, block(sets, "mpii", joints={"nose": "chin"})))
    with pytest.raises(ConfigError, match="unknown layout 'mpi'; did you mean mpii"):
        find_sources(data(sets, {"root": "a", "layout": "mpi"}))


# samples


def test_one_source_of_weight_one_trains_as_the_data_set_itself(sets: Path) -> None:
    plain = TopDownTask(experiment(DataConfig(root=str(sets / "coco"))), build).people()
    same = TopDownTask(experiment(data(sets, {"root": str(sets / "coco")})), build).people()
    assert same.mixture is not None
    assert same.mixture.draws is None
    assert len(same) == len(plain)
    for index in range(len(plain)):
        one, other = plain[(1, index)], same[(1, index)]
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.joints, other.joints)


def test_people_of_all_sources_are_in_one_table_with_the_joints_they_have(sets: Path) -> None:
    sources = find_sources(data(sets, block(sets, "coco"), block(sets, "mpii", weight=2), block(sets, "lsp")))
    table, mixture, problems = read_mixed_table(sources, 0.75)
    parts = [read_table(source.data, source.data.train, 0.75)[0] for source in sources]
    assert not problems
    assert len(table.image) == sum(len(part.image) for part in parts) == len(mixture.source)
    assert len(set(table.annotation_id.tolist())) < len(table.image), "ids repeat between sources"
    start = len(parts[0].image)
    for row in range(len(parts[1].image)):
        mapped, own = table.joints[start + row], parts[1].joints[row]
        assert np.array_equal(mapped[13], own[4]), "left knee"
        assert not mapped[:5].any(), "MPII has no face"
        assert bytes(table.sources[table.image[start + row]]) == bytes(parts[1].sources[parts[1].image[row]])
        # MPII's center and scale stay as they are, with the layout's own padding.
        assert np.array_equal(table.scale[start + row], parts[1].scale[row])
    assert mixture.is_partial
    assert not mixture.labeled(start)[0]
    assert mixture.labeled(0).all()
    assert mixture.counts[1, :5].tolist() == [0] * 5
    assert mixture.counts[1, 13] == (parts[1].joints[:, 4, 2] > 0).sum()


def test_people_without_any_of_the_joints_are_left_out(tmp_path: Path) -> None:
    content = coco_content(images=2, people=2)
    face = [number for k in range(17) for number in ((10 + k, 5 + 2 * k, 2) if k < 5 else (0, 0, 0))]
    content["annotations"][0] |= {"keypoints": face, "num_keypoints": 5}
    write_coco(tmp_path / "coco", content)
    config = DataConfig(skeleton="lsp14", sources=({"root": str(tmp_path / "coco")},))
    table, mixture, problems = read_mixed_table(find_sources(config), 0.75)
    assert len(table.image) == 3
    assert mixture.people == (3,)
    assert problems == "coco: 1 person left out: none of data.skeleton's joints is labeled"
    for annotation in content["annotations"]:
        annotation |= {"keypoints": face, "num_keypoints": 5}
    write_coco(tmp_path / "coco", content)
    with pytest.raises(DataError, match=r"data\.sources, coco: no person of train2017 has a joint of lsp14 labeled"):
        read_mixed_table(find_sources(config), 0.75)


def test_joints_that_a_source_lacks_have_no_loss(sets: Path) -> None:
    task = TopDownTask(experiment(data(sets, block(sets, "mpii"))), build)
    network = task.networks()["pose"]
    people = task.training_set()
    batch = people.collate([people[(0, index)] for index in range(len(people))])
    heatmaps: list[Tensor] = []
    network.register_forward_hook(lambda _, __, out: heatmaps.append(out) or out.retain_grad())
    task.objective(CPU).step({"pose": network}, batch, lambda _, loss: loss.backward())
    assert heatmaps[0].grad is not None
    by_joint = heatmaps[0].grad.abs().amax((0, 2, 3))
    assert by_joint[:5].tolist() == [0] * 5
    assert (by_joint[5:] > 0).all()


def test_the_table_says_what_each_source_labels(sets: Path) -> None:
    task = TopDownTask(
        experiment(data(sets, block(sets, "lsp"), block(sets, "mpii", name="m", weight=0.5), skeleton="coco17")), build
    )
    mixture = task.training_set().mixture
    assert mixture is not None
    lines = mixture.table().splitlines()
    people = len(read_table(find_sources(task.config.data)[0].data, "train", 0.75)[0].image)
    assert next(line.split() for line in lines if "nose" in line) == ["nose", "-", "-"]
    assert next(line.split() for line in lines if "left_knee" in line)[:2] == ["left_knee", str(people)]
    assert ["weight", "1", "0.5"] in [line.split() for line in lines]
    assert lines[-1] == (
        "warning: no source labels nose, left_eye, right_eye, left_ear, right_ear: the network will not learn to find "
        "them"
    )
    assert EncodedCrops(task.people()).mixture is task.people().mixture is mixture
    assert mixture.draws is not None


# sampling


def mixed_epoch(epoch: int, weights: tuple[float, ...], rank: int = 0, world: int = 1, **options: Any) -> Any:
    draws = Draws(np.repeat([0, 1], [10, 7]), weights)
    return list(epoch_batches(17, epoch, 5, 4, rank, world, draws=draws, **options))


def test_weights_say_how_often_a_sources_samples_are_drawn() -> None:
    half: set[int] = set()
    for epoch in range(12):
        keys = [key for batch in mixed_epoch(epoch, (0.5, 2.5), drop_last=False) for key in batch]
        times = Counter(index for _, index in keys)
        assert sum(times[index] for index in range(10)) == 5
        assert max(times[index] for index in range(10)) == 1
        assert {times[index] for index in range(10, 17)} == {2, 3}
        assert sum(times[index] for index in range(10, 17)) == 18
        half |= {index for index in range(10) if times[index]}
        # A sample that occurs again is augmented again.
        assert len(set(keys)) == len(keys)
        assert {key % AGAIN for key, _ in keys} == {epoch}
    assert half == set(range(10)), "other samples in each epoch"


def test_weights_of_one_draw_each_sample_once() -> None:
    keys = [key for batch in mixed_epoch(3, (1.0, 1.0)) for key in batch]
    assert sorted(keys) == [(3, index) for index in range(17)]
    assert keys == [key for batch in epoch_batches(17, 3, 5, 4) for key in batch]


@pytest.mark.parametrize("groups", [None, np.arange(17) // 2])
def test_weighted_batches_are_the_same_for_any_number_of_processes_and_resume_anywhere(groups: Any) -> None:
    whole = mixed_epoch(2, (1.5, 3.0), groups=groups)
    shares = [mixed_epoch(2, (1.5, 3.0), rank, 2, groups=groups) for rank in range(2)]
    assert [first + second for first, second in zip(*shares, strict=True)] == whole
    for start in range(len(whole) + 1):
        assert mixed_epoch(2, (1.5, 3.0), groups=groups, start_batch=start) == whole[start:]
    if groups is not None:
        images = [groups[index] for batch in whole for _, index in batch]
        assert sum(a != b for a, b in itertools.pairwise(images)) == len(set(images)) - 1, "decoded once"


# whole images


def whole(records: Any, labels: list[list[bool]], flip: float) -> BottomUpDataset:
    counts = np.ones((2, 17), np.int64)
    made = BottomUpDataset(
        records, SKELETONS["coco17"], input_size=64, output_sizes=(16,), augment=WarpConfig(flip=flip), seed=3
    )
    made.mixture = Mixture(
        ("a", "b"), (1.0, 1.0), SKELETONS["coco17"].joints, np.array(labels), counts, (1, 1),
        np.array([0, 1]),
    )  # fmt: skip
    return made


def test_whole_images_carry_the_joints_that_their_source_labels(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_content(images=2, people=1))
    records = read_dataset(DataConfig(root=str(tmp_path)), "train2017", keep_unlabeled=True).records
    left_only = [joint not in {2, 6} for joint in range(17)]  # neither the right eye nor the right shoulder
    plain, mirrored = (whole(records, [[True] * 17, left_only], flip) for flip in (0.0, 1.0))
    batch = plain.collate([plain[0], plain[1]])
    assert isinstance(batch, PartlyLabeledBatch)
    labeled = labeled_channels(batch)
    assert labeled is not None
    assert labeled.tolist() == [[True] * 17, left_only]
    flipped = labeled_channels(mirrored.collate([mirrored[1]]))
    assert flipped is not None
    assert torch.nonzero(~flipped[0]).flatten().tolist() == [1, 5]
    (part, _) = batch.split(2)
    assert isinstance(part, PartlyLabeledBatch)
    assert part.labeled.shape == (1, 17)
    unused = whole(records, [[True] * 17] * 2, 0.0)
    assert unused.mixture is not None
    unused.mixture.counts[0, 9] = 0
    labeled = labeled_channels(unused.collate([unused[0]]))
    assert labeled is not None, "a joint of the source that nobody has labeled"
    assert torch.nonzero(~labeled[0]).flatten().tolist() == [9]
    all_labeled = whole(records, [[True] * 17] * 2, 0.0)
    assert labeled_channels(all_labeled.collate([all_labeled[0]])) is None


# evaluation


def held_out(sets: Path, layout: str, **changes: Any) -> Source:
    (source,) = find_sources(data(sets, block(sets, layout), **changes))
    return source


@pytest.mark.parametrize(("layout", "skeleton"), [("coco", "mpii16"), ("crowdpose", "coco17"), ("coco", "coco17")])
def test_perfect_joints_of_the_network_score_one_by_the_sources_protocol(
    layout: str, skeleton: str, sets: Path
) -> None:
    source = held_out(sets, layout, skeleton=skeleton)
    found = source.read_held_out()
    assert found.skeleton.name == skeleton
    entries = [
        {
            "image_id": record.image_id, "category_id": 1, "score": 0.9,
            "keypoints": np.where(one.joints[:, 2:] > 0, one.joints, [20, 20, 0]).reshape(-1).tolist(),
        }
        for record in found.records
        for one in record.persons
    ]  # fmt: skip
    assert found.layout.score_entries is not None
    evaluation = found.layout.score_entries(entries, found, "network")
    assert evaluation.metrics["AP"] == pytest.approx(1)
    lacking = source.joints.unused
    if layout == skeleton[:4]:
        assert not lacking
        assert evaluation.name == "COCO AP"
    else:
        total = len(source.joints.source)
        assert evaluation.name.endswith(
            f" AP on {total - len(lacking)} of {total} joints (the network has no {', '.join(lacking)})"
        )
    # The joints that count still do: a wrong hip costs.
    hip = get_skeleton(skeleton).joints.index("left_hip")
    for entry in entries:
        entry["keypoints"][3 * hip] += 50
    assert found.layout.score_entries(entries, found, "network").metrics["AP"] < 0.95


def test_joints_left_out_have_no_part_in_coco_ap(sets: Path) -> None:
    own = read_dataset(DataConfig(root=str(sets / "coco")), "val2017")
    truth = own.ground_truth.without_joints((0, 1, 2, 3, 4))
    content = json.loads(own.annotation_file.read_text())
    for annotation in content["annotations"]:
        annotation["keypoints"][:15] = [0] * 15
        annotation["num_keypoints"] = sum(v > 0 for v in annotation["keypoints"][2::3])
    entries = [
        {"image_id": a["image_id"], "category_id": 1, "score": 0.5, "keypoints": [v + 3 for v in a["keypoints"]]}
        for a in content["annotations"]
    ]
    assert coco_keypoint_ap(truth, entries) == coco_keypoint_ap(content, entries)


@pytest.mark.parametrize("layout", ["mpii", "lsp"])
def test_perfect_points_of_the_network_score_hundred_on_the_joints_it_has(
    layout: str, sets: Path, tmp_path: Path
) -> None:
    found = held_out(sets, layout).read_held_out()
    found.layout.check_ground_truth(found)
    people = [one for record in found.records for one in record.persons]
    points = np.stack([one.joints[:, :2] for one in people]).astype(np.float64)
    ids = np.array([one.annotation_id for one in people])
    assert found.layout.score_points is not None
    evaluation = found.layout.score_points(points, ids, found, "network", tmp_path / "pred.mat", write=True)
    assert evaluation.value == pytest.approx(100)
    assert set(evaluation.metrics) == {
        "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean", "Mean@0.1", "Mean@0.10",
    }  # fmt: skip
    assert "(the network has no" in evaluation.name
    assert (tmp_path / "pred.mat").is_file()


def test_joints_that_the_network_lacks_are_beside_the_others(sets: Path) -> None:
    source = held_out(sets, "mpii")
    own = source.own_points(np.ones((2, 17, 2)))
    assert (own[:, [6, 7, 8, 9]] == FAR_AWAY).all()
    assert (own[:, [0, 4, 15]] == 1).all()
    values = np.arange(51.0)
    (entry,) = source.own_entries([{"keypoints": values.tolist(), "score": 1.0, "image_id": 3}])
    moved, network = np.array(entry["keypoints"]).reshape(-1, 3), values.reshape(-1, 3)
    assert entry["image_id"] == 3
    assert np.array_equal(moved[4], network[13])
    used = [joint for joint, row in enumerate(source.joints.rows) if row is not None]
    assert moved[6] == pytest.approx([*network[used, :2].mean(0), 0])


# runs


def test_a_run_scores_each_source_and_continues_exactly(sets: Path, tmp_path: Path) -> None:
    given = data(sets, block(sets, "coco", weight=1.5), block(sets, "mpii", weight=0.5))
    config = experiment(given, tmp_path)
    result = train(TopDownTask(config, build))
    assert result.evaluation is not None
    assert result.evaluation.name == "COCO AP"
    assert result.evaluation.value == result.evaluation.metrics["AP"]
    assert result.evaluation.metrics["coco/AP"] == result.evaluation.metrics["AP"]
    assert "mpii/Mean" in result.evaluation.metrics
    assert "mpii/Head" not in result.evaluation.metrics
    assert "source mpii:" in result.evaluation.report
    assert (result.folder / "sources/mpii/results/pred.mat").is_file()
    assert "labeled joints by source" in (result.folder / "log.txt").read_text()
    logged = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert "mpii/Mean" in next(row for row in logged if row["split"] == "val")

    long = torch.load(result.folder / "last.pt", weights_only=True)["weights"]
    steps = experiment(given, tmp_path / "again", iterations=2, validate_every=0)
    stopped = train(TopDownTask(steps, build))
    assert 0 < stopped.step < result.step
    resumed = steps.model_copy(update={"train": config.train.model_copy(update={"validate_every": 0})})
    train(TopDownTask(resumed, build), resume=True)
    again = torch.load(stopped.folder / "last.pt", weights_only=True)["weights"]
    assert all(torch.equal(long[name], again[name]) for name in long)


def test_a_run_continues_with_moved_sources_but_not_with_other_ones(sets: Path, tmp_path: Path) -> None:
    one = experiment(data(sets, block(sets, "coco"), block(sets, "mpii")), tmp_path, iterations=1, validate_every=0)
    last = train(TopDownTask(one, build)).folder / "last.pt"
    moved = data(sets, {"root": "elsewhere", "name": "coco"}, block(sets, "mpii", val=None))
    read_run_checkpoint(last, one.model_copy(update={"data": moved}))
    weighted = data(sets, block(sets, "coco"), block(sets, "mpii", weight=3))
    with pytest.raises(ConfigError, match=r"trained with other settings:\n  data\.sources: "):
        read_run_checkpoint(last, one.model_copy(update={"data": weighted}))
    content = torch.load(last, weights_only=True)
    assert find_files(one, content | record_place(one)) == one.model_copy(
        update={"data": find_files(one, content).data}
    )
    digests = {annotations_digest(one.model_copy(update={"data": each})) for each in (
        data(sets, block(sets, "coco")), data(sets, block(sets, "mpii")), one.data, data(sets),
    )}  # fmt: skip
    assert len(digests) == 3, "the first and the last are the same file"
    assert None not in digests


def test_a_run_of_an_earlier_version_continues(sets: Path, tmp_path: Path) -> None:
    config = experiment(DataConfig(root=str(sets / "coco")), tmp_path, iterations=1, validate_every=0)
    last = train(TopDownTask(config, build)).folder / "last.pt"
    content = torch.load(last, weights_only=True)
    content["config"] = content["config"].replace("  sources: []\n", "")
    torch.save(content, tmp_path / "old.pt")
    assert read_run_checkpoint(tmp_path / "old.pt", config)[1] == []


def test_a_mistyped_validation_split_is_found_before_training(sets: Path) -> None:
    check_splits(data(sets, block(sets, "coco"), block(sets, "mpii")))
    with pytest.raises(DataError, match=r"(?s)vaild\.json does not .* has the splits train2017, val2017$"):
        check_splits(data(sets, block(sets, "coco"), val="vaild"))
    with pytest.raises(DataError, match=r"crowdpose_vaild\.json does not exist"):
        check_splits(data(sets, block(sets, "coco"), block(sets, "crowdpose", val="vaild")))


def test_missing_ground_truth_is_found_before_training(sets: Path) -> None:
    config = DataConfig(layout="mpii", root=str(sets / "mpii"), train="train", val="valid", skeleton="mpii16")
    check_splits(config)
    truth = sets / "mpii/annot/gt_valid.mat"
    truth.rename(truth.with_suffix(".away"))
    try:
        for each in (config, data(sets, block(sets, "coco"), block(sets, "mpii", val="valid"))):
            with pytest.raises(DataError, match=r"gt_valid\.mat does not exist, and evaluation on the split 'valid'"):
                check_splits(each)
    finally:
        truth.with_suffix(".away").rename(truth)
