"""Downloads: said before they start, resumed when interrupted, checked before they are used.

Environment: ``POSE_OFFLINE=1`` refuses to use the network. ``POSE_WEIGHTS_MIRROR`` is a folder or URL where files with
a known hash are looked for by name instead. Proxies are those of ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import math
import os
import re
import shutil
import socket
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from pose_core.errors import PoseError
from pose_core.files import open_in_place, whole_file, write_json
from pose_core.plurals import size_text
from pose_core.reading.regular import read_regular
from pose_core.verbosity import is_quiet, no_bar

TIMEOUT = 20.0
"""Seconds without a connection or without data after which an attempt is given up."""
SLOWEST = 512
"""Bytes per second below which a connection counts as stalled."""
ATTEMPTS = 4
"""Attempts in a row that may end without any new data."""
PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""
CHUNK = 1 << 18
MAX_RECORD = 1 << 16
"""Largest size in bytes of the record beside a partial file; it holds an address and a tag."""
MIRROR = "POSE_WEIGHTS_MIRROR may name a folder or URL that holds copies"


class _Interrupted(Exception):
    """The connection broke or stalled; another attempt may continue."""


def fetch(url: str, target: Path, *, sha256: str = "", about: str = "", limit: float = math.inf) -> Path:
    """Download ``url`` (http, https or file) to ``target`` unless that exists; return ``target``.

    ``sha256`` is the expected hash or its first digits; a file with another one never appears as ``target``.
    ``about`` tells the user what it is and under which license. An interrupted download continues the next time. A
    file of more than ``limit`` bytes is refused.
    """
    if target.is_file():
        return target
    source = _mirrored(url) if sha256 else url
    scheme = urlsplit(source).scheme
    if scheme not in {"http", "https", "file"}:
        raise PoseError(f"cannot download {source}: the address must begin with https://, http:// or file://")
    if scheme == "file":
        return _copy(local_path(source), target, url, sha256)
    if is_offline():
        raise PoseError(
            f"{file_name(url)} is not on this machine, and POSE_OFFLINE is set. Download {url} on another machine and "
            f"save it as {target}, or unset POSE_OFFLINE"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target):
            if not target.is_file():  # another process may have been faster
                _download(source, target, sha256, about, limit)
    except OSError as error:
        raise PoseError(
            f"cannot write {target}: {error.strerror or error}. POSE_HOME sets the folder of downloads; or download "
            f"{url} yourself and save it as that file"
        ) from None
    return target


def is_offline() -> bool:
    """Return whether ``POSE_OFFLINE`` forbids using the network."""
    return os.environ.get("POSE_OFFLINE", "").lower() not in {"", "0", "false", "no"}


def file_name(url: str) -> str:
    """Return the file name in a URL."""
    decoded = re.split(r"[/\\]", unquote(urlsplit(url).path).rstrip("/"))[-1]  # %2F is a slash, too
    name = "".join(character if character.isprintable() else "_" for character in decoded)
    return name if name.strip(".") else "download"


def local_path(url: str) -> Path:
    """Return the path of a ``file://`` URL."""
    return Path(urllib.request.url2pathname(urlsplit(url).path))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mirrored(url: str) -> str:
    """Return the address of a file in the mirror, if there is one."""
    mirror = os.environ.get("POSE_WEIGHTS_MIRROR")
    if not mirror or urlsplit(url).scheme == "file":
        return url
    name = file_name(url)
    if urlsplit(mirror).scheme in {"http", "https", "file"}:
        return f"{mirror.rstrip('/')}/{quote(name)}"
    return (Path(mirror).expanduser().absolute() / name).as_uri()


def _copy(source: Path, target: Path, url: str, sha256: str) -> Path:
    """Copy a file of this machine, checked."""
    if not source.is_file():
        mirror = "; POSE_WEIGHTS_MIRROR is set, so it is looked for there only" if _mirrored(url) != url else ""
        raise PoseError(f"{source} does not exist{mirror}")
    digest = digest_of(source)
    if not digest.startswith(sha256.lower()):
        raise PoseError(f"{source} is not the expected file: its SHA-256 is {digest}, expected {sha256}")
    with whole_file(target) as out, source.open("rb") as file:
        shutil.copyfileobj(file, out)
    return target


