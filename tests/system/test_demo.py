"""`pipeline demo` as a person uses it: in Chromium, whose network is cut but for this machine."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.harness import browser, project
from tests.harness.page import SEVEN, Page
from tests.harness.process import free_port, responds, running, with_path, without

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (browser.CHROMIUM and browser.DRIVER), reason="no Chromium with chromedriver is installed"),
]
CUT = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
BITS, MNIST, FABLE = project.MODELS
LARGER = "mnist-lstm256x2"
CONNECTIONS = """
import os, sys
def audit(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.getaddrinfo"):
        host = arguments[1][0] if event != "socket.getaddrinfo" and isinstance(arguments[1], tuple) else arguments[0]
        with open(os.environ["CONNECTIONS"], "a") as file:
            print(host if isinstance(host, (str, bytes)) else "another socket", file=file)
sys.addaudithook(audit)
"""


@pytest.fixture(scope="module")
def trained_for_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two models that read digits, one of them well enough for a drawing."""
    folder = project.make(tmp_path_factory.mktemp("demo") / "project", (*project.MODELS, LARGER))
    project.change(folder, f"models.{MNIST}.network.units", [64])
    project.change(folder, f"models.{MNIST}.network.dense", 64)
    project.change(folder, f"models.{MNIST}.recipes.fast.steps", 400)
    project.change(folder, f"models.{MNIST}.recipes.fast.batch_size", 64)
    project.commit(folder, "a network that reads digits")
    project.run(folder, "dvc", "repro")
    project.commit(folder, "trained")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder of its own, with the folder for temporary files and the record of connections beside it."""
    folder = tmp_path_factory.mktemp("person")
    for name in ("home", "tmp", "site"):
        (folder / name).mkdir()
    (folder / "site" / "sitecustomize.py").write_text(CONNECTIONS)
    return folder


def environment(home: Path) -> dict[str, str]:
    """What the program is started with."""
    settings = {
        "HOME": str(home / "home"),
        "TMPDIR": str(home / "tmp"),
        "PYTHONPATH": str(home / "site"),
        "CONNECTIONS": str(home / "connections.txt"),
    }
    return with_path(without("MLFLOW_", "PYTHONPATH", "GRADIO_", "XDG_"), project.BIN) | settings


@pytest.fixture(scope="module")
def address(trained_for_page: Path, home: Path) -> Iterator[str]:
    """The page of the project."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "pipeline", "demo", "--no-browser", "--port", str(port)]
    options: dict[str, Any] = {"cwd": trained_for_page, "env": environment(home), "stop": signal.SIGINT}
    with running(command, home / "demo.log", lambda: responds(address), **options):
        yield address
    log = (home / "demo.log").read_text()
    assert "Traceback" not in log, log
    assert not list((home / "tmp").iterdir()), "all temporary files are gone after Ctrl-C"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser.chromium(tmp_path_factory.mktemp("browser"), CUT) as driver:
        yield driver


@pytest.fixture
def page(chrome: Chrome, address: str) -> Page:
    """The page, just opened."""
    return Page(chrome, address)


def predicted(folder: Path, model: str, given: str) -> dict[str, Any]:
    """What the command line answers."""
    done = project.run(folder, sys.executable, "-m", "pipeline", "predict", model, given, "--json", ok=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def refused(folder: Path, model: str, given: str) -> str:
    """The sentence of the command line."""
    done = project.run(folder, sys.executable, "-m", "pipeline", "predict", model, given, ok=False)
    assert done.returncode == 2
    return done.stderr.removeprefix("error: ").strip()


def test_a_seven_that_is_drawn_is_read_as_seven(page: Page) -> None:
    page.draw(SEVEN)
    page.shows("#digit-answer", "Answer 7 7")
    assert "28 x 28 pixels" in page.words("#digit-seen")
    rows = page.driver.find_elements(By.CSS_SELECTOR, "#digit-steps tbody tr")
    assert len(rows) == 28, "the probabilities after each row"
    page.find("#pad button").click()
    page.wait(lambda: "7" not in page.words("#digit-answer"))


def test_the_answer_changes_while_a_digit_is_drawn(page: Page) -> None:
    canvas, actions = page.find("#pad canvas"), ActionChains(page.driver, duration=20)
    actions.move_to_element_with_offset(canvas, *SEVEN[0]).click_and_hold()
    for point in SEVEN[1:4]:
        actions.move_to_element_with_offset(canvas, *point)
    actions.perform()
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#digit-steps tbody tr")) == 28)
    ActionChains(page.driver).release().perform()


def test_a_digit_can_be_drawn_with_the_keyboard(page: Page) -> None:
    page.driver.execute_script("arguments[0].focus()", page.find("#pad canvas"))
    down = ActionChains(page.driver).key_down(Keys.SHIFT)
    for _ in range(22):
        down.send_keys(Keys.ARROW_DOWN)
    down.key_up(Keys.SHIFT).perform()
    page.shows("#digit-answer", "Answer 1 1")


def test_a_picture_is_read_as_on_the_command_line(page: Page, trained_for_page: Path) -> None:
    page.find("#digit-file input[type=file]").send_keys(str(project.ROOT / "docs" / "seven.png"))
    best = predicted(trained_for_page, MNIST, str(project.ROOT / "docs" / "seven.png"))["label"]
    page.shows("#digit-answer", f"Answer {best} {best}")
    page.choose("#digit-model", LARGER)
    other = predicted(trained_for_page, LARGER, str(project.ROOT / "docs" / "seven.png"))["label"]
    page.shows("#digit-answer", f"Answer {other} {other}")


@pytest.mark.parametrize("content", ["a text", "100 megapixels", "a damaged picture"])
def test_a_bad_picture_is_refused_by_the_sentence_of_the_command_line(
    content: str, page: Page, trained_for_page: Path, tmp_path: Path
) -> None:
    file = tmp_path / "bad.png"
    if content == "100 megapixels":
        Image.new("1", (10_000, 10_000)).save(file)
    else:
        file.write_bytes(b"no picture" if content == "a text" else (project.ROOT / "docs/seven.png").read_bytes()[:300])
    sentence = refused(trained_for_page, MNIST, str(file)).replace(repr(str(file)), "the file")
    page.find("#digit-file input[type=file]").send_keys(str(file))
    page.shows("#digit-seen .error", sentence)


def test_bits_are_clicked_and_typed(page: Page, trained_for_page: Path) -> None:
    page.tab("Bits")
    text = page.find("#bits-text textarea, #bits-text input").get_attribute("value") or ""
    assert re.fullmatch("[01]{8}", text)
    page.shows("#bits-steps", "count after each bit")
    page.driver.find_elements(By.CSS_SELECTOR, "#bits-boxes input")[0].click()
    other = f"{1 - int(text[0])}{text[1:]}"
    page.wait(lambda: page.find("#bits-text textarea, #bits-text input").get_attribute("value") == other)
    best = predicted(trained_for_page, BITS, other)["label"]
    page.shows("#bits-answer", f"How many ones {best} {best}")
    page.find("#bits-text textarea, #bits-text input").send_keys(Keys.END, Keys.BACKSPACE)
    best = predicted(trained_for_page, BITS, other[:-1])["label"]
    page.shows("#bits-answer", f"How many ones {best} {best}")
    page.write("#bits-text textarea, #bits-text input", "0012")
    page.shows("#bits-steps .error", refused(trained_for_page, BITS, "0012"))


def test_a_story_is_continued(page: Page, trained_for_page: Path) -> None:
    page.tab("Fable")
    page.write("#fable-text textarea, #fable-text input", "there came a")
    told = project.run(
        trained_for_page, sys.executable, "-m", "pipeline", "predict", FABLE, "there came a", "--words", "2", "--json"
    )
    page.shows("#fable-story .given", "there came a")
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#fable-story .word")) == 1)
    page.find("#fable-next").click()
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#fable-story .word")) == 2)
    words = page.driver.find_elements(By.CSS_SELECTOR, "#fable-story .word")
    shown = "there came a " + " ".join(str(word.get_attribute("firstChild.textContent") or word.text) for word in words)
    assert re.sub(r"\s*\d+%", "", shown).split()[:3] == json.loads(told.stdout)["text"].split()[:3]
    page.find("#fable-end").click()
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#fable-story .word")) > 2)
    ActionChains(page.driver).move_to_element(page.find("#fable-story .word")).perform()
    page.wait(lambda: page.words("#fable-story .word .more").startswith("or "))
    page.write("#fable-text textarea, #fable-text input", "there came <b>")
    page.shows("#fable-story .error", "is not a word of")


def test_two_models_are_compared_on_one_input(page: Page, trained_for_page: Path) -> None:
    page.tab("Models")
    page.choose("#models-first", MNIST)
    page.wait(lambda: page.find("#models-second input").get_attribute("value") == LARGER)
    page.find("#models-file input[type=file]").send_keys(str(project.ROOT / "docs" / "seven.png"))
    for number, model in enumerate((MNIST, LARGER)):
        best = predicted(trained_for_page, model, str(project.ROOT / "docs" / "seven.png"))["label"]
        page.shows(f"#models-answer-{number}", f"Answer {best} {best}")
        metrics = json.loads((trained_for_page / "models" / model / "metrics.json").read_text())
        page.shows(f"#models-facts-{number}", f"accuracy {metrics['accuracy']:.2%}")
        page.shows(f"#models-facts-{number}", "recipe fast")
        page.shows(f"#models-facts-{number}", "#/experiments/")


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page) -> None:
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": 812, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        page.draw([(x * 3 // 4, y * 3 // 4) for x, y in SEVEN])
        page.shows("#digit-answer", "Answer 7 7")
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 375
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_in_dark_mode_text_is_light_on_dark(chrome: Chrome, address: str) -> None:
    page = Page(chrome, address, "?__theme=dark")
    page.draw(SEVEN)
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#digit-steps tbody tr")) == 28)
    colours = page.driver.execute_script(
        "return [getComputedStyle(document.querySelector('gradio-app')).backgroundColor,"
        " getComputedStyle(document.querySelector('#digit-steps th.row_heading')).color,"
        " getComputedStyle(document.querySelector('#digit-steps th.row_heading')).backgroundColor]"
    )
    background, text, of_text = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert max(background, of_text) < 200
    assert text > 500


def test_nothing_is_asked_of_another_machine_and_nothing_listens_beyond_this_one(
    page: Page, home: Path, address: str
) -> None:
    page.tab("Models")
    page.shows("#models-facts-0", "accuracy")
    script = "return performance.getEntriesByType('resource').map(each => each.name)"
    assert all(name.startswith(address) for name in page.driver.execute_script(script))
    assert httpx.get(f"{address}/config", headers={"Host": "evil.example"}).status_code == 421
    hosts = set((home / "connections.txt").read_text().split())
    assert hosts <= {"127.0.0.1", "::1", "localhost", "b'127.0.0.1'"}


def test_nothing_is_written_outside_a_temporary_folder(page: Page, home: Path, trained_for_page: Path) -> None:
    page.draw(SEVEN)
    page.shows("#digit-answer", "Answer 7 7")
    assert not list((home / "home").iterdir())
    assert not project.run(trained_for_page, "git", "status", "--short").stdout


def test_a_port_that_is_taken_is_named(trained_for_page: Path, home: Path, address: str) -> None:
    port = address.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "demo", "--no-browser", "--port", port],
        cwd=trained_for_page,
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: port {port} of 127.0.0.1 is taken; choose another one with --port.\n"


def test_tensorflow_stays_off(trained_for_page: Path, home: Path, tmp_path: Path) -> None:
    code = "import sys; from pipeline.demo import app; app._page(); print('tensorflow' in sys.modules)"
    settings = environment(home) | {"GRADIO_TEMP_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=trained_for_page, env=settings, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
