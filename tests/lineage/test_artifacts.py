"""The files of a trained model, and the stages that wrote them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.errors import PipelineError
from pipeline.files import md5, md5_of
from pipeline.lineage import artifacts, dvc
from pipeline.lineage.artifacts import Artifacts
from pipeline.paths import MODEL_STAGES, ModelPaths, TaskPaths, stage
from tests.harness import project

MODEL = "bits-lstm24"
TASK = "bits"
PATHS, TASK_PATHS = ModelPaths(MODEL), TaskPaths(TASK)


@pytest.fixture
def in_trained(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trained project as the working folder of a test that only reads it."""
    monkeypatch.chdir(trained)
    return trained


# The workspace.


def test_a_trained_model_is_consistent_and_has_its_files(in_trained: Path) -> None:
    model = artifacts.verified_workspace(MODEL, TASK)
    assert model.model == MODEL
    assert model.weights_md5 == md5(PATHS.weights) == artifacts.trained_weights(model.entries, MODEL)
    written: dict[str, str] = {}
    for verb in MODEL_STAGES:
        written |= dvc.hashes(model.entries[stage(verb, MODEL)], "outs")
    files = {path: hash_name for path, hash_name in written.items() if not hash_name.endswith(".dir")}
    exported = {path for path in model.hashes() if Path(path).is_relative_to(PATHS.export)}
    assert model.hashes() == files | {path: md5(Path(path)) for path in exported}
    assert str(PATHS.onnx) in exported
    assert str(PATHS.info) in exported
    assert model.metrics()["stand_in"] is False


def test_a_model_without_a_lock_entry_has_no_weights() -> None:
    assert artifacts.trained_weights({}, MODEL) == ""


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


NOT_AS_LOCKED = (
    r"is not the file that dvc\.lock names; run `rm -rf .* && dvc checkout .*` to restore it, or `dvc repro eval"
)
INCONSISTENT = r"the files of bits-lstm24 are not those of dvc\.lock; run `dvc repro evaluate@bits-lstm24`"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda: edit(PATHS.weights), NOT_AS_LOCKED),
        (lambda: edit(PATHS.onnx), NOT_AS_LOCKED),
        (lambda: edit(TASK_PATHS.examples), NOT_AS_LOCKED),
        (lambda: forget("train"), INCONSISTENT),
        (lambda: forget("export"), INCONSISTENT),
        (PATHS.weights.unlink, r"model\.weights\.h5 does not exist; run `dvc repro train@bits-lstm24`"),
        (PATHS.onnx.unlink, NOT_AS_LOCKED),
        (PATHS.history.unlink, NOT_AS_LOCKED),
    ],
    ids=[
        "weights",
        "export",
        "examples",
        "not trained by DVC",
        "not exported by DVC",
        "no weights",
        "no export",
        "no history",
    ],
)
def test_files_that_do_not_belong_together_are_inconsistent(
    trained_project: Path, damage: Callable[[], None], expected: str
) -> None:
    damage()
    with pytest.raises(PipelineError, match=expected):
        artifacts.workspace(MODEL, TASK).check_consistent()


def test_an_export_of_other_weights_is_inconsistent(in_trained: Path) -> None:
    model = artifacts.workspace(MODEL, TASK)
    deps = model.entries[stage("export", MODEL)]["deps"]
    (weights,) = (file for file in deps if file["path"] == str(PATHS.weights))
    weights["md5"] = "0" * 32
    with pytest.raises(PipelineError, match=INCONSISTENT):
        model.check_consistent()


@pytest.mark.parametrize("path", [PATHS.metrics, PATHS.predictions, PATHS.errors], ids=lambda path: path.name)
def test_a_file_that_is_not_as_dvc_lock_has_it_is_refused(trained_project: Path, path: Path) -> None:
    edit(path)
    artifacts.workspace(MODEL, TASK).check_consistent()  # what the evaluation wrote may be newer
    with pytest.raises(PipelineError, match=NOT_AS_LOCKED):
        artifacts.verified_workspace(MODEL, TASK)


