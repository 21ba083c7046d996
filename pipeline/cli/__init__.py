"""The commands of `pipeline`: `app` has all of them, in the order in which its help lists them."""

from pipeline.cli import stages, prediction, explain, site, runs, cluster  # noqa: F401, I001  # in this order
from pipeline.cli.app import app as app
