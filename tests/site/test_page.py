"""The page in Chromium: it computes what ONNX Runtime computes, and people can use it."""

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import axe_core_python
import numpy as np
import onnx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from bench.handwriting import pad
from pipeline import manifest
from pipeline.dataset import DatasetInfo, load_examples, save_info
from pipeline.inference import predict
from pipeline.inference.onnx_session import Session
from pipeline.inference.predict import open_export
from pipeline.networks import keras_network, onnx_network
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.recipe import Network
from pipeline.site import server
from pipeline.site.build import build
from pipeline.tasks.mnist import ink
from pipeline.tasks.mnist.raw.image import fit
from tests.harness import page as harness
from tests.harness import project
from tests.harness.page import Page
from tests.harness.recipes import CELLS, recipe

pytestmark = [pytest.mark.browser, harness.NEEDED]
EXAMPLES = 200  # of each network
SEVEN = [(-70, -80), (0, -80), (70, -80), (30, 0), (-20, 110)]
# The networks of params.yaml in their real sizes, and every cell and layer.
NETWORKS: dict[str, tuple[str, dict[str, object], str]] = {
    "bits": ("bits", {"units": [24]}, "count"),
    "digit": ("mnist", {"units": [256, 256]}, "softmax"),
    "digit-dense": ("mnist", {"units": [128], "dense": 128}, "softmax"),
    "words": ("fable", {"units": [512]}, "softmax"),
    "words-two": ("fable", {"units": [512, 512]}, "softmax"),
    "words-embedding": ("fable", {"units": [32], "embedding": 16, "dense": 8}, "softmax"),
    **{cell: ("mnist", {"cell": cell, "units": [20, 12], "dense": 9}, "softmax") for cell in CELLS},
}
INFO = {
    "bits": DatasetInfo("bits", "b", False, (20, 1), [str(i) for i in range(21)], "test", False, "bits", {"test": 9}),
    "mnist": DatasetInfo("mnist", "m", False, (28, 28), list("0123456789"), "test", False, "rows", {"test": 9}),
    "fable": DatasetInfo(
        "fable", "f", False, (3, 1), [f"w{i}" for i in range(112)], "train", True, "words", {"train": 9}
    ),
}


def export(name: str, task: str, layers: dict[str, object], readout: str) -> None:
    """An exported network with random weights, in the working folder."""
    network, chosen, info = Network.model_validate(layers), recipe(readout=readout, supervise="every-step"), INFO[task]
    classes = len(info.class_names)
    model = keras_network.build(network, chosen, info.shape, classes)
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    paths = ModelPaths(name)
    paths.export.mkdir(parents=True)
    onnx.save(onnx_network.build(network, chosen, weights, info.shape, classes), paths.onnx)
    save_info(info, paths.info, parameters=model.count_params())
    manifest.write(paths.export, [paths.onnx, paths.info])


def sequences(task: str) -> np.ndarray:
    """Random features, float32 (examples, steps, features)."""
    shape, rng = (EXAMPLES, *INFO[task].shape), np.random.default_rng(5)
    if task == "mnist":
        return rng.random(shape, np.float32) * (rng.random(shape) < 0.3)
    return rng.integers(0, 2 if task == "bits" else len(INFO["fable"].class_names), shape).astype(np.float32)