def test_a_bit_that_changed_while_the_time_of_the_file_did_not_is_found(trained_project: Path) -> None:
    project.run(trained_project, "dvc", "status")
    path = PATHS.onnx
    content, times = path.read_bytes(), path.stat()
    path.chmod(0o644)
    path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(PipelineError, match=NOT_AS_LOCKED):
        artifacts.verified_workspace(MODEL, TASK)
    done = project.invoke("verify")
    assert done.exit_code == 1
    assert done.stderr == (
        f"{PATHS.export} was changed since dvc.lock was written; run `rm -rf {PATHS.export} && dvc checkout "
        f"{PATHS.export}`, or `dvc repro export@{MODEL}` where the cache does not have it.\n"
    )
    shutil.rmtree(PATHS.export)
    project.run(trained_project, "dvc", "checkout", str(PATHS.export))
    done = project.invoke("verify")
    assert not done.stderr
    assert done.stdout == "every file is the one that dvc.lock names\n"


def test_results_that_are_not_the_committed_ones_are_noted(trained_project: Path) -> None:
    with Path("dvc.lock").open("a") as file:
        file.write("# another\n")
    done = project.invoke("verify")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1] == (
        "note: dvc.lock differs from the last commit: parameters or code have changed, or this processor rounds in "
        'another way, as docs/reproducibility.md says; `git commit -am "My results"` keeps what was made here'
    )


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.csv; touch x"])
@pytest.mark.parametrize("command", [("verify",), ("promote", MODEL)])
def test_a_path_of_dvc_lock_that_leads_out_is_refused(
    trained_project: Path, path: str, command: tuple[str, ...]
) -> None:
    lock = Path("dvc.lock")
    lock.write_text(lock.read_text().replace(f"path: {PATHS.history}", f"path: '{path}'"))
    done = project.invoke(*command)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: '{path}' is not a path inside the project; ")


def test_what_a_command_advises_is_quoted_for_the_shell(trained_project: Path) -> None:
    lock = Path("dvc.lock")
    lock.write_text(lock.read_text().replace(f"path: {PATHS.history}", "path: 'a; touch x'"))
    done = project.invoke("verify")
    assert "a; touch x is missing since dvc.lock was written; run `rm -rf 'a; touch x' && dvc checkout" in done.stderr


def test_a_damaged_object_of_the_cache_is_named(trained_project: Path) -> None:
    hash_name = md5(PATHS.weights)
    cached = Path(".dvc/cache/files/md5") / hash_name[:2] / hash_name[2:]
    cached.chmod(0o644)
    cached.write_bytes(cached.read_bytes() + b"x")
    PATHS.weights.unlink()
    done = project.invoke("verify")
    advice = f"its copy in the cache is damaged: run `rm -f {cached}`, then `dvc repro --force train@{MODEL}`"
    assert done.stderr == f"{PATHS.weights} is missing since dvc.lock was written; {advice}.\n"


def forget(verb: str) -> None:
    """Remove the entry of a stage from dvc.lock."""
    yaml = YAML(typ="safe")
    lock = yaml.load(Path("dvc.lock"))
    del lock["stages"][stage(verb, MODEL)]
    yaml.dump(lock, Path("dvc.lock"))


def test_a_model_that_params_yaml_no_longer_has_is_no_problem(trained_project: Path) -> None:
    params = project.read(trained_project)
    del params["models"][MODEL]
    project.write(trained_project, params)
    shutil.rmtree(PATHS.folder)
    assert not project.invoke("verify").stderr


@pytest.mark.parametrize("relpath", ["../../../x", "a/../../../../x"])
def test_a_folder_of_the_cache_writes_nothing_outside(trained_project: Path, tmp_path: Path, relpath: str) -> None:
    listing = json.dumps([{"md5": md5(PATHS.weights), "relpath": relpath}]).encode()
    hash_name = md5_of(listing)
    cached = Path(".dvc/cache/files/md5") / hash_name[:2] / f"{hash_name[2:]}.dir"
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(listing)
    root = tmp_path / "root"
    with pytest.raises(PipelineError, match="is not a path inside the project"):
        dvc.Cache().checkout(f"{hash_name}.dir", root, "models/m")
    assert not list(tmp_path.glob("**/x"))


