"""The pool of parts: published canvases, faults, and building a pool."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_asda import browse_parts, build_parts, parts
from pose_asda.build_parts import cut_by_joints
from pose_asda.parts import TYPE_NAMES, PartPool, PartSampler, read_pool
from pose_core.errors import ConfigError, DataError
from pose_testing.golden import load_golden, uniform


def blob(height: int = 40, width: int = 20, value: int = 200) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    cv2.ellipse(image, (width // 2, height // 2), (width // 3, height // 3), 0, 0, 360, (value, value // 2, 50), -1)
    return image


def write_pool(folder: Path, **kinds: int) -> Path:
    content = {}
    for kind, count in kinds.items():
        name = kind.replace("_", "-")
        (folder / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / name / f"{number}.bmp"), blob())
        content[name] = [{"file_name": f"{number}.bmp", "keypoints": [0] * 48} for number in range(count)]
    file = folder / "part_anns.json"
    file.write_text(json.dumps(content))
    return file


def on_canvas(
    pixels: np.ndarray, soft: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a drawn part on its canvas: colors ``(H, W, 3)`` and mask ``(H, W)``."""
    left, top, right, bottom = box
    image, mask = np.zeros((size[1], size[0], 3), np.uint8), np.zeros((size[1], size[0]), np.float32)
    image[top:bottom, left:right] = pixels.reshape(bottom - top, right - left, 3)
    mask[top:bottom, left:right] = soft.reshape(bottom - top, right - left)
    return image, mask


