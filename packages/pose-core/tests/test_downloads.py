"""Downloads from a server on this machine: faults, their messages, and what they leave in the folder."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pose_core import downloads
from pose_core.downloads import digest_of, fetch
from pose_core.errors import PoseError
from pose_core.plurals import size_text

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path, ``/truncated/weights.pth``."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        self.server.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        turn = len(self.server.requests)
        if kind == "gone":
            self.send_error(404)
        elif kind == "busy" and turn < 3:
            self.send_error(503)
        elif kind == "moved":
            self.send_response(302)
            self.send_header("Location", f"/good/{self.path.split('/')[2]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif kind == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/weights.pth")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif kind == "reset" and turn == 1:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.content)))
            self.send_header("ETag", self.server.tag)
            self.end_headers()
            self.wfile.write(self.server.content[:100_000])
            self.wfile.flush()
            time.sleep(0.2)
            # Closing with a linger time of zero resets the connection.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif kind == "silent":
            self.server.released.wait(20)
        else:
            self.send(kind, turn)

    def send(self, kind: str, turn: int) -> None:
        content = self.server.content
        start = 0
        asked = self.headers.get("Range")
        if asked and kind != "whole" and self.headers.get("If-Range") in {None, self.server.tag}:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if kind != "untagged":
            self.send_header("ETag", self.server.tag)
        if kind != "unsized":
            self.send_header("Content-Length", str(len(content) - start))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        body = content[start:]
        if kind in {"truncated", "whole", "untagged"} and turn == 1:
            body = body[:100_000]
        elif kind == "cut":
            body = body[:50_000]  # of every answer
        elif kind == "torn":
            body = content[:50_000] if not start else b""
        self.server.started.set()
        if kind in {"stalled", "dripping"} and not start:
            self.wfile.write(body[:100_000])
            while not self.server.released.wait(0.05):
                if kind == "dripping":
                    self.wfile.write(b"x")
            return
        if kind == "waiting":
            self.wfile.write(body[:100_000])
            self.server.released.wait(20)
            body = body[100_000:]
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag = CONTENT, '"1"'
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.started, self.released = threading.Event(), threading.Event()
        self.host = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that gives up


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    for name in ("POSE_OFFLINE", "POSE_WEIGHTS_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "home" / "downloads" / "weights.pth"


def names(target: Path) -> list[str]:
    """Return everything in the target's folder."""
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


def show(title: str, error: object, target: Path) -> None:
    """Print a fault, its message and the folder after it, for people who run this file with ``-s``."""
    print(f"\n--- {title}\n{error}\n    left: {names(target)}")


