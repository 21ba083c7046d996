"""Recipes for tests that need no params.yaml."""

from typing import get_args

from pipeline.recipe import Network, Recipe

CELLS = get_args(Network.model_fields["cell"].annotation)


def recipe(**changes: object) -> Recipe:
    """A plain recipe with some of its values changed."""
    plain = {
        "steps": 100,
        "batch_size": 2,
        "order": "fixed",
        "log_every": 10,
        "monitor": None,
        "optimizer": "adam",
        "learning_rate": 0.01,
        "schedule": "constant",
        "loss_reduction": "mean",
        "min_probability": None,
        "init": {"kernel": "glorot-uniform", "stddev": None, "bias": 0.0},
    }
    return Recipe.model_validate(plain | changes)
