"""The commands of `pipeline`, in the order in which its help lists them: `app` has all of them."""

from pipeline.cli import stages

# isort: split
from pipeline.cli import prediction

# isort: split
from pipeline.cli import explain

# isort: split
from pipeline.cli import demo

# isort: split
from pipeline.cli import runs

# isort: split
from pipeline.cli import cluster
from pipeline.cli.app import app

__all__ = ["app", "cluster", "demo", "explain", "prediction", "runs", "stages"]