def test_another_model_s_damage_does_not_matter(trained_project: Path) -> None:
    edit(ModelPaths("fable-lstm512").metrics)
    artifacts.verified_workspace(MODEL, TASK)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"accuracy": 1.0}', "\xff"])
def test_damaged_metrics_are_refused(tmp_path: Path, content: str) -> None:
    assert_damaged(tmp_path, content)


@pytest.mark.parametrize("number", ["NaN", "-Infinity"])
def test_metrics_that_are_no_finite_numbers_are_refused(trained_project: Path, tmp_path: Path, number: str) -> None:
    metrics = json.loads(PATHS.metrics.read_text())
    assert_damaged(tmp_path, json.dumps(metrics | {"accuracy": float(number)}))


def assert_damaged(tmp_path: Path, content: str) -> None:
    model = Artifacts(ModelPaths(MODEL, tmp_path), TaskPaths(TASK, tmp_path), {})
    model.paths.metrics.parent.mkdir(parents=True)
    model.paths.metrics.write_text(content, encoding="latin-1")
    with pytest.raises(PipelineError, match=r"metrics\.json is damaged.*; run `dvc repro evaluate@bits-lstm24`"):
        model.metrics()


# Other revisions.


@pytest.mark.parametrize("revision", ["HEAD", ""], ids=["from git and the cache", "from the cache"])
def test_a_model_is_checked_out_to_the_byte_and_removed(in_trained: Path, revision: str) -> None:
    workspace = artifacts.workspace(MODEL, TASK)
    with artifacts.checked_out(MODEL, dvc.lock_entries("HEAD"), revision) as model:
        root = model.paths.root
        assert root.resolve() != in_trained
        assert model.hashes() == workspace.hashes()
        assert md5(model.task.examples) == md5(TASK_PATHS.examples)
        assert md5(model.task.info) == md5(TASK_PATHS.info)
        model.check_consistent()
    assert not root.exists()


def test_a_file_that_is_in_neither_git_nor_the_cache_is_refused(trained_project: Path) -> None:
    entries = dvc.lock_entries()
    hash_name = md5(PATHS.weights)
    (Path(".dvc/cache/files/md5") / hash_name[:2] / hash_name[2:]).unlink()
    with (
        pytest.raises(PipelineError, match=rf"model\.weights\.h5 with the hash {hash_name} is not on this machine"),
        artifacts.checked_out(MODEL, entries, "HEAD"),
    ):
        pytest.fail("there is nothing to work with")


def test_a_remote_whose_plug_in_is_not_installed_is_named(trained_project: Path) -> None:
    project.run(trained_project, "dvc", "remote", "add", "--default", "there", "s3://bucket/folder")
    hash_name = md5(PATHS.weights)
    (Path(".dvc/cache/files/md5") / hash_name[:2] / hash_name[2:]).unlink()
    with (
        pytest.raises(
            PipelineError, match=rf"{hash_name} is not on this machine \(it is not in the cache, and the remote"
        ),
        artifacts.checked_out(MODEL, dvc.lock_entries(), "HEAD"),
    ):
        pytest.fail("there is nothing to work with")
    done = project.invoke("track", "HEAD")
    assert f"note: {MODEL} at HEAD is not recorded: " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_lock_that_a_killed_dvc_left_empty_is_named(trained_project: Path) -> None:
    Path(".dvc/tmp/rwlock").write_bytes(b"")
    done = project.invoke("report", "--base", "HEAD")
    assert done.exit_code == 2
    assert "a DVC command was killed while it wrote .dvc/tmp/rwlock; remove that file" in done.stderr
    Path(".dvc/tmp/rwlock").unlink()
    assert project.invoke("report", "--base", "HEAD").exit_code == 0


def test_a_model_that_was_not_evaluated_is_refused(in_trained: Path) -> None:
    entries = dvc.lock_entries()
    del entries[stage("export", MODEL)], entries[stage("evaluate", MODEL)]
    with (
        pytest.raises(PipelineError, match=rf"no entry of export@{MODEL} and evaluate@{MODEL}; .*`dvc repro evaluate@"),
        artifacts.checked_out(MODEL, entries),
    ):
        pytest.fail("there is nothing to work with")


