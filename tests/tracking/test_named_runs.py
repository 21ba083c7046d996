"""Runs by their names, read from a real store."""

from pathlib import Path

from mlflow import MlflowClient

from pipeline.files import md5
from pipeline.paths import ModelPaths
from tests.harness import project

MODELS = project.MODELS[:2]


def test_two_recorded_models_are_compared_in_one_table(trained_project: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curves.png"
    done = project.invoke("compare", *MODELS, "--picture", str(picture))
    assert done.exit_code == 0, done.output
    title, _, head, *rows = done.stdout.splitlines()
    assert title == " and ".join(MODELS)
    names = [f"{model}@{md5(ModelPaths(model).weights)[:7]}" for model in MODELS]
    assert head.split() == [*names, "difference"]
    cells = {row.split("  ")[0]: row.split() for row in rows}
    assert cells["model"][1:3] == list(MODELS)
    assert all(cell.endswith("%") for cell in cells["accuracy"][1:3])
    assert f"{names[1]}: no paired test, other test examples" in rows
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_names_of_the_same_runs_are_not_compared(trained_project: Path) -> None:
    name = f"{MODELS[0]}@{md5(ModelPaths(MODELS[0]).weights)[:7]}"
    done = project.invoke("compare", MODELS[0], name)
    said = f"error: {MODELS[0]} and {name} name the same runs; name others to compare with.\n"
    assert (done.exit_code, done.stderr) == (2, said)


def test_a_champion_is_found_among_the_models_of_others(trained_project: Path) -> None:
    project.change(trained_project, f"models.{MODELS[0]}.gate.floor", 0.0)
    assert project.invoke("promote", MODELS[0]).exit_code == 0
    client = MlflowClient(f"sqlite:///{trained_project / 'mlflow.db'}")
    for number in range(101):  # MLflow returns 100 at once
        client.create_registered_model(f"a-{number}")
    refused = project.invoke("compare", "champion")
    assert refused.stderr.startswith("error: there is no earlier run of champion to compare with; "), "it is found"
