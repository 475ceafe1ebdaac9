"""`pose data convert`: a round trip through every format loses what it says, and nothing else."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pose_core.cli import main
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.mpii import mpii_pckh
from pose_core.layouts.convert import convert
from pose_core.layouts.formats.deeplabcut import read_deeplabcut
from pose_core.layouts.formats.sleap import read_sleap
from pose_core.layouts.formats.table import FORMATS
from pose_core.layouts.formats.yolo import read_yolo
from pose_core.skeleton import get_skeleton
from pose_core.synthetic import write_dataset
from pose_testing.annotations import write_image

Capture = pytest.CaptureFixture[str]


def random_data(root: Path, joints: tuple[str, ...], seed: int) -> Path:
    """Write a COCO file of random people: hidden and unlabeled joints, joints at the border, fractions of pixels."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(1, 5):
        width, height = (int(side) for side in rng.integers(40, 90, 2))
        name = f"{'sub/' if number % 2 else ''}picture {number}.jpg"
        write_image(root / "images" / name, width, height, number)
        images.append({"id": 7 * number, "file_name": name, "width": width, "height": height})
        for _ in range(int(rng.integers(0, 4)) if number > 1 else 2):
            points = np.zeros((len(joints), 3))
            places = rng.uniform(0, 1, (len(joints), 2)) * (width - 1, height - 1)
            points[:, :2] = np.round(places, int(rng.integers(3)))
            points[:, 2] = rng.integers(0, 3, len(joints))
            points[points[:, 2] == 0] = 0
            points[0] = 0, height - 1, 2
            box = [1.5, 2.25, width / 2, height / 2 + 0.75]
            annotations.append({
                "id": 3 + len(annotations), "image_id": 7 * number, "category_id": 1, "iscrowd": 0, "bbox": box,
                "area": 111.5, "keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum()),
            })  # fmt: skip
    limbs = [[1, 2], [2, 3]]
    category = {"id": 1, "name": "person", "keypoints": list(joints), "skeleton": limbs}
    file = root / "annotations" / "train.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return file


def people(file: Path) -> dict[bytes, list[tuple[list[list[float]], list[float], float]]]:
    """Return joints, box and area of the people of each picture that has any, by the picture's bytes."""
    content = json.loads(file.read_text())
    root = file.parent.parent / "images"
    found: dict[bytes, list[Any]] = {}
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for entry in content["annotations"]:
        joints = np.array(entry["keypoints"], float).reshape(-1, 3).tolist()
        picture = (root / names[entry["image_id"]]).read_bytes()
        found.setdefault(picture, []).append((joints, entry["bbox"], entry["area"]))
    return {picture: sorted(each) for picture, each in found.items()}


FILES = {
    "coco": "annotations/train.json", "crowdpose": "", "mpii": "", "lsp": "", "yolo": "data.yaml",
    "deeplabcut": "labeled-data/train/CollectedData_pose.h5", "sleap": "train.json", "label-studio": "train.json",
}  # fmt: skip
"""What to read again below the folder that was written."""


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", FORMATS)
def test_a_round_trip_loses_what_was_said(tmp_path: Path, name: str, seed: int) -> None:
    target, coco = FORMATS[name], FORMATS["coco"]
    skeleton = get_skeleton(target.joints or "crowdpose14")
    file = random_data(tmp_path / "a", skeleton.joints, seed)
    convert(coco, [file], target, tmp_path / "b")
    back = convert(target, [tmp_path / "b" / FILES[name]], coco, tmp_path / "c", from_skeleton=skeleton)
    before, after = people(file), people(back.written.files[0])
    assert after.keys() == before.keys()
    for picture, expected in before.items():
        assert len(after[picture]) == len(expected)
        if "hidden" in target.lacks:
            expected = [([[x, y, min(2 * v, 2)] for x, y, v in joints], *rest) for joints, *rest in expected]
        for (joints, box, area), (points, drawn, size) in zip(sorted(expected), after[picture], strict=True):
            np.testing.assert_allclose(points, joints, atol=1e-4)
            if "boxes" not in target.lacks and "sides" not in target.lacks:
                np.testing.assert_allclose(drawn, box, atol=1e-3)
            assert size == area if "areas" not in target.lacks else size > 0