def _download(url: str, target: Path, sha256: str, about: str, limit: float) -> None:
    """Download to a hidden partial file, and rename it when it is complete and its hash is right."""
    partial, record = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.part.json")
    furthest, fruitless, resumed, restarted = 0, 0, False, False
    while True:
        try:
            start = _resumable(url, partial, record, sha256)
            resumed, furthest = resumed or start > 0, max(furthest, start)
            _receive(url, start, partial, record, about, limit, mirror_hint=bool(sha256))
        except _Interrupted as error:
            size = partial.stat().st_size if partial.exists() else 0
            fruitless = 0 if size > furthest else fruitless + 1
            furthest, about = max(furthest, size), ""
            if fruitless == ATTEMPTS - 1:
                kept = f"; the {size_text(size)} received so far are kept, run it again to continue" if size else ""
                raise PoseError(f"downloading {url} failed: {error}{kept}") from None
            pause = PAUSE * 2**fruitless
            _say(f"{error}; trying again in {pause:g} s")
            time.sleep(pause)
            continue
        digest = digest_of(partial)
        if digest.startswith(sha256.lower()):
            break
        partial.unlink()
        record.unlink(missing_ok=True)
        if restarted or not resumed:
            raise PoseError(
                f"{url} is not the expected file: its SHA-256 is {digest}, expected {sha256}; it was deleted. The file "
                "was replaced at its source, or changed on the way (a proxy or a login page)"
            )
        _say("the continued download has a wrong hash; starting from the beginning")
        restarted = True
    partial.replace(target)
    record.unlink(missing_ok=True)


def _resumable(url: str, partial: Path, record: Path, sha256: str) -> int:
    """Return the size of a partial file that can be continued; delete any other."""
    try:
        found = partial.lstat()  # a link that someone has put there is removed, not followed
        validator = _validator(url, record)
        if (validator or (sha256 and validator is not None)) and stat.S_ISREG(found.st_mode):
            return found.st_size
    except OSError:
        pass
    partial.unlink(missing_ok=True)
    record.unlink(missing_ok=True)
    return 0


def _validator(url: str, record: Path) -> str | None:
    """Return the noted validator of a partial file's content, which may be empty; None if it is not of ``url``."""
    try:
        known = json.loads(read_regular(record, "the record of a download", limit=MAX_RECORD, error=PoseError))
        noted = known["url"] == url and known["validator"]
    except (PoseError, ValueError, RecursionError, KeyError, TypeError):
        return None
    # It becomes a header of the request.
    return noted if isinstance(noted, str) and noted.isprintable() and noted.isascii() else None


def _open_partial(partial: Path, start: int) -> BinaryIO:
    """Open a partial file to continue at byte ``start``; at 0 it is made anew, so that it is nobody else's."""
    if not start:
        partial.unlink(missing_ok=True)
    file = open_in_place(partial, private=True)
    file.truncate(start)
    return file


