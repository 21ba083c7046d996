"""The pages of `dvc plots`, in a real browser whose network is cut."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import WebDriverWait

from pipeline.paths import ModelPaths, TaskPaths
from tests.harness import browser, project

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (browser.CHROMIUM and browser.DRIVER), reason="no Chromium with chromedriver is installed"),
]
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
CUT = "--host-resolver-rules=MAP * ~NOTFOUND"
BITS, MNIST, FABLE = project.MODELS
DRAW = """
const done = arguments[arguments.length - 1];
const place = document.body.appendChild(document.createElement('div'));
vegaEmbed(place, arguments[0], {renderer: 'svg'}).then(
    () => done([...place.querySelectorAll(arguments[1])].map(each => each.textContent)),
    error => done([String(error)]));
"""
# Of each bar what it says of itself, with the headings above and beside it.
BARS = """
const done = arguments[arguments.length - 1];
const place = document.body.appendChild(document.createElement('div'));
const middle = (each) => {
    const box = each.getBoundingClientRect();
    return {x: box.x + box.width / 2, y: box.y + box.height / 2};
};
vegaEmbed(place, arguments[0], {renderer: 'svg'}).then(() => {
    const nearest = (kind, axis, at) => [...place.querySelectorAll(`.role-${kind}-header text`)]
        .filter(each => each.textContent)
        .map(each => [Math.abs(middle(each)[axis] - at[axis]), each.textContent])
        .sort((a, b) => a[0] - b[0])[0][1];
    done([...place.querySelectorAll('.mark-rect.role-mark path')].map(each => [
        each.getAttribute('aria-label'), nearest('column', 'x', middle(each.parentNode)),
        nearest('row', 'y', middle(each.parentNode))]));
}, error => done([String(error)]));
"""


@pytest.fixture(scope="module")
def page(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `dvc plots show` writes in the trained project."""
    folder = tmp_path_factory.mktemp("plots")
    copy = project.copy(trained, folder / "project")
    project.run(copy, sys.executable, "-m", "pipeline.reports.plots_page", ".dvc/tmp/plots.html")
    project.run(copy, "dvc", "config", "--local", "plots.html_template", "tmp/plots.html")
    project.run(copy, "dvc", "plots", "show", "--out", str(folder / "page"))
    return folder / "page" / "index.html"


@pytest.fixture(scope="module")
def window(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser.chromium(tmp_path_factory.mktemp("browser"), CUT) as driver:
        driver.get(page.as_uri())
        yield driver


def specs(page: Path) -> dict[str, Any]:
    """The Vega-Lite plots of the page, by their titles."""
    found = [json.loads(text) for text in re.findall(r"var spec = ({.*});", page.read_text())]
    return {spec["title"]["text"]: spec for spec in found}


def labels(window: Chrome, spec: Any, axis: str) -> list[str]:
    """The labels of an axis, in their order."""
    shown = window.execute_async_script(DRAW, spec, f"[aria-label^='{axis}-axis'] .role-axis-label text")
    return [str(text) for text in shown]


def test_every_plot_is_drawn_without_a_network(window: Chrome, page: Path) -> None:
    window.get(page.as_uri())  # without what other tests have drawn
    titles = specs(page)
    assert len(titles) == len(project.TASKS) + 3 * len(project.MODELS)
    plots = "[...document.querySelectorAll('.vega-embed svg.marks')]"
    drawn = f"return {plots}.filter(each => each.width.baseVal.value > 100).length"
    WebDriverWait(window, 60).until(lambda _: window.execute_script(drawn) == len(titles))
    assert "<script src" not in page.read_text()


def test_classes_are_in_their_order(window: Chrome, page: Path, trained: Path) -> None:
    counts, digits = [str(i) for i in range(9)], [str(i) for i in range(10)]
    plots = specs(page)
    for axis in ("X", "Y"):
        assert labels(window, plots[f"confusion, {BITS}"], axis) == counts
        assert labels(window, plots[f"confusion, {MNIST}"], axis) == digits
    assert labels(window, plots[f"accuracy by class, {MNIST}"], "Y") == digits
    assert labels(window, plots["examples by class, mnist"], "Y") == digits
    assert labels(window, plots["examples by class, bits"], "Y") == counts, "though the training split lacks some"


def test_balances_of_several_revisions_stand_under_their_headings(window: Chrome, page: Path) -> None:
    spec = specs(page)["examples by class, mnist"]
    here = spec["data"]["values"]
    # Revisions in the order of the command, not of the alphabet; each lacks another split.
    values = [row for row in here if row["split"] != "validation"]
    values += [row | {"rev": "main"} for row in here if row["split"] != "train"]
    bars = window.execute_async_script(BARS, spec | {"data": {"values": values}})
    assert len(bars) == len(values)
    assert [f"split: {split}; rev: {revision}" in said for said, split, revision in bars] == [True] * len(bars), bars
    assert list(dict.fromkeys(revision for _, _, revision in bars)) == ["workspace", "main"]


def test_of_many_classes_those_that_matter_are_shown(window: Chrome, page: Path, trained: Path) -> None:
    plots = specs(page)
    table = pd.read_csv(ModelPaths(FABLE, trained).by_class)
    shown = labels(window, plots[f"accuracy by class, {FABLE}"], "Y")
    assert len(shown) == 25 < len(table)
    left_out = table[~table["class"].isin(shown)]
    assert left_out["accuracy"].min() >= table[table["class"].isin(shown)]["accuracy"].max()
    balance = pd.read_csv(TaskPaths("fable", trained).balance).groupby("class")["examples"].sum()
    shown = labels(window, plots["examples by class, fable"], "Y")
    assert balance.drop(shown).max() <= balance[shown].min()


def test_the_splits_of_a_curve_differ_in_their_dashes_and_those_of_a_balance_in_colour(
    window: Chrome, page: Path
) -> None:
    curves = specs(page)[f"learning curves, {MNIST}"]
    legend = window.execute_async_script(DRAW, curves, ".role-legend-label text")
    assert legend[-2:] == ["train", "validation"]
    dashes = DRAW.replace("each.textContent", "each.getAttribute('stroke-dasharray')")
    lines = window.execute_async_script(dashes, curves, ".mark-line.role-mark path")
    assert len(set(lines)) == 2
    colours = DRAW.replace("each.textContent", "each.getAttribute('fill')")
    bars = window.execute_async_script(colours, specs(page)["examples by class, mnist"], ".mark-rect.role-mark path")
    assert len(set(bars)) == 3


def test_editors_can_draw_the_templates_with_a_colour_for_each_experiment(page: Path) -> None:
    """DVC's extension for VS Code reads Vega-Lite 5, and fills in the colours that it gives experiments."""
    templates = {path.stem: path.read_text() for path in (project.ROOT / ".dvc" / "plots").glob("*.json")}
    assert {json.loads(text)["$schema"] for text in templates.values()} == {SCHEMA}
    assert {name for name, text in templates.items() if "<DVC_METRIC_COLOR>" in text} == {"curves", "by_class"}
    of_revision = specs(page)[f"accuracy by class, {MNIST}"]["encoding"]["color"]
    assert of_revision["scale"]["domain"] == ["workspace"]


def test_the_page_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        project.run(project.ROOT, sys.executable, "-m", "pipeline.reports.plots_page", str(tmp_path / name))
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
