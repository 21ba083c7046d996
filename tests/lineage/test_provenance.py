"""What a model was made from: what the logs have of it, or else the commit that has its inputs and parameters."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.errors import PipelineError
from pipeline.files import md5
from pipeline.lineage import artifacts, dvc, git, provenance
from pipeline.lineage.provenance import Provenance
from pipeline.paths import LOGS, ModelPaths, TaskPaths, stage
from tests.harness import project

MODEL = "bits-lstm24"
TASK = "bits"
CODE = Path("pipeline/networks/keras_network.py")
MD5 = "0123456789abcdef" * 2
EXAMPLE = Provenance(
    model=MODEL,
    task=TASK,
    recipe="fast",
    commit="a" * 40,
    uncommitted=True,
    experiment="",
    params={"seed": 1, f"models.{MODEL}.network.units": [8], f"models.{MODEL}.network.dense": None},
    inputs={"pipeline/config.py": MD5},
    outputs={"models/bits-lstm24/model.weights.h5": MD5},
    environment={"numpy": "2.4.0", "seconds": 1.5, "cudnn": False},
)


@pytest.mark.parametrize(
    ("dotted", "stripped"),
    [
        ("models.bits-lstm24.recipes.fast.learning_rate", "learning_rate"),
        ("models.bits-lstm24.recipes.fast.init.kernel", "init.kernel"),
        ("models.bits-lstm24.network.units", "network.units"),
        ("models.bits-lstm24.task", "task"),
        ("tasks.bits.split.train", "split.train"),
        ("tasks.bits.source", "source"),
        ("seed", "seed"),
    ],
)
def test_parameters_of_all_models_get_the_same_names(dotted: str, stripped: str) -> None:
    assert provenance.strip_prefixes({dotted: 1}) == {stripped: 1}


def test_no_two_parameters_of_a_model_get_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.ROOT)
    for setup in config.load().all_models():
        params = setup.used_params()
        assert len(provenance.strip_prefixes(params)) == len(params)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("data/split/bits/examples.npy", "data"),
        ("data/fable/belling_the_cat_retold.txt", "data"),
        ("pipeline/tasks/bits/data.py", "code"),
        ("database.py", "code"),
    ],
)
def test_an_input_is_code_or_data(path: str, kind: str) -> None:
    assert provenance.input_kind(path) == kind


def test_a_provenance_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    provenance.save(EXAMPLE, path)
    assert provenance.load(path) == EXAMPLE
    assert json.loads(path.read_text()) == asdict(EXAMPLE)


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b"\xff", json.dumps(without(asdict(EXAMPLE), "outputs")).encode(), b'{"made_of": 1}'],
    ids=["missing", "empty", "truncated", "a list", "not text", "of another version", "something else"],
)
def test_a_provenance_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "provenance.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"missing, damaged or of another version .*; choose another run"):
        provenance.load(path)


# What the logs have of a training.


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> artifacts.Artifacts:
    """A model with weights in an empty folder, the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    paths = ModelPaths(MODEL)
    paths.weights.parent.mkdir(parents=True)
    paths.weights.write_bytes(b"weights")
    return artifacts.Artifacts(paths, TaskPaths(TASK), {})


def in_logs(model: artifacts.Artifacts) -> Path:
    return model.paths.provenance(model.weights_md5)


def logged(model: artifacts.Artifacts) -> Provenance | None:
    return provenance.load_training(MODEL, TASK, model.weights_md5)


def of(model: artifacts.Artifacts, changes: bytes = b"", **other: Any) -> Provenance:
    """The example, with the weights of the model."""
    outputs = {str(model.paths.weights): model.weights_md5}
    return replace(EXAMPLE, uncommitted=bool(changes), patch=changes.decode("latin-1"), outputs=outputs, **other)


