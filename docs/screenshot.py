"""Make docs/mlflow.png from this repository's runs: `python -m docs.screenshot`, with Chromium and chromedriver."""

import io
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from PIL import Image

from tests.harness import browser, project

TASK = "mnist"


def main() -> None:
    """Take the table of the runs and their learning curves, which the experiment's description links to."""
    client = MlflowClient(f"sqlite:///{project.ROOT / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string=f"name = '{TASK}'")
    with (
        tempfile.TemporaryDirectory() as folder,
        browser.mlflow_ui(project.ROOT, Path(folder)) as address,
        browser.browser(Path(folder), address) as window,
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
    both.quantize(128).save(project.ROOT / "docs" / "mlflow.png", optimize=True)


def _image(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


if __name__ == "__main__":
    main()
