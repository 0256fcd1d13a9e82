"""Debian's Chromium, driven over its debugging pipe: what a person does in a browser, and pictures of what they see."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
WIDTH, HEIGHT = 1280, 800
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--lang=zh-CN",
    f"--window-size={WIDTH},{HEIGHT}",
)
# The pipe is at the numbers 3 and 4 of the browser's process.
_AT_THREE_AND_FOUR = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class PageError(AssertionError):
    """What a person would look for is not on the page; the message shows what is."""


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.size(WIDTH, HEIGHT)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, session=self._session, **parameters)

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, address: str) -> None:
        """Loads a page; what appears later is waited for by whoever needs it."""
        found = self.call("Page.navigate", url=address)
        assert "errorText" not in found, f"{address}: {found['errorText']}"
        self.wait("document.readyState === 'complete'")

    def reload(self) -> None:
        self.evaluate("window.stale = true")
        self.call("Page.reload")
        self.wait("!window.stale && document.readyState === 'complete'")

    def evaluate(self, script: str) -> Any:
        """The value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise PageError(json.dumps(found["exceptionDetails"])[:1000])
        return found["result"].get("value")

    def wait(self, condition: str, within_seconds: float = 20) -> None:
        """Until an expression is true."""
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline:
            try:
                if self.evaluate(condition):
                    return
            except PageError as error:  # the page that was asked is just being left
                if "navigated" not in str(error) and "destroyed" not in str(error):
                    raise
            time.sleep(0.1)
        raise PageError(f"not within {within_seconds:g} s: {condition}; the page says: {self.text()[:1500]}")

    def text(self) -> str:
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait_for_text(self, *words: str, within_seconds: float = 20) -> None:
        for word in words:
            self.wait(f"document.body && document.body.innerText.includes({json.dumps(word)})", within_seconds)

    def wait_for_text_in_a_frame(self, word: str, within_seconds: float = 20) -> None:
        """The UI shows what a process says of itself in frames of their own."""
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline:
            snapshot = self.call("DOMSnapshot.captureSnapshot", computedStyles=[])
            if any(word in text for text in snapshot["strings"]):
                return
            time.sleep(0.1)
        raise PageError(f"not within {within_seconds:g} s in any frame: {word}")

    def click(self, script: str) -> None:
        """Clicks on the element of an expression, as a mouse does."""
        self.wait(f"!!({script})")
        self.evaluate(f"({script}).scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"(b => [b.x + b.width / 2, b.y + b.height / 2])(({script}).getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def click_until(self, script: str, condition: str, within_seconds: float = 60) -> None:
        """Clicks anew until it has had its effect: a page that is still being loaded loses what is done to it."""
        deadline = time.monotonic() + within_seconds
        while True:
            self.click(script)
            try:
                return self.wait(condition, within_seconds=5)
            except PageError:
                if time.monotonic() >= deadline:
                    raise

    def type(self, selector: str, text: str) -> None:
        """Types into a field."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def cookies_of(self, address: str) -> list[dict[str, Any]]:
        """What the browser would send to an address."""
        found: list[dict[str, Any]] = self.call("Network.getCookies", urls=[address])["cookies"]
        return found

    def picture(self, file: Path) -> None:
        """A PNG of what is to be seen."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


class Browser:
    """A browser of nobody's: its profile is thrown away."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb")
        self._numbers = itertools.count(1)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found

    def _read(self) -> dict[str, Any]:
        message = bytearray()
        while (byte := self._from.read(1)) not in (b"\0", b""):
            message += byte
        assert byte, "the browser has ended"
        found: dict[str, Any] = json.loads(message)
        return found

    def page(self) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        return Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def close(self) -> None:
        """Tells it to end, if it listens."""
        with suppress(OSError, AssertionError):
            self.call("Browser.close")
        self._to.close()
        self._from.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; nothing of it is left afterwards."""
    assert CHROMIUM, "Chromium is not installed (Debian: apt-get install chromium)"
    profile = tempfile.mkdtemp(prefix="liushui-browser-")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    flags = [*_FLAGS, f"--user-data-dir={profile}"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_THREE_AND_FOUR, str(theirs_in), str(theirs_out), CHROMIUM, *flags],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    browser = Browser(ours_out, ours_in)
    try:
        yield browser
    finally:
        browser.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(profile, ignore_errors=True)
