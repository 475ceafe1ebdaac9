"""Near-duplicates, the figures of a data set, and dividing an annotation file."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pose_core.cli import main
from pose_core.config import DataConfig
from pose_core.data.near_duplicates import find_alike, group, image_hash, near_duplicates
from pose_core.errors import ConfigError
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.split import distribute, divide, parse_parts, video_of
from pose_core.layouts.stats import dataset_stats
from pose_core.synthetic import write_dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people")
    write_dataset(root, layout="coco", images=20, val_images=4, people=(1, 3), size=(160, 120), seed=5)
    return root


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """Return a folder of one's own: all.json, and its images in images/; the last two are near-duplicates of others."""
    (tmp_path / "images").mkdir()
    content = json.loads((drawn / "annotations" / "person_keypoints_train2017.json").read_text())
    for image in content["images"]:
        shutil.copy(drawn / "images" / "train2017" / image["file_name"], tmp_path / "images")
    for copy, original, quality in ((18, 2, 55), (19, 7, 80)):
        source, target = (tmp_path / "images" / content["images"][row]["file_name"] for row in (original, copy))
        cv2.imwrite(str(target), cv2.imread(str(source)), [cv2.IMWRITE_JPEG_QUALITY, quality])
    (tmp_path / "all.json").write_text(json.dumps(content))
    return tmp_path


def data_of(root: Path) -> DataConfig:
    return DataConfig(layout="coco", root=str(root))


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def test_copies_have_nearly_the_same_hash_and_other_images_do_not(drawn: Path, tmp_path: Path) -> None:
    sources = sorted((drawn / "images" / "train2017").iterdir())
    hashes = np.stack([image_hash(str(source)) for source in sources])
    assert hashes.shape == (20, 128)
    assert min((hashes[a] != hashes[b]).sum() for a, b in combinations(range(20), 2)) > 20
    image = cv2.imread(str(sources[0]))
    for name, changed in (
        ("small.png", cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
        ("large.jpg", cv2.resize(image, (640, 480))),
        ("poor.jpg", cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)),
    ):
        cv2.imwrite(str(tmp_path / name), changed)
        assert (image_hash(str(tmp_path / name)) != hashes[0]).sum() <= 10, name


def test_images_that_do_not_decode_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [image["file_name"] for image in read(root / "all.json")["images"]]
    (root / "images" / names[4]).write_bytes(b"none")
    alike = find_alike([str(root / "images" / name) for name in names])
    assert alike.unreadable == [4]
    assert alike.pairs.tolist() == [[2, 18], [7, 19]]
    assert main(["data", "stats", "--root", str(root), "--splits", "all.json"]) == 0
    assert f"1 image cannot be read, such as {root / 'images' / names[4]}" in capsys.readouterr().out


def test_pairs_are_those_of_comparing_all() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.random((300, 128)) > 0.5
    for copy, original, bits in ((250, 3, 10), (251, 4, 11), (252, 5, 1), (253, 250, 3)):
        hashes[copy] = hashes[original]
        hashes[copy, rng.permutation(128)[:bits]] ^= True
    hashes[260:263] = hashes[6]
    expected = {(a, b) for a, b in combinations(range(300), 2) if 0 < (hashes[a] != hashes[b]).sum() <= 10}
    pairs = set(map(tuple, near_duplicates(hashes).tolist()))
    assert pairs == expected | {(6, 260), (260, 261), (261, 262)}
    assert (4, 251) not in pairs
    groups = group(300, near_duplicates(hashes))
    assert groups[[6, 260, 261, 262]].tolist() == [6] * 4
    assert groups[[250, 253]].tolist() == [3, 3]
    assert len(near_duplicates(hashes[:0])) == len(near_duplicates(hashes[:1])) == 0


def test_looking_up_is_not_comparing_all() -> None:
    alike = np.zeros((20_000, 128), bool)
    assert len(near_duplicates(alike)) == 19_999
    rng = np.random.default_rng(1)
    half = np.concatenate([np.zeros((6000, 64), bool), rng.random((6000, 64)) > 0.5], 1)
    assert len(near_duplicates(half)) < 10  # by chance: 64 random bits differ in so few


