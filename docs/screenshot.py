"""Make docs/mlflow.png from this repository's runs and docs/demo.png from its models, with Chromium and chromedriver.

`python -m docs.screenshot [mlflow] [demo]`; by default those that are out of date. A picture holds the hash of what it
shows; a test tells when that has changed.
"""

import io
import signal
import sys
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.files import md5_of
from tests.harness import browser, project
from tests.harness import page as harness
from tests.harness.page import Page
from tests.harness.process import free_port, responds, running

TASK = "mnist"
BITS = "01101011010110101101101011"
FOLDER = project.ROOT / "docs"
SHOWN = {
    "mlflow": ("pipeline/tracking/ui.py", "models/mnist-*/metrics.json"),
    "demo": ("pipeline/site/static/*", "models/*/metrics.json"),
}


def mlflow(folder: Path) -> None:
    """Take the table of the runs and their learning curves, which the experiment's description links to."""
    client = MlflowClient(f"sqlite:///{project.ROOT / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string=f"name = '{TASK}'")
    with (
        browser.mlflow_ui(project.ROOT, folder) as address,
        browser.browser(folder, address) as window,
    ):
        page = f"/experiments/{experiment.experiment_id}"
        window.open(page, "metrics and parameters")
        table_page, curves_page = (window.link(text) for text in ("metrics and parameters", "learning curves"))
        window.open(table_page, "accuracy", "[128]")
        table = _image(window.picture())
        window.open(curves_page, "train/loss", "Step")
        window.until("return document.querySelectorAll('.scatterlayer .lines').length >= 6")
        curves = _image(window.picture())
    # Without MLflow's bar at the left; of the page with the curves, only the curves.
    parts = [table.crop((206, 0, 1384, 410)), curves.crop((206, 280, 1384, 745))]
    both = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)))
    for part, top in zip(parts, (0, parts[0].height), strict=True):
        both.paste(part, (0, top))
    _save(both, "mlflow")


def demo(folder: Path) -> None:
    """Take a counter beyond its training, and a digit on a phone in dark mode."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(project.BIN / "pipeline"), "demo", "--no-browser", "--port", str(port)]
    with (
        running(command, folder / "demo.log", lambda: responds(address), cwd=project.ROOT, stop=signal.SIGINT),
        harness.opened(folder, address) as page,
    ):
        parts = [
            _take(page, 1180, 1010, f"bits?input={BITS}&step=21", False),
            _take(page, 380, 1010, "mnist?step=20", True),
        ]
    both = Image.new("RGB", (sum(part.width for part in parts) + 20, max(part.height for part in parts)), "white")
    both.paste(parts[0], (0, 0))
    both.paste(parts[1], (parts[0].width + 20, 0))
    _save(both, "demo")


def _take(page: Page, width: int, height: int, state: str, dark: bool) -> Image.Image:
    page.resize(width, height, dark)
    page.open(state)
    page.shows("main", "One step, by hand")
    return _image(page.driver.get_screenshot_as_png())


def shown(name: str) -> str:
    """The MD5 of the files that a picture shows."""
    files = [path for pattern in SHOWN[name] for path in sorted(project.ROOT.glob(pattern))]
    return md5_of(b"".join(path.read_bytes() for path in files))


def _save(picture: Image.Image, name: str) -> None:
    about = PngInfo()
    about.add_text("shows", shown(name))
    picture.quantize(128).save(FOLDER / f"{name}.png", optimize=True, pnginfo=about)


def _image(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def current(name: str) -> bool:
    """Whether a picture shows what there is now."""
    with Image.open(FOLDER / f"{name}.png") as picture:
        return bool(picture.info.get("shows") == shown(name))


if __name__ == "__main__":
    for name in sys.argv[1:] or (name for name in SHOWN if not current(name)):
        if not (browser.CHROMIUM and browser.DRIVER):
            sys.exit(f"docs/{name}.png is out of date; install Chromium and chromedriver to take it anew.")
        with tempfile.TemporaryDirectory() as temporary:
            {"mlflow": mlflow, "demo": demo}[name](Path(temporary))
