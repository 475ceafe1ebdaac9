"""Files that grow in place, temporary files and caches: never through a link, and not for others to read."""

from __future__ import annotations

import http.server
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pose_core.downloads import fetch, locked
from pose_core.engine.run_folder import RunLock
from pose_core.engine.run_log import RunLog
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError, DataError
from pose_core.files import open_in_place
from pose_core.folders import cache_home, make_cache
from pose_core.synthetic import write_dataset
from pose_testing.tiny_task import Tiny, config

pytestmark = pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links need a privilege on this system")


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """Return a file of the user's, which must not change."""
    file = tmp_path / "victim"
    file.write_text("mine")
    yield file
    assert file.read_text() == "mine"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_not_opened(exists: bool, tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim if exists else tmp_path / "none")
    with pytest.raises(OSError, match="link to another file"):
        open_in_place(tmp_path / "link")
    assert not (tmp_path / "none").exists()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe or a device"):
        open_in_place(tmp_path / "pipe")


def test_a_file_that_grows_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        with open_in_place(tmp_path / "file", private=True) as file:
            file.write(b"a")
    assert (tmp_path / "file").read_text() == "aa"
    assert mode(tmp_path / "file") == 0o600


def test_a_run_s_lock_follows_no_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(victim)
    with pytest.raises(ConfigError, match=r"run/\.lock: it is a link to another file, which is not followed: remove"):
        RunLock(tmp_path / "run").__enter__()


@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl"])
def test_a_run_s_log_follows_no_link(
    name: str, tmp_path: Path, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLog(tmp_path, is_main=True) as log:
        (tmp_path / name).symlink_to(victim)
        log.say("hello")
        log.record("train", 1, 1, {"loss": 1.0})
    assert (
        f"cannot write {tmp_path / name}: it is a link to another file, which is not followed"
        in capsys.readouterr().err
    )


def test_a_run_s_log_shows_control_characters_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\x1b[31m\xff.jpg")
    log = RunLog(tmp_path, is_main=True)
    log.say(f"skipped {name}\n  and more")
    log.__exit__(ValueError, ValueError(name), None)
    text = (tmp_path / "log.txt").read_text()
    assert text.count("a\\x1b[31m\\udcff.jpg") == 2
    assert "\n  and more\n" in text


def test_a_run_s_metrics_are_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with RunLog(tmp_path, is_main=True) as log:
        log.record("train", 1, 1, {"loss": 1.0})
    assert "it is a pipe or a device" in capsys.readouterr().err


def test_a_new_run_moves_links_aside(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "tiny").mkdir()
    for name in ("log.txt", "config.yaml", "metrics.jsonl"):
        (tmp_path / "tiny" / name).symlink_to(victim)
    folder = train(Tiny(config(tmp_path, epochs=1)), overwrite=True).folder
    assert not any(path.is_symlink() for path in folder.iterdir())


class Slow(http.server.BaseHTTPRequestHandler):
    """A server whose file is ``content``."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/file"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("record", ["", '{"url": "URL", "validator": "\\"tag\\""}'])
def test_a_download_replaces_links_instead_of_following_them(
    record: str, address: str, tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSE_OFFLINE", raising=False)
    target = tmp_path / "cache" / "file"
    target.parent.mkdir()
    for name in (".file.part", ".file.lock"):
        (target.parent / name).symlink_to(victim)
    if record:
        (target.parent / ".file.part.json").write_text(record.replace("URL", address))
    else:
        (target.parent / ".file.part.json").symlink_to(victim)
    assert fetch(address, target).read_bytes() == b"content"
    assert [path.name for path in target.parent.iterdir()] == ["file"]
    assert mode(target) == 0o600


def test_partial_files_and_locks_are_private(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSE_OFFLINE", raising=False)
    seen = {}

    def look(blocks: Iterator[bytes], *_: object) -> Iterator[bytes]:
        for block in blocks:
            seen.update({path.name: mode(path) for path in tmp_path.iterdir()})
            yield block

    monkeypatch.setattr("pose_core.downloads._progress", look)
    fetch(address, tmp_path / "file")
    assert seen[".file.part"] == seen[".file.lock"] == 0o600


def test_the_folder_of_caches_is_the_owner_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "some" / "home"))
    before = os.umask(0)
    try:
        folder = make_cache("weights")
    finally:
        os.umask(before)
    assert folder == cache_home() / "weights"
    assert mode(cache_home()) == 0o700
    cache_home().chmod(0o750)  # the user's choice
    make_cache("weights")
    assert mode(cache_home()) == 0o750


def test_a_lock_that_is_a_link_is_removed(tmp_path: Path, victim: Path) -> None:
    (tmp_path / ".file.lock").symlink_to(victim)
    with locked(tmp_path / "file"):
        assert not (tmp_path / ".file.lock").is_symlink()


@pytest.mark.parametrize(
    "record",
    ["{", "[" * 100_000, "1" * 5000, "null", '{"url": "URL"}', '{"url": "URL", "validator": 5}',
     '{"url": "URL", "validator": "a\\r\\nX: y"}', '{"url": "other", "validator": "tag"}', None],
)  # fmt: skip
def test_a_damaged_record_starts_a_download_anew(
    record: str | None, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSE_OFFLINE", raising=False)
    (tmp_path / ".file.part").write_bytes(b"garbage")
    if record is None:
        os.mkfifo(tmp_path / ".file.part.json")
    else:
        (tmp_path / ".file.part.json").write_text(record.replace("URL", address))
    assert fetch(address, tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"layout": 5, "splits": 5}', '{"splits": []}', '{"layout": "coco"}']
)
def test_a_damaged_list_of_drawn_people_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / ".synthetic.json").write_text(content)
    with pytest.raises(DataError, match=r"\.synthetic\.json"):
        write_dataset(tmp_path, "coco", 1, (1, 1), size=(64, 64), val_images=1)


@pytest.mark.parametrize("zipped", [False, True])
def test_drawing_again_follows_no_link(zipped: bool, tmp_path: Path, victim: Path) -> None:
    def draw() -> None:
        write_dataset(
            tmp_path / "people", "coco", 2, (1, 1), size=(64, 64), val_images=1, zipped=zipped, overwrite=True
        )

    draw()
    image = next((tmp_path / "people").rglob("*.zip" if zipped else "*.jpg"))
    image.unlink()
    image.symlink_to(victim)
    draw()
    assert not image.is_symlink()
    assert image.is_file()


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "[" * 100_000, '{"arguments": {}}', '{"arguments": {"overrides": 5}}', "1" * 5000, "null",
     '{"arguments": {"minutes": "x", "images": 1, "val_images": 1, "seed": 1, "overrides": [], "device": null}}'],
)  # fmt: skip
def test_a_damaged_quickstart_is_named(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pose_core.cli.quickstart import claim

    (tmp_path / "quickstart.json").write_text(content)
    with pytest.raises(ConfigError, match=r"quickstart\.json is damaged: start over with --overwrite"):
        claim(tmp_path, resume=True, overwrite=False)


def test_a_pipe_in_place_of_the_quickstart_s_file_is_refused(tmp_path: Path) -> None:
    from pose_core.cli.quickstart import claim

    os.mkfifo(tmp_path / "quickstart.json")
    with pytest.raises(ConfigError, match="is a pipe or a device, not a file"):
        claim(tmp_path, resume=True, overwrite=False)
