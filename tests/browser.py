"""A headless Chromium for tests, through the protocol of WebDriver, where Chromium and its driver are installed."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PROGRAMS = [shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")]
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]


class Browser:
    """One page at a time."""

    def __init__(self, address: str) -> None:
        self.address = address
        options = {"args": FLAGS, "binary": PROGRAMS[1]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.address += f"/session/{session['sessionId']}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A command of WebDriver."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310
            self.address + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)["value"]

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def show(self, page: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Open a file in a window of `width` x `height` CSS pixels, for readers who prefer a colour scheme."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("POST", "/url", {"url": page.resolve().as_uri()})

    def visit(self, address: str) -> None:
        """Open an address anew, even if only what is behind its # changes."""
        for place in ("about:blank", address):
            self.call("POST", "/url", {"url": place})

    def wait(self, expression: str, patience: float = 60) -> Any:
        """The value of an expression of JavaScript once there is one that counts as true."""
        end = time.monotonic() + patience
        while not (value := self.ask(expression)):
            assert time.monotonic() < end, f"never true in the page: {expression}"
            time.sleep(0.2)
        return value

    def click(self, selector: str, text: str = "") -> None:
        """Click what fits a selector of CSS, once it is there; of several, that with this text."""
        found, text = f"[...document.querySelectorAll({json.dumps(selector)})]", json.dumps(text)
        chosen = f"{found}.find(one => [one.textContent.trim(), ''].includes({text}))"
        end = time.monotonic() + 60
        while True:
            (element,) = self.wait(chosen).values()
            try:
                self.call("POST", f"/element/{element}/click", {})
            except urllib.error.HTTPError as error:  # it was drawn anew meanwhile, or something moves over it
                error.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
            else:
                return

    def ask(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        return self.call("POST", "/execute/sync", {"script": f"return {expression}", "args": []})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last call: `browser` are messages and errors, `performance` what was requested."""
        found: list[dict[str, Any]] = self.call("POST", "/se/log", {"type": kind})
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [event["request"]["url"] for event in sent]


def free_port() -> int:
    """One that nobody listens on, nor gets from the system in the next seconds, which gives out from 32768 upwards."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("100 ports are taken")


@contextmanager
def browser() -> Iterator[Browser]:
    """Start driver and browser, and end both."""
    port = free_port()
    driver = subprocess.Popen([str(PROGRAMS[0]), f"--port={port}", "--silent"], stdout=subprocess.DEVNULL)
    try:
        opened = Browser(_ready(f"http://127.0.0.1:{port}"))
        try:
            yield opened
        finally:
            opened.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(20)


def _ready(address: str) -> str:
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{address}/status", timeout=5):  # noqa: S310
                return address
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
