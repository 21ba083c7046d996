"""Make docs/mlflow.png from this repository's runs: `python -m docs.screenshot`, with Chromium and chromedriver."""

import io
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from PIL import Image

from tests import browser, tiny

TASK = "mnist"


def main() -> None:
    """The table of the runs above their learning curves, as the links in an experiment's description show them."""
    client = MlflowClient(f"sqlite:///{tiny.ROOT / 'mlflow.db'}")
    (found,) = client.search_experiments(filter_string=f"name = '{TASK}'")
    with (
        tempfile.TemporaryDirectory() as folder,
        browser.ui(tiny.ROOT, Path(folder)) as address,
        browser.browser(Path(folder), address) as window,
    ):
        page = f"/experiments/{found.experiment_id}"
        window.open(page, "figures and parameters")
        addresses = [window.link(text) for text in ("figures and parameters", "learning curves")]
        window.open(addresses[0], "accuracy", "[128]")
        table = Image.open(io.BytesIO(window.picture()))
        window.open(addresses[1], "train/loss", "Step")
        window.until("return document.querySelectorAll('.scatterlayer .lines').length >= 6")
        curves = Image.open(io.BytesIO(window.picture()))
    parts = [table.crop((206, 0, 1384, 410)), curves.crop((206, 280, 1384, 745))]  # without the bar at the left
    both = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)))
    for part, top in zip(parts, (0, parts[0].height), strict=True):
        both.paste(part, (0, top))
    both.quantize(128).save(tiny.ROOT / "docs" / "mlflow.png", optimize=True)


if __name__ == "__main__":
    main()
