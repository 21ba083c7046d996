"""A run made again: identical, or the first thing that differs; the workspace stays as it is."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.repo import Repo
from mlflow import MlflowClient
from mlflow.entities import Run
from typer.testing import Result

from pipeline.errors import PipelineError
from pipeline.files import md5
from pipeline.lineage import reproduce
from pipeline.lineage.provenance import Provenance
from pipeline.lineage.reproduce import Difference
from pipeline.paths import MODEL_STAGES, ModelPaths, TaskPaths, stage
from pipeline.tracking.schema import DATASET, WEIGHTS, recorded_runs
from tests.harness import project

MODEL = "bits-lstm24"
EXAMPLES = str(TaskPaths("bits").examples)
STORY = "data/fable/belling_the_cat_retold.txt"
NO_MD5 = "0" * 32
CODE = "pipeline/networks/keras_network.py"
RATE = f"models.{MODEL}.recipes.fast.learning_rate"


def git(folder: Path, *arguments: str) -> str:
    return project.run(folder, "git", *arguments).stdout


def store(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def newest_run(folder: Path) -> Run:
    return recorded_runs(store(folder), f"tags.model = '{MODEL}'")[0]


def provenance_of(folder: Path, run: Run) -> dict[str, Any]:
    path = store(folder).download_artifacts(run.info.run_id, "provenance.json")
    content: dict[str, Any] = json.loads(Path(path).read_text())
    return content


def add_run(folder: Path, name: str, provenance: dict[str, Any] | str | None, patch: bytes = b"") -> str:
    """Add a run of the same model with another provenance to the store; return its id.

    A patch is a file beside the provenance, as version 0.3 recorded it.
    """
    client, original = store(folder), newest_run(folder)
    tags = {key: original.data.tags[key] for key in ("model", "task", "recipe", WEIGHTS, DATASET)}
    run_id = str(client.create_run(original.info.experiment_id, tags=tags, run_name=name).info.run_id)
    if provenance is not None:
        text = provenance if isinstance(provenance, str) else json.dumps(provenance)
        client.log_text(run_id, text, "provenance.json")
    if patch:
        client.log_text(run_id, patch.decode(), "changes.patch")
    return run_id


def state(folder: Path) -> dict[str, Any]:
    """All that a reproduction must leave as it is."""
    own = {".git", "mlflow.db", "mlflow.db.lock"}
    files = {
        str(path.relative_to(folder)): md5(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in own and ".dvc/tmp" not in str(path)
    }
    return {
        "files": files,
        "status": git(folder, "status", "--porcelain", "--ignored"),
        "worktrees": git(folder, "worktree", "list"),
        "refs": git(folder, "show-ref", "--head"),
        "runs": sorted(run.info.run_id for run in recorded_runs(store(folder), deleted=True)),
    }


def invoke(*arguments: str) -> Result:
    """Run `pipeline reproduce`, which must leave the working folder as it is."""
    before = state(Path.cwd())
    assert len(before["worktrees"].splitlines()) == 1
    result = project.invoke("reproduce", *arguments)
    after = state(Path.cwd())
    for key, value in before.items():
        assert after[key] == value, key
    return result


def assert_refused(result: Result, *parts: str) -> None:
    """One sentence on standard error, exit status 2, no traceback."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert re.fullmatch(r"error: [^\n]+[.;:][^\n]*\.\n", result.stderr), result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.mark.system