@pytest.fixture(scope="module")
def page(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page with the trained tiny models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        with server.running(None) as address, harness.opened(tmp_path_factory.mktemp("browser"), address) as page:
            yield page


@pytest.fixture(autouse=True)
def nothing_is_wrong(page: Page) -> Iterator[None]:
    """Each test begins with a large window; after it, the browser has no complaint."""
    page.resize(1280, 900)
    yield
    assert page.problems() == []


# Milliseconds of so many products of a matrix (1024, 256) with a vector.
MULTIPLY = """
    const rows = 1024, columns = 256, sums = new Float32Array(rows), durations = [];
    const weights = new Float32Array(rows * columns).fill(0.5), x = new Float32Array(columns).fill(0.25);
    for (let turn = 0; turn < 10; turn++) {
        const started = performance.now();
        for (let product = 0; product < given; product++)
            for (let row = 0; row < rows; row++) {
                let sum = product;
                for (let column = 0; column < columns; column++) sum += weights[row * columns + column] * x[column];
                sums[row] = sum;
            }
        durations.push(performance.now() - started);
    }
    return Math.min(...durations);
"""


def test_networks_in_javascript_give_what_onnx_runtime_gives(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (task, layers, readout) in NETWORKS.items():
        export(name, task, layers, readout)
    site = tmp_path / "site"
    build(site)
    models = {name: open_export(name, ModelPaths(name).onnx, ModelPaths(name).info) for name in NETWORKS}
    milliseconds = {}
    with server.serving(server.read_files(site), models, [0]) as address:
        page.driver.get(f"{address}/index.html")
        for name, (task, _, _) in NETWORKS.items():
            features = sequences(task)
            expected = Session(ModelPaths(name).onnx, "").probabilities(features)
            script = f"""
                const {{ Network }} = await import("/network.js");
                const network = await Network.load("{name}"), started = performance.now();
                const last = (sequence) => network.trace(sequence).at(-1).states;
                const found = given.map((sequence) => [...network.probabilities(last(sequence))]);
                return [found, (performance.now() - started) / given.length];
            """
            parts = [page.run(script, part.tolist()) for part in np.split(features, 10)]
            found = np.concatenate([probabilities for probabilities, _ in parts])
            milliseconds[name] = min(duration for _, duration in parts)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=name)
        # A processor may be slow: the largest network takes little longer than its multiplications alone.
        multiplications = page.run(MULTIPLY, 28 * (28 + 3 * 256) * 1024 // (1024 * 256))
    assert max(milliseconds.values()) < 2.5 * multiplications, (milliseconds, multiplications)


def test_a_link_opens_this_step_of_this_string(page: Page) -> None:
    page.open("bits?model=bits-lstm24&input=0110&step=3&unit=5")
    page.shows(".step", "Step 3: bit 1")
    assert page.find("#step-unit").get_attribute("value") == "5"
    assert page.count(".bits button") == 4
    page.click("#step-on")
    page.shows(".step", "Step 4: bit 0")
    page.wait(lambda: "step=4" in page.driver.current_url)


def test_the_formulas_have_the_numbers_of_the_network(page: Page, trained: Path) -> None:
    page.open("bits?input=0110&step=3&unit=5")
    page.shows(".step", "Step 3")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        predictor = predict.load("bits-lstm24")
        layer = predictor.tracer.trace(predictor.features("011")[0]).layers[0]
    assert layer.cell is not None
    for gate, value in {name: values[2, 5] for name, values in layer.gates.items()}.items():
        assert f"= {value:.3f}".replace("-", "\N{MINUS SIGN}") in page.words(f".gate.{gate}")
    assert f"= {layer.cell[2, 5]:.3f}".replace("-", "\N{MINUS SIGN}") in page.words(".results")
    assert f"= {layer.output[2, 5]:.3f}".replace("-", "\N{MINUS SIGN}") in page.words(".results")


def test_bits_are_typed_clicked_and_broken(page: Page) -> None:
    page.open("bits")
    page.write("#bits-text", "0111")
    page.shows("#bits-answer", "of 4 bits")
    page.click("#bit-0")
    page.wait(lambda: page.find("#bits-text").get_attribute("value") == "1111")
    page.write("#bits-text", "01x")
    page.shows("[role=alert]", "“x” is no bit")
    page.write("#bits-text", "0101")
    page.click("#bits-break summary")
    page.click("#bit-0")
    page.shows("#bits-answer", "of 4 bits")
    assert page.find("#bits-break").get_attribute("open"), "a person opened it"
    page.choose("#break-bias", "0")
    page.shows("#bits-answer", "nothing is proven")
    page.wait(lambda: "bias=0" in page.driver.current_url)


def test_bits_of_every_cell_are_opened_and_broken(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kinds: dict[str, tuple[dict[str, object], str]] = {
        "count": ({"units": [6]}, "count"),
        "count-deep": ({"units": [6, 4]}, "count"),
        "softmax": ({"units": [6]}, "softmax"),
        "gru": ({"cell": "gru", "units": [6]}, "softmax"),
        "rnn": ({"cell": "rnn", "units": [6]}, "softmax"),
    }
    for name, (layers, readout) in kinds.items():
        export(name, "bits", layers, readout)
    site = tmp_path / "site"
    build(site)
    models = {name: open_export(name, ModelPaths(name).onnx, ModelPaths(name).info) for name in kinds}
    with server.serving(server.read_files(site), models, [0]) as address:
        page.driver.get(f"{address}/#bits?model=count&input={'01' * 10}&off=3")
        page.shows("#bits-answer", "was changed")
        for name in ("count-deep", "softmax", "gru", "rnn"):
            page.run("document.querySelector('#model').dataset.old = ''")
            page.choose("#model", name)
            page.wait(lambda: page.count("#model") == 1 and not page.count("#model[data-old]"))
            page.shows("#bits-answer", "of 20 bits")
            page.choose("#break-recurrent", "0.5")
            page.shows("#bits-answer", "was changed")
            page.choose("#break-recurrent", "")
            assert not {"NaN", "undefined"} & set(page.words("main").split()), name
            assert page.count("#break-bias") == (name not in ("gru", "rnn")), "only an LSTM has a forget gate"
            assert page.count("#break-unit") == name.startswith("count")
            if name == "count-deep":
                assert "share of the count" in page.words(".results")
                page.choose("#step-layer", "1")
                page.shows(".step", "lstm_1")
                page.wait(lambda: "share of the count" not in page.words(".results"))


def test_the_slider_is_dragged_through_many_steps(page: Page) -> None:
    page.open("bits?input=0110101011")
    page.shows(".step", "Step 10")
    slider = page.find("#step-range")
    width = slider.size["width"]
    actions = ActionChains(page.driver, duration=20).move_to_element_with_offset(slider, width // 2 - 8, 0)
    actions.click_and_hold()
    for _ in range(10):
        actions.move_by_offset(-width // 10, 0)
    actions.release().perform()
    page.shows(".step", "Step 1:")
    assert page.find("#step-range").get_attribute("aria-valuetext") == "Step 1: bit 0"


def test_a_long_string_is_read_in_pieces_while_the_page_answers(page: Page) -> None:
    page.open("bits?random=400000")
    page.wait(lambda: 0 < float(page.find("#bits-progress").get_attribute("value") or 0) < 1)
    assert page.find("#bits-text").get_attribute("placeholder") == "400,000 random bits"
    page.write("#bits-text", "0111")
    page.shows("#bits-answer", "of 4 bits")
    time.sleep(1)
    assert "of 4 bits" in page.words("#bits-answer"), "what was read before has not come late"
    page.run("""
        const field = document.querySelector("#bits-text");
        field.value = "01".repeat(75_000);
        field.dispatchEvent(new Event("input"));
    """)
    page.shows("#bits-answer", "of 150,000 bits")
    assert len(page.run("await new Promise((next) => setTimeout(next, 200)); return location.hash")) < 1000
    assert (
        page.run("""
        const started = performance.now();
        document.querySelector("#step-back").click();
        return performance.now() - started;
    """)
        < 1000
    ), "milliseconds: another step of what was read is shown at once"


def test_a_link_that_is_wrong_breaks_nothing(page: Page) -> None:
    page.open("bits?input=0110&bias=abc&off=99&recurrent=9&step=99&unit=99&layer=-1")
    page.shows("#bits-answer", "of 4 bits")
    assert "NaN" not in page.words("main")
    assert "was changed" not in page.words("#bits-answer")
    page.open("models?first=nosuch&second=..&example=-1")
    page.shows("main", "accuracy")
    page.open("fable?at=abc")
    page.shows("h2", "After")
    page.open("fable?story=zz")
    page.click("#fable-next")
    page.shows("[role=alert]", "“zz” is not a word of this story")
    for state in ("nosuch?input=<b>x</b>", "%zz"):
        page.open(state)
        page.shows("#bits-answer", "bits")


def test_what_is_broken_shows_the_same_unit_and_a_tab_is_as_it_was_left(page: Page) -> None:
    page.open("bits?input=0110")
    page.shows("#bits-answer", "of 4 bits")
    unit = page.find("#step-unit").get_attribute("value")
    page.choose("#break-bias", "1")
    page.shows("#bits-answer", "was changed")
    assert page.find("#step-unit").get_attribute("value") == unit
    page.click("#tab-fable")
    page.shows("h2", "After")
    page.click("#tab-bits")
    page.shows("#bits-answer", "was changed")
    assert page.find("#bits-text").get_attribute("value") == "0110"


def test_the_keyboard_stays_on_a_button_at_the_last_step(page: Page) -> None:
    page.open("bits?input=01&step=1")
    page.shows(".step", "Step 1: bit 0")
    page.find("#step-on").send_keys("\n")
    page.shows(".step", "Step 2: bit 1")
    page.find("#step-on").send_keys("\n")
    page.shows(".step", "Step 2: bit 1")
    assert page.run("return document.activeElement.id") == "step-on"


def test_a_digit_is_drawn_with_the_mouse_and_the_keyboard(page: Page) -> None:
    page.open("mnist")
    page.shows("#digit-answer", "%")
    page.click("#digit-clear")
    page.shows("#digit-answer", "Draw a digit")
    page.draw(*SEVEN)
    page.shows("#digit-answer", "%")
    assert page.count(".rows tr") == 28
    page.click("#row-9")
    page.shows(".step", "Step 10: row 10")
    page.wait(lambda: "step=10" in page.driver.current_url)
    link = page.driver.current_url.partition("#")[2]
    answer = page.words("#digit-answer")
    page.open(link)
    page.shows("#digit-answer", answer)
    page.shows(".step", "Step 10: row 10")
    page.open("mnist?drawing=none")
    page.shows("#digit-answer", "Draw a digit")
    page.draw(*SEVEN)
    page.click("#row-9")
    page.wait(lambda: "step=10" in page.driver.current_url)
    assert "drawing=none" not in page.driver.current_url
    page.click("#digit-clear")
    page.run("""
        const pad = document.querySelector("#pad");
        const key = { key: "ArrowDown", shiftKey: true, bubbles: true };
        for (let i = 0; i < 12; i++) pad.dispatchEvent(new KeyboardEvent("keydown", key));
    """)
    page.shows("#digit-answer", "%")
    page.find("#pad").send_keys(Keys.ARROW_LEFT)
    page.find("#row-4").click()  # with the mouse, which takes the focus from the pad
    page.shows(".step", "Step 5: row 5")


def test_a_photo_is_read_by_python(page: Page) -> None:
    page.open("mnist")
    page.shows("#digit-answer", "%")
    page.find("#digit-file").send_keys(str(project.ROOT / "docs" / "seven.png"))
    page.shows("#digit-answer", "Read by Python")
    page.wait(lambda: "pixels=" in page.driver.current_url)
    answer, link = page.words("#digit-answer b"), page.driver.current_url.partition("#")[2]
    page.open(link)  # who opens the link sees the same pixels
    page.shows("#digit-answer", "Read from a picture")
    assert page.words("#digit-answer b") == answer
    page.find("#digit-file").send_keys(str(project.ROOT / "params.yaml"))
    page.shows("#digit-answer", "is not a picture")


def test_a_story_goes_on_and_each_word_opens(page: Page) -> None:
    page.open("fable")
    page.shows("h2", "After")
    before = page.count("#fable-story button")
    page.click("#fable-next")
    page.wait(lambda: page.count("#fable-story button") == before + 1)
    page.click("#fable-end")
    page.wait(lambda: page.count("#fable-story button") > before + 1)
    page.click("#fable-story button")
    page.wait(lambda: "at=3" in page.driver.current_url)
    page.click("#fable-next-words button")
    page.wait(lambda: page.count("#fable-story button") == 1)
    page.find("#next-0").send_keys("\n")
    page.wait(lambda: page.count("#fable-story button") == 2)
    assert page.run("return document.activeElement.id") == "next-0"
    page.write("#fable-text", "There came a,")
    page.wait(lambda: page.words("#fable-story") == "there came a ,")
    page.write("#fable-text", "no such words")
    page.shows("[role=alert]", "is not a word of this story")
    page.click("[role=alert] + button")
    page.wait(lambda: page.count("#fable-story") == 1)
    assert page.find("#fable-text").get_attribute("value") == page.words("#fable-story")


def test_the_words_that_do_not_decide_are_those_of_the_story(page: Page, trained: Path) -> None:
    data = load_examples(TaskPaths("fable", trained))
    followers: dict[str, set[int]] = {}
    for code, target in zip(data.encoded, data.targets, strict=True):
        followers.setdefault(" ".join(data.info.class_names[i] for i in code), set()).add(int(target))
    undecided = [words for words, targets in followers.items() if len(targets) > 1]
    decided = [words for words, targets in followers.items() if len(targets) == 1]
    assert undecided
    for words, expected in ((undecided[0], 1), (decided[0], 0)):
        page.open(f"fable?{urlencode({'story': words})}")
        page.click("#fable-next")
        page.shows("#fable-story", words)
        page.wait(lambda: page.count("#fable-story button") == 1)
        assert page.count("#fable-story .undecided") == expected, words
    page.click("#fable-end")
    page.click("#fable-end")
    page.shows("main", "the story repeats itself")


def test_every_link_of_the_lesson_opens_what_it_says(page: Page) -> None:
    states = re.findall(r"\(demo\.md#(\S+)\)", (project.ROOT / "docs" / "learn.md").read_text())
    assert len(states) == 6
    for state in states:
        page.open(state)
        page.shows("main", "Draw a digit" if "drawing=none" in state else "One step, by hand")


def test_quick_changes_of_the_tab_show_the_last_one(page: Page) -> None:
    page.open("bits?input=0110")
    page.shows("#bits-answer", "of 4 bits")
    page.run("""
        const names = ["fable", "bits", "models", "mnist", "bits"];
        names.forEach((name, i) => setTimeout(() => document.getElementById(`tab-${name}`).click(), 15 * i));
    """)
    page.wait(lambda: page.run("return location.hash").startswith("#bits"))
    time.sleep(2)  # for what still loads
    assert page.count("#bits-answer") == 1
    assert page.count("#fable-story") + page.count(".rows") + page.count("#models-first") == 0


def test_a_change_just_before_another_tab_is_there_when_one_goes_back(page: Page) -> None:
    page.open("bits?input=0110")
    page.shows("#bits-answer", "of 4 bits")
    page.run("""
        const field = document.querySelector(".bits-text");
        field.value = "11111";
        for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
        document.getElementById("tab-fable").click();
    """)
    page.shows("h2", "After")
    page.driver.back()
    page.shows("#bits-answer", "of 5 bits")


def test_models_stand_side_by_side(page: Page) -> None:
    page.open("models?first=mnist-lstm128&second=bits-lstm24")
    page.shows("main", "worst class accuracy")
    assert [heading.text for heading in page.driver.find_elements("css selector", "h2")] == [
        "mnist-lstm128",
        "bits-lstm24",
    ]


@pytest.mark.parametrize("tab", ["bits", "mnist", "fable", "models"])
def test_nothing_is_wider_than_a_phone(page: Page, tab: str) -> None:
    page.resize(360, 700)
    page.open(tab)
    page.shows("main", "One step, by hand" if tab != "models" else "accuracy")
    assert page.run("return document.documentElement.scrollWidth") <= 360
    if tab == "mnist":
        boxes = [page.find(selector).rect for selector in ("#pad", "#digit-answer b")]
        assert all(box["y"] + box["height"] < 700 for box in boxes), "pen and answer are visible together"


def test_drawings_become_the_pixels_that_python_makes(page: Page) -> None:
    drawings = [np.asarray(pad(str(number % 10), number, number % 3).pixels)[:, :, 0] for number in range(200)]
    page.open("mnist")
    page.shows("#digit-answer", "%")
    script = """
        const { imageOfDrawing } = await import("/ink.js");
        return given.map(([height, width, pixels]) => {
            const grey = atob(pixels), rgba = new Uint8ClampedArray(4 * height * width).fill(255);
            for (let i = 0; i < grey.length; i++) rgba.fill(grey.charCodeAt(i), 4 * i, 4 * i + 3);
            return [...imageOfDrawing(rgba, width, height)];
        });
    """
    for first in range(0, len(drawings), 20):
        some = drawings[first : first + 20]
        found = page.run(script, [[*each.shape, base64.b64encode(each.tobytes()).decode()] for each in some])
        for number, (drawing, image) in enumerate(zip(some, found, strict=True), first):
            (digit,) = ink.digits(np.repeat(drawing[:, :, None], 3, axis=2), all_ink=True)
            assert np.abs(np.array(image) - fit(digit).reshape(-1)).max() <= 1, number


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("tab", ["bits?input=0110&bias=1", "mnist", "fable", "models"])
def test_axe_finds_nothing_that_keeps_people_out(page: Page, tab: str, dark: bool) -> None:
    axe = Path(axe_core_python.__file__).parent / "axe.min.js"
    page.resize(1280, 900, dark)
    page.open(tab)
    page.shows("main", "One step, by hand" if tab != "models" else "accuracy")
    page.driver.execute_script(axe.read_text())
    script = "return (await axe.run()).violations.map(({ id, nodes }) => id + ': ' + nodes[0].html)"
    assert page.run(script) == []


def test_the_first_tab_is_small_and_soon_there(page: Page) -> None:
    page.open("bits")
    page.shows("#bits-answer", "bits")
    entries = json.loads(page.run("return JSON.stringify(performance.getEntries())"))
    assert sum(entry.get("transferSize", 0) for entry in entries) < 250_000
    shifts = page.run("""
        let sum = 0;
        const observer = new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => (sum += value)));
        observer.observe({ type: "layout-shift", buffered: true });
        await new Promise((done) => setTimeout(done, 500));
        return sum;
    """)
    assert shifts < 0.01, "nothing moves while the page is loaded"
    assert {entry["name"].split("/")[2] for entry in entries if "://" in entry["name"]} == {page.address.split("/")[2]}
