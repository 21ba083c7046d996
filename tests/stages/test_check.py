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


def test_a_model_without_the_recipe_is_named_before_its_stages_fail(
    untrained_project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = project.read(untrained_project)
    del params["models"]["bits-lstm24"]["recipes"]["best"]
    project.write(untrained_project, params | {"recipe": "best"})
    check.run()
    (warning,) = (record.getMessage() for record in caplog.records)
    assert warning.startswith("bits-lstm24 has no recipe 'best', so its stages will fail; add it")


def test_a_recipe_that_no_model_has_is_refused_and_nothing_is_written(untrained_project: Path) -> None:
    project.change(untrained_project, "recipe", "fsat")
    SCHEMA.unlink()
    with pytest.raises(PipelineError, match=r"params\.yaml: recipe: no model has 'fsat'; select a recipe of the"):
        check.run()
    assert not SCHEMA.exists()
