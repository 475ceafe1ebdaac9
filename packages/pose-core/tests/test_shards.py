"""Prediction in shards: every input exactly once, whatever is killed, damaged, missing or strangely named."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import signal
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pose_core.cli import main
from pose_core.engine.interfaces import DetectedImage
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.inference import shard_inputs
from pose_core.inference.recipe import Recipe
from pose_core.inference.shard_inputs import Unit, find_units, identity, read_picture
from pose_core.inference.shard_plan import Plan, read_plan, shared_plan
from pose_core.inference.shard_queue import Place, ShardQueue
from pose_core.inference.shard_rows import Row, columns, parquet_schema, require_pyarrow
from pose_core.inference.shard_runtime import with_runtime
from pose_core.inference.shard_summary import count_shards, summary_text, write_summary
from pose_core.inference.shards import plan_shards, predict_shards
from pose_core.inference.video import read_frames
from pose_core.inference.video_segments import frame_times, read_segment
from pose_core.inference.video_writing import video_writer
from pose_core.plugins.predictors import Predictor
from pose_core.reading.tar_archives import tar_members
from pose_core.skeleton import SKELETONS
from pose_core.structures import Poses
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.detectors import FileDetector, whole_image

Make = Callable[[], Predictor]
RECIPE: Any = SimpleNamespace(boxes=None, settings=lambda: {"weights": "sha256:1", "config": {"test": {"flip": True}}})


def encoded(number: int) -> bytes:
    """Return a small PNG whose width tells the number."""
    return cv2.imencode(".png", np.full((8, 8 + number, 3), number, np.uint8))[1].tobytes()


def photo(file: Path, number: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encoded(number))
    return file


def tar(file: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


def labels(words: list[str], out: Path, listed: Path | None = None) -> list[str]:
    return [unit.label for unit in find_units(words, listed, out)]


def make_plan(words: list[str], out: Path, size: int = 7, **settings: Any) -> Plan:
    return plan_shards(RECIPE, words, out, shard_size=size, **settings)


def rows(plan: Plan) -> list[dict[str, Any]]:
    return [
        json.loads(line) for shard in range(plan.shards) for line in plan.file(shard).read_text("utf-8").splitlines()
    ]


def unreadable(plan: Plan) -> list[dict[str, str]]:
    return [each for n in range(plan.shards) for each in json.loads(plan.manifest(n).read_text())["unreadable"]]


def run(plan: Plan, predictor: Predictor, **options: Any) -> Plan:
    predict_shards(plan, range(plan.shards), predictor, whole_image, **options)
    assert plan.missing() == []
    return plan


NAMES = ["plain.jpg", "new\nline.jpg", 'quo"te\\.jpg', os.fsdecode(b"caf\xe9.jpg"), "日本.jpg", "\x1b[31m.jpg"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_back(name: str) -> None:
    unit = Unit(name, ticks=(1, 2), video=True, start=1)
    assert b"\n" not in unit.to_line()[:-1]
    assert Unit.from_line(unit.to_line(), "a line") == unit
    unit.label.encode()  # can be shown and saved


def test_strange_names_are_predicted(tmp_path: Path, make_predictor: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = tmp_path / os.fsdecode(b"\xfe")
    for number, name in enumerate(NAMES):
        photo(strange / "in" / name, number)
    monkeypatch.chdir(strange)
    words = ["in", str(strange / "in" / NAMES[3])]
    run(make_plan(words, tmp_path / "out"), make_predictor())
    plan = make_plan(words, tmp_path / "out")
    assert sorted(row["width"] - 8 for row in rows(plan)) == list(range(len(NAMES)))
    assert len({row["image"] for row in rows(plan)}) == len(NAMES)


def test_files_folders_patterns_archives_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/b.jpg", "in/a.PNG", "in/deep/c.jpg", "in/notes.txt", "in/out/shards/old.jpg", "far/away.jpg"):
        photo(tmp_path / name)
    (tmp_path / "in/link.jpg").symlink_to(tmp_path / "far/away.jpg")
    with zipfile.ZipFile(tmp_path / "in/z.zip", "w") as archive:
        for name in ("x/1.jpg", "x/2.jpg", "__MACOSX/x/._1.jpg", "readme.txt"):
            archive.writestr(name, encoded(1))
    tar(tmp_path / "in/t.tar", [(f"{'long' * 40}/1.jpg", encoded(1)), ("2.jpg", encoded(2)), ("n.txt", b"n")])
    monkeypatch.chdir(tmp_path)
    inside = ["in/a.PNG", "in/b.jpg", "in/deep/c.jpg", f"in/t.tar@{'long' * 40}/1.jpg", "in/t.tar@2.jpg",
              "in/z.zip@x/1.jpg", "in/z.zip@x/2.jpg"]  # fmt: skip
    assert labels(["in"], Path("in/out")) == inside
    assert labels(["in/d*", "in/*.zip"], Path("out")) == ["in/deep/c.jpg", *inside[-2:]]
    Path("list.txt").write_bytes(b"in/b.jpg\r\n\ngone.jpg\ncaf\xe9.jpg\nin/deep\nin/t.tar\n")
    listed = labels([], Path("out"), Path("list.txt"))
    assert listed == ["in/b.jpg", "gone.jpg", "caf\\xe9.jpg", "in/deep/c.jpg", *inside[3:5]]
    (far,) = find_units(["https://example.org/a.mp4"], None, Path("out"))
    assert "download it" in far.problem
    with pytest.raises(ConfigError, match="camera or a stream"):
        labels(["rtsp://camera/1"], Path("out"))
    Path("list.txt").write_bytes(b"a" * 5000 + b"\n")
    with pytest.raises(DataError, match="line 1 is longer than 4096 bytes"):
        labels([], Path("out"), Path("list.txt"))


def test_an_input_that_is_named_twice_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        photo(tmp_path / f"in/{number}.jpg", number)
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("in/3.jpg\nin/4.jpg\nin/3.jpg\n")
    words = ["in/1.jpg", "in", str(tmp_path / "in/1.jpg")]
    plan = make_plan(words, tmp_path / "out", listed=Path("list.txt"))
    assert plan.rows == 5
    assert [unit.name for _, unit in plan.units(0)] == ["in/1.jpg", "in/0.jpg", "in/2.jpg", "in/3.jpg", "in/4.jpg"]
    assert [record.message for record in caplog.records] == ["left out 5 inputs that had been named before"]
    monkeypatch.setattr("pose_core.inference.shard_plan._code", lambda unit: 1)  # all collide: names decide
    assert make_plan(words, tmp_path / "other", listed=Path("list.txt")).rows == 5


def test_a_list_that_has_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = tmp_path / "list.txt"
    listed.write_text("a1.jpg\n")
    plan = make_plan([], tmp_path / "out", listed=listed)
    assert make_plan([], tmp_path / "out", listed=listed) == plan
    listed.write_text("a2.jpg\n")  # as long as before
    with pytest.raises(ConfigError, match=r"made with the list of inputs as it was before: the file has changed: give"):
        make_plan([], tmp_path / "out", listed=listed)


def test_a_plan_is_kept_and_other_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "in/1.jpg")
    words, out = [str(tmp_path / "in")], tmp_path / "out"
    first = make_plan(words, out)
    photo(tmp_path / "in/2.jpg")
    assert [unit.label for _, unit in make_plan(words, out).units(0)] == [unit.label for _, unit in first.units(0)]
    monkeypatch.chdir(tmp_path / "in")
    assert make_plan(["../in/"], out) == first, "the same folder from elsewhere"
    for words_, more, message in (
        ([str(tmp_path)], {}, "plan.json was made with other inputs: without"),
        (words, {"size": 8}, r"was made with shard_size=7, and this is 8: give the same to continue, or another --out"),
        (words, {"min_score": 0.5}, "min_score=None, and this is 0.5"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_plan(words_, out, **more)
    other: Any = SimpleNamespace(
        boxes=None, settings=lambda: {"weights": "sha256:1", "config": {"test": {"flip": False}}}
    )
    with pytest.raises(ConfigError, match=r"made with test.flip=True, and this is False"):
        plan_shards(other, words, out, shard_size=7)
    (out / "plan.json").chmod(0o444)
    assert make_plan(words, out).rows == 1, "a plan is only read"
    first.inputs.write_bytes(first.inputs.read_bytes() + b"more")
    with pytest.raises(DataError, match="is damaged"):
        read_plan(out)


def test_others_wait_for_the_plan(tmp_path: Path) -> None:
    photo(tmp_path / "1.jpg")
    found: list[Plan] = []
    settings = {"format": "jsonl", "shard_size": 7}
    waiting = threading.Thread(
        target=lambda: found.append(shared_plan(tmp_path / "out", settings, iter(()), 7, main=False))
    )
    waiting.start()
    mine = shared_plan(tmp_path / "out", settings, [Unit(str(tmp_path / "1.jpg"))], 7, main=True)
    waiting.join()
    assert found == [mine]


def test_what_cannot_be_read_is_in_the_manifest_and_tried_again_when_asked(
    tmp_path: Path, make_predictor: Make
) -> None:
    for number in range(4):
        photo(tmp_path / f"in/{number}.jpg", number)
    (tmp_path / "in/4.jpg").write_bytes(encoded(4)[:30])
    with zipfile.ZipFile(tmp_path / "in/a.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("1.png", encoded(5))
        archive.writestr("2.png", encoded(6))
    content = bytearray((tmp_path / "in/a.zip").read_bytes())
    content[content.index(b"IDAT")] ^= 1
    (tmp_path / "in/a.zip").write_bytes(content)
    damaged = tar(tmp_path / "in/b.tar", [("1.png", encoded(7)), ("2.png", encoded(8))])
    content = bytearray(damaged.read_bytes())
    content[1024 + 5] ^= 1  # of the second header
    damaged.write_bytes(content)
    (tmp_path / "in/c.zip").write_bytes(b"PK no")
    (tmp_path / "in/d.mp4").write_bytes(b"no film")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out", size=3)
    (tmp_path / "in/0.jpg").unlink()  # vanishes
    run(plan, make_predictor())
    assert sorted(row["width"] - 8 for row in rows(plan)) == [1, 2, 3, 6, 7]
    found = {each["input"].rpartition("/in/")[2]: each["reason"] for each in unreadable(plan)}
    assert set(found) == {"0.jpg", "4.jpg", "a.zip@1.png", "b.tar", "c.zip", "d.mp4"}
    assert "does not exist" in found["0.jpg"]
    assert "damaged after 1 member:" in found["b.tar"]
    assert all(why.count("\n") == 0 for why in found.values())
    counts = count_shards(plan)
    assert (counts.images, counts.unreadable, counts.shards) == (5, 6, plan.shards)
    assert "6 inputs could not be read" in summary_text(plan, counts)
    photo(tmp_path / "in/0.jpg", 0)
    run(plan, make_predictor())
    assert len(rows(plan)) == 5, "not tried again unless asked"
    run(plan, make_predictor(), again=True)
    assert sorted(row["width"] - 8 for row in rows(plan)) == [0, 1, 2, 3, 6, 7]


def test_a_tar_that_has_changed_since_is_not_believed(tmp_path: Path) -> None:
    file = tar(tmp_path / "a.tar", [("1.png", encoded(1)), ("2.png", encoded(2))])
    units = list(find_units([str(file)], None, tmp_path / "out"))
    assert read_picture(units[1], tmp_path, stored=False).shape[1] == 10
    tar(file, [("0.txt", b"0" * 600), ("1.png", encoded(1)), ("2.png", encoded(2))])
    with pytest.raises(DataError, match="is not where it was: the archive has changed"):
        read_picture(units[1], tmp_path, stored=False)
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "huge.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + b"0" * 2048)
    with pytest.raises(DataError, match="it has a header of 1099"):
        list(tar_members(tmp_path / "huge.tar"))


class Ending:
    """A predictor that ends its process after so many images, as ``kill -9`` does."""

    def __init__(self, worker: Any, images: int) -> None:
        self.worker, self.left = worker, images
        self.skeleton = worker.skeleton

    def predict_stream(self, images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
        for each in self.worker.predict_stream(images):
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            yield each


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_killed_three_times_every_picture_is_there_once(tmp_path: Path, make_predictor: Make, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    for number in range(60):
        photo(tmp_path / f"in/{number:02d}.png", number)
    whole = run(make_plan([str(tmp_path / "in")], tmp_path / "whole", kind=kind), make_predictor())
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out", kind=kind)
    with pytest.raises(PoseError, match=r"9 shards of 9 are missing .*, such as part-000000.*: the same command makes"):
        count_shards(plan)
    done = [0]
    for seed in range(3):
        images = int(np.random.default_rng(seed).integers(8, 18))
        fork = multiprocessing.get_context("fork")
        job = fork.Process(
            target=predict_shards,
            args=(plan, range(plan.shards), Ending(make_predictor().worker, images), whole_image),
        )
        job.start()
        job.join()
        assert job.exitcode == -signal.SIGKILL
        done.append(plan.shards - len(plan.missing()))
        assert done[-1] > done[-2], "what is complete stays"
    assert plan.missing(), "the last start has something to do"
    assert list((tmp_path / "out/shards").glob(".part-*")), "a shard was under way"
    run(plan, make_predictor())
    for shard in range(plan.shards):
        assert plan.file(shard).read_bytes() == whole.file(shard).read_bytes()
    if kind == "jsonl":
        assert [row["input"] for row in rows(plan)] == list(range(60))
    write_summary(plan, count_shards(plan))
    assert not list((tmp_path / "out").glob("*/.part-*")), "nothing is left of killed processes"


def test_a_full_disk_is_one_line_and_leaves_no_shard(
    tmp_path: Path, make_predictor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "1.png")
    plan = make_plan([str(tmp_path / "1.png")], tmp_path / "out")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr("pose_core.files.os.fsync", full)
        with pytest.raises(PoseError, match=r"^cannot write .*: No space left on device$"):
            run(plan, make_predictor())
    assert plan.missing() == [0]
    assert not list((tmp_path / "out/shards").iterdir())
    run(plan, make_predictor())
    (tmp_path / "1.png").unlink()
    plan.file(0).unlink()
    run(plan, make_predictor())
    with monkeypatch.context() as context:
        context.setattr("pose_core.files.os.fsync", full)
        with pytest.raises(PoseError, match="No space left on device"):
            predict_shards(plan, [0], make_predictor(), whole_image, again=True)


def test_a_shard_that_another_job_has_written_stays(tmp_path: Path, make_predictor: Make) -> None:
    photo(tmp_path / "1.png")
    plan = make_plan([str(tmp_path / "1.png")], tmp_path / "out")
    worker = make_predictor().worker

    class Late:
        skeleton = worker.skeleton

        def predict_stream(self, images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
            run(plan, make_predictor())
            write_summary(plan, count_shards(plan))  # which removes what is unfinished
            yield from worker.predict_stream(images)

    late: Any = Late()
    predict_shards(plan, [0], late, whole_image)
    assert len(rows(plan)) == 1


def test_parquet_holds_what_json_does(tmp_path: Path, make_predictor: Make) -> None:
    dataset = pytest.importorskip("pyarrow.dataset")
    for number in range(9):
        photo(tmp_path / f"in/{number}.png", number)

    def nobody_in_three(image: np.ndarray, source: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = whole_image(image)
        return (boxes[:0], scores[:0]) if image.shape[1] == 11 else (boxes, scores)

    found = []
    for kind in ("jsonl", "parquet"):
        plan = make_plan([str(tmp_path / "in")], tmp_path / kind, size=4, kind=kind)
        predict_shards(plan, range(plan.shards), make_predictor(), nobody_in_three)
        assert count_shards(plan).without_people == 1
        found.append(plan)
    lines = rows(found[0])
    table = dataset.dataset(tmp_path / "parquet/shards").to_table()
    assert json.loads(table.schema.metadata[b"joints"])[0] == "nose"
    for line, row in zip(lines, table.to_pylist(), strict=True):
        assert [row[key] for key in ("input", "image", "width", "height", "frame")] == [
            line["input"], line["image"], line["width"], line["height"], None
        ]  # fmt: skip
        people = [list(person["keypoints"].values()) for person in line["people"]]
        assert len(row["keypoints"]) == len(people)
        if people:
            np.testing.assert_allclose(row["keypoints"], np.array(people)[..., :2], atol=0.01)
            np.testing.assert_allclose(row["scores"], np.array(people)[..., 2], atol=1e-4)
            np.testing.assert_allclose(row["boxes"], [person["box"] for person in line["people"]], atol=0.01)
            np.testing.assert_allclose(row["pose_scores"], [person["score"] for person in line["people"]], atol=1e-5)


def test_parquet_of_methods_without_boxes() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    empty, two = (Poses(np.ones((n, 17, 2)), np.ones((n, 17)), np.ones(n), SKELETONS["coco17"]) for n in (0, 2))
    file = io.BytesIO()
    with parquet.ParquetWriter(file, parquet_schema(two.skeleton)) as writer:
        table = pyarrow_table([Row(0, empty), Row(1, two, 3, 0.5), Row(2, replace(two, boxes=np.ones((2, 4))))])
        writer.write_table(table)
    found = parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()
    assert [row["boxes"] for row in found] == [None, None, [[1.0] * 4] * 2]
    assert [len(row["scores"]) for row in found] == [0, 2, 2]
    assert [(row["frame"], row["time"]) for row in found] == [(None, None), (3, 0.5), (None, None)]


def pyarrow_table(rows: list[Row]) -> Any:
    return require_pyarrow().Table.from_arrays(columns(rows), schema=parquet_schema(rows[0].poses.skeleton))


def test_scores_and_boxes_of_files_apply(tmp_path: Path, make_predictor: Make) -> None:
    photo(tmp_path / "in/000007.png", 7)
    (tmp_path / "boxes.json").write_text(
        json.dumps([{"image_id": 7, "category_id": 1, "bbox": [0, 0, 8, 8], "score": score} for score in (0.4, 0.9)])
    )
    plan = make_plan([str(tmp_path / "in")], tmp_path / "out", min_score=0.5)
    predict_shards(plan, [0], make_predictor(), FileDetector(tmp_path / "boxes.json", 0.1))
    assert [person["score"] for person in rows(plan)[0]["people"]] == [0.9]
    assert count_shards(plan).low_people == 1


def film(file: Path, frames: int = 40) -> Path:
    pytest.importorskip("av", reason="needs PyAV")
    with video_writer(file, 20) as write:
        for step in range(frames):
            image = np.full((48, 64, 3), 30, np.uint8)
            image[10:20, step : step + 8] = 255
            write(image)
    return file


def test_every_frame_is_in_one_segment(tmp_path: Path) -> None:
    file = film(tmp_path / "film.mp4")
    whole = list(read_frames(file))
    ticks = frame_times(file)
    assert ticks is not None
    for size in (1, 7, 40):
        parts = [
            frame
            for first in range(0, len(ticks), size)
            for frame in read_segment(file, first, ticks[first : first + size], ticks[0])
        ]
        assert [frame.number for frame in parts] == list(range(40))
        for mine, theirs in zip(parts, whole, strict=True):
            assert mine.time == pytest.approx(theirs.time, abs=1e-6)
            np.testing.assert_array_equal(mine.image, theirs.image)


def test_videos_are_divided_among_shards(tmp_path: Path, make_predictor: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "in/b.mp4")
    photo(tmp_path / "in/a.png")
    photo(tmp_path / "in/c.png")
    plan = run(make_plan([str(tmp_path / "in")], tmp_path / "out", size=9), make_predictor())
    assert (plan.rows, plan.shards) == (42, 5)
    assert [len(plan.file(shard).read_text().splitlines()) for shard in range(5)] == [9, 9, 9, 9, 6]
    frames = [(row["frame"], row["time"]) for row in rows(plan) if "frame" in row]
    assert [number for number, _ in frames] == list(range(40))
    assert frames[-1][1] == pytest.approx(39 / 20, abs=1e-3)
    # Packets that do not tell: the video is one input, read from its beginning.
    monkeypatch.setattr(shard_inputs, "frame_times", lambda file: None)
    other = run(make_plan([str(tmp_path / "in")], tmp_path / "other", size=9), make_predictor())
    assert [row.get("frame") for row in rows(other)] == [None, *range(40), None]
    boxes: Any = SimpleNamespace(boxes="boxes.json", settings=RECIPE.settings)
    with pytest.raises(ConfigError, match=r"b.mp4 is a video, and --boxes has no boxes for its frames"):
        plan_shards(boxes, [str(tmp_path / "in")], tmp_path / "third")


def test_processes_share_the_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    store = torch.distributed.HashStore()
    taken: list[list[int]] = [[], [], []]

    begun: list[int] = []

    def work(rank: int) -> None:
        queue = ShardQueue(Place())
        queue.place, queue.store = Place(rank, 3), store
        queue.after_first(lambda: begun.append(rank))
        taken[rank] += queue.take(50)
        queue.finish()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (2, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun[0] == 0
    assert sorted(shard for mine in taken for shard in mine) == list(range(50))
    assert list(ShardQueue(Place()).take(3)) == [0, 1, 2]
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="RANK=2 is not a process of WORLD_SIZE=2"):
        Place.of_environment()


def test_all_processes_compute_the_network_in_one_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_predictor: Make
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(type(make_predictor().worker), "expect", lambda self, images: asked.append(images))
    monkeypatch.setattr(Recipe, "predictor", lambda self, device: make_predictor())
    config = TopDownConfig.model_construct(method="middles", test=TopDownConfig.model_fields["test"].get_default())
    recipe = Recipe(config, "w.pt")
    assert with_runtime(recipe, tmp_path, "cuda:1", 500) is recipe, "only CPUs have a choice"
    assert [with_runtime(recipe, tmp_path, "cpu", 500).config.test.runtime for _ in range(2)] == ["torch", "torch"]
    assert asked == [500], "chosen once"
    chosen = {"test.runtime": "openvino", "test.precision": "bf16"}
    (tmp_path / "runtime.json").write_text(json.dumps(chosen))
    test = with_runtime(recipe, tmp_path, "cpu", 500).config.test
    assert (test.runtime, test.precision) == ("openvino", "bf16")
    (tmp_path / "runtime.json").write_text('{"test.runtime": "abacus", "test.precision": "fp32"}')
    with pytest.raises(DataError, match="does not name a runtime: delete it"):
        with_runtime(recipe, tmp_path, "cpu", 500)


def test_a_batch_of_ray_gives_a_table(monkeypatch: pytest.MonkeyPatch, make_predictor: Make) -> None:
    pytest.importorskip("pyarrow")
    from pose_core.inference.ray import PosePredictor

    monkeypatch.setattr(Recipe, "predictor", lambda self, device: make_predictor())
    config: Any = make_predictor().config
    contents = np.array([encoded(1), b"no picture", encoded(3)], object)
    table = PosePredictor(config, "w.pt", detector="whole")({"bytes": contents, "path": np.array(["a", "b", "c"])})
    found = table.to_pylist()
    assert [row["path"] for row in found] == ["a", "b", "c"]
    assert [row["width"] for row in found] == [9, None, 11]
    assert [len(row["keypoints"]) for row in found] == [1, 0, 1]
    assert [row["error"] is None for row in found] == [True, False, True]
    assert "not an image file" in found[1]["error"]
    images = np.empty(2, object)
    images[:] = [np.zeros((8, 9, 3), np.uint8), np.zeros((8, 10), np.uint8)]
    boxes = np.empty(2, object)
    boxes[:] = [np.array([[0.0, 0, 4, 4], [0, 0, 8, 8]]), np.zeros((0, 4))]
    again = PosePredictor(config, "w.pt", boxes="people")({"image": images, "people": boxes})
    assert again.schema == table.schema.remove(0), "blocks have one schema, also without people"
    assert again.to_pylist()[0]["keypoints"][1][0] == [4.0, 4.0]
    assert [len(row["boxes"]) for row in again.to_pylist()] == [2, 0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "--list", "x"], "--list is for shards: add --format jsonl or --format parquet"),
        (["a.png", "--format", "jsonl", "--csv"], "--csv does not go with --format"),
        (["--format", "jsonl"], "name at least one image"),
        (["a.png", "--format", "csv"], "invalid choice: 'csv'"),
    ],
)
def test_wrong_arguments_are_said(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert main(["predict", *words]) == 2
    assert message in capsys.readouterr().err


def test_several_processes_need_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "a.png")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["predict", str(tmp_path / "a.png")]) == 2
    assert "several processes predict in shards only" in capsys.readouterr().err


def test_identity_is_the_file_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert identity(Unit("a/../b.jpg")) == identity(Unit(str(tmp_path / "b.jpg")))
    assert identity(Unit("a.tar", "1.jpg", 512)) != identity(Unit("a.tar", "1.jpg", 2048))
