"""The model card."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from pipeline.errors import PipelineError
from pipeline.lineage import provenance
from pipeline.lineage.artifacts import workspace
from pipeline.paths import ModelPaths
from pipeline.reports.card import card, wilson
from tests.harness import project


@pytest.mark.parametrize(("right", "examples"), [(0, 1), (5, 5), (9926, 10_000), (1_038_576, 1_038_576), (1, 144)])
def test_the_interval_of_an_accuracy_is_the_one_of_scipy(right: int, examples: int) -> None:
    expected = binomtest(right, examples).proportion_ci(0.95, "wilson")
    assert wilson(right, examples) == pytest.approx([*expected], abs=1e-12)


def test_a_card_has_the_figures_their_interval_and_how_to_make_the_model_again(trained_project: Path) -> None:
    for model, task in zip(project.MODELS, project.TASKS, strict=True):
        text, metrics = card(workspace(model, task)), json.loads(ModelPaths(model).metrics.read_text())
        low, high = wilson(metrics["examples"] - metrics["wrong"], metrics["examples"])
        assert text.startswith(f"# {model}\n")
        assert f"interval of the accuracy is {low:.4%} to {high:.4%}." in text
        assert f"{metrics['accuracy']:.3%} |" in text
        assert ("reads others" in text) == (task == "fable")
        assert ("only stands in for another" in text) == metrics["stand_in"]
    assert "1 to 1,000,000 steps of 1 feature." in card(workspace("bits-lstm24", "bits"))


def test_the_command_of_a_card_is_one_of_a_commit_alone(trained_project: Path) -> None:
    artifacts = workspace("bits-lstm24", "bits")
    log = artifacts.paths.provenance(artifacts.weights_md5)
    known, commit = provenance.load(log), "1" * 40
    for changed, said in (
        (replace(known, commit=commit, uncommitted=False), "$ git checkout 111111111111 && make repro"),
        (replace(known, commit=commit, uncommitted=True), "with changes that were not committed"),
    ):
        provenance.save(changed, log)
        assert said in card(artifacts)
    log.unlink()
    assert "is not recorded here" in card(artifacts)


def test_the_card_is_printed_and_a_damaged_file_is_named(trained_project: Path) -> None:
    result = project.invoke("card", "fable-lstm512")
    assert result.stdout == card(workspace("fable-lstm512", "fable"))
    ModelPaths("fable-lstm512").metrics.unlink()
    with pytest.raises(PipelineError, match=r"metrics\.json does not exist; run `dvc repro evaluate@fable-lstm512`"):
        card(workspace("fable-lstm512", "fable"))