def test_mpii_comes_back_from_coco_as_it_was(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", layout="mpii", images=3, size=(160, 120))
    mpii, coco = FORMATS["mpii"], FORMATS["coco"]
    convert(mpii, [tmp_path / "a"], coco, tmp_path / "b")
    convert(coco, [tmp_path / "b" / "annotations" / "train.json"], mpii, tmp_path / "c")
    before, after = (json.loads((tmp_path / name / "annot" / "train.json").read_text()) for name in "ac")
    assert [row["image"] for row in after] == [row["image"] for row in before]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new["center"], old["center"], atol=1e-3)
        np.testing.assert_allclose(new["scale"], old["scale"], atol=1e-4)
        np.testing.assert_allclose(new["joints"], old["joints"], atol=1e-4)
        assert new["joints_vis"] == old["joints_vis"]


def test_mpii_ground_truth_scores_its_own_joints_with_100(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", layout="mpii", images=4, size=(160, 120))
    done = convert(FORMATS["mpii"], [tmp_path / "a"], FORMATS["mpii"], tmp_path / "b", name="valid")
    rows = json.loads((tmp_path / "b" / "annot" / "valid.json").read_text())
    points = np.array([row["joints"] for row in rows], float) - 1
    assert done.written.files[-1].name == "gt_valid.mat"
    assert mpii_pckh(points, tmp_path / "b" / "annot" / "gt_valid.mat")["Mean"] == 100
    step = 0.6 * np.linalg.norm(points[:, 9] - points[:, 8], axis=1).max()
    away = points + np.array([0, step])
    assert mpii_pckh(away, tmp_path / "b" / "annot" / "gt_valid.mat")["Mean"] < 50


def test_crowd_indices_are_those_of_the_drawn_people(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", layout="crowdpose", images=6, people=(2, 4), size=(160, 120))
    content = json.loads((tmp_path / "a" / "json" / "crowdpose_train.json").read_text())
    before = [image.pop("crowdIndex") for image in content["images"]]
    file = tmp_path / "a" / "annotations" / "own.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    convert(FORMATS["coco"], [file], FORMATS["crowdpose"], tmp_path / "b")
    written = json.loads((tmp_path / "b" / "json" / "crowdpose_train.json").read_text())
    after = [image["crowdIndex"] for image in written["images"]]
    assert max(before) > 0
    np.testing.assert_allclose(after, before, atol=0.006)  # rounded to two decimals there


# --- files as the tools write them ------------------------------------------------------------------------------------

PANDAS_H5 = """
eNrtXE1MG0cU3rWBLmBSKKSladPQJkrdKjheQxVatcJOAhiJgmVICr04C97AFntt7RoKVaVy6IHeUKWqPXJEqir1yDFHjj3mmGOOOXKj3pk3691hd9ZY/H
hhB9Db2X0zb7zzfr43M+a39OPxro4bHZxRBIFr4bo5azmC8jptr5Pnz4DyQLeB7oXI/Tb0rB/ud0P/A2FcfwX357JjYwb3EVWInBdtmApcUK5iSY+lMgad
hzrRp4OQnS//PPejUlnJFRVdV9RlUy+TDcrtAX2l9TrCDZj6bVjN3OTcVFWBud5ubAsh9GvwRS18AvdoKjU7C3ytFruZyM48ydj4BfTzdCw7OzkzjfjDFn
4xFodxjAB/P+LPLMylHk6NzebGZ7LfpuZybu0TMRHa9TrapwCG9oa32merq30KnZhuEHu9g+kK1Hdidv+whYfNlaH/V48wfR2ouq/t8wXYxz7M6/43lF7d
wnVixzV9fwvp7/hU6ulM9rh9qGvF8qaD3Nnpmcc8shYoLfZ4FIV6ui2YI1Yx4/JtsFeu2fxcHPgjiL8sqXlJz1U2yzK6T8t5rklF2dauHbWT1aVS3ggMUO
h2T+bGB0cc9FLWtJKmY/42C79e0ZSlilVOKxqhmleK6L0KBLMkbXoZMt8vaXcNyZE2FD2eW5c0Ra5sOoyvuFaoKDa/fw3Jw+3UgrwuF3SG3BYTr/Xge7x9
/jN9YJ+8XT/C1d6MW70w9laoh0IhHuMyHEHCfCZi/4S4vAOjMZilychqvfqSymZTCyfQl0Rs+ER6a/cjLWYc3LvOthcIX9zG+2w+4ufSN9l8JG7ufuxvP1
KUyZWi5sXqXwLNQrWoJV2uSErBqBl/G5scj38K0qJckPODeakicdy6kq82Li7H42KsrC6jq4RxReb48BeAJqN2bCcA7QbaB7Qf6IdAB4B+AvQO0LtAo0A/
B3oPaCzZyIcLQktQghKUoATlChQeEBTP8zbcyTeY79VwbifCuRVNUvVyNdrmIcibbQQPea1I3mo1ahPcT+N4Iyug+VWcRhznXyppsmbFmQLCmaqk5jS57J
AfjZi4u4bzjd5JT7V8xEkOz3Wge2S9hH7PJP8VTLzejfiNPMDK4Y7bsxGnFdZmxe3nrUdGnmVcJ0PO7z9E5XXWfKmF+d6/D977qdpv3NV+Oy381W6Uaqax
JqFs+SR2TPLpdyk7tvfoJe/s7Xkx0KsLsecfgvd+TvbcbuFfLOU3y5JW0Y+tW9Zrz32UPdt79JJnrEta19O87Jmst63AujRsrzL0SvOVXrn5q/PWt3qL+3
hPx8/EG/AzPFMffvLVOutlwf1LpZKW108D95OenHE/eXr2OOHnIF4x9Ij46b0ErmcY+zZig/s2Yh37NmGPfRvhLoyPsW8TYerBrxHyyfy4b0O097Cd7eej
hL7nsZ9N+rvB5iPnG57dCtZtmtJ/Q4Qk/NOxk+JDYudvW+zc6H26pMru/Rufm4UH6bhP7Hj+I1zf9sSDO76K/82CB/2GS+u3X4wzo6H67NkaF8JMPfs9Yo
9AAT64XH6KjS+P5ycnxZd/BHkKMz90xnMv73vjuQ7me/8zUhuB//DcX1Cf/5Tt9/bJxT0230uC+0Q2H4m7/96+XHiOtuPATzabn/w78JN15OE7eJjc7rE8
XMDnLhcLpaVV3TWPrlE8n9vmfMLnCdnnU6DmtbbO0o/a9wyMmnKGO7nho7AXbv8H5nkrmGeHeSHft6DPbdf6vY7GgaY5nlMqclG3LLsw1l2SZvsI3b62/F
LHuVn2ei4LZ7PPzQ52Bfbvp3Mc/cf10HKcw/0cR2dD+0QHX9a7LnC/y0/ruRjvtXJ70P7gMzauOQC6Ncjm64YBlR+w+ZLAt/c1m4/E/f8eNifea5Z1DeIf
06e+r/7AV3odnJNJA99NZz9Jdex9XqYxv7kSrddvjvpKv0jB+4kIv8QtdeMbFXHquUg9F6nnCep5gno+RD036yIlX6Tki5R8kZIvUvJFi3zQm3WpsCbrtT
rWo5pY6r4p3oFfdOEXXfgTLvwJF/4hF/4hm70KV/yLIWcXJyaCOOGr81ckTnzgHCeojr3PYTUWJ97UHSdmfIiv27hd6GBlgm2Xh0DjX3jso0N/ma/YfOR7
pBtJj3VX4IuOsfnI/wc4TFyMvzr9c1zfBXm/r85xueT90OHFneNaCOIeQ4/+B1VGW7g=
"""
"""What pandas 3.1.1 writes with ``to_hdf(key="df_with_missing", mode="w")`` for DeepLabCut's table of two animals."""


def test_a_table_that_pandas_has_written(tmp_path: Path) -> None:
    file = tmp_path / "CollectedData_me.h5"
    file.write_bytes(zlib.decompress(base64.b64decode(PANDAS_H5)))
    found = read_deeplabcut(file, "", None)
    assert found.skeleton.joints == ("nose", "tail")
    joints = [[person.joints.tolist() for person in record.persons] for record in found.records]
    assert joints[0] == [[[0, 0, 0], [2, 3, 2]], [[4, 5, 2], [6, 7, 2]]]
    assert joints[1] == [[[8, 9, 2], [10, 11, 2]], [[12, 13, 2], [14, 15, 2]]]
    assert [Path(record.source).name for record in found.records] == ["img001.png", "img002.png"]


def test_deeplabcut_tables_of_one_and_of_several_animals(tmp_path: Path) -> None:
    folder = tmp_path / "labeled-data" / "film"
    folder.mkdir(parents=True)
    one = folder / "CollectedData_me.csv"
    one.write_text(
        "scorer,me,me,me,me\nbodyparts,snout,snout,tail,tail\ncoords,x,y,x,y\n"
        "labeled-data/film/img0.png,1.5,2,,\nlabeled-data\\film\\img1.png,3,4,5,6.25\n"
    )
    found = read_deeplabcut(one, "", None)
    assert [record.source for record in found.records] == [str(folder / f"img{n}.png") for n in range(2)]
    assert found.records[0].persons[0].joints.tolist() == [[1.5, 2, 2], [0, 0, 0]]
    two = folder / "two.csv"
    two.write_text(
        "scorer,,,me,me,me,me\nindividuals,,,a,a,b,b\nbodyparts,,,snout,snout,snout,snout\ncoords,,,x,y,x,y\n"
        "labeled-data,film,img0.png,1,2,,\nlabeled-data,film,img1.png,3,4,5,6\n"
    )
    found = read_deeplabcut(two, "", None)
    assert [len(record.persons) for record in found.records] == [1, 2]
    assert found.records[1].source == str(folder / "img1.png")
    two.write_text(
        "scorer,,,me,me,me,me\nindividuals,,,a,a,single,single\nbodyparts,,,snout,snout,door,door\n"
        "coords,,,x,y,x,y\nlabeled-data,film,img0.png,1,2,3,4\n"
    )
    found = read_deeplabcut(two, "", None)
    assert found.skeleton.joints == ("snout",)
    assert found.notes == ("unique body parts, of no individual: door",)
    one.write_text("scorer,m,m,m\nbodyparts,snout,snout,snout\ncoords,x,y,likelihood\n0,1,2,0.9\n")
    with pytest.raises(DataError, match="it holds predictions of a film, not labels of images"):
        read_deeplabcut(one, "", None)
    one.write_text("frame,x,y\n0,1,2\n")
    with pytest.raises(DataError, match="first lines must begin with scorer, bodyparts, coords"):
        read_deeplabcut(one, "", None)


def sleap_labels(**video: Any) -> dict[str, Any]:
    """Return labels as SLEAP exports them: nodes in a list of their own, types of links by reference."""
    limb = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [1]}, None, None, None]}
    mirror = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [2]}, None, None, None]}
    links = [(2, 0, limb), (0, 1, {"py/id": 1}), (1, 2, mirror), (2, 1, {"py/id": 2})]
    point = {"visible": True, "complete": True}
    return {
        "version": "2.0.0",
        "skeletons": [{
            "directed": True, "graph": {"name": "Skeleton-0", "num_edges_inserted": 2}, "multigraph": True,
            "links": [{"edge_insert_idx": n, "key": 0, "source": a, "target": b, "type": kind}
                      for n, (a, b, kind) in enumerate(links)],
            "nodes": [{"id": 2}, {"id": 0}, {"id": 1}],
        }],
        "nodes": [{"name": name, "weight": 1.0} for name in ("thorax", "wing_L", "head")],
        "videos": [{"backend": video}],
        "labels": [
            {"video": 0, "frame_idx": 12, "_instances": [
                {"skeleton": 0, "track": None, "_points": {"2": {"x": 92.5, "y": 202.25, **point},
                 "1": {"x": 5.0, "y": 6.0, "visible": False, "complete": True},
                 "0": {"x": float("nan"), "y": float("nan"), "visible": True, "complete": False}}},
                {"skeleton": 0, "track": None, "score": 0.5, "_points": {"2": {"x": 1.0, "y": 1.0, **point}}},
            ]},
            {"video": 0, "frame_idx": 13, "_instances": [
                {"skeleton": 0, "track": None, "score": 0.5, "_points": {"2": {"x": 7.0, "y": 8.0, **point}}},
            ]},
        ],
        "tracks": [],
    }  # fmt: skip


