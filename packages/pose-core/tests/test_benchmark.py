"""`pose benchmark`: its figures measure what they name; no test asserts a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import cv2
import pytest
import torch
from torch import nn

from pose_core.benchmark import accuracy, networks, stages
from pose_core.benchmark.networks import NetworkRow, Subject, measure_network, middle_row, subjects, tensors
from pose_core.benchmark.report import compare_files, header, plot_figure, to_markdown
from pose_core.benchmark.timing import free_megabytes, peak_megabytes, seconds_of
from pose_core.bottomup.config import BottomUpConfig
from pose_core.cli import main
from pose_core.config import DataConfig, Experiment, ModelConfig, dump_config
from pose_core.engine.interfaces import BuildNetwork, Evaluation, Objective, Task, TrainingSet
from pose_core.errors import ConfigError, DataError
from pose_core.installation import install_hint
from pose_core.models.weights import save_weights
from pose_core.plugins.method import Method, Microbenchmark
from pose_core.plugins.networks import create_model
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import CropTestConfig, TopDownConfig
from pose_testing.methods import installed

CPU = torch.device("cpu")
SMALL = ["--input", "64x64", "--seconds", "0.01", "--device", "cpu"]


def test_the_median_is_of_as_many_calls_as_asked_after_one_to_warm_up() -> None:
    calls = []
    assert seconds_of(lambda: calls.append(None), CPU, budget=0, least=5) > 0
    assert len(calls) == 6


def test_peak_memory_counts_what_lives_at_the_same_time() -> None:
    mega = 2**18  # floats in a megabyte

    def work() -> torch.Tensor:
        first = torch.zeros(4 * mega)
        second = torch.ones(2 * mega)
        del first
        third = torch.ones(1 * mega)
        third.add_(1)  # in place: nothing new
        return second.view(2, -1)[0] + third  # a view is nothing new, a sum is

    assert peak_megabytes(work, CPU) == pytest.approx(6, abs=0.01)


def test_every_kind_of_output_is_found() -> None:
    nested = {"a": torch.zeros(1), "b": [torch.zeros(2), (torch.zeros(3), [torch.zeros(4)])], "c": "text"}
    assert [len(tensor) for tensor in tensors(nested)] == [1, 2, 3, 4]


def test_a_network_is_measured_as_named() -> None:
    row = measure_network(Subject("hrnet_w18_small_v1", "lite", (64, 64), 14), CPU, budget=0.01)
    assert (row.input, row.joints) == ("64x64", 14)
    assert row.parameters == 1_338_337 - 3 * 17  # three joints fewer: 16 weights and a bias each
    assert min(row.latency_ms, row.throughput, row.memory_mb) > 0
    assert row.training is not None
    fast = measure_network(
        Subject("hrnet_w18_small_v1", "lite", (64, 64), 14), CPU, fast=True, training=False, budget=0.01
    )
    assert fast.parameters == row.parameters
    assert fast.training is None


SOUND = {"name": "a", "input": "64x64", "latency_ms": 1.0, "throughput": 1.0, "memory_mb": 1, "training": None,
         "accuracy": None}  # fmt: skip
"""A network's row in a file of results."""


@pytest.mark.slow
def test_batches_are_as_large_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject("simplebaseline_resnet18", "lite", (64, 64), 14)
    assert 100 < free_megabytes(CPU) < float("inf") or sys.platform != "linux"
    assert measure_network(subject, CPU, budget=0).training_batch == 8
    monkeypatch.setattr(networks, "free_megabytes", lambda device: 1.0)
    row = measure_network(subject, CPU, budget=0)
    assert (row.batch, row.training_batch) == (1, 2)
    assert row.training is not None
    assert row.training > 0


def test_networks_without_an_experiment_are_measured_at_256x192() -> None:
    assert [s.input_size for s in subjects("simplebaseline_resnet18")] == [(192, 256)]
    assert [s.input_size for s in subjects("hrnet_w32", (64, 96))] == [(64, 96)]


def test_a_network_that_takes_more_than_images_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"eye": nn.Conv2d(3, 8, 1), "critic": nn.Conv2d(3 + 17, 8, 1)}
    monkeypatch.setattr(networks, "list_models", lambda pattern: sorted(made))
    monkeypatch.setattr(networks, "create_model", made.__getitem__)
    assert [s.name for s in subjects("*")] == ["eye"]


ROW = NetworkRow("a", "lite", "64x64", 17, 1000, 0.1, 10.0, 100.0, 8, 5.0, None)


