"""
A real browser: headless Chromium, driven by ChromeDriver over WebDriver
(https://www.w3.org/TR/webdriver2/).
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer

_ARGUMENTS = [
    "--headless",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
]


def missing() -> str | None:
    """
    The programs that tests with a browser lack here, or L{None}.
    """
    for name in ("chromium", "chromedriver"):
        if shutil.which(name) is None:
            return f"there is no {name} (Debian: apt-get install chromium chromium-driver)"
    return None


@contextmanager
def browsing() -> Generator[Browser]:
    """
    Run a browser as long as the block lasts.  Its start and its end do not use the
    reactor; all commands do.
    """
    with tempfile.TemporaryDirectory() as profile:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert driver.stdout is not None
            ready = (re.search(r"successfully on port (\d+)", line) for line in driver.stdout)
            base = f"http://127.0.0.1:{next(match[1] for match in ready if match)}/session"
            arguments = [*_ARGUMENTS, f"--user-data-dir={profile}"]
            if os.geteuid() == 0:
                arguments.append("--no-sandbox")  # Chromium has no sandbox for root
            wanted = {
                "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            made = _blockingly("POST", base, {"capabilities": {"alwaysMatch": wanted}})
            session = f"{base}/{made['sessionId']}"
            yield Browser(session)
            _blockingly("DELETE", session)
        finally:
            driver.terminate()
            driver.communicate()


def _blockingly(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["value"]


class _Body(Protocol):
    """
    The body of an answer.
    """

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred()
        self._received = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """
        Collect it.
        """
        self._received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Give the body out: it is complete.
        """
        self.whole.callback(bytes(self._received))


class Browser:
    """
    A browser with one window.
    """

    def __init__(self, session: str) -> None:
        from twisted.internet import reactor

        self._session = session
        self._agent = Agent(reactor)

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """
        Send one WebDriver command.
        """
        sent = None if body is None else FileBodyProducer(BytesIO(json.dumps(body).encode()))
        url = f"{self._session}{path}".encode()
        response = await maybeDeferred(self._agent.request, method.encode(), url, None, sent)
        received = _Body()
        response.deliverBody(received)
        answer = json.loads(await received.whole)["value"]
        if response.code != 200:
            raise AssertionError(f"{path}: {answer['message']}")
        return answer

    async def open(self, url: str) -> None:
        """
        Go to a page.
        """
        await self.ask("POST", "/url", {"url": url})

    async def run(self, script: str, *arguments: object) -> Any:
        """
        Run JavaScript on the page.

        @return: the result of the script.
        """
        body = {"script": script, "args": list(arguments)}
        return await self.ask("POST", "/execute/sync", body)

    async def wait(self, condition: str, *arguments: object) -> Any:
        """
        Wait until an expression is true on the page.  The test's deadline bounds
        the wait.
        """
        script = f"""
            const done = arguments[arguments.length - 1];
            const look = () => {{
                const value = {condition};
                if (value) done(value); else setTimeout(look, 20);
            }};
            look();
        """
        return await self.ask("POST", "/execute/async", {"script": script, "args": list(arguments)})

    async def emulate(self, command: str, **parameters: object) -> Any:
        """
        Send a command of the DevTools protocol.
        """
        body = {"cmd": command, "params": parameters}
        return await self.ask("POST", "/goog/cdp/execute", body)

    async def look(self, width: int, height: int, dark: bool = False) -> None:
        """
        Change the size of the window and the colours that the user prefers.
        """
        await self.emulate(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.emulate("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self) -> bytes:
        """
        A picture of the window, as PNG.
        """
        return base64.b64decode(await self.ask("GET", "/screenshot"))

    async def complaints(self) -> list[str]:
        """
        The browser's complaints: errors, and violations of the
        Content-Security-Policy.
        """
        lines = await self.ask("POST", "/se/log", {"type": "browser"})
        return [line["message"] for line in lines if line["level"] != "INFO"]
