"""A real browser, driven by selenium, in front of `mlflow ui`."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.ui import WebDriverWait

from tests.harness.process import free_port, responds, running, without
from tests.harness.project import BIN

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
ARGUMENTS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run
--disable-sync --disable-background-networking --disable-component-update --no-proxy-server --hide-scrollbars
--window-size=1400,940 --blink-settings=primaryHoverType=2,availableHoverTypes=2"""  # plots expect a mouse
SECONDS = 60  # until a page must show what it should

# What MLflow shows on a first visit only, and what covers the page until it is closed.
SEEN = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.detectIssues.guidanceShown_v1": "true",
}


class Browser:
    """One window, in front of one MLflow server."""

    def __init__(self, driver: Chrome, server: str):
        self.driver, self.server = driver, server
        self.open("/settings")
        for key, value in SEEN.items():
            self.run(f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)})")

    def open(self, page: str, *texts: str) -> str:
        """Show a page, wait until it contains all of these texts, and return all its words, one space apart."""
        self.driver.get("about:blank")  # a page that differs in its #fragment alone is not loaded again
        self.driver.get(f"{self.server}/#{page}")
        WebDriverWait(self.driver, SECONDS).until(
            lambda _: all(text in self._words() for text in texts), f"not all of {texts} on {page}"
        )
        return self._words()

    def link(self, text: str) -> str:
        """The page that a link leads to."""
        script = f"return [...document.links].find(link => link.innerText == {json.dumps(text)}).getAttribute('href')"
        return str(self.run(script)).removeprefix("#")

    def until(self, script: str) -> None:
        """Wait until a piece of JavaScript returns true."""
        WebDriverWait(self.driver, SECONDS).until(lambda _: bool(self.run(script)), script)

    def run(self, script: str) -> Any:
        """What a piece of JavaScript returns on the page."""
        return self.driver.execute_script(script)

    def picture(self) -> bytes:
        """What is visible, as PNG."""
        return self.driver.get_screenshot_as_png()

    def _words(self) -> str:
        return " ".join(str(self.run("return document.body.innerText")).split())


@contextmanager
def chromium(folder: Path, *arguments: str) -> Iterator[Chrome]:
    """A window of Chromium, which keeps its files in a folder."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in [*ARGUMENTS.split(), f"--user-data-dir={folder / 'profile'}", *arguments]:
        options.add_argument(argument)
    driver = Chrome(options, ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def browser(folder: Path, server: str) -> Iterator[Browser]:
    """A browser that keeps its files in a folder."""
    with chromium(folder) as driver:
        yield Browser(driver, server)


@contextmanager
def mlflow_ui(project: Path, folder: Path | None = None) -> Iterator[str]:
    """The address of `mlflow ui` on the store of a project; its log is written to `folder`."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(BIN / "mlflow"), "ui", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command.append(f"--backend-store-uri=sqlite:///{project / 'mlflow.db'}")
    environment = without("MLFLOW_") | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # more processes, for what no test looks at
    with running(
        command, (folder or project) / "ui.log", lambda: responds(f"{address}/health"), cwd=project, env=environment
    ):
        yield address
