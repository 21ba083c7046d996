"""Make a task's raw data."""

from pathlib import Path

from pipeline import data, tasks
from pipeline.config import Config


def run(name: str, config: Config) -> None:
    """Write the raw data of task `name` into data/raw/NAME."""
    params = config.task(name)
    folder = data.RAW / name
    folder.mkdir(parents=True, exist_ok=True)
    tasks.load(name).generate(params.generate, Path(params.source), folder)
    print(f"{name}: raw data in {folder}")