def _receive(url: str, start: int, partial: Path, record: Path, about: str, limit: float, *, mirror_hint: bool) -> None:
    """Receive a file from byte ``start``, the size of its part; raise `_Interrupted` where another try may help."""
    headers = {"User-Agent": "pose-core"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator := _validator(url, record):
            headers["If-Range"] = validator
    host = urlsplit(url).hostname or ""
    try:
        with _open(urllib.request.Request(url, headers=headers)) as response:
            start, total = _placed(response, start)
            if (total or 0) > limit:
                raise PoseError(f"{url} is larger than {size_text(limit)}: download it yourself and give the file")
            validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            # A weak tag does not promise the same bytes.
            write_json(record, {"url": url, "validator": "" if validator.startswith("W/") else validator}, sync=False)
            size = size_text(total) if total is not None else "unknown size"
            more = f", continued at {size_text(start)}" if start else ""
            what = f"\n  {about}" if about else ""
            _say(f"downloading {file_name(url)} ({size}{more}) from {urlsplit(response.url).hostname}{what}")
            with _open_partial(partial, start) as file:
                got = start
                for block in _progress(_blocks(response), start, total):
                    file.write(block)
                    got += len(block)
                    if got > limit:
                        break
            if got > limit:
                partial.unlink()
                record.unlink()
                raise PoseError(f"{url} is larger than {size_text(limit)}: download it yourself and give the file")
            if total is not None and got < total:
                raise _Interrupted(f"{host} closed the connection after {size_text(got)} of {size_text(total)}")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing is left to send, or the file has changed
            if error.headers.get("Content-Range", "").endswith(f"/{start}"):
                return
            partial.unlink()
            raise _Interrupted(f"{host} has another file than before") from None
        if error.code == 429 or error.code >= 500:
            raise _Interrupted(f"{host} answered {error.code} {error.reason}") from None
        hint = {401: "it needs a login", 403: "access is refused", 404: "the file is not there", 410: "it was removed"}
        said = hint.get(error.code, "the download was refused")
        more = f". If you have the file, give its path; {MIRROR}" if mirror_hint else ""
        raise PoseError(f"cannot download {url}: {said} ({error.code} {error.reason}){more}") from None
    except TimeoutError:
        raise _Interrupted(f"{host} sent nothing for {TIMEOUT:g} s") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Interrupted(f"{host} did not answer for {TIMEOUT:g} s") from None
        said = getattr(error.reason, "strerror", None) or str(error.reason)
        if isinstance(error.reason, socket.gaierror):
            said = f"the name of {host} is not known; this machine may not be connected to the internet"
        more = f"; {MIRROR}" if mirror_hint else ""
        raise PoseError(
            f"cannot download {url}: {said}. Check the connection and the proxy (HTTPS_PROXY){more}"
        ) from None
    except (http.client.HTTPException, ConnectionError) as error:
        raise _Interrupted(f"the connection to {host} broke ({error})") from None


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Open a URL through the proxies of the environment; redirects lead to http and https only."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(), urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT)
    return response


def _placed(response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
    """Return the place in the file where a response starts, and the size of the whole file if it is known."""
    length = response.headers.get("Content-Length")
    left = int(length) if length is not None and length.isdigit() else None
    if response.status != 206:
        return 0, left  # the whole file: it has changed, or the server does not send parts
    place = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if place != str(start):
        raise _Interrupted(f"{urlsplit(response.url).hostname} sent another part than was asked for")
    return start, None if left is None else start + left


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield data as it arrives; raise TimeoutError where less than `SLOWEST` arrives."""
    since, count = time.monotonic(), 0
    while True:
        try:
            block = response.read1(CHUNK)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(f"the connection to {urlsplit(response.url).hostname} broke ({error})") from None
        if not block:
            return
        yield block
        count += len(block)
        elapsed = time.monotonic() - since
        if elapsed > TIMEOUT:
            if count < SLOWEST * elapsed:
                raise TimeoutError
            since, count = time.monotonic(), 0


def _progress(blocks: Iterator[bytes], start: int, total: int | None) -> Iterator[bytes]:
    """Pass blocks on, and show a bar on a terminal, or a line every ten seconds elsewhere."""
    from tqdm import tqdm

    got, begin, last = start, time.monotonic(), time.monotonic()
    terminal = sys.stderr.isatty()
    with tqdm(
        total=total, initial=start, unit="B", unit_scale=True, leave=False, disable=no_bar(elsewhere=not terminal)
    ) as bar:
        for block in blocks:
            yield block
            got += len(block)
            bar.update(len(block))
            now = time.monotonic()
            if not terminal and not is_quiet() and now - last > 10:
                last = now
                part = f"{100 * got // total} % of {size_text(total)}" if total else size_text(got)
                _say(f"  {part}, {size_text(int((got - start) / (now - begin)))}/s")


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time make a file; the others wait, and find it."""
    path = target.with_name(f".{target.name}.lock")
    if path.is_symlink():
        path.unlink()
    while True:
        file = open_in_place(path, private=True)
        if not _take(file, wait=False):
            _say(f"another process is making {target.name}; waiting for it")
            _take(file, wait=True)
        # The process that had the lock deleted its file: a new one is needed.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            break
        file.close()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        file.close()


def _take(file: BinaryIO, *, wait: bool) -> bool:
    """Lock a file for this process; return False where another process has it and ``wait`` is false."""
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.5)
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
