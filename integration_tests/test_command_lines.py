"""Data, training, evaluation and prediction through the command line, end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import yaml

from pose_core.cli import main, method_main
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method
from pose_testing.tiny import TINY


def test_a_run_leaves_its_folder_whole(trained: Path) -> None:
    for name in ("config.yaml", "metrics.jsonl", "log.txt", "last.pt", "best.pt"):
        assert (trained / name).stat().st_size > 0, name
    assert any(trained.glob("**/events.out.tfevents*"))
    assert list((trained / "results").glob("*.json"))
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} >= {"train", "val"}
    log = (trained / "log.txt").read_text()
    assert "Speed" in log
    assert "samples/s" in log
    assert "Data" in log


def test_the_written_config_reproduces_the_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show-config", "--cfg", str(trained / "config.yaml")]) == 0
    assert capsys.readouterr().out == (trained / "config.yaml").read_text()


def test_eval_prints_the_familiar_table_and_the_protocol(
    trained: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "eval",
        "--cfg",
        str(trained / "config.yaml"),
        "--weights",
        str(trained / "best.pt"),
        "--out",
        str(tmp_path),
    ]
    assert method_main("lite", words) == 0
    text = capsys.readouterr().out
    assert "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets= 20 ]" in text
    assert "boxes=ground-truth" in text
    assert "flip=yes" in text

    detections = next((people / "person_detection_results").glob("*.json"))
    assert method_main("lite", [*words, "--boxes", str(detections), "test.flip=false"]) == 0
    text = capsys.readouterr().out
    assert "boxes=detections" in text
    assert "flip=no" in text


def test_the_fast_preset_says_what_it_switches_on_and_the_user_has_the_last_word(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--cfg", "pose-lite/coco_lpn50_256x192", f"data.root={people}", f"run.dir={tmp_path}"]
    for name, more, expected in (("a", [], True), ("b", ["train.channels_last=false"], False)):
        fixed = [*TINY, "train.epochs=1", f"run.name={name}", *more]
        assert main([*words, "--fast", *fixed]) == 0
        assert "train.channels_last=true: " in capsys.readouterr().out
        assert yaml.safe_load((tmp_path / name / "config.yaml").read_text())["train"]["channels_last"] is expected


def test_fast_inference_finds_the_same_and_says_so(
    trained: Path, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--cfg", str(trained / "config.yaml"), "--weights", str(trained / "best.pt"), "--device", "cpu"]
    tables = []
    for more in ([], ["--fast"]):
        assert method_main("lite", [*words, *more, f"data.root={people}"]) == 0
        text = capsys.readouterr().out
        tables.append([line for line in text.splitlines() if line.startswith("|")])
    assert "fast: nothing to change for inference on this device" in text
    assert tables[0] == tables[1]


def test_predict_draws_and_writes_json_and_leaves_inputs_alone(trained: Path, people: Path, tmp_path: Path) -> None:
    images = people / "images" / "val2017"
    before = {path.name: path.read_bytes() for path in images.iterdir()}
    words = ["predict", "--cfg", str(trained / "config.yaml"), "--weights", str(trained / "best.pt")]
    words += ["--boxes", "gt", f"data.root={people}"]
    assert method_main("lite", [*words, str(images), "--out", str(tmp_path / "out")]) == 0
    assert {path.name: path.read_bytes() for path in images.iterdir()} == before
    written = list((tmp_path / "out").rglob("*"))
    drawn = [path for path in written if path.suffix in {".jpg", ".png"}]
    assert len(drawn) == len(before)
    assert cv2.imread(str(drawn[0])).shape == cv2.imread(str(next(images.iterdir()))).shape
    assert any(path.suffix == ".json" for path in written)


def test_the_results_of_a_run_are_drawn(
    trained: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results,) = (trained / "results").glob("keypoints_*.json")
    entries = json.loads(results.read_text())
    images = people / "images" / "val2017"
    words = ["draw", "--predictions", str(results), "--images", str(images), "--min-score=-1"]
    assert method_main("lite", [*words, "--out", str(tmp_path / "drawn")]) == 0
    drawn = {file.name for file in (tmp_path / "drawn").iterdir()}
    assert drawn == {f"{entry['image_id']:012d}.jpg" for entry in entries}
    assert capsys.readouterr().out.startswith(f"{len(entries)} people drawn on {len(drawn)} images")


def test_overfit_learns_a_few_people(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["overfit", "--cfg", "pose-lite/synthetic_quick", f"data.root={people}", "--out", str(tmp_path)]
    assert main([*words, "--images", "4", "--steps", "60", *TINY, "train.lr=0.003"]) in {0, 1}
    assert "loss" in capsys.readouterr().out
    assert list(tmp_path.glob("*.jpg")) or list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("layout", ["coco", "crowdpose", "mpii", "lsp"])
def test_synthetic_data_is_made_checked_and_browsed(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / layout
    words = ["data", "synth", "--out", str(root), "--layout", layout, "--images", "6", "--size", "160x120"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["data", "check", "--layout", layout, "--root", str(root), "--decode", "all"]) == 0
    assert "image" in capsys.readouterr().out
    sheet = tmp_path / "sheet.jpg"
    assert main(["data", "browse", "--layout", layout, "--root", str(root), "--count", "4", "--out", str(sheet)]) == 0
    assert cv2.imread(str(sheet)).std() > 5


def test_models_prints_size_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "lpn_50"]) == 0
    text = capsys.readouterr().out
    assert "2,911,153" in text
    assert "1.068" in text


def test_doctor_finds_this_machine_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "pose-lite" in text
    assert "numeric operations: fast versions (POSE_OPS=auto; -v lists them, --ops measures them)" in text
    assert "\n  av " in text


def test_configs_are_listed_with_network_input_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "crowdpose_dekr_w32", "--long"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["experiment", "network", "input", "data"]
    assert lines[1].split() == ["pose-dekr/crowdpose_dekr_w32_512", "dekr_hrnet_w32", "512x512", "crowdpose"]
    assert lines[2].startswith("    DEKR, published AP 65.7 on CrowdPose test")
    assert max(map(len, lines)) <= 120


def test_every_setting_of_every_method_has_a_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) > 150
    assert {method for row in rows for method in row["methods"]} >= {
        "pose-lite",
        "pose-dekr",
        "pose-advpose",
        "pose-asda",
    }
    assert [row["key"] for row in rows if len(row["meaning"]) < 8] == []


@pytest.mark.parametrize("method", ["lite", "mrpose", "dekr", "asda", "advpose"])
def test_an_explained_experiment_resolves_to_itself(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = get_method(method).example
    assert method_main(method, ["show-config", "--cfg", name, "--explain"]) == 0
    text = capsys.readouterr().out
    assert "# Passes over the training set." in text
    (tmp_path / "copy.yaml").write_text(text)
    assert load_config(tmp_path / "copy.yaml") == load_config(f"pose-{method}/{name}")


def test_listing_settings_imports_no_torch() -> None:
    code = (
        "from pose_core.cli import main; main(['settings', 'train.lr']); import sys; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
