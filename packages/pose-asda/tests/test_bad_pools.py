"""Pools that cannot be used: exit codes and messages of the commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_asda.config import AsdaConfig
from pose_core.cli import method_main
from pose_core.config import dump_config


def no_parts(pool: Path) -> None:
    (pool / "part_anns.json").write_text("{}")


def image_gone(pool: Path) -> None:
    next((pool / "All").iterdir()).unlink()


def no_mask(pool: Path) -> None:
    for path in pool.rglob("*.bmp"):
        cv2.imwrite(str(path), cv2.imread(str(path)) // 2 + 60)


def no_image(pool: Path) -> None:
    for path in pool.rglob("*.bmp"):
        path.write_bytes(b"no image")


def unknown_name(pool: Path) -> None:
    file = pool / "part_anns.json"
    content = json.loads(file.read_text())
    content["left_arm"] = content.pop("Left-arm")
    file.write_text(json.dumps(content))


def no_annotations(pool: Path) -> None:
    (pool / "part_anns.json").unlink()


def cut_short(pool: Path) -> None:
    file = pool / "part_anns.json"
    file.write_bytes(file.read_bytes()[:100])


FAULTS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "empty": (no_parts, 3, "the pool has no parts; build one with `pose-asda build-parts`"),
    "image gone": (image_gone, 3, "1 part images are missing, the first is "),
    "no mask": (no_mask, 3, "has no mask: it has no black around the part; a part must be cut out on pure black"),
    "no image": (no_image, 3, ".bmp"),
    "unknown name": (unknown_name, 3, "unknown part name 'left_arm'; did you mean Left-arm?"),
    "no annotations": (no_annotations, 3, "part_anns.json does not exist"),
    "cut short": (cut_short, 3, "is not valid JSON"),
}


@pytest.fixture
def copy(pool: Path, tmp_path: Path) -> Path:
    shutil.copytree(pool, tmp_path / "pool", ignore=shutil.ignore_patterns("scratch"))
    return tmp_path / "pool"


@pytest.mark.parametrize("fault", FAULTS)
def test_every_command_names_the_fault(
    fault: str, copy: Path, config: AsdaConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, code, message = FAULTS[fault]
    damage(copy)
    file = tmp_path / "mine.yaml"
    parts = config.parts.model_copy(update={"annotations": str(copy / "part_anns.json")})
    file.write_text(dump_config(config.model_copy(update={"parts": parts})))
    for words in (
        ["train", "--cfg", str(file), "generator.width=8", "train.workers=1"],
        ["visualise", "--cfg", str(file), "--count", "1", "--out", str(tmp_path / "paste.png"), "generator.width=8"],
        ["occlude", "--cfg", str(file), "--out", str(tmp_path / "hidden")],
        ["browse-parts", "--pool", str(copy), "--out", str(tmp_path / "parts.png")],
    ):
        assert method_main("asda", words) == code, words[0]
        said = capsys.readouterr().err
        error = said[said.index("error: ") :]
        assert message in error, words[0]
        assert str(copy) in error, words[0]
        assert "Traceback" not in error, words[0]


def test_more_parts_than_the_pool_has(config: AsdaConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(dump_config(config))
    assert method_main("asda", ["train", "--cfg", str(file), "parts.counts=[1,900]"]) == 2
    assert "parts.counts=[1, 900] asks for 900 parts, and the pool has" in capsys.readouterr().err


def test_nothing_to_cut_parts_from(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    coco, labels = tmp_path / "coco.json", ["--labels", str(tmp_path / "labels")]
    images = ["--images", str(tmp_path / "images")]

    def build(*words: str, out: Path = tmp_path / "new") -> tuple[int, str]:
        return method_main("asda", ["build-parts", *words, "--out", str(out)]), capsys.readouterr().err

    code, said = build("--synthetic", "1", out=copy)
    assert (code, "exists; give --out another folder" in said) == (2, True)
    code, said = build(*labels)
    assert (code, "need the folder of their images: --images DIR" in said) == (2, True)
    code, said = build(*labels, *images)
    assert (code, "has no label maps" in said) == (3, True)
    cv2.imwrite(str(tmp_path / "labels/a.png"), np.zeros((4, 4), np.uint8))
    code, said = build(*labels, *images)
    assert (code, "has no image a.* in" in said) == (3, True)
    for content, message in (
        ([], "is not a COCO annotation file"),
        ({"images": [], "annotations": [{"id": 1}]}, "entry 0 of 'annotations' has no integer 'id' and 'image_id'"),
        ({"images": [], "annotations": [{"id": 1, "image_id": 7, "segmentation": [[0, 0, 9, 0, 9, 9]]}]},
         "annotation 1 is of image 7, which the file does not list"),
        ({"images": [], "annotations": []}, "no part passed the filters"),
    ):  # fmt: skip
        coco.write_text(json.dumps(content))
        code, said = build("--coco", str(coco), *images)
        assert (code, message in said) == (3, True), said
    assert not (tmp_path / "new").exists()