def test_a_run_of_uncommitted_code_is_reproduced_to_the_byte_and_another_version_alone_is_a_note(
    trained_project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clean = newest_run(trained_project)
    # The stages run in this process, with the code of this repository; the reproduction runs the code of the patch.
    module, extra = trained_project / CODE, trained_project / "pipeline/networks/extra.py"
    module.write_text(module.read_text() + "\nfrom pipeline.networks import extra\n\nassert extra.VALUE\n")
    extra.write_text("VALUE = True\n")
    project.change(trained_project, RATE, 0.02)
    for verb in MODEL_STAGES:
        result = project.invoke(verb, MODEL)
        assert result.exit_code == 0, result.output
        with Repo() as repo:
            repo.commit(stage(verb, MODEL), force=True)
    git(trained_project, "checkout", "--quiet", ".")
    git(trained_project, "clean", "--quiet", "--force", "pipeline")
    assert not extra.exists()
    shutil.rmtree(trained_project / ModelPaths(MODEL).folder)

    run = newest_run(trained_project)
    assert run.info.run_id != clean.info.run_id
    assert run.data.tags["uncommitted"] == "true"
    provenance = provenance_of(trained_project, run)
    assert provenance["params"][RATE] == 0.02
    assert {ModelPaths(MODEL).weights.name, ModelPaths(MODEL).onnx.name, ModelPaths(MODEL).predictions.name} <= {
        Path(path).name for path in provenance["outputs"]
    }
    provenance["environment"]["numpy"] = "0.1"
    store(trained_project).log_text(run.info.run_id, json.dumps(provenance), "provenance.json")

    capfd.readouterr()
    result = invoke(run.info.run_id[:8])
    assert result.exit_code == 0, result.output
    assert "warning" not in capfd.readouterr().err, "a reproduction records nothing, so nothing is missing in MLflow"
    assert result.stdout.splitlines() == [
        f"{run.info.run_name}: commit {provenance['commit'][:10]} with uncommitted changes",
        f"note: library version: numpy was 0.1, now {np.__version__}",
        f"{run.info.run_name}: identical",
    ]


@pytest.mark.parametrize(
    ("field", "change", "expected"),
    [
        ("inputs", {CODE: NO_MD5}, f"code: {CODE} was {NO_MD5}, now "),
        ("inputs", {"pipeline/gone.py": NO_MD5}, f"code: pipeline/gone.py was {NO_MD5}, now missing"),
        (
            "inputs",
            {STORY: NO_MD5},
            f"data: {STORY} was {NO_MD5}",
        ),
        ("params", {RATE: 0.5}, f"parameter: {RATE} was 0.5, now 0.01"),
        ("params", {"seed": 7}, "parameter: seed was 7, now 20"),
        ("params", {"models.gone.network.units": 1}, "parameter: models.gone.network.units was 1, now missing"),
        ("recipe", "published", f"parameter: models.{MODEL}.recipe was published, now fast"),
    ],
)
def test_a_difference_before_the_training_is_printed_with_exit_status_1(
    trained_project: Path, field: str, change: Any, expected: str
) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project))
    provenance[field] = provenance[field] | change if isinstance(change, dict) else change
    result = invoke(add_run(trained_project, "changed", provenance))
    assert result.exit_code == 1, result.output
    assert result.stderr == ""
    commit, difference = result.stdout.splitlines()
    assert commit == f"changed: commit {git(trained_project, 'rev-parse', 'HEAD~1')[:10]}"
    assert difference.startswith(f"changed: {expected}")


def test_a_run_whose_commit_is_gone_is_refused(trained_project: Path) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project)) | {"commit": "0" * 40}
    assert_refused(invoke(add_run(trained_project, "gone", provenance)), "0" * 40, "git fetch --all")


@pytest.mark.parametrize("damage", ["gone", "truncated"])
def test_data_that_the_cache_has_no_longer_are_refused(trained_project: Path, damage: str) -> None:
    run = newest_run(trained_project)
    hash_name = provenance_of(trained_project, run)["inputs"][EXAMPLES]
    cached = trained_project / ".dvc/cache/files/md5" / hash_name[:2] / hash_name[2:]
    content = cached.read_bytes()
    cached.unlink()
    if damage == "truncated":
        cached.write_bytes(content[:-1])
    assert (trained_project / EXAMPLES).is_file(), "the workspace's own copy may be of another run"
    assert_refused(invoke(run.info.run_name), Path(EXAMPLES).name, hash_name, "dvc pull")


