"""Reports of runs: what they contain, what they refuse, and the pages in a browser."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pose_core.cli import main
from pose_core.config import DataConfig, ModelConfig
from pose_core.engine.evaluation_record import record_evaluation
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation import coco_keypoint_ap
from pose_core.evaluation.analysis import Curve, ImageErrors, ScoreBin
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.table import get_layout
from pose_core.plugins.method import Method
from pose_core.report.build import write_report
from pose_core.report.charts import calibration_chart, curve_chart
from pose_core.report.comparison import compare
from pose_core.report.pictures import MOST_BYTES, choose_images, data_uri, shown_people
from pose_core.report.runs import read_runs
from pose_core.skeleton import SKELETONS
from pose_core.structures import Poses
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.evaluate import score
from pose_core.topdown.scoring import CropResults
from pose_testing.browser import Browser, find_chromium
from pose_testing.methods import installed

CPU = torch.device("cpu")
LAYOUTS = {"coco": "coco17", "crowdpose": "crowdpose14", "mpii": "mpii16", "lsp": "lsp14"}
HOSTILE = "<b onmouseover=alert(1)>run &amp; 'more'"
IMAGE = "\"><img src=x onerror=alert(2)><script>alert(3)<!--'.jpg"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data set of eight images in each layout."""
    root = tmp_path_factory.mktemp("sets")
    for layout in LAYOUTS:
        size = (160, 120)
        write_dataset(root / layout, layout=layout, images=8, val_images=8, people=(1, 2), size=size, seed=4)
    return root


def config_of(root: Path, layout: str, **changes: Any) -> TopDownConfig:
    chosen = get_layout(layout)
    data = {"layout": layout, "root": str(root), "skeleton": LAYOUTS[layout], "train": chosen.train, "val": chosen.val}
    model = ModelConfig(name="simplebaseline_resnet18", input_size=(64, 64))
    return TopDownConfig(method="stub", name="blue", data=DataConfig(**{**data, **changes}), model=model)


