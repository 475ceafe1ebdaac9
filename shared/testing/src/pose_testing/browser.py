"""A headless Chromium that tests drive over a pipe, with its developer protocol; nothing but the standard library."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60
START = """
import fcntl, os, sys
pair = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(pair[0], 3), os.dup2(pair[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts Chromium with the protocol's pipes under the numbers that it expects."""


def find_chromium() -> str | None:
    """Return the path of an installed Chromium, None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """A page in a headless Chromium; ``events`` are all that it has reported so far."""

    def __init__(self, program: str, profile: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.number, self.rest, self.session = 0, b"", ""
        to_read, self.writing = os.pipe()
        self.reading, to_write = os.pipe()
        flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(to_read), str(to_write), program, *flags.split(),
             "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        targets = self._wait_for_page()
        self.session = self.send("Target.attachToTarget", targetId=targets, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self.writing)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.reading)

    def send(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return its result."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path) -> None:
        """Open a file and wait until it is loaded; events of an earlier page are dropped."""
        self.events.clear()
        self.send("Page.navigate", url=page.absolute().as_uri())
        self.wait_for("Page.loadEventFired")

    def wait_for(self, method: str) -> None:
        """Wait until an event has been reported."""
        while not any(event["method"] == method for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def pdf(self) -> bytes:
        """Return the page as it prints."""
        return base64.b64decode(self.send("Page.printToPDF")["data"])

    def requests(self) -> list[str]:
        """Return the addresses that the page has asked for, without data in the page itself."""
        sent = [event["params"]["request"]["url"] for event in self.events if event["method"].endswith("BeSent")]
        return [url for url in sent if not url.startswith("data:")]

    def complaints(self) -> list[Any]:
        """Return what the page has logged, thrown or asked in a dialog."""
        kinds = {
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        }
        return [event["params"] for event in self.events if event["method"] in kinds]

    def _wait_for_page(self) -> str:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for target in self.send("Target.getTargets")["targetInfos"]:
                if target["type"] == "page":
                    return str(target["targetId"])
            time.sleep(0.05)
        raise AssertionError("Chromium opened no page")

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reading], [], [], SECONDS)
            block = os.read(self.reading, 1 << 20) if ready else b""
            if not block:
                raise AssertionError("Chromium ended or did not answer")
            self.rest += block
        message, _, self.rest = self.rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found
