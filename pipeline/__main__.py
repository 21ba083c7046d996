"""`python -m pipeline` does what the console script `pipeline` does."""

from pipeline.cli import app

app(prog_name="pipeline")