def test_an_image_listed_twice_is_named(tmp_path: Path) -> None:
    file = random_data(tmp_path / "a", ("nose", "tail"), 0)
    content = json.loads(file.read_text())
    content["images"].append(content["images"][0] | {"id": 99})
    file.write_text(json.dumps(content))
    name = Path(content["images"][0]["file_name"]).name
    for target, message in (("yolo", f"{name} is listed twice"), ("deeplabcut", "or one is listed twice")):
        with pytest.raises(DataError, match=message):
            convert(FORMATS["coco"], [file], FORMATS[target], tmp_path / target)


def test_sleap_labels_of_a_film(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(sleap_labels(filename="C:\\films\\flies.mp4", grayscale=True)))
    found = read_sleap(file, "", None)
    assert found.skeleton.joints == ("head", "thorax", "wing_L")
    assert found.skeleton.limbs == ((0, 1), (1, 2))
    assert [Path(record.source).name for record in found.records] == ["flies_000012.png", "flies_000013.png"]
    (person,) = found.records[0].persons  # a prediction beside labels is none
    assert person.joints.tolist() == [[92.5, 202.25, 2], [0, 0, 0], [5, 6, 1]]
    assert found.notes == ("1 frame with predictions only, which are read as labels",)


def test_a_binary_file_of_sleap_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.slp").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(DataError, match=r"labels\.slp is SLEAP's binary file; write it as Labels JSON first"):
        read_sleap(tmp_path / "labels.slp", "", None)