@pytest.mark.parametrize(
    "patch", [b"no patch", b"diff --git a/params.yaml b/params.yaml\n--- a/params.yaml\n+++ b/par"]
)
def test_a_patch_that_does_not_apply_is_refused(trained_project: Path, patch: bytes) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project)) | {"uncommitted": True}
    run_id = add_run(trained_project, "patched", provenance, patch)
    assert_refused(invoke(run_id, "--yes"), "uncommitted changes do not apply", "choose another run")


@pytest.mark.parametrize("place", ["in the provenance", "beside it, of version 0.3"])
def test_code_that_did_not_train_here_runs_only_if_it_may(trained_project: Path, place: str) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project)) | {"uncommitted": True}
    change = "--- a/pipeline/__main__.py\n+++ b/pipeline/__main__.py\n@@ -0,0 +1 @@\n+raise SystemExit('ran')\n"
    patch = f"diff --git a/pipeline/__main__.py b/pipeline/__main__.py\n{change}"
    if place == "in the provenance":
        run_id = add_run(trained_project, "foreign", provenance | {"patch": patch})
    else:
        del provenance["patch"]
        run_id = add_run(trained_project, "foreign", provenance, patch.encode())
    commit = provenance["commit"][:10]
    assert_refused(
        invoke(run_id), f"commit {commit} (", "with changes of pipeline/__main__.py; look at it, then add --yes"
    )


@pytest.mark.parametrize("path", ["data/raw/x", "data/split/x", "Makefile", ".git/hooks/pre-commit", "tests/x.py"])
def test_a_patch_of_other_files_is_refused(trained_project: Path, path: str) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project)) | {"uncommitted": True}
    change = f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    patch = f"diff --git a/{path} b/{path}\nnew file mode 100644\n{change}".encode()
    run_id = add_run(trained_project, "foreign", provenance, patch)
    assert_refused(invoke(run_id, "--yes"), f"touch '{path}', which is not code, a parameter or a source of data")


def test_a_patch_that_makes_a_link_is_refused(trained_project: Path) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project)) | {"uncommitted": True}
    change = "--- /dev/null\n+++ b/data/x\n@@ -0,0 +1 @@\n+/etc\n\\ No newline at end of file\n"
    patch = f"diff --git a/data/x b/data/x\nnew file mode 120000\n{change}".encode()
    assert_refused(invoke(add_run(trained_project, "link", provenance, patch), "--yes"), "or they make a link")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "--help"},
        {"outputs": {}},
        {"commit": "main"},
        {"commit": "--all"},
        {"task": "../x"},
        {"patch": "\u20ac"},
    ],
    ids=str,
)
def test_a_provenance_that_no_run_has_is_refused(trained_project: Path, change: dict[str, Any]) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project)) | change
    assert_refused(invoke(add_run(trained_project, "odd", provenance)), "provenance.json is missing, damaged")


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
@pytest.mark.parametrize("place", ["absolute", "above"])
def test_no_path_of_a_run_leads_out_of_the_work_tree(
    trained_project: Path, tmp_path: Path, kind: str, place: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path = {"absolute": str(precious), "above": f"data/split/{'../' * 12}{precious}"}
    provenance = provenance_of(trained_project, newest_run(trained_project))
    provenance[kind][path[place]] = provenance["inputs"][EXAMPLES]
    assert_refused(invoke(add_run(trained_project, "outside", provenance)), "is not a path inside the project")
    assert precious.read_text() == "precious"


def test_a_run_whose_patch_is_gone_is_refused(trained_project: Path) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project)) | {"uncommitted": True}
    assert_refused(invoke(add_run(trained_project, "bare", provenance)), "its changes.patch is gone")


@pytest.mark.parametrize("text", ["nope", "", "../..", "-", "bits-lstm24@fffffff", "ffffffff", "gru-*", "'; drop"])
def test_text_that_matches_no_run_is_refused(trained: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(trained)
    result = project.invoke("reproduce", "--", text)
    assert_refused(result, "there is no run, experiment, revision or model", MODEL)


def test_a_name_of_two_runs_is_refused(trained_project: Path) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project))
    ids = [add_run(trained_project, "twins", provenance) for _ in range(2)]
    assert_refused(invoke("twins"), "matches 2 runs", ids[0][:8], ids[1][:8])


