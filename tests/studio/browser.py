"""A headless Chromium, driven over a pipe by its own protocol (Chrome DevTools)."""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe "
    "--disable-background-networking --disable-component-update --disable-sync --mute-audio "
    "--autoplay-policy=no-user-gesture-required --force-color-profile=srgb"
)
_BAD = ("error", "warning", "assert")
WAIT_S = 60.0


class Browser:
    """One page; `told` collects what went wrong in it: console errors, exceptions, failed loads."""

    def __init__(self, profile: Path) -> None:
        mine, its = os.pipe(), os.pipe()
        line = f"exec {shlex.quote(str(CHROMIUM))} {_FLAGS} --user-data-dir={profile}"
        self.process = subprocess.Popen(
            ["bash", "-c", f"{line} 3<&{mine[0]} 4>&{its[1]} about:blank"],
            pass_fds=(mine[0], its[1]), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(mine[0])
        os.close(its[1])
        self._out, self._in, self._rest = mine[1], its[0], b""
        self._count, self.session, self.told = 0, "", []
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        try:
            self.session = ""
            self.call("Browser.close")
        finally:
            os.close(self._out)
            os.close(self._in)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        self._count += 1
        asked = {"id": self._count, "method": method, "params": values}
        if self.session:
            asked["sessionId"] = self.session
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        until = time.monotonic() + WAIT_S
        while True:
            said = self._read(until)
            if said.get("id") == asked["id"]:
                assert "error" not in said, (method, said["error"])
                return dict(said["result"])

    def _read(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        said = json.loads(line)
        self._noticed(said.get("method", ""), said.get("params", {}))
        return dict(said)

    def _noticed(self, method: str, about: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.told.append(json.dumps(about["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and about["type"] in _BAD:
            self.told.append(json.dumps(about["args"])[:600])
        elif method == "Log.entryAdded" and about["entry"]["level"] in _BAD:
            self.told.append(json.dumps(about["entry"])[:600])
        elif method == "Page.javascriptDialogOpening":
            self.events.append(about)

    def open(self, url: str, width: int, height: int = 1000) -> None:
        self.size(width, height)
        self.call("Page.navigate", url=url)

    def size(self, width: int, height: int = 1000) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip

    def run(self, script: str) -> Any:
        """Return the value of an expression, awaited."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True,
            userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = WAIT_S) -> None:
        """Wait until an expression is true."""
        limit = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < limit, f"never true: {script}"
            time.sleep(0.05)

    def click(self, query: str) -> None:
        """Click with the mouse in the middle of an element."""
        place = f"document.querySelector({json.dumps(query)})"
        self.run(f"{place}.scrollIntoView({{block: 'center'}})")
        box = self.run(f"{place}.getBoundingClientRect().toJSON()")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str, *, text: str = "", modifiers: int = 0) -> None:
        codes = {"Tab": 9, "Enter": 13, " ": 32, "Escape": 27, "ArrowDown": 40, "End": 35}
        about = {"key": name, "windowsVirtualKeyCode": codes.get(name, 0), "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def shot(self, path: Path, *, whole: bool = False) -> None:
        values: dict[str, Any] = {"format": "png"}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            values |= {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **values)["data"]))
