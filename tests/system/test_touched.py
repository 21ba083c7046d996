"""Which stages DVC runs again after a change: those that it affects, and no others."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from dvc.repo import Repo

from tests.harness import project

BITS, MNIST, FABLE = project.MODELS


def every(*verbs: str) -> set[str]:
    """All stages with these verbs."""
    return {stage for stage in project.STAGES if stage.split("@")[0] in verbs}


# Changes and the stages whose own inputs they change: a parameter by its dotted key with its new value, or an edited
# file. The changes of one case affect different stages, so that one plan is enough for all of them.
PARAMETERS = [
    {("seed", 21): every("split", "train")},
    {
        (f"models.{BITS}.recipe", "published"): {f"train@{BITS}", f"export@{BITS}"},
        (f"models.{FABLE}.recipe", "best"): {f"train@{FABLE}", f"export@{FABLE}"},
    },
    {
        ("tasks.bits.generate.length", 9): {"generate@bits"},
        ("tasks.fable.split.context", 4): {"split@fable"},
        (f"models.{MNIST}.network.dense", 5): {f"train@{MNIST}", f"export@{MNIST}"},
        (f"models.{BITS}.recipes.fast.steps", 30): {f"train@{BITS}", f"export@{BITS}"},
    },
    {
        ("tasks.bits.split.train", 90): {"split@bits"},
        (f"models.{FABLE}.recipes.fast.learning_rate", 0.02): {f"train@{FABLE}", f"export@{FABLE}"},
        (f"models.{FABLE}.recipes.published.learning_rate", 0.02): set(),
        (f"models.{FABLE}.reference.accuracy", 0.5): set(),
        (f"models.{FABLE}.gate.floor", 0.5): set(),
    },
]
SOURCES = [
    {"data/fable/belling_the_cat_retold.txt": {"generate@fable", "split@fable"}},
]
OUTPUTS = [  # a stage, and the stages that read this output of it
    {
        "data/split/bits/examples.npy": {stage for stage in project.STAGES if "bits" in stage} - {"generate@bits"},
        f"models/{MNIST}/model.weights.h5": {f"train@{MNIST}", f"export@{MNIST}"},
        f"models/{FABLE}/logits.npy": {f"train@{FABLE}", f"export@{FABLE}"},
        f"models/{FABLE}/export/model.onnx": {f"export@{FABLE}", f"evaluate@{FABLE}"},
    },
    {
        "data/raw/bits/strings.json": {"generate@bits", "split@bits"},
        "data/split/mnist/info.json": {stage for stage in project.STAGES if "mnist" in stage} - {"generate@mnist"},
        f"models/{FABLE}/metrics.json": {f"evaluate@{FABLE}"},
    },
]


def edit(path: Path) -> None:
    assert path.is_file()
    with path.open("ab") as file:
        file.write(b"\n# edited\n")


def planned() -> set[str]:
    """What `dvc repro --dry` would run, beside `check`: the stages whose own inputs or outputs differ from dvc.lock.

    The stages after them are not among these: dvc cannot know what these stages will read.
    """
    with Repo() as repo:
        return {stage.addressing for stage in repo.reproduce(dry=True)} - {"check"}


@pytest.mark.parametrize("changes", PARAMETERS, ids=lambda changes: " ".join(key for key, _ in changes))
def test_a_parameter_affects_the_stages_that_read_it(
    trained_project: Path, changes: dict[tuple[str, object], set[str]]
) -> None:
    for key, value in changes:
        project.change(trained_project, key, value)
    assert planned() == set().union(*changes.values())


@pytest.mark.parametrize("changes", SOURCES + OUTPUTS, ids=" ".join)
def test_a_file_affects_the_stages_that_use_it(trained_project: Path, changes: dict[str, set[str]]) -> None:
    for path in changes:
        edit(trained_project / path)
    assert planned() == set().union(*changes.values())


def table() -> list[tuple[str, str]]:
    """The table of CONTRIBUTING.md: a pattern of paths in pipeline/ and the verbs of the stages, from top to bottom."""
    text = (project.ROOT / "CONTRIBUTING.md").read_text().split("## What an edit runs again")[1].split("## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines() if line.startswith("| ")]
    return [
        (pattern.replace("TASK", "*"), verbs)
        for files, verbs in rows[2:]
        for pattern in re.findall("`(.+?)`", files) or ["*"]
    ]


def promised(module: str) -> set[str]:
    """The stages that an edit of a file of pipeline/ runs again, as CONTRIBUTING.md has them."""
    pattern, verbs = next(row for row in table() if fnmatchcase(module, row[0]))
    if verbs == "none":
        return set()
    task = module.split("/")[1] if pattern.startswith("tasks/*") else ""
    return ({"check"} & {verbs.split()[0]}) | {stage for stage in every(*verbs.split()) if task in stage}


def test_an_edit_of_any_module_runs_what_contributing_says(trained_project: Path) -> None:
    package = trained_project / "pipeline"
    modules = sorted(str(path.relative_to(package)) for path in package.rglob("*.py"))
    assert len(modules) > 100
    for pattern, _ in table():
        assert any(fnmatchcase(module, pattern) for module in modules), f"{pattern} names no file"
    wrong = {}
    with Repo() as repo:
        for module in modules:
            before = (package / module).read_bytes()
            edit(package / module)
            found = set(repo.status())
            (package / module).write_bytes(before)
            if found != promised(module):
                wrong[module] = found
    assert not wrong


def test_a_new_key_of_params_trains_nothing(trained_project: Path) -> None:
    """Not even where it changes the JSON schema, an output of the stage that every other waits for."""
    path = trained_project / "pipeline/config.py"
    path.write_text(path.read_text().replace("    floor: ", "    ceiling: float = 1.0\n    floor: "))
    done = project.run(trained_project, "dvc", "repro")
    assert "Running stage 'check'" in done.stdout
    assert "ceiling" in (trained_project / "params.schema.json").read_text()
    assert not project.stages_run(done.stdout)


def test_a_changed_picture_or_reader_of_inputs_evaluates_its_task_alone(trained_project: Path) -> None:
    assert planned() == set()
    edit(trained_project / "pipeline/tasks/bits/evaluation.py")
    edit(trained_project / "pipeline/tasks/mnist/inputs.py")
    done = project.run(trained_project, "dvc", "repro", MLFLOW_TRACKING_URI=project.NOBODY)
    assert project.stages_run(done.stdout) == {f"evaluate@{BITS}", f"evaluate@{MNIST}"}
    assert planned() == set()
    project.run(trained_project, "git", "checkout", "--quiet", "pipeline")
    back = project.run(trained_project, "dvc", "repro")
    assert not project.stages_run(back.stdout), "DVC's run cache has what ran before"
    assert not project.run(trained_project, "git", "status", "--porcelain").stdout
