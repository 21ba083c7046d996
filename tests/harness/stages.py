"""Stages in the process of the test, without DVC."""

from pipeline import config
from pipeline.config import ModelSetup
from pipeline.stages import generate, split


def prepare(model: str) -> ModelSetup:
    """Generate and split the data of a model in the working folder; return the model, ready to train."""
    setup = config.load().model(model)
    generate.run(setup.task)
    split.run(setup.task)
    return setup