def test_a_file_arrives_whole_and_is_announced(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{server.host}/good/weights.pth"
    assert fetch(url, target, sha256=SHA256[:8], about="a network, license MIT") == target
    assert target.read_bytes() == CONTENT
    text = capsys.readouterr().err
    assert text == "downloading weights.pth (300 kB) from 127.0.0.1\n  a network, license MIT\n"
    assert names(target) == ["weights.pth"]
    fetch(url, target, sha256=SHA256[:8])
    assert len(server.requests) == 1
    show("good", text, target)


def test_a_truncated_file_is_continued_at_once(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(f"{server.host}/truncated/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert [request[1:] for request in server.requests] == [(None, None), ("bytes=100000-", '"1"')]
    text = capsys.readouterr().err
    assert "127.0.0.1 closed the connection after 100 kB of 300 kB; trying again in 0.01 s" in text
    assert "continued at 100 kB" in text
    assert names(target) == ["weights.pth"]
    show("truncated, then resumed", text, target)


def test_without_a_tag_or_a_hash_a_file_starts_again(server: Server, target: Path) -> None:
    fetch(f"{server.host}/untagged/weights.pth", target)
    assert target.read_bytes() == CONTENT
    assert server.requests[1][1] is None


def test_a_server_that_sends_no_parts_sends_the_whole_again(server: Server, target: Path) -> None:
    fetch(f"{server.host}/whole/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_an_unknown_size_is_said(server: Server, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(f"{server.host}/unsized/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert "(unknown size)" in capsys.readouterr().err


def test_a_server_that_always_breaks_but_advances_is_followed_to_the_end(server: Server, target: Path) -> None:
    fetch(f"{server.host}/cut/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 6


def test_attempts_without_progress_are_bounded_and_the_part_is_kept(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{server.host}/torn/weights.pth"
    with pytest.raises(PoseError, match="the 50 kB received so far are kept, run it again to continue") as caught:
        fetch(url, target, sha256=SHA256)
    assert len(server.requests) == 1 + downloads.ATTEMPTS - 1
    assert names(target) == [".weights.pth.part", ".weights.pth.part.json"]
    show("broken again and again", caught.value, target)


def test_the_next_call_continues_what_was_kept(server: Server, target: Path) -> None:
    url = f"{server.host}/torn/weights.pth"
    with pytest.raises(PoseError):
        fetch(url, target, sha256=SHA256)
    before = len(server.requests)
    record = target.with_name(".weights.pth.part.json")
    record.write_text(record.read_text().replace("torn", "good"))
    fetch(f"{server.host}/good/weights.pth", target, sha256=SHA256)
    assert server.requests[before][1] == "bytes=50000-"
    assert target.read_bytes() == CONTENT
    assert names(target) == ["weights.pth"]


def test_a_file_that_changed_meanwhile_starts_again(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    url = f"{server.host}/good/weights.pth"
    target.with_name(".weights.pth.part").write_bytes(b"old" * 1000)
    target.with_name(".weights.pth.part.json").write_text(f'{{"url": "{url}", "validator": "\\"0\\""}}')
    fetch(url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/good/weights.pth", "bytes=3000-", '"0"')]


def test_a_wrong_part_is_noticed_by_the_hash_and_loaded_again(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target.parent.mkdir(parents=True)
    url = f"{server.host}/good/weights.pth"
    target.with_name(".weights.pth.part").write_bytes(b"wrong" * 1000)
    target.with_name(".weights.pth.part.json").write_text(f'{{"url": "{url}", "validator": "\\"1\\""}}')
    fetch(url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert "wrong hash; starting from the beginning" in capsys.readouterr().err


def test_a_complete_part_needs_no_more_data(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    url = f"{server.host}/good/weights.pth"
    target.with_name(".weights.pth.part").write_bytes(CONTENT)
    target.with_name(".weights.pth.part.json").write_text(f'{{"url": "{url}", "validator": "\\"1\\""}}')
    fetch(url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing(server: Server, target: Path) -> None:
    with pytest.raises(PoseError, match=f"its SHA-256 is {SHA256}, expected 0123abcd; it was deleted") as caught:
        fetch(f"{server.host}/good/weights.pth", target, sha256="0123abcd")
    assert names(target) == []
    show("wrong hash", caught.value, target)


def test_a_stalled_server_is_left_after_the_timeout_and_the_download_continues(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(f"{server.host}/stalled/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    text = capsys.readouterr().err
    assert "127.0.0.1 sent nothing for 0.5 s; trying again" in text
    show("stalled, then continued", text, target)


def test_a_connection_that_is_reset_is_taken_up_again(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(f"{server.host}/reset/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    text = capsys.readouterr().err
    assert "the connection to 127.0.0.1 broke ([Errno 104] Connection reset by peer); trying again" in text
    show("connection reset", text, target)


def test_a_server_that_drips_counts_as_stalled(server: Server, target: Path) -> None:
    begin = time.monotonic()
    fetch(f"{server.host}/dripping/weights.pth", target)
    assert time.monotonic() - begin < 10
    assert len(server.requests) == 2


def test_a_server_that_never_answers_is_an_error(server: Server, target: Path) -> None:
    with pytest.raises(PoseError, match=r"failed: 127\.0\.0\.1 sent nothing for 0\.5 s") as caught:
        fetch(f"{server.host}/silent/weights.pth", target, sha256=SHA256)
    assert len(server.requests) == downloads.ATTEMPTS - 1
    assert names(target) == []
    show("never answers", caught.value, target)


def test_a_redirect_is_followed(server: Server, target: Path) -> None:
    fetch(f"{server.host}/moved/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert [request[0] for request in server.requests] == ["/moved/weights.pth", "/good/weights.pth"]


def test_a_redirect_to_another_protocol_is_refused(server: Server, target: Path) -> None:
    with pytest.raises(PoseError, match="cannot download") as caught:
        fetch(f"{server.host}/elsewhere/weights.pth", target, sha256=SHA256)
    assert names(target) == []
    show("redirected to ftp", caught.value, target)


def test_a_busy_server_is_asked_again(server: Server, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(f"{server.host}/busy/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert "127.0.0.1 answered 503 Service Unavailable; trying again in" in capsys.readouterr().err


def test_a_vanished_file_is_an_error_at_once(server: Server, target: Path) -> None:
    with pytest.raises(PoseError, match=r"the file is not there \(404 Not Found\)") as caught:
        fetch(f"{server.host}/gone/weights.pth", target, sha256=SHA256)
    assert "POSE_WEIGHTS_MIRROR" in str(caught.value)
    assert len(server.requests) == 1
    assert names(target) == []
    with pytest.raises(PoseError, match=r"\(404 Not Found\)$"):  # a photo has no mirror
        fetch(f"{server.host}/gone/photo.jpg", target)
    show("vanished", caught.value, target)


def test_a_refused_connection_is_an_error_at_once(server: Server, target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(PoseError, match=r"Connection refused\. Check the connection and the proxy") as caught:
        fetch(f"http://127.0.0.1:{port}/weights.pth", target, sha256=SHA256)
    assert names(target) == []
    show("connection refused", caught.value, target)


def test_an_unknown_host_is_an_error_at_once(server: Server, target: Path) -> None:
    with pytest.raises(PoseError, match=r"the name of nowhere\.invalid is not known") as caught:
        fetch("http://nowhere.invalid/weights.pth", target, sha256=SHA256)
    assert names(target) == []
    show("unknown host", caught.value, target)


def test_offline_names_the_file_to_provide(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_OFFLINE", "1")
    url = f"{server.host}/good/weights.pth"
    with pytest.raises(PoseError) as caught:
        fetch(url, target, sha256=SHA256)
    assert f"Download {url} on another machine and save it as {target}, or unset POSE_OFFLINE" in str(caught.value)
    assert server.requests == []
    assert names(target) == []
    show("offline", caught.value, target)
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert fetch(url, target, sha256=SHA256) == target


def test_a_mirror_folder_is_used_by_file_name_even_offline(
    server: Server, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "my mirror"
    mirror.mkdir()
    monkeypatch.setenv("POSE_WEIGHTS_MIRROR", str(mirror))
    monkeypatch.setenv("POSE_OFFLINE", "1")
    url = f"{server.host}/gone/weights.pth"
    with pytest.raises(PoseError, match="POSE_WEIGHTS_MIRROR is set, so it is looked for there only") as caught:
        fetch(url, target, sha256=SHA256)
    show("not in the mirror", caught.value, target)
    (mirror / "weights.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(PoseError, match="is not the expected file"):
        fetch(url, target, sha256=SHA256)
    (mirror / "weights.pth").write_bytes(CONTENT)
    fetch(url, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["weights.pth"]
    assert server.requests == []


def test_a_mirror_url_is_used_for_files_with_a_known_hash(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSE_WEIGHTS_MIRROR", f"{server.host}/good/")
    fetch("https://vanished.invalid/a/b/weights%201.pth?x=1", target, sha256=SHA256)
    fetch(f"{server.host}/moved/photo.jpg", target.with_name("photo.jpg"))
    assert [request[0] for request in server.requests] == [
        "/good/weights%201.pth", "/moved/photo.jpg", "/good/photo.jpg",
    ]  # fmt: skip


def test_a_proxy_of_the_environment_is_used(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.host)
    monkeypatch.delenv("no_proxy", raising=False)
    fetch("http://nowhere.invalid/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.requests[0][0] == "http://nowhere.invalid/weights.pth"


def test_a_read_only_folder_serves_what_it_has_and_says_what_it_lacks(server: Server) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        home.mkdir()
        have, lacking = home / "have.pth", home / "lacking.pth"
        have.write_bytes(CONTENT)
        Path(folder).chmod(0o755)
        home.chmod(0o555)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)  # who may write anywhere would notice nothing
        try:
            assert fetch(f"{server.host}/good/have.pth", have, sha256=SHA256) == have
            with pytest.raises(PoseError, match=f"cannot write {lacking}: Permission denied") as caught:
                fetch(f"{server.host}/good/lacking.pth", lacking, sha256=SHA256)
        finally:
            os.seteuid(before)
            home.chmod(0o755)
        assert names(have) == ["have.pth"]
        show("read-only folder", caught.value, have)
    assert server.requests == []


@pytest.mark.parametrize("url", ["ftp://host/weights.pth", "weights.pth", "data:,x"])
def test_other_protocols_are_refused(url: str, target: Path) -> None:
    with pytest.raises(PoseError, match="must begin with https://"):
        fetch(url, target)


def test_two_processes_download_once(server: Server, target: Path) -> None:
    url = f"{server.host}/waiting/weights.pth"
    code = (
        "import sys; from pathlib import Path; from pose_core.downloads import fetch; "
        f"fetch({url!r}, Path({str(target)!r}), sha256={SHA256!r})"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert server.started.wait(60)
    time.sleep(0.5)
    server.released.set()
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert names(target) == ["weights.pth"]
    show("two processes", "\n".join(said), target)


def test_a_killed_process_leaves_only_a_hidden_part(server: Server, target: Path) -> None:
    url = f"{server.host}/waiting/weights.pth"
    code = f"from pathlib import Path; from pose_core.downloads import fetch; fetch({url!r}, Path({str(target)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    assert server.started.wait(60)
    part = target.with_name(".weights.pth.part")
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait(30)
    assert names(target) == [".weights.pth.lock", ".weights.pth.part", ".weights.pth.part.json"]
    show("killed", "", target)
    kept = part.stat().st_size  # of the 100,000 bytes that were sent, those that were written
    server.released.set()
    fetch(url, target, sha256=SHA256)
    assert server.requests[-1][1] == f"bytes={kept}-"
    assert digest_of(target) == SHA256
    assert names(target) == ["weights.pth"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (114_300_000, "114 MB"), (2.5e9, "2.5 GB")],
)
def test_sizes_are_readable(size: float, text: str) -> None:
    assert size_text(size) == text