def test_yolo_labels_of_other_people(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "train" / "a.png", 40, 20)
    write_image(tmp_path / "images" / "train" / "b.jpg", 40, 20)
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("1 0.5 0.5 0.5 1 0.25 0.5 0 0\n0 0.1 0.1 0.1 0.1 0 0 0 0\n")
    data = tmp_path / "data.yaml"
    data.write_text("path: ../datasets/mine\ntrain: images/train\nkpt_shape: [2, 2]\nnames:\n  0: dog\n  1: person\n"
                    "kpt_names:\n  1: [nose, tail]\n")  # fmt: skip
    found = read_yolo(tmp_path, "", None)
    assert [len(record.persons) for record in found.records] == [1, 0]
    assert found.records[0].persons[0].joints.tolist() == [[10, 10, 2], [0, 0, 0]]
    assert found.records[0].persons[0].stated_box == (10, 0, 20, 20)
    assert found.notes == ("1 label of other classes than person",)
    (labels / "a.txt").write_text("1 20 10 20 20 10 10 0 0\n")
    with pytest.raises(DataError, match=r"a\.txt: line 1 has a word that is not a fraction of the image's size"):
        read_yolo(tmp_path, "", None)
    (labels / "a.txt").write_text("1 0.5 0.5 0.5 1\n")
    with pytest.raises(DataError, match="line 1 has 5 words, expected 9 numbers"):
        read_yolo(tmp_path, "", None)
    data.write_text("train: ../elsewhere\nkpt_shape: [2, 2]\nnames: [person]\nkpt_names: {0: [nose, tail]}\n")
    (tmp_path.parent / "elsewhere").mkdir(exist_ok=True)
    with pytest.raises(DataError, match="leads out of"):
        read_yolo(tmp_path, "", None)