@pytest.mark.parametrize("case", range(3))
def test_published_canvas(case: int) -> None:
    golden = load_golden("asda/functions")["part_canvas"][case]
    height, width = golden["source_hw"]
    kind = golden["type_index"]
    cells = np.floor((uniform(f"part_src_{kind}", height * width * 3 // 100) + 1) / 2 * 200 + 40).astype(np.uint8)
    part = cells.reshape(height // 10, width // 10, 3).repeat(10, 0).repeat(10, 1)
    y, x = np.mgrid[:height, :width]
    away = ((x - (width - 1) / 2) / (0.45 * width)) ** 2 + ((y - (height - 1) / 2) / (0.45 * height)) ** 2
    part[away > 1] = 0
    pool = PartPool({kind: (Path("unused"),)})
    sampler = PartSampler(
        pool, tuple(golden["canvas_wh"]), (1,), erode=tuple(golden["erode"]), blur=tuple(golden["gauss"]), compat=True
    )
    pixels, soft, box = sampler.place(part, kind, golden["scale_factor"], golden["person_random_scale"])
    image, mask = on_canvas(pixels, soft, box, sampler.size)
    for array, wanted, tolerance in (
        (image, golden["image_rgb"], 1),
        (mask[..., None], golden["mask"], 1e-6),
    ):
        assert list(array.shape) == wanted["shape"]
        assert np.abs(array.ravel()[wanted["at"]].astype(float) - wanted["values"]).max() <= tolerance
        assert abs(array.mean(dtype=float) - wanted["mean"]) < max(tolerance * 1e-2, 1e-6)
    rows, columns = np.nonzero(mask)
    assert [columns.min(), rows.min(), columns.max(), rows.max()] == pytest.approx(golden["mask_bbox_xyxy"], abs=1)


def test_parts_are_centered_unless_compat_repeats_the_published_bug(tmp_path: Path) -> None:
    pool = read_pool(write_pool(tmp_path, Left_arm=1))
    middles = {}
    for compat in (False, True):
        sampler = PartSampler(pool, (64, 64), (1,), compat=compat)
        drawn = sampler.draw(np.random.default_rng(0), 1.0)
        _, mask = on_canvas(drawn.pixels, drawn.masks, tuple(drawn.boxes[0].tolist()), (64, 64))
        middles[compat] = [float(places.mean()) for places in np.nonzero(mask > 0.5)]
    assert middles[False] == pytest.approx([31.5, 31.5], abs=1)
    assert middles[True][0] > 33
    assert middles[True][1] < 30


def test_draws_have_the_configured_counts_and_the_types_of_the_pool(tmp_path: Path) -> None:
    sampler = PartSampler(read_pool(write_pool(tmp_path, Left_arm=2, Hat=1)), (192, 256), (0, 1, 3))
    counts = set()
    for seed in range(30):
        drawn = sampler.draw(np.random.default_rng(seed), 1.0)
        used = drawn.types >= 0
        counts.add(int(used.sum()))
        assert {TYPE_NAMES[kind] for kind in drawn.types[used]} <= {"Left-arm", "Hat"}
        sides = drawn.boxes[:, 2:] - drawn.boxes[:, :2]
        assert (sides.prod(1) > 0).tolist() == used.tolist()
        assert drawn.pixels.shape == (sides.prod(1).sum(), 3)
        assert drawn.masks.shape == drawn.pixels.shape[:1]
        assert 0 < drawn.masks.max(initial=0.5) <= 1
    assert counts == {0, 1, 3}


def test_parts_kept_in_memory_are_bounded_and_draws_the_same_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_pool(tmp_path, Left_arm=3, Hat=2)
    (tmp_path / "Left-arm/0.bmp").write_bytes(b"no image")
    one = blob().nbytes
    pools = {}
    for size, number in ((1 << 27, 4), (2 * one, 2), (0, 0)):
        monkeypatch.setattr(parts, "KEPT", size)
        pools[number] = read_pool(file)
        assert len(pools[number].kept) == number
        assert sum(part.nbytes for part in pools[number].kept.values()) <= size
    assert tmp_path / "Left-arm/0.bmp" not in pools[4].kept
    for seed in range(20):
        first, *others = (
            PartSampler(pool, (64, 64), (3,), skip_bad=True).draw(np.random.default_rng(seed), 1.0)
            for pool in pools.values()
        )
        for other in others:
            assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    for path, part in pools[4].kept.items():
        assert np.array_equal(part, cv2.imread(str(path)))


def test_a_part_may_have_its_black_anywhere(tmp_path: Path) -> None:
    image = np.full((9, 7, 3), 80, np.uint8)
    image[6, 2] = 0  # in neither of the rows that are read first
    cv2.imwrite(str(tmp_path / "dot.bmp"), image)
    assert np.array_equal(parts.open_part(tmp_path / "dot.bmp"), image)


def test_faults_are_named(tmp_path: Path) -> None:
    file = write_pool(tmp_path / "a", Left_arm=1)
    with pytest.raises(ConfigError, match="asks for 2 parts, and the pool has 1"):
        PartSampler(read_pool(file), (64, 64), (2,))
    with pytest.raises(ConfigError, match="at least one count must be positive"):
        PartSampler(read_pool(file), (64, 64), (0,))
    cv2.imwrite(str(tmp_path / "a/Left-arm/0.bmp"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"Left-arm/0.bmp has no mask: it is all black"):
        PartSampler(read_pool(file), (64, 64), (1,)).draw(np.random.default_rng(0), 1.0)
    skipping = PartSampler(read_pool(file), (64, 64), (1,), skip_bad=True)
    assert skipping.draw(np.random.default_rng(0), 1.0).types.tolist() == [-1]
    (tmp_path / "a/Left-arm/0.bmp").unlink()
    with pytest.raises(DataError, match=r"1 part images are missing, the first is .*Left-arm/0.bmp"):
        read_pool(file)
    with pytest.raises(DataError, match="the pool has no parts"):
        read_pool(file, skip_missing=True)
    file.write_text("{}")
    with pytest.raises(DataError, match="the pool has no parts"):
        read_pool(file)
    file.write_text('{"Left_arm": []}')
    with pytest.raises(DataError, match="unknown part name 'Left_arm'; did you mean Left-arm"):
        read_pool(file)
    file.write_text('{"Hat": [{"keypoints": []}]}')
    with pytest.raises(DataError, match=r"Hat\[0\] has no file_name"):
        read_pool(file)


def build(*words: str) -> int:
    parser = ArgumentParser()
    build_parts.add_arguments(parser)
    return build_parts.run(parser.parse_args(words))


def test_a_pool_of_synthetic_people_is_built_and_browsed(tmp_path: Path) -> None:
    out = tmp_path / "pool"
    assert build("--synthetic", "6", "--out", str(out)) == 0
    pool = read_pool(out / "part_anns.json")
    assert {TYPE_NAMES[kind] for kind in pool.files} >= {"All", "Head", "Upper-body", "Lower_body"}
    with pytest.raises(ConfigError, match="exists; give --out another folder"):
        build("--synthetic", "1", "--out", str(out))
    parser = ArgumentParser()
    browse_parts.add_arguments(parser)
    sheet = tmp_path / "sheet.png"
    assert browse_parts.run(parser.parse_args(["--pool", str(out), "--out", str(sheet)])) == 0
    assert cv2.imread(str(sheet)).std() > 5


def test_label_maps_of_lip_are_cut_by_their_unions(tmp_path: Path) -> None:
    labels = np.zeros((60, 40), np.uint8)
    labels[2:10, 10:20], labels[10:30, 5:25], labels[30:50, 5:15] = 13, 5, 16
    labels[50:58, 5:15] = 18
    labels[12:20, 30:38] = 14
    for folder, name, content in (
        ("images", "p.jpg", np.full((60, 40, 3), 120, np.uint8)),
        ("labels", "p.png", labels),
    ):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / name), content)
    words = [
        "--images",
        str(tmp_path / "images"),
        "--labels",
        str(tmp_path / "labels"),
        "--out",
        str(tmp_path / "pool"),
    ]
    build(*words, "--smallest", "40")
    found = json.loads((tmp_path / "pool/part_anns.json").read_text())
    assert set(found) == {
        "face", "Head", "UpperClothes", "Upper-body-with-head", "Upper-body", "Left-arm", "Left-leg", "Left-shoe",
        "Left-leg-with-shoe", "Lower_body", "All",
    }  # fmt: skip
    shoe = cv2.imread(str(tmp_path / "pool/Left-leg-with-shoe/p.bmp"))
    assert shoe.shape == (30, 12, 3)
    assert shoe.any(2).sum() == 280


def test_coco_people_are_cut_by_mask_and_joints(tmp_path: Path) -> None:
    joints = np.zeros((17, 3))
    for joint, (x, y) in {
        0: (50, 20),
        5: (60, 40),
        6: (40, 40),
        7: (70, 60),
        9: (75, 80),
        11: (57, 90),
        12: (43, 90),
    }.items():
        joints[joint] = x, y, 2
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/1.jpg"), np.full((160, 100, 3), 90, np.uint8))
    polygons = [[20, 5, 80, 5, 80, 100, 20, 100], [20, 50, 80, 50, 80, 150, 20, 150]]
    entry = {"id": 7, "image_id": 1, "iscrowd": 0, "segmentation": polygons,
             "keypoints": joints.ravel().tolist()}  # fmt: skip
    crowd = {"id": 8, "image_id": 1, "iscrowd": 1, "segmentation": {"counts": [1], "size": [1, 1]}}
    file = tmp_path / "coco.json"
    file.write_text(json.dumps({"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [entry, crowd]}))
    build("--coco", str(file), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "pool"))
    found = json.loads((tmp_path / "pool/part_anns.json").read_text())
    assert set(found) == {"All", "Left-arm", "Upper-body-with-head", "Upper-body", "Lower_body", "Head"}
    whole = cv2.imread(str(tmp_path / "pool/All/000000000007.bmp"))
    assert whole.shape == (148, 63, 3)
    head = cut_by_joints(np.ones((160, 100), bool), joints)["Head"]
    assert np.flatnonzero(head.any(0))[[0, -1]].tolist() == [28, 72]  # without a raised arm next to it
    assert whole[1:-1, 1:-1].any(2).all()  # also where the two polygons overlap
    moved = np.array(found["All"][0]["keypoints"]).reshape(16, 3)
    assert moved[13].tolist() == [41.0, 36.0, 2.0]  # the left shoulder, in the order of MPII
    assert np.flatnonzero(moved[:, 2]).tolist() == [2, 3, 12, 13, 14, 15]


def test_a_pool_may_lack_a_limited_share_of_its_parts(tmp_path: Path) -> None:
    file = write_pool(tmp_path, Left_arm=4)
    for number in (0, 1):
        (tmp_path / f"Left-arm/{number}.bmp").unlink()
    assert len(read_pool(file, skip_missing=True, max_skipped=0.5)) == 2
    with pytest.raises(DataError, match=r"2 of 4 part images are missing \(50%\).*data\.max_skipped=0\.1"):
        read_pool(file, skip_missing=True, max_skipped=0.1)


def test_a_part_that_is_away_for_a_moment_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "KEPT", 0)
    sampler = PartSampler(read_pool(write_pool(tmp_path, Left_arm=1)), (64, 64), (1,))
    expected = sampler.draw(np.random.default_rng(0), 1.0)
    path = tmp_path / "Left-arm/0.bmp"
    content = path.read_bytes()
    path.unlink()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        path.write_bytes(content)

    monkeypatch.setattr("pose_core.reading.patience.time.sleep", sleep)
    again = sampler.draw(np.random.default_rng(0), 1.0)
    assert len(waits) == 1
    assert all(np.array_equal(a, b) for a, b in zip(expected, again, strict=True))