def make_run(folder: Path, config: TopDownConfig, noise: float, seed: int = 0) -> AnnotatedSet:
    """Write a run's folder with results that are off by about ``noise`` pixels, and a log of its training."""
    random = np.random.default_rng(seed)
    found = read_dataset(config.data, config.data.val)
    rows = [(record.image_id, person) for record in found.records for person in record.persons]
    points = np.stack([person.joints for _, person in rows]).astype(np.float32)
    points[..., :2] += random.normal(0, noise, points[..., :2].shape) * random.uniform(0.2, 2, (len(points), 1, 1))
    points[..., 2] = 0.9
    results = CropResults(
        points,
        np.array([person.joints[:, :2].mean(0) for _, person in rows], np.float32),
        np.full((len(rows), 2), 0.5, np.float32),
        random.uniform(0.3, 1, len(rows)).astype(np.float32),
        np.array([identity for identity, _ in rows]),
        np.array([person.annotation_id for _, person in rows]),
    )
    evaluation = score(results, found, config, folder / "results", write=True)
    record_evaluation(evaluation, config, CPU, "best.pt")
    lines = [{"split": "train", "step": step, "epoch": 0, "loss": 1 / step} for step in range(1, 30)]
    lines += [{"split": "val", "step": step, "epoch": 0, "AP": step / 50, "Mean": step} for step in (10, 20)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found


@pytest.fixture(scope="module")
def pair(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of a better and of a worse run on COCO's layout."""
    root = tmp_path_factory.mktemp("runs")
    make_run(root / "better", config_of(sets / "coco", "coco"), 1.0)
    make_run(root / "worse", config_of(sets / "coco", "coco"), 4.0)
    return root / "better", root / "worse"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_report_has_the_figures_of_every_layout(layout: str, sets: Path, tmp_path: Path) -> None:
    found = make_run(tmp_path / "run", config_of(sets / layout, layout), 3.0)
    written = write_report([tmp_path / "run"])
    assert written.page == tmp_path / "run" / "report.html"
    page, figures = written.page.read_text(), json.loads(written.figures.read_text())
    record = json.loads((tmp_path / "run" / "results" / "evaluation.json").read_text())
    (run,) = figures["runs"]
    assert run["evaluation"]["value"] == record["value"]
    assert run["analysis"]["score"] == pytest.approx(record["value"], abs=1e-9)
    assert figures["comparison"] == []
    assert len(page) < 2.5e6
    shown = re.sub(r'(?s)<(style|script)>.*?</\1>|"data:image[^"]+"', "", page)
    assert not re.search(r"\b(nan|NaN|inf|None|Undefined)\b", shown)
    assert page.count("data:image/jpeg") == 2 * len(found.records)
    assert page.count('<figure class="chart">') == (3 if found.layout.score_points else 4)
    for words in ("evaluator=", "inversion", "left_wrist", "simplebaseline_resnet18", torch.__version__):
        assert words in page or (words == "evaluator=" and "no protocol line" in page)
    assert "have changed since" not in page


def test_what_is_missing_is_said(sets: Path, tmp_path: Path) -> None:
    config = config_of(sets / "coco", "coco").model_copy(update={"name": "of_my_own"})
    make_run(tmp_path, config, 3.0)
    (tmp_path / "metrics.jsonl").unlink()
    results = tmp_path / "results" / "keypoints_val2017_results.json"
    results.write_text(json.dumps([{**entry, "score": 0.5} for entry in json.loads(results.read_text())][:3]))
    page = write_report([tmp_path], tmp_path / "page.html").page.read_text()
    assert "No training curves" in page
    assert "of_my_own, is not one of the built-in ones" in page
    assert "the results or the annotations have changed since" in page
    results.write_text("[]")
    page = write_report([tmp_path]).page.read_text()
    assert "No calibration" in page


PAGE = """\
protocol: {method: stub, model: {name: simplebaseline_resnet18, input_size: [64, 64]}}
experiments:
  blue: {train: {epochs: 7}}
"""


class Stub(Method):
    name = "stub"
    package = "pose_stub"
    summary = "a method for this test"
    example = "blue"


def test_settings_that_differ_from_the_built_in_experiment(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pose_stub"
    (package / "experiments").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "experiments" / "page.yaml").write_text(PAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with installed({"stub": Stub()}):
        page = write_report([pair[0]], tmp_path / "page.html").page.read_text()
    difference = json.loads((tmp_path / "page.json").read_text())["runs"][0]["config_difference"]
    assert difference["experiment"] == "pose-stub/blue"
    changed = {each["key"]: (each["built_in"], each["here"]) for each in difference["changed"]}
    assert changed.keys() == {"train.epochs", "data.root"}
    assert changed["train.epochs"][0] == "7"
    assert "Settings that differ from the built-in experiment pose-stub/blue" in page


def test_runs_are_compared(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *map(str, pair), "--out", str(tmp_path / "both.html")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"better beats worse by \d+\.\d ± \d+\.\d AP \(95 % interval \d+\.\d to \d+\.\d\)", printed)
    assert f"written: {tmp_path / 'both.html'} and both.json" in printed
    (compared,) = json.loads((tmp_path / "both.json").read_text())["comparison"]
    assert compared["run"] == "worse"
    assert compared["with"] == "better"
    assert compared["interval_95"][1] < 0
    assert compared["resamples"] == 1000
    assert "better beats worse by" in (tmp_path / "both.html").read_text()


def test_points_are_compared_by_joints(sets: Path, tmp_path: Path) -> None:
    for name, noise in (("a", 1.0), ("b", 8.0)):
        make_run(tmp_path / name, config_of(sets / "mpii", "mpii"), noise)
    write_report([tmp_path / "a", tmp_path / "b"])
    content = json.loads((tmp_path / "a" / "comparison.json").read_text())
    scores = [run["evaluation"]["value"] for run in content["runs"]]
    (compared,) = content["comparison"]
    assert compared["difference"] == pytest.approx(scores[1] - scores[0], abs=1e-6)
    assert compared["interval_95"][1] < 0


def test_equal_runs_do_not_differ(sets: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_run(tmp_path / name, config_of(sets / "coco", "coco"), 3.0)
    written = write_report([tmp_path / "a", tmp_path / "b"])
    assert written.lines[-1] == (
        "b and a differ by 0.0 ± 0.0 AP (95 % interval 0.0 to 0.0), which includes 0: it may be chance"
    )
    assert "They are equal on every image" in written.page.read_text()


def test_runs_on_different_data_are_refused(pair: tuple[Path, Path], sets: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "other", config_of(sets / "coco", "coco", val="train2017"), 3.0)
    with pytest.raises(ConfigError, match=r"better and other were evaluated on different images \(coco val2017 in .*"):
        write_report([pair[0], tmp_path / "other"])
    with pytest.raises(ConfigError, match="the same folder"):
        write_report([pair[0], pair[0]])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_results_file_of_any_tool_is_reported(
    layout: str, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "run", config_of(sets / layout, layout), 3.0)
    written = write_report([tmp_path / "run"])
    record = json.loads((tmp_path / "run" / "results" / "evaluation.json").read_text())
    file = (tmp_path / "run" / "results" / record["results"]).rename(
        tmp_path / f"theirs{Path(record['results']).suffix}"
    )
    assert main(["report", str(file), "--layout", layout, "--root", str(sets / layout)]) == 0
    (theirs,) = json.loads((tmp_path / "theirs_report.json").read_text())["runs"]
    (ours,) = json.loads(written.figures.read_text())["runs"]
    assert theirs["analysis"] == ours["analysis"]
    assert theirs["evaluation"]["metrics"] == pytest.approx(ours["evaluation"]["metrics"], abs=1e-9)
    assert "not recorded" in (tmp_path / "theirs_report.html").read_text()
    capsys.readouterr()
    assert main(["report", str(file)]) == 2
    assert "name its data with --layout and --root" in capsys.readouterr().err
    assert main(["report", str(file), "--split", "train"]) == 2
    assert "give their --layout, too" in capsys.readouterr().err
    assert main(["report", str(file), "--layout", layout]) == 2
    assert "needs --root" in capsys.readouterr().err


def test_a_damaged_results_file_is_named(sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("[1]")
    assert main(["report", str(tmp_path / "bad.json"), "--layout", "coco", "--root", str(sets / "coco")]) == 3
    assert "bad.json: entry 0 is not a mapping but 1" in capsys.readouterr().err


def test_folders_without_an_evaluation_are_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match=r"is not a folder: give the folder of a run"):
        write_report([tmp_path / "none"])
    with pytest.raises(DataError, match=r"evaluation.json does not exist.*make it with `.*eval --weights FILE"):
        write_report([tmp_path])
    with pytest.raises(ConfigError, match=r"--out report.pdf must end in .html"):
        write_report([pair[0]], Path("report.pdf"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"results": "../../etc/passwd"}, "'results' must be the name of a file"),
        ({"metrics": {"AP": "high"}}, r"'metrics.AP': Input should be a valid number"),
        ({"data": 3}, "'data'"),
        ({"config": {"data": {"max_skipped": "all"}}}, r"'config.data.max_skipped'"),
        (
            {"data": {"layout": "coco", "root": "/gone", "split": "a", "skeleton": "coco17"}},
            "give its folder with --roo",
        ),
        ({"results": "other.json"}, "other.json, the results that .* names, does not exist; evaluate again"),
    ],
)
def test_damaged_records_are_refused(
    change: dict[str, Any], text: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    content = json.loads((pair[0] / "results" / "evaluation.json").read_text())
    (tmp_path / "evaluation.json").write_text(json.dumps(content | change))
    with pytest.raises(DataError, match=text) as error:
        write_report([tmp_path])
    assert "\n" not in str(error.value)


def test_data_that_were_moved(pair: tuple[Path, Path], sets: Path, tmp_path: Path) -> None:
    content = json.loads((pair[0] / "results" / "evaluation.json").read_text())
    content["data"]["root"] = str(tmp_path / "gone")
    for file in (pair[0] / "results").glob("*.json"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    assert write_report([tmp_path], root=str(sets / "coco")).page.is_file()


def test_images_that_were_not_evaluated_are_left_out(sets: Path, tmp_path: Path) -> None:
    found = make_run(tmp_path, config_of(sets / "coco", "coco"), 3.0)
    chosen = [record.image_id for record in found.records[:5]]
    record, results = (tmp_path / "results" / name for name in ("evaluation.json", "keypoints_val2017_results.json"))
    entries = [entry for entry in json.loads(results.read_text()) if entry["image_id"] in chosen]
    results.write_text(json.dumps(entries))
    content = json.loads(record.read_text())
    content["data"]["image_ids"] = chosen
    others = {each.image_id for each in found.records} - set(chosen)
    content["value"] = coco_keypoint_ap(found.ground_truth.without(others), entries)["AP"]
    record.write_text(json.dumps(content))
    written = write_report([tmp_path])
    assert "have changed since" not in written.page.read_text()
    (run,) = json.loads(written.figures.read_text())["runs"]
    assert [each["image_id"] for each in run["analysis"]["images"]] == chosen
    assert compare([*read_runs([tmp_path]), *read_runs([tmp_path])])[0].difference.value == 0


def test_without_jinja_it_says_what_to_install(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", str(pair[0])]) == 2
    assert re.search(r"a report needs jinja2: .* install .*jinja2>=", capsys.readouterr().err)
    assert main(["eval", "--report", "--cfg", "none", "--random-weights"]) == 2
    assert "a report needs jinja2" in capsys.readouterr().err


def image(identity: int, similarity: float, people: int = 1) -> ImageErrors:
    return ImageErrors(identity, people, 1, similarity, 0, 0, {}, 0.5)


def test_the_worst_the_median_and_the_best_are_chosen() -> None:
    many = [image(number, number / 100) for number in range(100)]
    found = choose_images([*many, image(100, 0.0, people=0), image(101, float("nan"))])
    ids = {kind: [each.errors.image_id for each in found if each.kind == kind] for kind in ("worst", "median", "best")}
    assert ids == {"worst": list(range(12)), "median": list(range(47, 53)), "best": list(range(94, 100))}
    few = choose_images(many[:4])
    assert [each.kind for each in few] == ["worst", "worst", "median", "best"]
    for count in range(30):
        assert len({each.errors.image_id for each in choose_images(many[:count])}) == min(count, 24)


def test_pictures_are_of_bounded_size() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 360, 3), dtype=np.uint8)
    assert len(data_uri(noise)) < 4 / 3 * MOST_BYTES + 100


def test_as_many_people_are_drawn_as_are_annotated_and_others_of_high_score() -> None:
    scores = np.array([0.1, 0.2, 0.9, 0.4])
    poses = Poses(np.zeros((4, 17, 2)), np.ones((4, 17)), scores, SKELETONS["coco17"])
    assert shown_people(poses, 1).pose_scores.tolist() == [0.9, 0.4]
    assert shown_people(poses, 3).pose_scores.tolist() == [0.2, 0.9, 0.4]


def test_charts_leave_out_what_is_not_finite() -> None:
    nan = float("nan")
    assert curve_chart("t", "x", "y", [Curve("a", (1.0, 2.0), (nan, nan))]) is None
    chart = curve_chart("t", "x", "y", [Curve("a", (0.0, 1.0, 2.0), (0.5, nan, 1.0)), Curve("b", (1.0,), (0.7,))])
    assert chart is not None
    assert "nan" not in str(chart)
    assert len(chart.lines[0].points.split()) == 2
    assert len(chart.dots) == 1, "a curve of one point is a point"
    many = curve_chart("t", "x", "y", [Curve("a", tuple(map(float, range(10_000))), (1.0,) * 10_000)])
    assert many is not None
    assert len(many.lines[0].points.split()) < 300
    assert [tick.text for tick in calibration_chart([ScoreBin(0.5, 0.4, 3)]).x_ticks] == [  # type: ignore[union-attr]
        "0", "0.2", "0.4", "0.6", "0.8", "1",
    ]  # fmt: skip
    assert calibration_chart([ScoreBin(nan, 0.4, 3)]) is None


@pytest.mark.parametrize(
    "values",
    [(0.0, 0.0), (5.0, 5.0), (-1e308, 1e308), (1e29, -1e29), (0.0, 5e-324), (1e16, 1e16 + 2), (-3.0, -2.9), (1e308,)],
)
def test_any_numbers_make_a_chart_or_none(values: tuple[float, ...]) -> None:
    chart = curve_chart("t", "x", "y", [Curve("a", tuple(range(len(values))), values)])
    charts = [chart, calibration_chart([ScoreBin(value, 0.5, 1) for value in values])]
    for each in charts:
        assert each is None or not re.search(r"nan|inf", str(each))
        assert each is None or 2 <= len(each.y_ticks) <= 12
    assert (chart is None) == all(abs(value) > 1e30 for value in values)


@pytest.fixture(scope="module")
def hostile(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run with markup in every name: the run's, an image's, and all that its record says."""
    root = tmp_path_factory.mktemp("hostile")
    data = root / "data"
    (data / "annotations").mkdir(parents=True)
    file = next((sets / "coco" / "annotations").glob("person_keypoints_val2017.json"))
    content = json.loads(file.read_text())
    (data / "images").mkdir()
    for number, entry in enumerate(content["images"]):
        name = IMAGE if number == 0 else entry["file_name"]
        (data / "images" / name).write_bytes((sets / "coco" / "images" / "val2017" / entry["file_name"]).read_bytes())
        entry["file_name"] = name
    coco = SKELETONS["coco17"]
    joints = [f"<i onclick=alert(5)>{name}</i>" for name in coco.joints]
    (category,) = content["categories"]
    category |= {"name": "<u>person</u>", "keypoints": joints}
    (data / "annotations" / "mine.json").write_text(json.dumps(content))
    skeleton = data / "joints.yaml"
    skeleton.write_text(json.dumps({"name": "<i>joints</i>", "joints": joints, "sigmas": list(coco.sigmas)}))
    run = root / HOSTILE
    make_run(run, config_of(data, "coco", val="mine.json", skeleton=str(skeleton)), 3.0)
    record = run / "results" / "evaluation.json"
    content = json.loads(record.read_text())
    text = "</script></style></title><script>alert(4)</script>"
    content |= {"weights": text, "device": text, "date": text, "git": text, "report": f"{text} evaluator={text}"}
    content["versions"][text] = text
    content["metrics"][f"{text}/AP"] = 0.25
    content["config"] |= {text: text}
    record.write_text(json.dumps(content))
    return write_report([run]).page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium to open the pages with")
    with Browser(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.slow
def test_names_are_text_and_nothing_else(hostile: Path, browser: Browser) -> None:
    browser.open(hostile)
    assert browser.complaints() == []
    assert browser.requests() == [hostile.absolute().as_uri()]
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.querySelectorAll('[onerror], [onmouseover], [onclick], b, i, u').length") == 0
    assert browser.evaluate("document.title") == f"{HOSTILE}: COCO AP"
    shown = browser.evaluate("Array.from(document.querySelectorAll('#t-images tbody th'), e => e.textContent)")
    assert IMAGE in shown
    assert "alert(4)" in browser.evaluate("document.querySelectorAll('#summary caption')[1].textContent")
    joint = browser.evaluate("document.querySelector('#joints tbody th').textContent")
    assert joint == "<i onclick=alert(5)>nose</i>"
    assert browser.evaluate("document.querySelector('img').alt.endsWith(': annotation')")
    # The page's own policy forbids what a name might still load.
    browser.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://example.org/x.png'})), 1")
    browser.evaluate("fetch('https://example.org/').catch(() => 0), 1")
    browser.wait_for("Network.loadingFailed")
    failed = [event["params"] for event in browser.events if event["method"] == "Network.loadingFailed"]
    assert {each["blockedReason"] for each in failed} == {"csp"}
    assert len(failed) == len(browser.requests()) - 1


@pytest.mark.slow
def test_tables_are_sorted_and_filtered_by_mouse_and_keyboard(pair: tuple[Path, Path], browser: Browser) -> None:
    browser.open(write_report([pair[1]]).page)
    column = "Array.from(document.querySelectorAll('#t-images tbody'), e => Number(e.rows[0].cells[2].dataset.value))"
    head = "document.querySelectorAll('#t-images thead th')[2]"
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(f"{head}.ariaSort") == "ascending"
    rising = browser.evaluate(column)
    assert rising == sorted(rising)
    browser.evaluate(f"{head}.querySelector('button').focus()")
    browser.press("Enter", 13, "\r")
    assert browser.evaluate(f"{head}.ariaSort") == "descending"
    assert browser.evaluate(column) == sorted(rising, reverse=True)
    assert browser.evaluate("document.querySelectorAll('#t-images [aria-sort]').length") == 1
    browser.press("Tab", 9)
    browser.press(" ", 32, " ")
    assert browser.evaluate("document.querySelectorAll('#t-images thead th')[3].ariaSort") == "ascending"
    # Names are sorted as names, and what is missing comes last in both directions.
    first = "document.querySelector('#joints tbody tr th').textContent"
    browser.evaluate("document.querySelector('#joints thead button').click()")
    assert browser.evaluate(first) == "left_ankle"
    browser.evaluate("document.querySelector('.filter input').focus()")
    browser.send("Input.insertText", text="WORST")
    visible = "Array.from(document.querySelectorAll('#t-images tbody')).filter(e => e.offsetHeight > 0)"
    kinds = browser.evaluate(f"{visible}.map(e => e.rows[0].cells[1].textContent)")
    assert set(kinds) == {"worst"}
    assert browser.evaluate("document.querySelector('.filter output').textContent") == f"{len(kinds)} of 8 images"
    script = "const s = document.querySelector('.filter select'); s.value = 'inversion'"
    browser.evaluate(
        f"{{ document.querySelector('.filter input').value = ''; {script}; s.dispatchEvent(new Event('change')) }}"
    )
    shown = browser.evaluate(f"{visible}.map(e => Number(e.dataset.inversion))")
    assert all(shown)
    every = browser.evaluate("Array.from(document.querySelectorAll('#t-images tbody'), e => +e.dataset.inversion)")
    assert len(shown) == sum(number > 0 for number in every) < 8
    assert browser.complaints() == []


def luminance(color: str) -> float:
    parts = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.slow
def test_pages_are_readable_in_the_dark_on_a_phone_and_on_paper(pair: tuple[Path, Path], browser: Browser) -> None:
    for page in (write_report([pair[0]]).page, write_report(pair).page):
        browser.open(page)
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            browser.send("Emulation.setEmulatedMedia", features=[feature])
            style = "getComputedStyle(document.querySelector('{}')).{}"
            back = luminance(browser.evaluate(style.format("body", "backgroundColor")))
            assert (back < 0.05) == (scheme == "dark")
            for name in ("body", "caption", "a[href]", ".protocol", "th button"):
                ink = luminance(browser.evaluate(style.format(name, "color")))
                assert (max(ink, back) + 0.05) / (min(ink, back) + 0.05) > 4.5, name
        browser.send("Emulation.setEmulatedMedia", features=[])
        browser.send("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 400
        browser.send("Emulation.clearDeviceMetricsOverride")
        pages = len(re.findall(rb"/Type\s*/Page\b", browser.pdf()))
        assert 3 <= pages <= 20
        assert browser.evaluate("document.querySelectorAll('svg[role=img]:not([aria-label])').length") == 0
        assert browser.evaluate("document.querySelectorAll('table:not(:has(caption)), img:not([alt])').length") == 0
        names = "Array.from(document.querySelectorAll('nav a'), e => document.getElementById(e.hash.slice(1)) !== null)"
        assert all(browser.evaluate(names))