def test_stats_count_what_is_annotated(drawn: Path) -> None:
    found = [read_dataset(data_of(drawn), split, keep_unlabeled=True) for split in ("train2017", "val2017")]
    stats = dataset_stats(found)
    content = read(drawn / "annotations" / "person_keypoints_train2017.json")
    people = [each for each in content["annotations"] if not each["iscrowd"]]
    train = stats.splits[0]
    assert (train.images, train.people, train.crowds) == (20, len(people), len(content["annotations"]) - len(people))
    assert train.crowds > 0
    labels = np.array([person["keypoints"] for person in people]).reshape(-1, 17, 3)[..., 2]
    assert [joint.labeled for joint in train.joints] == (labels > 0).sum(0).tolist()
    assert [joint.hidden for joint in train.joints] == (labels == 1).sum(0).tolist()
    areas = np.array([person["area"] for person in people])
    assert train.sizes == {
        "small": (areas < 1024).sum(),
        "medium": ((areas >= 1024) & (areas <= 9216)).sum(),
        "large": (areas > 9216).sum(),
    }
    assert list(train.people_per_image) == ["0", "1", "2", "3-5", "6-10", "11+"]
    assert sum(train.people_per_image.values()) == 20
    assert list(train.labeled_per_person) == ["0", "1-5", "6-9", "10-13", "14-17"]
    assert sum(train.labeled_per_person.values()) == sum(train.crowding.values()) == len(people)
    assert train.box_heights["50%"] == pytest.approx(np.median([person["bbox"][3] for person in people]), abs=0.1)
    assert stats.duplicates is not None
    assert not stats.duplicates.across
    assert "no near-duplicate images" in str(stats)


@pytest.mark.parametrize("layout", ["mpii", "crowdpose", "lsp"])
def test_stats_of_other_layouts(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path, layout=layout, images=4, val_images=4, people=(1, 1), size=(120, 90))
    out = tmp_path / "stats.json"
    words = ["data", "stats", "--layout", layout, "--root", str(tmp_path), "--no-images", "--json", str(out)]
    assert main(words) == 0
    content = read(out)
    assert content["duplicates"] is None
    assert content["splits"][0]["images"] == content["splits"][0]["people"] == 4
    assert content["splits"][0]["box_heights"]["50%"] > 10
    assert "near-duplicate" not in capsys.readouterr().out