def test_rounds_become_their_median_with_the_batch_that_it_was_reached_at() -> None:
    times = ((10.0, 100.0, 8), (14.0, 80.0, 4), (11.0, 90.0, 2))
    rounds = [replace(ROW, latency_ms=latency, throughput=rate, batch=batch) for latency, rate, batch in times]
    row = middle_row(rounds)
    assert (row.latency_ms, row.throughput, row.batch, row.training) == (11.0, 90.0, 2, None)
    assert row.spread == pytest.approx({"latency_ms": 2 / 11, "throughput": 10 / 90})
    assert middle_row([ROW]) == ROW


def test_shares_of_the_limit_count_training_three_times() -> None:
    row = replace(ROW, gmacs=1.0, throughput=100.0, training=50.0, training_batch=8)
    text = to_markdown(header(CPU, fast=False, networks=[row], limit=2e12), [row], [])
    assert "the limit: 2 TFLOP/s" in text
    assert "| 50.0 | 8 | 10%, 15% |" in text
    alone = replace(row, training=None, training_batch=None)
    assert "| 10% |" in to_markdown(header(CPU, fast=False, networks=[alone], limit=2e12), [alone], [])


def test_every_measure_has_a_panel_of_its_own() -> None:
    def titles(*measures: str | None) -> list[str]:
        rows = [replace(ROW, accuracy=None if m is None else 0.5, measure=m or "") for m in measures]
        figure = plot_figure(rows)
        figure.draw_without_rendering()
        heights = [axes.bbox.height for axes in figure.axes]
        assert heights == pytest.approx([heights[0]] * len(heights), abs=2)
        assert figure.axes[-1].get_xlabel() == "images per second"
        assert len({axes.get_xlim() for axes in figure.axes}) == 1
        return [axes.get_title(loc="left") for axes in figure.axes]

    assert titles("AP", "AP") == ["AP"]
    assert titles("AP", "PCKh", "AP", "PCK") == ["AP", "PCKh", "PCK"]
    assert titles(None, "AP") == titles(None, None) == ["multiply-adds (G)"]  # one accuracy is no comparison


def test_the_plot_shows_every_network_and_names_those_with_room() -> None:
    kinds = ("dekr", "lite", "lite", "asda")
    rows = [
        replace(ROW, name=f"network_{number}", method=kinds[number % 4], gmacs=2.0**number, throughput=100 - number / 9)
        for number in range(90)
    ]
    figure = plot_figure(rows[:4])
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["asda", "dekr", "lite"]
    assert [len(dots.get_offsets()) for dots in axes.collections] == [1, 1, 2]
    assert {text.get_text() for text in axes.texts} == {row.name for row in rows[:4]}
    assert axes.get_title(loc="right") == ""

    (axes,) = plot_figure([replace(row, accuracy=0.5 + row.gmacs / 2**100, measure="AP") for row in rows]).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 90
    assert 0 < len(axes.texts) < 90
    assert axes.get_title(loc="right") == f"{len(axes.texts)} of 90 names shown; the table has all"


class MadeUp(Method):
    name, package, summary = "made-up", "made_up", ""

    def microbenchmarks(self, device: torch.device) -> list[Microbenchmark]:
        return [Microbenchmark("a method's own", "things", 3, lambda: torch.ones(3, device=device))]


def test_every_stage_runs_those_of_methods_too(tmp_path: Path) -> None:
    with installed({"made-up": MadeUp()}):
        rows = stages.stage_rows(tmp_path, CPU, workers=0, budget=0)
    assert len({row.stage for row in rows}) == len(rows) >= 9
    assert all(row.rate > 0 for row in rows)
    assert (rows[-1].stage, rows[-1].unit) == ("a method's own", "things")


@pytest.mark.slow
def test_the_command_writes_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["benchmark", "simplebaseline_resnet18", *SMALL, "--no-training", "--out"]
    assert main([*words, str(tmp_path / "a")]) == 0
    said = capsys.readouterr()
    assert "| simplebaseline_resnet18 |" in said.out
    assert "network 1 of 3: simplebaseline_resnet18" in said.err
    content = json.loads((tmp_path / "a" / "benchmark.json").read_text())
    assert content["versions"]["torch"] == torch.__version__.split("+")[0] or content["versions"]["torch"]
    assert len(content["networks"]) == len([row for row in content["networks"] if row["gmacs"] > 0])
    assert content["limit_tflops"] > 0
    assert cv2.imread(str(tmp_path / "a" / "benchmark.png")).shape[2] == 3

    # Twice as fast, by the files.
    for row in content["networks"]:
        row["latency_ms"] /= 2
        row["throughput"] *= 2
    (tmp_path / "b.json").write_text(json.dumps(content))
    files = [str(tmp_path / "a" / "benchmark.json"), str(tmp_path / "b.json")]
    assert main(["benchmark", "--compare", *files]) == 0
    assert "| simplebaseline_resnet18 64x64 | 2.00 | 2.00 | 1.00 |" in capsys.readouterr().out


