"""The model card."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.lineage import provenance
from pipeline.lineage.artifacts import workspace
from pipeline.paths import ModelPaths
from pipeline.reports.card import card
from tests.harness import project


def wilson(right: int, examples: int) -> tuple[float, float]:
    """The 95 % interval. Source: E. B. Wilson, "Probable inference", JASA 22 (1927)."""
    z, share = 1.959963984540054, right / examples
    centre = share + z * z / (2 * examples)
    spread = z * math.sqrt(share * (1 - share) / examples + z * z / (4 * examples**2))
    return (centre - spread) / (1 + z * z / examples), (centre + spread) / (1 + z * z / examples)


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