# DVC's run cache.


class RunCache:
    """The run cache of an empty repository, in which stages `run`: each file's hash is made of a short text."""

    def __init__(self) -> None:
        with Repo() as repo:
            self.folder = Path(repo.stage_cache.cache_dir)

    def run(self, deps: dict[Path, str], outs: dict[Path, str], task: str = TASK) -> None:
        """Add the entry of a stage that read `deps` and wrote `outs`."""
        entry: dict[str, Any] = {"cmd": "true"}
        for kind, files in (("deps", deps), ("outs", outs)):
            entry[kind] = [{"path": str(path), "md5": hash_name} for path, hash_name in files.items()]
        names = {path.parts[1] for path in outs if path.parts[0] == "models"}
        entry["params"] = {"params.yaml": {f"models.{name}.task": task for name in names}}
        count = len(list(self.folder.glob("*/*/*")))
        path = self.folder / "ab" / f"ab{count}" / "value"
        path.parent.mkdir(parents=True)
        YAML(typ="safe").dump(entry, path)
        os.utime(path, (count, count))

    def train(self, weights: str, examples: str = "e", paths: ModelPaths = PATHS) -> None:
        self.run({TASK_PATHS.examples: examples}, {paths.weights: weights})

    def export(self, weights: str, export: str, paths: ModelPaths = PATHS) -> None:
        self.run({paths.weights: weights}, {paths.export: f"{export}.dir"})

    def evaluate(self, export: str, predictions: str, paths: ModelPaths = PATHS) -> None:
        self.run({paths.export: f"{export}.dir"}, {paths.predictions: predictions})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunCache:
    monkeypatch.chdir(tmp_path)
    project.run(tmp_path, "git", "init", "--quiet")
    Path(".dvc").mkdir()
    Path(".dvc/config").touch()
    return RunCache()


def hashes_of(entries: artifacts.Entries) -> dict[str, str]:
    """The hash of the one file that each stage wrote, by the stage's address."""
    return {address: next(iter(dvc.hashes(entry, "outs").values())) for address, entry in entries.items()}


def found() -> list[dict[str, str]]:
    return [hashes_of(entries) for _, entries in artifacts.from_run_cache()]


def model_entries(weights: str, export: str, predictions: str, model: str = MODEL) -> dict[str, str]:
    return {f"train@{model}": weights, f"export@{model}": f"{export}.dir", f"evaluate@{model}": predictions}


def test_every_model_that_ran_here_is_in_the_run_cache(in_trained: Path) -> None:
    models = dict(artifacts.from_run_cache())
    assert set(models) == set(project.MODELS)
    locked = dvc.lock_entries()
    for model, entries in models.items():
        task = model.split("-")[0]
        addresses = {stage(verb, task) for verb in ("generate", "split")} | {
            stage(verb, model) for verb in MODEL_STAGES
        }
        assert set(entries) == addresses
        for address, entry in entries.items():
            for kind in ("deps", "outs"):
                assert dvc.hashes(entry, kind) == dvc.hashes(locked[address], kind), address
            assert dvc.params(entry) == dvc.params(locked[address])


def test_models_whose_weights_are_known_are_left_out(in_trained: Path) -> None:
    asked: set[tuple[str, str]] = set()

    def is_new(model: str, weights: str) -> bool:
        asked.add((model, weights))
        return model == MODEL

    assert [model for model, _ in artifacts.from_run_cache(is_new)] == [MODEL]
    assert artifacts.from_run_cache(lambda *known: known not in asked) == []
    locked = dvc.lock_entries()
    assert asked == {(model, artifacts.trained_weights(locked, model)) for model in project.MODELS}


def test_an_empty_run_cache_has_no_models(cache: RunCache) -> None:
    assert artifacts.from_run_cache() == []


