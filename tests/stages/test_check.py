"""The stage that checks params.yaml before any other runs."""

from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.paths import SCHEMA
from pipeline.stages import check
from tests.harness import project


def test_the_committed_schema_is_that_of_the_code(untrained_project: Path) -> None:
    check.run()
    assert SCHEMA.read_bytes() == (project.ROOT / SCHEMA).read_bytes()


def test_the_schema_does_not_depend_on_values(untrained_project: Path) -> None:
    params = project.read(untrained_project)
    params["seed"] = 7
    params["models"] = {"another": params["models"]["bits-lstm24"]}
    project.write(untrained_project, params)
    SCHEMA.unlink()
    check.run()
    assert SCHEMA.read_bytes() == (project.ROOT / SCHEMA).read_bytes()


def test_a_recipe_that_a_model_does_not_have_is_refused_and_nothing_is_written(untrained_project: Path) -> None:
    project.change(untrained_project, "models.bits-lstm24.recipe", "slow")
    SCHEMA.unlink()
    with pytest.raises(PipelineError, match=r"models\.bits-lstm24\.recipe: got 'slow', expected one of its `recipes`"):
        check.run()
    assert not SCHEMA.exists()