@pytest.mark.parametrize(
    ("provenance", "expected"),
    [
        (None, "has no provenance.json"),
        ("{", "provenance.json is missing, damaged or of another version"),
        ("[]", "provenance.json is missing, damaged or of another version"),
        ('{"model": "bits-lstm24"}', "provenance.json is missing, damaged or of another version"),
    ],
)
def test_a_run_without_a_readable_provenance_is_refused(
    trained_project: Path, provenance: str | None, expected: str
) -> None:
    assert_refused(invoke(add_run(trained_project, "unknown", provenance)), expected)


def test_a_run_that_was_trained_without_dvc_is_refused(trained_project: Path) -> None:
    provenance = provenance_of(trained_project, newest_run(trained_project)) | {"inputs": {}}
    run_id = add_run(trained_project, "without DVC", provenance)
    assert_refused(invoke(run_id), "trained without DVC", "dvc repro")


# A project whose stages take no time: each writes the hash of what it read.

STAGES = """
import hashlib
import sys
from pathlib import Path

verb, model = sys.argv[1:]
outputs = {"train": "model.weights.h5", "export": "export/model.onnx", "evaluate": "metrics.json"}
path = Path("models") / model / outputs[verb]
path.parent.mkdir(parents=True, exist_ok=True)
content = Path("params.yaml").read_bytes() + Path("data/split/bits/examples.npy").read_bytes()
path.write_text(verb + hashlib.md5(content).hexdigest())
"""
TOY = ModelPaths("toy")
WEIGHTS_PATH, METRICS_PATH = str(TOY.weights), str(TOY.metrics)
OUTPUTS = (str(TOY.onnx), METRICS_PATH, WEIGHTS_PATH)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provenance:
    """The provenance of a model of that project, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    files = {
        "pipeline/__init__.py": "",
        "pipeline/__main__.py": STAGES,
        "params.yaml": "recipe: fast\nseed: 1\n",
        EXAMPLES: "examples",
        ".dvc/config": "[core]\n    analytics = false\n",
        ".dvc/.gitignore": "/cache\n/tmp\n",
        ".gitignore": "/models/\n__pycache__/\n",
    }
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)
    git(tmp_path, "init", "--quiet")
    with Repo() as repo:
        repo.add(EXAMPLES)
    project.commit(tmp_path, "toy")
    for verb in MODEL_STAGES:
        subprocess.run([sys.executable, "-m", "pipeline", verb, "toy"], check=True)
    return Provenance(
        model="toy",
        task="bits",
        recipe="fast",
        commit=git(tmp_path, "rev-parse", "HEAD").strip(),
        uncommitted=False,
        experiment="",
        params={"seed": 1},
        inputs={path: md5(Path(path)) for path in ("pipeline/__main__.py", EXAMPLES)},
        outputs={path: md5(Path(path)) for path in OUTPUTS},
        environment={"numpy": np.__version__, "python": ".".join(map(str, sys.version_info[:3]))},
    )


def with_other_outputs(provenance: Provenance, *paths: str) -> Provenance:
    return replace(provenance, outputs=provenance.outputs | dict.fromkeys(paths, NO_MD5))


def test_identical_files_are_no_difference(toy: Provenance) -> None:
    assert reproduce.run(toy) == (None, [])


@pytest.mark.parametrize(
    ("paths", "kind", "what"),
    [
        ([WEIGHTS_PATH], "weights", WEIGHTS_PATH),
        ([METRICS_PATH], "output", METRICS_PATH),
        (OUTPUTS, "weights", WEIGHTS_PATH),  # from which all others follow
    ],
)
def test_the_first_file_that_differs_is_named_weights_first(
    toy: Provenance, paths: list[str], kind: str, what: str
) -> None:
    difference, versions = reproduce.run(with_other_outputs(toy, *paths))
    assert difference == Difference(kind, what, NO_MD5, toy.outputs[what])
    assert versions == []


def test_an_output_that_is_not_written_any_more_is_named(toy: Provenance) -> None:
    difference, _ = reproduce.run(with_other_outputs(toy, "models/toy/more.csv"))
    assert difference == Difference("output", "models/toy/more.csv", NO_MD5, "missing")


@pytest.mark.parametrize("name", ["numpy", "python"])
def test_another_version_is_the_difference_only_if_a_file_differs(toy: Provenance, name: str) -> None:
    version = Difference("library version", name, "0.1", toy.environment[name])
    provenance = replace(toy, environment=toy.environment | {name: "0.1"})
    assert reproduce.run(provenance) == (None, [version])
    assert reproduce.run(with_other_outputs(provenance, WEIGHTS_PATH)) == (version, [version])


def test_a_run_of_several_workers_is_refused_with_their_number(toy: Provenance) -> None:
    with pytest.raises(PipelineError, match="the run was trained by 3 workers, whose sums one process does not repeat"):
        reproduce.run(replace(toy, environment=toy.environment | {"workers": 3}))


def test_a_question_names_all_files_the_code_first_and_a_part_of_a_long_subject(toy: Provenance) -> None:
    Path("note.txt").write_text("x")
    project.commit(Path(), "a long subject " * 50)
    for name in [*(f"data/{i}.txt" for i in range(100)), "pipeline/evil.py"]:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("x\n")
    git(Path(), "add", "--all")
    patch, commit = git(Path(), "diff", "--cached", "--binary"), git(Path(), "rev-parse", "HEAD").strip()
    said = reproduce.foreign_code(replace(toy, commit=commit, uncommitted=True, patch=patch))
    assert "a long subject a long" in said
    assert "…), with changes of pipeline/evil.py, data/0.txt, " in said
    assert said.endswith("data/99.txt")


def test_a_library_that_is_not_installed_is_a_difference(toy: Provenance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "LIBRARIES", ("no-such-library",))
    provenance = replace(toy, environment={"no-such-library": "1.0"})
    version = Difference("library version", "no-such-library", "1.0", "not installed")
    assert reproduce.differing_versions(provenance) == [version]


def test_the_run_s_changes_data_and_parameters_count_not_the_workspace_s(toy: Provenance) -> None:
    Path("params.yaml").write_text("recipe: fast\nseed: 2\n")
    Path(EXAMPLES).unlink()
    Path(EXAMPLES).write_text("other examples")
    Path("pipeline/__main__.py").write_text("raise SystemExit(3)")
    assert reproduce.run(toy) == (None, [])
    changed = replace(toy, patch=git(Path(), "diff", "--binary", "params.yaml"))
    difference, _ = reproduce.run(changed)
    assert difference == Difference("parameter", "seed", "1", "2")
    difference, _ = reproduce.run(replace(changed, params={"seed": 2}))
    assert difference is not None
    assert difference.kind == "weights"


def test_a_stage_that_fails_is_an_error_and_leaves_no_worktree(toy: Provenance) -> None:
    Path("pipeline/__main__.py").write_text("raise SystemExit(3)")
    project.commit(Path(), "broken")
    provenance = replace(toy, commit="HEAD", inputs={EXAMPLES: toy.inputs[EXAMPLES]})
    with pytest.raises(PipelineError, match=r"stage train of toy fails .* requirements\.lock"):
        reproduce.run(provenance)
    assert len(git(Path(), "worktree", "list").splitlines()) == 1


def test_data_that_the_cache_has_no_longer_stop_it_before_any_stage_runs(toy: Provenance) -> None:
    shutil.rmtree(".dvc/cache")
    Path(TOY.weights).unlink()
    with pytest.raises(
        PipelineError, match=rf"{Path(EXAMPLES).name} with the hash {toy.inputs[EXAMPLES]} is not on this machine"
    ):
        reproduce.run(toy)
    assert not TOY.weights.exists()
