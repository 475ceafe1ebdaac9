"""What the READMEs print works as typed: snippets run, commands parse, and the names in them exist."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.models import detection

from pose_core.cli import main, method_main
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import installed_methods
from pose_core.plugins.networks import create_model
from pose_core.synthetic import write_dataset
from pose_testing.commands import check_command, without_launcher

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("packages/*/*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OURS = re.compile(r"\s*(uv run |torchrun |pose(-[a-z]+)? [a-z-]+( |$))")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, text in BLOCK.findall(page.read_text("utf-8")):
        if language in languages:
            yield text


def commands(page: Path) -> list[list[str]]:
    """Return the words of every command of ours on a page, without ``uv run`` and comments."""
    found = []
    for block in blocks(page, "", "sh", "bash", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                if not OURS.match(part):
                    continue
                words = shlex.split(part, comments=True)
                words = words[: words.index(">")] if ">" in words else words
                if words[:2] == ["uv", "run"]:
                    words = words[2:]
                words = without_launcher(words)
                if words and re.fullmatch(r"pose(-[a-z]+)?", words[0]):
                    found.append(words)
    return found


def snippets() -> list[tuple[str, str]]:
    return [
        (f"{page.parent.name}-{page.stem}-{number}", text)
        for page in PAGES
        for number, text in enumerate(blocks(page, "python"))
    ]


COMMANDS = [(page, words) for page in PAGES for words in commands(page)]


def test_the_pages_are_read() -> None:
    assert len(PAGES) == 13
    assert len(COMMANDS) > 100
    assert len(snippets()) >= 2


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=lambda value: value.stem if isinstance(value, Path) else " ".join(value)
)
def test_printed_commands_are_understood(page: Path, words: list[str]) -> None:
    check_command(words)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the READMEs speak of, and tables of weights that are random."""
    folder = tmp_path_factory.mktemp("desk")
    write_dataset(folder / "people", layout="coco", images=3, val_images=3, people=(1, 2), size=(160, 128), seed=0)
    photos = sorted((folder / "people" / "images" / "val2017").iterdir())
    image = cv2.imread(str(photos[0]))
    cv2.imwrite(str(folder / "photo.jpg"), image)
    for name in ("holiday", "more", "folder"):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "one.jpg"), image)
    torch.manual_seed(0)
    rows = []
    for method in installed_methods().values():
        table = Path(str(sys.modules[method.package].__file__)).with_name("checkpoints.csv")
        if not table.is_file():
            continue
        with table.open(newline="", encoding="utf-8") as file:
            entry = next(row for row in csv.DictReader(file) if row["default"])
        settings = [item for item in entry["settings"].split() if not item.startswith("rescore.")]
        config = load_config(f"{method.script}/{entry['experiment']}", settings)
        network = create_model(config.model.name, 17, **config.model.options)
        torch.save(network.state_dict(), folder / f"{method.name}.pth")
        entry |= {"method": method.name, "url": f"{method.name}.pth", "sha256": "", "settings": " ".join(settings)}
        rows.append(entry)
    with (folder / "checkpoints.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["method"] != "lite"))
    finder = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    torch.save(finder.state_dict(), folder / "finder.pth")
    (folder / "detectors.csv").write_text(
        "name,network,url,sha256,license,data,metric,note\n"
        "fasterrcnn_mobilenet,ssdlite320_mobilenet_v3_large,finder.pth,,,,,\n"
    )
    return folder


@pytest.fixture
def at_the_desk(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a copy of the folder, whose weights are the default ones."""
    for path in desk.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSE_HOME", str(desk / "home"))
    monkeypatch.setenv("POSE_CHECKPOINTS", str(desk / "checkpoints.csv"))
    monkeypatch.setenv("POSE_DETECTORS", str(desk / "detectors.csv"))
    return tmp_path


@pytest.mark.parametrize(("name", "text"), snippets(), ids=[name for name, _ in snippets()])
def test_snippets_run_as_they_stand(at_the_desk: Path, name: str, text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, cwd=at_the_desk, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("method", ["lite", "dekr", "advpose"])
def test_a_photo_needs_no_flag(at_the_desk: Path, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = method_main(method, ["predict", "photo.jpg"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert "written to predictions" in captured.out
    drawn, photo = cv2.imread("predictions/photo.jpg"), cv2.imread("photo.jpg")
    assert drawn.shape == photo.shape
    assert np.isfinite(drawn.astype(float)).all()
    assert (at_the_desk / "predictions" / "photo.json").is_file()


def test_the_umbrella_takes_the_first_method_with_weights(
    at_the_desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "photo.jpg", "holiday/", "more/*.jpg"]) == 0
    assert "in 3 images, written to predictions" in capsys.readouterr().out
