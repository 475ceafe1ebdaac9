"""`eval --report` of each kind of method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pose_core.cli import method_main
from pose_core.synthetic import write_dataset

EXPERIMENTS = {
    "lite": ("synthetic_quick", "model.name=lpn_18"),
    "dekr": ("synthetic_dekr", 'model.options={"width": 16, "blocks": 1, "modules": [1, 1, 1]}'),
    "advpose": ("synthetic_hgpose_ae", 'model.options={"channels": 16, "depth": 2, "increase": 8, "outputs": 34}'),
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    write_dataset(folder, layout="coco", images=2, val_images=2, people=(1, 2), size=(96, 96), seed=0)
    return folder


@pytest.mark.parametrize("method", EXPERIMENTS)
def test_an_evaluation_writes_its_report(
    method: str, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, setting = EXPERIMENTS[method]
    words = ["eval", "--cfg", experiment, "--random-weights", "--report", "--out", str(tmp_path), "--device", "cpu"]
    data = [
        f"data.root={people}",
        "data.layout=coco",
        "data.skeleton=coco17",
        "data.train=train2017",
        "data.val=val2017",
    ]
    settings = [*data, "model.input_size=[64, 64]", "test.workers=0", setting]
    assert method_main(method, [*words, *settings]) == 0
    assert f"report: {tmp_path / 'report.html'} and report.json" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text().count("data:image/jpeg") == 4
    (run,) = json.loads((tmp_path / "report.json").read_text())["runs"]
    assert run["evaluation"]["weights"] is None
    assert run["analysis"]["score"] == pytest.approx(run["evaluation"]["value"], abs=1e-9)
    assert {each["key"] for each in run["config_difference"]["changed"]} >= {"data.root", "model.input_size"}
    (tmp_path / "report.html").unlink()
    assert method_main(method, ["report", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").is_file()


def test_a_split_without_annotations_has_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "coco", layout="coco", split="test-dev2017", images=1, people=(1, 1), size=(96, 96))
    experiment, setting = EXPERIMENTS["dekr"]
    words = ["eval", "--cfg", experiment, "--random-weights", "--report", "--out", str(tmp_path), "--device", "cpu"]
    data = [f"data.root={tmp_path / 'coco'}", "data.layout=coco", "data.skeleton=coco17", "data.val=test-dev2017"]
    assert method_main("dekr", [*words, *data, "model.input_size=[64, 64]", "test.workers=0", setting]) == 0
    assert "no report: test-dev2017 has no public annotations" in capsys.readouterr().out
    assert not (tmp_path / "report.html").exists()