def test_the_logs_keep_a_provenance_with_all_bytes_of_its_patch(model: artifacts.Artifacts) -> None:
    changes = bytes(range(256))
    provenance.save_training(of(model, changes))
    assert logged(model) == of(model, changes)
    assert of(model, changes).changes == changes
    assert in_logs(model).is_relative_to(LOGS), "neither in git nor in DVC"
    assert provenance.load_training(MODEL, TASK, MD5) is None, "that of other weights"


def test_evaluation_gives_it_the_later_source_and_keeps_environment_and_experiment(
    model: artifacts.Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = of(model, experiment="brisk-lynx", environment={"numpy": "2.4.0"})
    provenance.save_training(training)
    monkeypatch.setenv("DVC_EXP_NAME", "another")
    completed = provenance.of_artifacts(model, ("b" * 40, b"patch"))
    assert (completed.commit, completed.changes) == ("b" * 40, b"patch")
    assert (completed.experiment, completed.environment) == ("brisk-lynx", {"numpy": "2.4.0"})
    assert (completed.recipe, completed.params) == (training.recipe, training.params)
    assert completed.outputs == {str(model.paths.weights): model.weights_md5}


def test_what_version_0_3_logged_is_read(model: artifacts.Artifacts) -> None:
    old = {"commit": "a" * 40, "patch": "\u00ff", "experiment": "brisk-lynx", "environment": {"numpy": "2.4.0"}}
    in_logs(model).parent.mkdir(parents=True)
    in_logs(model).write_text(json.dumps(old))
    completed = provenance.of_artifacts(model)
    assert (completed.commit, completed.changes, completed.uncommitted) == ("a" * 40, b"\xff", True)
    assert (completed.experiment, completed.environment) == ("brisk-lynx", {"numpy": "2.4.0"})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"commit": "a"}', b'{"commit": 1}'])
def test_a_damaged_file_in_the_logs_is_none_and_is_replaced(model: artifacts.Artifacts, content: bytes) -> None:
    in_logs(model).parent.mkdir(parents=True)
    in_logs(model).write_bytes(content)
    assert logged(model) is None
    provenance.save_training(of(model))
    assert logged(model) == of(model)


def test_parameters_and_inputs_of_other_weights_are_not_taken_from_the_lock(model: artifacts.Artifacts) -> None:
    trained = {"path": str(model.paths.weights), "md5": MD5}
    entry = {"outs": [trained], "deps": [{"path": "x", "md5": MD5}], "params": {"params.yaml": {"seed": 9}}}
    model.entries[stage("train", MODEL)] = entry
    provenance.save_training(of(model))
    completed = provenance.of_artifacts(model)
    assert (completed.params, completed.inputs) == (EXAMPLE.params, {})
    trained["md5"] = model.weights_md5
    completed = provenance.of_artifacts(model)
    assert (completed.params, completed.inputs) == ({"seed": 9}, {"x": MD5})


# The provenance of a trained model.


