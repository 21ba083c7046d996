"""The page of `pipeline demo` in Chromium, as a person sees and uses it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.harness import browser

NEEDED = pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER), reason="no Chromium with chromedriver is installed"
)
CUT = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # no name is known but this machine's
SECONDS = 60  # until the page must show what it should


class Page:
    """A window of Chromium in front of the page."""

    def __init__(self, driver: Chrome, address: str):
        self.driver, self.address = driver, address

    def open(self, state: str) -> None:
        """Show a tab, such as bits?input=01, as somebody does who follows a link."""
        self.driver.get("about:blank")  # else the address alone would change
        self.driver.get(f"{self.address}/#{state}")

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Make the window so large, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        mode = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [mode]})

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; elements that come and go do not matter."""
        WebDriverWait(self.driver, SECONDS, ignored_exceptions=(Exception,)).until(lambda _: condition())

    def find(self, selector: str) -> WebElement:
        """The first element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return len(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def words(self, selector: str) -> str:
        """The text of an element, one space apart."""
        return " ".join(self.find(selector).text.split())

    def shows(self, selector: str, text: str) -> None:
        """Wait until an element shows a text."""
        self.wait(lambda: text in self.words(selector))

    def click(self, selector: str) -> None:
        """Click an element when it is there."""
        self.wait(lambda: bool(self.count(selector)))
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def write(self, selector: str, text: str) -> None:
        """Replace the text of a field, and leave it."""
        self.wait(lambda: bool(self.count(selector)))
        self.find(selector).send_keys(Keys.CONTROL, "a")
        self.find(selector).send_keys(text or Keys.DELETE, Keys.TAB)

    def choose(self, selector: str, value: str) -> None:
        """Choose from a list, by the value of an option."""
        self.click(f"{selector} option[value='{value}']")
        change = f"const list = document.querySelector({json.dumps(selector)}); list.value = {json.dumps(value)};"
        self.run(change + "list.dispatchEvent(new Event('change'))")

    def draw(self, *points: tuple[int, int]) -> None:
        """Draw a line with the mouse, by offsets from the middle of the pad."""
        pad, actions = self.find("#pad"), ActionChains(self.driver, duration=20)
        actions.move_to_element_with_offset(pad, *points[0]).click_and_hold()
        for point in points[1:]:
            actions.move_to_element_with_offset(pad, *point)
        actions.release().perform()

    def run(self, script: str, *arguments: Any) -> Any:
        """What a piece of asynchronous JavaScript returns; `given` is its first argument."""
        wrapped = f"const [given] = arguments, done = arguments[arguments.length - 1]; (async () => {{ {script} }})()"
        return self.driver.execute_async_script(f"{wrapped}.then(done, (error) => done(String(error)))", *arguments)

    def problems(self) -> list[str]:
        """What the browser has complained about: errors, and what the policy of the page has refused."""
        log: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log if entry["level"] in ("WARNING", "SEVERE")]


@contextmanager
def opened(folder: Path, address: str) -> Iterator[Page]:
    """The page in a browser that keeps its files in a folder and can reach this machine alone."""
    with browser.chromium(folder, CUT) as driver:
        driver.set_script_timeout(SECONDS)
        yield Page(driver, address)