def test_without_matplotlib_the_tables_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ["benchmark", "simplebaseline_resnet18", *SMALL, "--rounds", "1", "--no-training", "--out", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr()
    message = f"no benchmark.png: drawing plots needs matplotlib: {install_hint('plot')}"
    assert said.err.splitlines()[0] == message  # before anything is measured
    assert "| simplebaseline_resnet18 |" in said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmark.json", "benchmark.md"]


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "nothing*", *SMALL]) == 2
    assert "no network that takes images matches" in capsys.readouterr().err
    for words in (["models"], ["doctor", "--networks"], ["benchmark"]):
        assert main([*words, "simplebaselin_resnet50"]) == 2
        assert "did you mean simplebaseline_resnet50" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("{}")
    assert main(["benchmark", "--compare", str(tmp_path / "a.json"), str(tmp_path / "none.json")]) == 3
    assert "is not a file of `pose benchmark`" in capsys.readouterr().err
    assert main(["benchmark", "--input", "256", "--out", str(tmp_path)]) == 2
    assert "height x width" in capsys.readouterr().err
    assert main(["benchmark", "simplebaseline_resnet18", "--input", "60x64", "--out", str(tmp_path)]) == 2
    assert "multiples of 32" in capsys.readouterr().err


class CountingTask(Task):
    """A task that scores a run by the arguments it was given."""

    def __init__(self, config: Experiment, build: BuildNetwork) -> None:
        self.config, self.build = config, build

    def networks(self) -> dict[str, nn.Module]:
        return {"pose": self.build(self.config)}

    def training_set(self) -> TrainingSet[Any]:
        raise AssertionError("nothing is trained")

    def objective(self, device: torch.device) -> Objective[Any]:
        raise AssertionError("nothing is trained")

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        return Evaluation("COCO AP", 0.5, {}, f"a table\nboxes=none of {self.config.data.val}")


class Crops(Method):
    name, package, summary = "crops", "pose_core", ""


class Whole(Method):
    name, package, summary = "whole", "pose_core", ""

    def schema(self, content: Mapping[str, Any], where: str) -> type[Experiment]:
        return BottomUpConfig

    def task(self, config: Experiment, build: BuildNetwork) -> Task:
        return CountingTask(config, build)


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Install one top-down and one bottom-up method, with a synthetic data set that is drawn quickly."""
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(accuracy, "IMAGES", 6)
    monkeypatch.setattr(accuracy, "SIZE", (128, 96))
    with installed({"crops": Crops(), "whole": Whole()}):
        yield


SMALL_NETWORK = {
    "name": "simplebaseline_resnet18", "input_size": (64, 64), "options": {"width": 8, "filters": [16, 16, 16]},
}  # fmt: skip
QUICK = ["--seconds", "0.01", "--rounds", "2", "--no-training", "--device", "cpu"]


def make_run(folder: Path, layout: str, skeleton: str, **changes: Any) -> Path:
    """Write a run's folder with random weights, whose own data set does not exist."""
    joints = {"coco17": 17, "mpii16": 16, "crowdpose14": 14, "lsp14": 14}[skeleton]
    settings = {
        "method": "crops",
        "data": DataConfig(layout=layout, root="gone", skeleton=skeleton, detections="gone.json"),
        "model": ModelConfig(**SMALL_NETWORK),
        "test": CropTestConfig(workers=0, boxes="detections", batch_size=4),
    }
    kind = BottomUpConfig if changes.get("method") == "whole" else TopDownConfig
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(kind(**{**settings, **changes})))
    torch.manual_seed(0)
    model = create_model(SMALL_NETWORK["name"], num_joints=joints, **SMALL_NETWORK["options"])
    save_weights(model, folder / "best.pt")
    return folder