def test_yolo_labels_as_windows_editors_save_them(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "train" / "Kühe 1.JPG", 40, 20)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    label = "\ufeff0 0.5 0.5 0.5 1 0.25 0.5 2 0 0 0\r\n\r\n"
    (tmp_path / "labels" / "train" / "Kühe 1.txt").write_bytes(label.encode())
    data, lines = tmp_path / "data.yaml", ["\ufefftrain: images/train", "kpt_shape: [2, 3]", "names: {0: cow}", ""]
    data.write_bytes("\r\n".join(lines).encode())
    with pytest.raises(ConfigError, match=r"does not name its 2 joints; add a line 'kpt_names: \{0: \[name"):
        read_yolo(tmp_path, "", None)
    data.write_bytes("\r\n".join([*lines[:-1], "kpt_names: {0: [nose, tail]}"]).encode())
    (record,) = read_yolo(tmp_path, "", None).records
    assert record.persons[0].joints.tolist() == [[10, 10, 2], [0, 0, 0]]


def test_yolo_labels_stay_within_the_image(tmp_path: Path) -> None:
    file = random_data(tmp_path / "a", ("nose", "tail"), 0)
    content = json.loads(file.read_text())
    person = content["annotations"][0]
    person.update(bbox=[-10, -10, 500, 500], keypoints=[5, 5, 2, 500, 5, 2], num_keypoints=2)
    file.write_text(json.dumps({**content, "annotations": [person]}))
    done = convert(FORMATS["coco"], [file], FORMATS["yolo"], tmp_path / "b")
    assert "1 joint outside the image left out" in done.lost
    (labels,) = (tmp_path / "b" / "labels" / "train").rglob("*1.txt")
    numbers = [float(word) for word in labels.read_text().split()]
    assert numbers[:5] == [0, 0.5, 0.5, 1, 1]
    assert numbers[8:] == [0, 0, 0]
    written = yaml.safe_load((tmp_path / "b" / "data.yaml").read_text())
    assert written["kpt_shape"] == [2, 3]
    assert written["names"] == {0: "person"}


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_what_is_lost(tmp_path: Path, capsys: Capture) -> None:
    write_dataset(tmp_path / "coco", layout="coco", images=3, val_images=1, people=(1, 2), size=(160, 120))
    words = ["data", "convert", "--from", "coco", str(tmp_path / "coco"), "--to", "mpii", "--out", str(tmp_path / "b")]
    words += ["--joints", "head_top=nose", "upper_neck=", "--images", "copy"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "lost: joint left_eye: " in text
    assert "lost: joint nose" not in text
    assert "lost: no labels for pelvis, thorax, upper_neck: the files have no such joints" in text
    assert "people lack upper_neck or head_top: no gt_train.mat, which PCKh needs, is written" in text
    check = text.splitlines()[-1].partition(" data check ")[2].split()
    assert main(["data", "check", *check]) == 0
    assert "right_ankle" in capsys.readouterr().out


def test_a_joint_set_of_ones_own_is_kept(tmp_path: Path, capsys: Capture) -> None:
    file = random_data(tmp_path / "a", ("snout", "tail", "left_paw", "right_paw"), 3)
    words = ["--from", "coco", str(file), "--to", "sleap", "--out", str(tmp_path / "b")]
    assert main(["data", "convert", *words]) == 0
    words = ["--from", "sleap", str(tmp_path / "b" / "train.json"), "--to", "coco", "--out", str(tmp_path / "c")]
    assert main(["data", "convert", *words]) == 0
    first, second = capsys.readouterr().out.splitlines()[-1].split(" && ")
    for command in (first, second):  # the check needs a skeleton file, which the first of them writes
        assert main(["data", *command.partition(" data ")[2].split()]) == 0
    category = json.loads((tmp_path / "c" / "annotations" / "train.json").read_text())["categories"][0]
    assert category["keypoints"] == ["snout", "tail", "left_paw", "right_paw"]
    assert category["skeleton"] == [[1, 2], [2, 3]]


def test_what_cannot_be_converted_is_said(tmp_path: Path, capsys: Capture) -> None:
    file = random_data(tmp_path / "a", ("snout", "tail"), 0)

    def refused(*words: str, code: int = 2) -> str:
        assert main(["data", "convert", *words]) == code
        return capsys.readouterr().err

    out = ["--out", str(tmp_path / "b")]
    text = refused("--from", "coco", "a", "--to", "yolov8", *out)
    assert "--to 'yolov8' is not a format; did you mean yolo? Known: coco" in text
    text = refused("--from", "coco", "--to", "yolo", *out)
    assert "--from coco needs a path: a data set's folder, or a .json file" in text
    one = ["--from", "coco", str(file), "--to", "yolo", *out]
    assert "--name ../x must be the name of one folder" in refused(*one, "--name", "../x")
    assert "--joints 'nose' must be TARGET=SOURCE" in refused(*one, "--joints", "nose")
    assert "no joint of snout, tail has the name of one of nose" in refused(*one, "--skeleton", "coco17")
    assert main(["data", "convert", *one]) == 0
    assert "lost: the areas of" in capsys.readouterr().out
    assert "labels/train exists; give --force" in refused(*one)
    (tmp_path / "a" / "images" / "picture 2.jpg").unlink()
    assert "picture 2.jpg does not exist (1 of 4 images are missing)" in refused(*one, "--force", code=3)
    assert "annotation file" in refused("--from", "crowdpose", str(tmp_path), "--to", "coco", *out, code=3)


def test_annotations_alone_need_no_image_whose_size_is_known(tmp_path: Path, capsys: Capture) -> None:
    file = random_data(tmp_path / "a", ("snout", "tail"), 0)
    for image in (tmp_path / "a" / "images").rglob("*.jpg"):
        image.unlink()
    words = ["--from", "coco", str(file), "--to", "coco", "--out", str(tmp_path / "b"), "--images", "none"]
    assert main(["data", "convert", *words]) == 0
    assert f"note: the images belong into {tmp_path / 'b' / 'images'}, as " in capsys.readouterr().out
    assert len(json.loads((tmp_path / "b" / "annotations" / "train.json").read_text())["annotations"]) > 2


def test_several_files_become_one(tmp_path: Path) -> None:
    files = [random_data(tmp_path / name / "data", ("snout", "tail"), seed) for seed, name in enumerate("ab")]
    done = convert(FORMATS["coco"], files, FORMATS["coco"], tmp_path / "c")
    content = json.loads(done.written.files[0].read_text())
    assert done.images == 8
    assert len({image["id"] for image in content["images"]}) == 8
    assert len({entry["id"] for entry in content["annotations"]}) == done.people
    assert sum(map(len, people(files[0]).values())) + sum(map(len, people(files[1]).values())) == done.people
    with pytest.raises(DataError, match="is in an earlier file, too"):
        convert(FORMATS["coco"], [files[0], files[0]], FORMATS["coco"], tmp_path / "d")