def test_the_stages_of_a_model_belong_together_by_what_they_read_and_wrote(cache: RunCache) -> None:
    cache.run({}, {TASK_PATHS.raw: "r1.dir"})
    cache.run({TASK_PATHS.raw: "r1.dir"}, {TASK_PATHS.examples: "e1"})
    cache.train("w2", "e2")  # stages of two trainings, in no order
    cache.train("w1", "e1")
    cache.export("w1", "x1")
    cache.evaluate("x2", "p2")
    cache.export("w2", "x2")
    cache.evaluate("x1", "p1")
    assert [model for model, _ in artifacts.from_run_cache()] == [MODEL, MODEL]
    assert found() == [
        model_entries("w2", "x2", "p2"),
        model_entries("w1", "x1", "p1") | {"split@bits": "e1", "generate@bits": "r1.dir"},
    ]


def test_models_are_kept_apart_even_if_their_files_are_the_same(cache: RunCache) -> None:
    other = ModelPaths("bits-gru24")
    for paths in (PATHS, other):
        cache.train("w", paths=paths)
    for paths in (other, PATHS):
        cache.export("w", "x", paths)
        cache.evaluate("x", f"p of {paths.name}", paths)
    assert found() == [
        model_entries("w", "x", f"p of {MODEL}"),
        model_entries("w", "x", "p of bits-gru24", "bits-gru24"),
    ]


def test_the_last_of_several_evaluations_counts(cache: RunCache) -> None:
    cache.train("w")
    for number in "12":
        cache.export("w", f"x{number}")
        cache.evaluate("x2", f"p{number}")
    assert found() == [model_entries("w", "x2", "p2")]


def test_a_model_that_was_not_exported_or_not_evaluated_is_left_out(cache: RunCache) -> None:
    cache.train("w1")
    cache.train("w2")
    cache.export("w2", "x2")
    cache.evaluate("x3", "p3")
    assert artifacts.from_run_cache() == []


@pytest.mark.parametrize("content", ["", "no entry", "- a list", "outs: [{path: x}]", "outs: {", "deps: 1", "\x00"])
def test_damaged_entries_of_the_run_cache_are_ignored(cache: RunCache, content: str) -> None:
    cache.train("w")
    (cache.folder / "ab" / "ab9").mkdir()
    (cache.folder / "ab" / "ab9" / "value").write_text(content)
    cache.export("w", "x")
    cache.evaluate("x", "p")
    assert found() == [model_entries("w", "x", "p")]


@pytest.mark.parametrize("verb", MODEL_STAGES)
def test_a_stage_without_an_entry_is_a_problem(trained_project: Path, verb: str) -> None:
    forget(verb)
    done = project.invoke("verify", MODEL)
    assert done.exit_code == 1
    address = stage(verb, MODEL)
    said = f"dvc.lock has no entry of {address}, so its files cannot be checked; run `dvc repro {address}`.\n"
    assert done.stderr == said


def test_an_empty_lock_file_is_a_problem(trained_project: Path) -> None:
    Path("dvc.lock").write_bytes(b"")
    done = project.invoke("verify")
    assert done.exit_code == 1
    assert done.stderr.count("dvc.lock has no entry of ") == len(project.IN_ORDER)


def test_a_file_of_the_user_s_in_the_folder_of_a_model_is_none_of_its_files(trained_project: Path) -> None:
    before = artifacts.workspace(MODEL, TASK).hashes()
    (PATHS.folder / "why.png").write_bytes(b"a picture")
    assert artifacts.workspace(MODEL, TASK).hashes() == before


def test_an_entry_that_names_no_task_is_refused(trained_project: Path) -> None:
    yaml = YAML(typ="safe")
    lock = yaml.load(Path("dvc.lock"))
    del lock["stages"][stage("train", MODEL)]["params"]
    yaml.dump(lock, Path("dvc.lock"))
    project.commit(trained_project, "a merge that lost lines")
    done = project.invoke("track", "HEAD")
    assert done.exit_code == 0, done.output
    assert f"note: {MODEL} at HEAD is not recorded: DVC's entry of train@{MODEL} names no task" in done.stdout


def test_an_input_of_an_address_has_no_hash() -> None:
    entry = {"deps": [{"path": "https://example.org/a.csv", "checksum": "1"}, {"path": "a.csv", "md5": "2"}]}
    assert dvc.hashes(entry, "deps") == {"a.csv": "2"}
