"""A real browser, steered through chromedriver (the WebDriver protocol), in front of `mlflow ui`."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
QUIET = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run
--disable-sync --disable-background-networking --disable-component-update --no-proxy-server --hide-scrollbars
--window-size=1400,940 --blink-settings=primaryHoverType=2,availableHoverTypes=2"""  # a mouse, as plots want one


# What MLflow shows on a first visit only, and what lies over the page until it is closed.
SEEN = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.detectIssues.guidanceShown_v1": "true",
}


class Browser:
    """One window, in front of one server."""

    def __init__(self, driver: str, profile: Path, server: str):
        options = {"binary": CHROMIUM, "args": [*QUIET.split(), f"--user-data-dir={profile}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.server = server
        self.session = f"{driver}/session/{_ask(f'{driver}/session', wanted)['sessionId']}"
        self.open("/settings")
        for key, value in SEEN.items():
            self.run(f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)})")

    def open(self, page: str, *texts: str) -> str:
        """Show a page, wait until it holds all of these texts, and return all its words, one space apart."""
        _ask(f"{self.session}/url", {"url": "about:blank"})  # or a page that differs in its #fragment is not loaded
        _ask(f"{self.session}/url", {"url": f"{self.server}/#{page}"})
        shown = ""

        def complete() -> bool:
            nonlocal shown
            shown = " ".join(self.run("return document.body.innerText").split())
            return all(text in shown for text in texts)

        assert _until(complete, 60), f"not all of {texts} in: {shown}"
        return shown

    def link(self, text: str) -> str:
        """The page that a link leads to."""
        script = f"return [...document.links].find(link => link.innerText == {json.dumps(text)}).getAttribute('href')"
        return str(self.run(script)).removeprefix("#")

    def until(self, script: str) -> None:
        """Wait until a piece of JavaScript returns true."""
        assert _until(lambda: bool(self.run(script)), 60), script

    def run(self, script: str) -> Any:
        """What a piece of JavaScript returns on the page."""
        return _ask(f"{self.session}/execute/sync", {"script": script, "args": []})

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(_ask(f"{self.session}/screenshot"))


@contextmanager
def browser(folder: Path, server: str) -> Iterator[Browser]:
    """A browser that keeps its things in a folder."""
    port = free_port()
    with _running([str(DRIVER), f"--port={port}"], folder / "chromedriver.log", folder):
        address = f"http://127.0.0.1:{port}"
        assert _until(lambda: _answers(f"{address}/status"), 30), (folder / "chromedriver.log").read_text()
        made = Browser(address, folder / "profile", server)
        try:
            yield made
        finally:
            _ask(made.session, method="DELETE")


@contextmanager
def ui(root: Path, folder: Path | None = None) -> Iterator[str]:
    """The address of `mlflow ui` over the mlflow.db of a root; its log stands in `folder`."""
    port, log = free_port(), (folder or root) / "ui.log"
    mlflow = str(Path(sys.executable).parent / "mlflow")
    command = [mlflow, "ui", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    with _running([*command, f"--backend-store-uri=sqlite:///{root / 'mlflow.db'}"], log, root):
        address = f"http://127.0.0.1:{port}"
        assert _until(lambda: _answers(f"{address}/health"), 120), log.read_text()
        yield address


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def _running(command: list[str], log: Path, folder: Path) -> Iterator[None]:
    """A program and its children, for as long as it is needed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment = kept | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (done := true()) and time.monotonic() < end:
        time.sleep(0.2)
    return done


def _answers(address: str) -> bool:
    try:
        with _OPEN.open(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _ask(address: str, content: dict[str, Any] | None = None, method: str | None = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    with _OPEN.open(request, timeout=120) as answer:
        return json.load(answer)["value"]


_OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine alone is asked, through no proxy
