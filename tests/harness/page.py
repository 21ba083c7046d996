"""The page of `pipeline demo` in Chromium, as a person sees and uses it."""

from collections.abc import Callable

from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

# A seven, in offsets from the middle of the canvas.
SEVEN = [(-70, -80), (-30, -80), (20, -80), (70, -80), (50, -40), (30, 0), (10, 40), (-10, 80), (-20, 110)]


class Page:
    """A window of Chromium in front of the page."""

    def __init__(self, driver: Chrome, address: str, query: str = ""):
        self.driver = driver
        driver.get("about:blank")
        driver.get(f"{address}/{query}")
        self.wait(lambda: self.find("#pad canvas").is_displayed())

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; elements that come and go do not matter."""
        WebDriverWait(self.driver, 30, ignored_exceptions=(Exception,)).until(lambda _: condition())

    def find(self, selector: str) -> WebElement:
        """The first element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def tab(self, name: str) -> None:
        """Open a tab."""
        tabs = self.driver.find_elements(By.CSS_SELECTOR, "button[role=tab]")
        next(tab for tab in tabs if tab.text == name and tab.is_displayed()).click()

    def shows(self, selector: str, text: str) -> None:
        """Wait until an element shows a text."""
        self.wait(lambda: text in self.words(selector))

    def words(self, selector: str) -> str:
        """The text of an element, one space apart."""
        return " ".join(self.find(selector).text.split())

    def draw(self, points: list[tuple[int, int]]) -> None:
        """Draw a line with the mouse, by offsets from the middle of the canvas."""
        canvas, actions = self.find("#pad canvas"), ActionChains(self.driver, duration=20)
        actions.move_to_element_with_offset(canvas, *points[0]).click_and_hold()
        for point in points[1:]:
            actions.move_to_element_with_offset(canvas, *point)
        actions.release().perform()

    def write(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        field = self.find(selector)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text or Keys.DELETE)

    def choose(self, selector: str, text: str) -> None:
        """Choose from a list."""
        self.find(f"{selector} input").click()
        self.wait(lambda: any(option.text == text for option in self._options()))
        next(option for option in self._options() if option.text == text).click()

    def _options(self) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, "[role=option]")