def test_a_trained_model_s_provenance_is_that_of_its_training(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    workspace = artifacts.workspace(MODEL, TASK)
    made_from = provenance.of_artifacts(workspace)
    assert (made_from.commit, made_from.changes) == (git.commit("HEAD~1"), b""), "the commit on which it was trained"
    assert (made_from.model, made_from.task, made_from.recipe) == (MODEL, TASK, "fast")
    assert (made_from.uncommitted, made_from.experiment) == (False, "")
    logged = provenance.load_training(MODEL, TASK, workspace.weights_md5)
    assert logged is not None
    assert replace(made_from, outputs={}) == replace(logged, outputs={}), "evaluate has completed it"
    assert set(made_from.outputs) >= set(logged.outputs) >= {str(path) for path in (workspace.paths.weights,)}
    assert made_from.inputs == dvc.hashes(workspace.entries[stage("train", MODEL)], "deps")
    assert made_from.inputs[str(CODE)] == md5(CODE)
    assert made_from.outputs == workspace.hashes()
    assert {"device", "cudnn", "python", "tensorflow", "keras", "numpy", "seconds"} <= set(made_from.environment)
    used = config.load().model(MODEL).used_params()
    assert made_from.params == used


def forget_training(folder: Path) -> None:
    """Delete the file in the logs, as if the model had been trained elsewhere."""
    (folder / ModelPaths(MODEL).provenance(md5(ModelPaths(MODEL).weights))).unlink()


def source_without_logs(folder: Path) -> tuple[str, bytes]:
    forget_training(folder)
    made_from = provenance.of_artifacts(artifacts.workspace(MODEL, TASK))
    assert made_from.environment == {}
    return made_from.commit, made_from.changes


def test_without_logs_the_source_is_the_last_commit_if_that_has_all_inputs(trained_project: Path) -> None:
    (trained_project / "params.yaml").write_text("seed: 1\n")
    (trained_project / CODE).write_text("edited\n")
    assert source_without_logs(trained_project) == (git.commit(), b"")


def test_without_logs_the_source_may_be_the_workspace(trained_project: Path) -> None:
    # The last commit has other code, and the workspace the code of the training.
    code = CODE.read_text()
    CODE.write_text(f"{code}# edited\n")
    project.commit(trained_project, "edited")
    CODE.write_text(code)
    commit, changes = source_without_logs(trained_project)
    assert commit == git.commit()
    with git.worktree(commit, changes) as folder:
        assert (folder / CODE).read_text() == code


@pytest.mark.parametrize("change", ["code", "parameter"])
def test_without_logs_the_source_may_be_an_earlier_commit(trained_project: Path, change: str) -> None:
    trained = git.commit()
    for number in range(2):
        if change == "code":
            CODE.write_text(f"{CODE.read_text()}# edited\n")
        else:
            project.change(trained_project, "seed", number)
        project.commit(trained_project, f"edit {number}")
    assert source_without_logs(trained_project) == (trained, b"")


def test_without_logs_the_source_is_the_last_commit_if_none_has_the_inputs(trained_project: Path) -> None:
    forget_training(trained_project)
    workspace = artifacts.workspace(MODEL, TASK)
    (code,) = (file for file in workspace.entries[stage("train", MODEL)]["deps"] if file["path"] == str(CODE))
    code["md5"] = MD5
    made_from = provenance.of_artifacts(workspace)
    assert (made_from.commit, made_from.changes) == (git.commit(), b"")
    assert made_from.inputs[str(CODE)] == MD5


def test_the_current_source_has_the_uncommitted_changes_of_code_parameters_and_the_task_s_source(
    untrained_project: Path,
) -> None:
    story = untrained_project / "story.txt"
    story.write_text("once upon a time\n")
    project.change(untrained_project, "tasks.fable.source", story.name)
    CODE.write_text(f"{CODE.read_text()}# edited\n")
    commit, changes = provenance.current_source(config.load().model("fable-lstm512"))
    assert commit == git.commit()
    with git.worktree(commit, changes) as folder:
        for name in (story.name, str(CODE), "params.yaml"):
            assert (folder / name).read_text() == (untrained_project / name).read_text()


def test_a_commit_whose_parameters_are_not_yaml_is_refused_by_name_or_passed_over(trained_project: Path) -> None:
    content = Path("params.yaml").read_text()
    Path("params.yaml").write_text(f"<<<<<<< HEAD\n{content}")
    project.commit(trained_project, "a merge that was not finished")
    Path("params.yaml").write_text(content)
    refused = project.invoke("report", "--base", "HEAD")
    said = "error: params.yaml of HEAD is not valid YAML; choose another revision or run.\n"
    assert (refused.exit_code, refused.stderr) == (2, said)
    shutil.rmtree(LOGS)
    found = provenance.of_artifacts(artifacts.workspace(MODEL, TASK))
    assert (found.commit, found.uncommitted) == (git.commit(), True)


def test_costs_are_numbers() -> None:
    damaged = replace(EXAMPLE, environment={"seconds": "long", "peak_memory_mib": 800})
    assert damaged.costs == {"peak_memory_mib": 800}
