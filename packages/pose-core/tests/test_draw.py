"""Results files drawn on their images: `pose draw`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from pose_core.cli import main
from pose_core.config import DataConfig
from pose_core.data.images import open_image
from pose_core.drawing.sheets import encode_image
from pose_core.errors import ConfigError, DataError
from pose_core.inference.drawn_results import Style, draw_results
from pose_core.inference.result_files import poses_from_dict, skeleton_of
from pose_core.inference.result_images import ImagesOf
from pose_core.layouts.points import FAR_AWAY, write_points
from pose_core.layouts.reader import AnnotatedSet, read_dataset
from pose_core.layouts.table import get_layout
from pose_core.skeleton import SKELETONS, get_skeleton
from pose_core.structures import Poses
from pose_core.synthetic import write_dataset

COCO = SKELETONS["coco17"]
Entry = dict[str, Any]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, AnnotatedSet]:
    """Return the held-out split of a small data set in each layout."""
    found = {}
    for name in ("coco", "crowdpose", "mpii", "lsp"):
        root = tmp_path_factory.mktemp(name)
        write_dataset(root, layout=name, images=3, val_images=3, people=(2, 2), size=(120, 100), seed=2, crowds=False)
        layout = get_layout(name)
        found[name] = read_dataset(DataConfig(layout=name, root=str(root), skeleton=layout.skeleton), layout.val)
    return found


@pytest.fixture
def coco(sets: dict[str, AnnotatedSet]) -> AnnotatedSet:
    return sets["coco"]


def entries_of(found: AnnotatedSet, score: float = 0.9) -> list[Entry]:
    """Return the annotated people as results, every joint with the score 0.8."""
    return [
        {
            "image_id": record.image_id,
            "category_id": 1,
            "keypoints": np.column_stack([person.joints[:, :2], np.full(len(person.joints), 0.8)]).ravel().tolist(),
            "score": score,
        }
        for record in found.records
        for person in record.persons
    ]


def write(file: Path, content: object) -> Path:
    file.write_text(json.dumps(content))
    return file


def images_of(found: AnnotatedSet) -> Path:
    return Path(found.records[0].source).parent


def drawn_bytes(found: AnnotatedSet, number: int = 0) -> bytes:
    """Return the JPEG that is expected of the record ``number``: all its people on it."""
    record = found.records[number]
    points = np.stack([person.joints[:, :2] for person in record.persons]).astype(np.float64)
    poses = Poses(points, np.full(points.shape[:2], 0.8), np.full(len(points), 0.9), found.skeleton)
    return encode_image(poses.draw(open_image(record.source, "rgb")), ".jpg")


@pytest.mark.parametrize("layout", ["coco", "crowdpose"])
def test_entries_are_drawn_as_poses_are(
    layout: str, sets: dict[str, AnnotatedSet], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sets[layout]
    file = write(tmp_path / "results.json", entries_of(found))
    count = len(found.records)
    out = tmp_path / "results_drawn"
    assert main(["draw", "--predictions", str(file), "--layout", layout, "--root", str(found.root)]) == 0
    assert capsys.readouterr().out == f"{found.num_persons} people drawn on {count} images, written to {out}\n"
    for number, record in enumerate(found.records):
        assert (out / f"{Path(record.source).stem}.jpg").read_bytes() == drawn_bytes(found, number)
    by_file = ["--images", str(images_of(found)), "--annotations", str(found.annotation_file)]
    assert main(["draw", "--predictions", str(file), *by_file, "--out", str(tmp_path / "again"), "-q"]) == 0
    for each in out.iterdir():
        assert (tmp_path / "again" / each.name).read_bytes() == each.read_bytes()


@pytest.mark.parametrize("layout", ["mpii", "lsp"])
def test_rows_of_pred_mat_are_the_annotated_people(layout: str, sets: dict[str, AnnotatedSet], tmp_path: Path) -> None:
    found = sets[layout]
    people = sorted((p for record in found.records for p in record.persons), key=lambda person: person.annotation_id)
    points = np.stack([person.joints[:, :2] for person in people]).round(2)
    write_points(tmp_path / "pred.mat", points)
    words = ["draw", "--predictions", str(tmp_path / "pred.mat"), "--layout", layout, "--root", str(found.root)]
    assert main(words) == 0
    drawn = sorted((tmp_path / "pred_drawn").iterdir())
    assert [file.stem for file in drawn] == sorted(Path(record.source).stem for record in found.records)
    # The file holds float32, so a pixel at the edge of a line may differ.
    expected = cv2.imdecode(np.frombuffer(drawn_bytes(found), np.uint8), cv2.IMREAD_COLOR).astype(int)
    shown = cv2.imread(str(tmp_path / "pred_drawn" / f"{Path(found.records[0].source).stem}.jpg")).astype(int)
    assert np.abs(shown - expected).mean() < 0.5

    write_points(tmp_path / "short.mat", points[:1])
    with pytest.raises(DataError, match=r"short\.mat has 1 row, but the annotations list \d people"):
        draw_results(tmp_path / "short.mat", ImagesOf(layout=layout, root=str(found.root)))


def test_people_without_a_prediction_and_annotation_lists_of_mpii(
    sets: dict[str, AnnotatedSet], tmp_path: Path
) -> None:
    found = sets["mpii"]
    points = np.full((found.num_persons, 16, 2), FAR_AWAY)
    first = found.records[1].persons[0]
    points[first.annotation_id] = first.joints[:, :2]
    write_points(tmp_path / "pred.mat", points)
    images = ImagesOf(images_of(found), found.annotation_file)
    summary = draw_results(tmp_path / "pred.mat", images, ground_truth=True)
    assert (summary.images, summary.people) == (1, 1)
    (drawn,) = (tmp_path / "pred_drawn").iterdir()
    assert drawn.stem == Path(found.records[1].source).stem
    image = open_image(found.records[1].source)
    assert cv2.imread(str(drawn)).shape == (image.shape[0], image.shape[1] * 2 + 4, 3)
    with pytest.raises(ConfigError, match="one row for each annotated person: give --layout"):
        draw_results(tmp_path / "pred.mat", ImagesOf(images_of(found)))
    savemat(tmp_path / "flat.mat", {"preds": np.zeros((3, 2))})
    with pytest.raises(DataError, match=r"'preds' has the shape \(3, 2\)"):
        draw_results(tmp_path / "flat.mat", images)


def test_ids_find_images_by_the_number_in_their_names(coco: AnnotatedSet, tmp_path: Path) -> None:
    file = write(tmp_path / "results.json", entries_of(coco))
    summary = draw_results(file, ImagesOf(images_of(coco)), tmp_path / "folder")
    assert summary.images == len(coco.records)
    packed = tmp_path / "val.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for record in coco.records:
            archive.write(record.source, f"val2017/COCO_val2014_{record.image_id:012d}.jpg")
            archive.writestr(f"__MACOSX/val2017/._COCO_val2014_{record.image_id:012d}.jpg", b"of a Mac")
    summary = draw_results(file, ImagesOf(packed), tmp_path / "zip")
    assert summary.images == len(coco.records)
    name = f"COCO_val2014_{coco.records[0].image_id:012d}.jpg"
    assert (tmp_path / "zip" / name).read_bytes() == drawn_bytes(coco)
    twice = tmp_path / "twice"
    shutil.copytree(images_of(coco), twice)
    shutil.copy(coco.records[0].source, twice / f"copy_{coco.records[0].image_id}.jpg")
    with pytest.raises(DataError, match=r"image id \d+ may be .* or .*copy_.*: give --annotations"):
        draw_results(file, ImagesOf(twice), tmp_path / "x")
    with pytest.raises(DataError, match="is not a folder or a zip file"):
        draw_results(file, ImagesOf(tmp_path / "nowhere"), tmp_path / "x")
    with pytest.raises(ConfigError, match="where are the images"):
        draw_results(file, ImagesOf(), tmp_path / "x")


def test_missing_and_damaged_images_are_named(
    coco: AnnotatedSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = tmp_path / "some"
    shutil.copytree(images_of(coco), some)
    names = sorted(file.name for file in some.iterdir())
    (some / names[0]).unlink()
    entries = [*entries_of(coco), *({**entries_of(coco)[0], "image_id": 10**7 + n} for n in range(7))]
    file = write(tmp_path / "results.json", entries)
    words = ["draw", "--predictions", str(file), "--images", str(some)]
    (some / names[1]).write_bytes(b"no picture")
    assert main([*words, "--out", str(tmp_path / "out")]) == 3
    text = capsys.readouterr().out
    assert f"8 images missing: {names[0]}, 000010000000.jpg, " in text
    assert ", and 3 more" in text
    reason = "does not decode (10 bytes): it is not an image file"
    assert f"1 image could not be read:\n  image {some / names[1]} {reason}" in text
    assert main([*words, "--out", str(tmp_path / "empty"), "--images", str(tmp_path)]) == 3
    assert "none of the" in capsys.readouterr().err


@pytest.fixture
def one(coco: AnnotatedSet) -> AnnotatedSet:
    """Return the split with its first image only."""
    return replace(coco, records=coco.records[:1])


def test_scores_decide_who_is_drawn(one: AnnotatedSet, tmp_path: Path) -> None:
    first, second = entries_of(one)[:2]
    points = np.array(first["keypoints"]).reshape(17, 3)
    points[3, 2], points[4, 2], points[5, :2] = np.nan, 0.1, np.nan
    poor = {**first, "keypoints": points.ravel().tolist()}
    images = ImagesOf(images_of(one))

    def draw(name: str, entries: list[Entry], style: Style | None = None) -> bytes:
        file = write(tmp_path / f"{name}.json", entries)
        draw_results(file, images, style=style)
        return next((tmp_path / f"{name}_drawn").iterdir()).read_bytes()

    image = open_image(one.records[0].source, "rgb")
    shown = np.isfinite(points).all(1) & (points[:, 2] >= 0.2)
    expected = Poses(points[None, :, :2], np.where(shown, 1.0, 0.0)[None], np.ones(1), COCO).draw(image)
    assert draw("nan", [poor, {**second, "score": 0.29}]) == encode_image(expected, ".jpg")
    assert draw("none", [first], Style(min_score=0.91)) == encode_image(image, ".jpg")
    assert draw("exactly", [first], Style(min_score=0.9)) == draw("whole", [first])
    assert draw("joints", [first], Style(threshold=0.81)) == encode_image(image, ".jpg")
    # The best is drawn last, above the others, wherever it is in the file.
    low = {**second, "score": 0.5}
    assert draw("order", [first, low]) == draw("other", [low, first])
    summary = draw_results(write(tmp_path / "low.json", [low, low, first]), images, style=Style(min_score=0.6))
    assert str(summary).splitlines()[1] == "2 people score less than --min-score 0.6: not drawn"


def test_nothing_is_replaced_silently(one: AnnotatedSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied = tmp_path / "images"
    shutil.copytree(images_of(one), copied)
    before = {file.name: file.read_bytes() for file in copied.iterdir()}
    file = write(tmp_path / "results.json", entries_of(one))
    words = ["draw", "--predictions", str(file), "--images", str(copied)]
    assert main(words) == 0
    assert main(words) == 2
    assert "already exists; give another folder with --out, or --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    assert main([*words, "--out", str(copied), "--overwrite"]) == 2
    assert "next to the input" in capsys.readouterr().err
    assert {each.name: each.read_bytes() for each in copied.iterdir()} == before


def test_results_stay_in_their_folder_whatever_the_names(one: AnnotatedSet, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for folder in ("a", "b"):
        (images / folder).mkdir(parents=True)
        shutil.copy(one.records[0].source, images / folder / "up.jpg")
    content = json.loads(one.annotation_file.read_text())
    content["images"] = [
        {"id": number, "file_name": name, "width": 120, "height": 100}
        for number, name in ((1, "b/up.jpg"), (2, "a/up.jpg"))
    ]
    content["annotations"] = []
    truth = write(tmp_path / "truth.json", content)
    entries = [{**entries_of(one)[0], "image_id": number} for number in (1, 2)]
    file = write(tmp_path / "results.json", entries)
    draw_results(file, ImagesOf(images, truth))
    assert sorted(each.name for each in (tmp_path / "results_drawn").iterdir()) == ["up.jpg", "up_2.jpg"]
    with pytest.raises(ConfigError, match="--ground-truth needs annotated people"):
        draw_results(file, ImagesOf(images, truth), tmp_path / "x", ground_truth=True)
    other = write(tmp_path / "other.json", [{**entries[0], "image_id": 7}])
    with pytest.raises(DataError, match="1 image not in the annotations, for example image id 7"):
        draw_results(other, ImagesOf(images, truth), tmp_path / "x")
    content["images"][0]["file_name"] = "../up.jpg"
    with pytest.raises(
        DataError, match=r"truth\.json: image 1: the 'file_name' '\.\./up\.jpg' leads out of its folder"
    ):
        draw_results(file, ImagesOf(images, write(truth, content)))


def test_the_first_images_alone(coco: AnnotatedSet, tmp_path: Path) -> None:
    write_dataset(tmp_path / "many", images=1, val_images=5, people=(1, 1), size=(64, 64))
    found = read_dataset(DataConfig(root=str(tmp_path / "many")), "val2017")
    file = write(tmp_path / "results.json", entries_of(found)[::-1])
    summary = draw_results(file, ImagesOf(images_of(found)), count=3)
    assert summary.images == 3
    names = sorted(each.name for each in (tmp_path / "results_drawn").iterdir())
    assert names == [f"{record.image_id:012d}.jpg" for record in found.records[:3]]


def test_the_number_of_joints_decides_the_skeleton() -> None:
    file = Path("results.json")
    names = {count: skeleton_of(count, file, None).name for count in (17, 14, 16, 133)}
    assert names == {17: "coco17", 14: "crowdpose14", 16: "mpii16", 133: "coco_wholebody133"}
    assert skeleton_of(17, file, get_skeleton("ap10k17")).name == "ap10k17"
    with pytest.raises(ConfigError, match=r"poses of 17 joints, but the skeleton mpii16 has 16"):
        skeleton_of(17, file, SKELETONS["mpii16"])
    with pytest.raises(ConfigError, match=r"poses of 21 joints: give --skeleton, one of hand21, interhand21, rhd21"):
        skeleton_of(21, file, None)
    with pytest.raises(ConfigError, match=r"poses of 5 joints: give --skeleton, a YAML file"):
        skeleton_of(5, file, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": [], "images": []}, "has annotations, images but no results.*data browse"),
        ([], "is an empty list: nobody was found"),
        ("results", "must be a list of {image_id, category_id, keypoints, score}"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1}], "entry 0 has no 'keypoints'"),
        ([{"image_id": 1, "keypoints": [1, 2], "score": 1}], "entry 0 has no 'keypoints', a list of x, y, score"),
        (
            [{"image_id": 1, "keypoints": [1] * 51, "score": 1}, {"image_id": 1, "keypoints": [1] * 42, "score": 1}],
            "entry 1 has 42 keypoint numbers, expected 51",
        ),
        ([{"image_id": 1, "keypoints": [1] * 51, "score": float("nan")}], "entry 0 has a 'score' that is not a finite"),
        ([7], "entry 0 is not a mapping but 7"),
    ],
)
def test_other_files_are_refused(content: object, message: str, one: AnnotatedSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"file\.json.*{message}"):
        draw_results(write(tmp_path / "file.json", content), ImagesOf(images_of(one)))


def test_what_predict_wrote_of_a_photo_is_drawn(one: AnnotatedSet, tmp_path: Path) -> None:
    source = Path(one.records[0].source)
    points = np.stack([person.joints[:, :2] for person in one.records[0].persons]).round()
    poses = Poses(
        points, np.full(points.shape[:2], 0.8), np.full(len(points), 0.9), COCO, size=(120, 100), source=str(source),
        track_ids=np.arange(len(points)),
    )  # fmt: skip
    assert poses_from_dict(poses.to_dict(), "here") == poses
    file = poses.save(tmp_path / "photo.json")
    draw_results(file, ImagesOf())
    by_folder = draw_results(file, ImagesOf(source.parent), tmp_path / "folder")
    assert by_folder.people == len(points)
    assert (tmp_path / "photo_drawn" / source.name).read_bytes() == (tmp_path / "folder" / source.name).read_bytes()
    moved = write(tmp_path / "moved.json", {**poses.to_dict(), "image": f"elsewhere/{source.name}"})
    draw_results(moved, ImagesOf(source.parent))
    with pytest.raises(DataError, match=r"image elsewhere/.* is not in .*; give --images DIR"):
        draw_results(moved, ImagesOf(tmp_path), tmp_path / "x")
    content = poses.to_dict()
    del content["people"][0]["keypoints"]["nose"]
    with pytest.raises(DataError, match=r"does not hold poses as predict writes them: 'nose' is missing"):
        draw_results(write(tmp_path / "photo.json", content), ImagesOf(), tmp_path / "x")


def test_options_that_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(write(tmp_path / "results.json", []))
    for words, message in (
        (["--layout", "coco"], "--layout and --root belong together"),
        (["--layout", "coco", "--root", "data", "--images", "x"], "leave out --images and --annotations"),
        (["--images", "x", "--split", "val"], "--split needs --layout"),
        (["--annotations", "x"], "give the folder that they are in as --images"),
        (["--images", "x", "--count", "0"], "--count 0: give a number from 1"),
        (["--layout", "cocoo", "--root", "data"], "invalid choice: 'cocoo'"),
    ):
        assert main(["draw", "--predictions", file, *words]) == 2
        assert message in capsys.readouterr().err
    assert main(["draw", "--predictions", str(tmp_path / "none.json"), "--images", "x"]) == 3
    assert "results file" in capsys.readouterr().err


def test_drawing_needs_no_torch() -> None:
    code = "import sys, pose_core.inference.drawn_results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