def test_duplicates_are_told_across_splits_and_within(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = read(root / "all.json")
    for name, rows in (("a", [*range(10), 18]), ("b", [*range(10, 18), 19])):
        part = {**content, "images": [content["images"][row] for row in rows]}
        ids = {image["id"] for image in part["images"]}
        part["annotations"] = [each for each in content["annotations"] if each["image_id"] in ids]
        (root / f"{name}.json").write_text(json.dumps(part))
    out = root / "stats.json"
    words = ["data", "stats", "--root", str(root), "--splits", "a.json", "b.json", "--json", str(out)]
    assert main(words) == 0
    found = read(out)["duplicates"]
    names = [image["file_name"] for image in content["images"]]
    across = [[(split, Path(source).name) for split, source in members] for members in found["across"]]
    inside = [[(split, Path(source).name) for split, source in members] for members in found["inside"]]
    assert across == [[("a.json", names[7]), ("b.json", names[19])]]
    assert inside == [[("a.json", names[2]), ("a.json", names[18])]]
    text = capsys.readouterr().out
    assert "near-duplicates across splits: 1 group of 2 images" in text
    assert f"{names[7]} (a.json) = {names[19]} (b.json)" in text


def test_parts_have_their_shares_and_keep_groups_together() -> None:
    groups = np.repeat(np.arange(60), np.arange(60) % 4 + 1)
    for seed in range(5):
        part = distribute(groups, [0.7, 0.2, 0.1], seed)
        assert all(len(set(part[groups == label].tolist())) == 1 for label in range(60))
        share = np.bincount(part) / len(groups)
        assert share == pytest.approx([0.7, 0.2, 0.1], abs=0.02)
    assert (distribute(groups, [0.5, 0.5], 1) == distribute(groups, [0.5, 0.5], 1)).all()
    assert (distribute(groups, [0.5, 0.5], 1) != distribute(groups, [0.5, 0.5], 2)).any()


def test_a_file_is_divided_without_a_loss(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = read(root / "all.json")
    assert main(["data", "split", "--root", str(root), "all.json", "--parts", "train=0.6", "val=0.4"]) == 0
    text = capsys.readouterr().out
    parts = [read(root / f"{name}.json") for name in ("train", "val")]
    assert [len(part["images"]) for part in parts] == [12, 8]
    for key in ("images", "annotations"):
        both = sorted((each for part in parts for each in part[key]), key=lambda each: each["id"])
        assert both == sorted(content[key], key=lambda each: each["id"])
    for copy, original in ((18, 2), (19, 7)):
        ids = {content["images"][row]["id"] for row in (copy, original)}
        assert sum(ids <= {image["id"] for image in part["images"]} for part in parts) == 1
    assert "kept together: 20 images in 18 groups, at most 2 images" in text
    command = text.splitlines()[-1].split(" data check ")[1].split()
    assert main(["data", "check", *command]) == 0
    written = (root / "train.json").read_bytes()
    assert main(["data", "split", "--root", str(root), "all.json", "--parts", "train=0.6", "val=0.4"]) == 2
    assert "train.json exists" in capsys.readouterr().err
    again = ["--parts", "train=0.6", "val=0.4", "--out", str(root / "again")]
    assert main(["data", "split", "--root", str(root), "all.json", *again]) == 0
    assert (root / "again" / "train.json").read_bytes() == written


def test_a_published_split_is_divided(drawn: Path, tmp_path: Path) -> None:
    done = divide(data_of(drawn), "train2017", {"one": 0.5, "two": 0.5}, tmp_path, images=False)
    for part in done.parts:
        records = read_dataset(data_of(drawn), str(part.file)).records
        assert len(records) == part.images == 10
        assert all(Path(record.source).parent == drawn / "images" / "train2017" for record in records)
    assert "kept together" not in str(done)


@pytest.mark.parametrize(
    ("source", "video"),
    [
        ("/d/images/walk/0001.jpg", ":/d/images/walk/"),
        ("/d/images/walk_0001.jpg", ":/d/images/walk"),
        ("/d/images/walk2-017.png", ":/d/images/walk2"),
        ("/d/images/walk2.png", ":/d/images/walk"),
        ("/d/all.zip@images/a 12.jpg", "/d/all.zip:images/a"),
    ],
)
def test_frames_of_a_video_share_folder_and_name(source: str, video: str) -> None:
    assert video_of(source) == video


def test_frames_of_a_video_stay_together(root: Path) -> None:
    content = read(root / "all.json")
    for row, image in enumerate(content["images"]):
        name = f"{'abcde'[row // 4]}_{row:03d}.jpg"
        (root / "images" / image["file_name"]).rename(root / "images" / name)
        image |= {"file_name": name, "place": row % 2}
    (root / "all.json").write_text(json.dumps(content))
    done = divide(data_of(root), "all.json", {"train": 0.6, "val": 0.4}, by="video", images=False)
    assert (done.groups, done.largest) == (5, 4)
    train = {image["file_name"][0] for image in read(root / "train.json")["images"]}
    val = {image["file_name"][0] for image in read(root / "val.json")["images"]}
    assert not train & val
    assert len(train) == 3
    by_key = divide(data_of(root), "all.json", {"x": 0.5, "y": 0.5}, by="place", images=False)
    assert by_key.groups == 2
    assert {image["place"] for image in read(root / "x.json")["images"]} in ({0}, {1})


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("video", "the same folder and name but for a number, so none can be apart"),
        ("scene", "has no 'scene' .20 of 20 lack it"),
    ],
)
def test_what_cannot_be_divided_is_said(root: Path, by: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        divide(data_of(root), "all.json", {"train": 0.6, "val": 0.4}, by=by, images=False)


@pytest.mark.parametrize(
    "words", [["train=1"], ["train=0.5", "val=0.6"], ["train=0.5", "train=0.5"], ["a/b=0.5", "c=0.5"], ["a=x", "b=1"]]
)
def test_wrong_shares_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="--parts"):
        parse_parts(words)


def test_files_of_other_layouts_are_converted_first(tmp_path: Path) -> None:
    write_dataset(tmp_path, layout="mpii", images=3, val_images=2, people=(1, 1), size=(120, 90))
    data = DataConfig(layout="mpii", root=str(tmp_path), skeleton="mpii16")
    with pytest.raises(ConfigError, match="data convert"):
        divide(data, "train", {"a": 0.5, "b": 0.5})


def test_names_that_would_find_other_images_are_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = read(root / "all.json")["images"][0]["file_name"]
    for part in ("train", "val"):
        (root / "images" / part).mkdir()
        for image in read(root / "all.json")["images"]:
            shutil.copy(root / "images" / name, root / "images" / part / image["file_name"])
    assert main(["data", "split", "--root", str(root), "all.json", "--parts", "train=0.6", "val=0.4"]) == 3
    assert "would find image" in capsys.readouterr().err