@pytest.mark.usefixtures("methods")
def test_runs_are_scored_on_the_same_images_as_eval_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        make_run(tmp_path / "a" / "first", "coco", "coco17"),
        make_run(tmp_path / "a" / "second", "mpii", "mpii16"),
        make_run(tmp_path / "b" / "first", "crowdpose", "coco17", method="whole", test={"workers": 0}),
    ]
    out = tmp_path / "out"
    assert main(["benchmark", "--runs", *map(str, runs), *QUICK, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    content = json.loads((out / "benchmark.json").read_text())
    rows = content["networks"]
    assert [row["name"] for row in rows] == ["a/first", "a/second", "b/first"]
    measures = ["COCO AP, given boxes", "MPII PCKh@0.5, given boxes", "COCO AP, whole images"]
    assert [row["measure"] for row in rows] == measures
    assert [row["protocol"].split()[0] for row in rows] == ["boxes=ground-truth", "boxes=ground-truth", "boxes=none"]
    assert all(row["data"].startswith("synthetic people of pose-core") for row in rows)
    assert all("6 images, " in row["data"] for row in rows)
    assert rows[0]["data"].split(":")[1] == rows[1]["data"].split(":")[1]
    assert [group["networks"] for group in content["accuracy"]] == [[row["name"]] for row in rows]
    assert all(group[key] in shown for group in content["accuracy"] for key in ("measure", "data", "protocol"))
    assert f"| {rows[1]['accuracy']:.3f} MPII PCKh@0.5, given boxes |" in shown
    assert set(rows[0]["spread"]) == {"latency_ms", "throughput"}

    # The same pictures in every layout, and nothing half drawn.
    drawn = sorted((tmp_path / "home" / "benchmark").iterdir())
    assert [folder.name.split("_")[1] for folder in drawn] == ["coco", "mpii"]
    pictures = [[file.read_bytes() for file in sorted(folder.rglob("*.jpg"))] for folder in drawn]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 6

    # Eval prints and predicts the same.
    files = [("coco", "val2017", "keypoints_val2017_results.json"), ("mpii", "valid", "pred.mat")]
    for run, row, folder, (layout, split, file) in zip(runs, rows, drawn, files, strict=False):
        words = ["eval", "--cfg", str(run / "config.yaml"), "--weights", str(run / "best.pt"), "--boxes", "gt"]
        settings = [f"data.layout={layout}", f"data.root={folder}", f"data.val={split}", "run.device=cpu"]
        assert main([*words, *settings, "--out", str(tmp_path / "eval")]) == 0
        printed = capsys.readouterr().out
        assert f"| {row['accuracy']:.3f} |" in printed
        assert row["protocol"] in printed
        made = (out / "runs" / row["name"] / "results" / file).read_bytes()
        if file.endswith("json"):  # a MATLAB file begins with its date
            assert json.loads(made) == json.loads((tmp_path / "eval" / "results" / file).read_text())


@pytest.mark.usefixtures("methods")
def test_runs_are_scored_on_a_data_set_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, images in (("val2017", 3), ("train2017", 2)):
        write_dataset(tmp_path / "my:people", images=images, people=(1, 1), size=(128, 96), split=split)
    run = str(make_run(tmp_path / "run", "crowdpose", "coco17"))
    words = ["benchmark", "--runs", run, *QUICK, "--rounds", "1", "--on"]
    for place, data in {
        "coco:{}": "my:people val2017, coco layout: 3 images, 3 people",
        "coco:{}:train2017": "my:people train2017, coco layout: 2 images, 2 people",
    }.items():
        assert main([*words, place.format(tmp_path / "my:people"), "--out", str(tmp_path / data[10:15])]) == 0
        assert f"on {data}  \nboxes=ground-truth flip=yes" in capsys.readouterr().out

    # Figures of two data sets are not compared.
    files = [str(tmp_path / name / "benchmark.json") for name in ("val20", "train")]
    assert main(["benchmark", "--compare", *files]) == 0
    assert "not comparable |" in capsys.readouterr().out
    assert main(["benchmark", "--compare", files[0], files[0]]) == 0
    assert "not comparable |" not in capsys.readouterr().out


class SplitConfig(BottomUpConfig):
    split: str = "all"

    def on_data(self, data: DataConfig) -> Self:
        return super().on_data(data).model_copy(update={"split": "all"})


@pytest.mark.usefixtures("methods")
def test_a_run_keeps_its_settings_but_those_of_its_own_data(tmp_path: Path) -> None:
    model = ModelConfig(name="hrnet_w32", input_size=(64, 64))
    held_out = SplitConfig(method="whole", model=model, split="mine", data=DataConfig(color="bgr"))
    placed = accuracy.put_on(held_out, tmp_path, ("coco", "there", "val2014"))
    assert (placed.data.root, placed.data.val, placed.data.color) == ("there", "val2014", "bgr")
    assert placed.test == held_out.test
    assert placed.split == "all"  # type: ignore[attr-defined]

    merged = TopDownConfig(method="crops", model=model, data=DataConfig(layout="lsp_mpii", skeleton="lsp_mpii16"))
    placed = accuracy.put_on(merged, tmp_path, None)
    assert (placed.data.layout, placed.data.skeleton, placed.data.val) == ("mpii", "mpii16", "valid")

    # Files of COCO's layout may hold a user's own joints.
    (tmp_path / "own.yaml").write_text("joints: [a, b]\nsigmas: [0.1, 0.1]")
    own = TopDownConfig(method="crops", model=model, data=DataConfig(skeleton=str(tmp_path / "own.yaml")))
    assert accuracy.put_on(own, tmp_path, ("coco", "there", "val")).data.skeleton == own.data.skeleton
    with pytest.raises(ConfigError, match="other joints"):
        accuracy.put_on(own, tmp_path, None)


@pytest.mark.usefixtures("methods")
def test_runs_and_data_sets_that_do_not_fit_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, lsp = make_run(tmp_path / "run", "coco", "coco17"), make_run(tmp_path / "lsp", "lsp", "lsp14")
    empty = make_run(tmp_path / "empty", "coco", "coco17")
    (empty / "best.pt").unlink()
    write_dataset(tmp_path / "coco", images=1, people=(1, 1), size=(128, 96), split="test-dev2017")
    for code, words, texts in [
        (2, ["--runs", tmp_path / "none"], ["none/config.yaml does not exist", "--runs takes folders"]),
        (2, ["--runs", run, empty], ["empty/best.pt does not exist", "--resume"]),
        (2, ["--runs", run, run], ["are the same folder"]),
        (2, ["--runs", run, lsp], ["lsp/config.yaml: data.skeleton=lsp14", "coco17, crowdpose14, mpii16", "--on lsp:"]),
        (2, ["--runs", run, "--on", f"mpii:{tmp_path}"], ["run/config.yaml: data.skeleton=coco17", "(mpii16)"]),
        (2, ["--runs", run, "--on", "kitti:data"], ["--on 'kitti:data'", "coco, crowdpose, mpii"]),
        (2, ["--runs", run, "--on", "coco"], ["--on 'coco'", "for example coco:/data/coco:val2017"]),
        (3, ["--runs", run, "--on", "coco:/not/there:val2017"], ["folder /not/there does not exist"]),
        (3, ["--runs", run, "--on", f"coco:{tmp_path}:val2018"], ["person_keypoints_val2018.json does not exist"]),
        (3, ["--runs", run, "--on", f"coco:{tmp_path / 'coco'}:test-dev2017"], ["no annotated people"]),
        (2, ["--on", "synthetic"], ["--runs DIR"]),
        (2, ["--runs", run, "--input", "64x64"], ["remove --input"]),
        (2, ["--rounds", "0"], ["--rounds 0"]),
    ]:
        assert main(["benchmark", *map(str, words), "--device", "cpu", "--out", str(tmp_path / "out")]) == code, words
        error = capsys.readouterr().err
        assert all(text in error for text in texts), error
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("methods")
def test_a_data_set_that_cannot_be_drawn_whole_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(folder: Path, *args: object, **kwargs: object) -> None:
        Path(folder).mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, "write_dataset", stop)
    with pytest.raises(KeyboardInterrupt):
        accuracy.synthetic_people("coco")
    assert list((tmp_path / "home" / "benchmark").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"networks": 5},
        {"networks": [5]},
        {"networks": [{}]},
        {"networks": [{**SOUND, "name": 5}]},
        {"networks": [{**SOUND, "throughput": "fast"}]},
        {"networks": [{**SOUND, "throughput": float("nan")}]},
        {"networks": [{**SOUND, "spread": []}]},
        {"networks": [{**SOUND, "spread": {"latency_ms": 0.1}}]},
        {"stages": [{"stage": "decode", "milliseconds": True}]},
    ],
)
def test_a_damaged_file_of_results_is_named(change: dict[str, object], tmp_path: Path) -> None:
    sound = {"device": "cpu", "threads": 1, "fast": False, "networks": [SOUND], "stages": []}
    for name, content in (("sound.json", sound), ("other.json", {**sound, **change})):
        (tmp_path / name).write_text(json.dumps(content))
    assert "1.00" in compare_files(tmp_path / "sound.json", tmp_path / "sound.json")
    with pytest.raises(DataError, match=r"other\.json( is not a file of `pose benchmark`|.*NaN)"):
        compare_files(tmp_path / "sound.json", tmp_path / "other.json")
