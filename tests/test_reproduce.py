"""A run made again: identical, or the first thing that differs; and the workspace is left alone."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from typer.testing import Result

from pipeline import data, lock, reproduce, run
from pipeline.errors import BadInput
from pipeline.reproduce import Difference
from tests import tiny

MODEL = "bits-lstm24"
NOWHERE = "0" * 32


def said(folder: Path, *words: str) -> str:
    return tiny.run(folder, "git", *words).stdout


def state(folder: Path) -> dict[str, Any]:
    """All that a reproduction must leave as it was."""
    own = {".git", "mlflow.db", "mlflow.db.lock"}
    files = {
        str(path.relative_to(folder)): data.md5(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in own and ".dvc/tmp" not in str(path)
    }
    return {
        "files": files,
        "status": said(folder, "status", "--porcelain", "--ignored"),
        "work trees": said(folder, "worktree", "list"),
        "refs": said(folder, "show-ref", "--head"),
        "runs": sorted(each.info.run_id for each in all_runs(folder)),
    }


def store(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def all_runs(folder: Path) -> list[Any]:
    client = store(folder)
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


def recorded(folder: Path) -> Any:
    """The run that the flow itself recorded."""
    (found,) = [each for each in all_runs(folder) if not {"dirty", "made_up"} & set(each.data.tags)]
    return found


def provenance(folder: Path, run_id: str) -> dict[str, Any]:
    path = store(folder).download_artifacts(run_id, "provenance.json")
    told: dict[str, Any] = json.loads(Path(path).read_text())
    return told


def another(folder: Path, name: str, told: dict[str, Any] | str | None, patch: bytes = b"") -> str:
    """A further run of the same model in the store, that tells another story of where it comes from; its id."""
    client, like = store(folder), recorded(folder)
    tags = {key: like.data.tags[key] for key in ("model", "task", "recipe", "weights", "outputs")} | {"made_up": "yes"}
    run_id = str(client.create_run(like.info.experiment_id, tags=tags, run_name=name).info.run_id)
    if told is not None:
        client.log_text(run_id, told if isinstance(told, str) else json.dumps(told), "provenance.json")
    if patch:
        client.log_text(run_id, patch.decode(), "changes.patch")
    return run_id


def refused(done: Result, *parts: str) -> None:
    """One sentence on standard error, exit status 2, no trace."""
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert re.fullmatch(r"error: [^\n]+[.;:][^\n]*\.\n", done.stderr), done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.fixture
def kept(here: Path) -> Iterator[Path]:
    """The working folder, checked afterwards to be as it was."""
    before = state(here)
    yield here
    after = state(here)
    assert len(after["work trees"].splitlines()) == 1
    for key in ("files", "status", "refs"):
        extra = {path for path in after["files"] if path.startswith("mlartifacts/")} - set(before["files"])
        if key == "files":
            after[key] = {path: md5 for path, md5 in after[key].items() if path not in extra}
        assert after[key] == before[key], key


def test_a_run_is_made_again_to_the_byte_and_the_workspace_stays(here: Path) -> None:
    before = state(here)
    name = recorded(here).info.run_name
    done = tiny.run(here, "pipeline", "reproduce", name)
    assert done.stdout.splitlines()[-1] == f"{name}: identical"
    assert f"{name}: commit {said(here, 'rev-parse', 'HEAD~1')[:10]}\n" in done.stdout
    assert state(here) == before


def test_a_dirty_run_too_by_its_id_and_a_version_alone_is_a_note(here: Path) -> None:
    module = here / "pipeline" / "model.py"
    module.write_text(module.read_text() + "\nfrom pipeline import extra\n\nassert extra.THERE\n")
    (here / "pipeline" / "extra.py").write_text("THERE = True\n")
    tiny.change(here, f"models.{MODEL}.fast.rate", 0.02)
    clean = recorded(here)
    tiny.run(here, "dvc", "repro", f"evaluate@{MODEL}")
    (dirty,) = [each for each in all_runs(here) if each.data.tags.get("uncommitted") == "true"]
    store(here).set_tag(dirty.info.run_id, "dirty", "yes")
    said(here, "checkout", "--quiet", ".")
    said(here, "clean", "--quiet", "--force", "pipeline")
    tiny.run(here, "dvc", "checkout", *(f"{stage}@{MODEL}" for stage in reproduce.STAGES))
    assert dirty.info.run_id != clean.info.run_id
    assert not (here / "pipeline" / "extra.py").exists()
    artifact = Path(dirty.info.artifact_uri.removeprefix("file://")) / "provenance.json"
    told = json.loads(artifact.read_text())
    assert told["params"][f"models.{MODEL}.fast.rate"] == 0.02
    artifact.write_text(json.dumps(told | {"machine": told["machine"] | {"numpy": "0.1"}}))
    before = state(here)
    done = tiny.ask("reproduce", dirty.info.run_id[:8])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        f"{dirty.info.run_name}: commit {told['commit'][:10]} with uncommitted changes",
        f"note: library version: numpy was 0.1, now {np.__version__}",
        f"{dirty.info.run_name}: identical",
    ]
    assert state(here) == before


@pytest.mark.parametrize(
    ("field", "change", "expected"),
    [
        ("inputs", {"pipeline/model.py": NOWHERE}, f"code: pipeline/model.py was {NOWHERE}, now "),
        ("inputs", {"pipeline/gone.py": NOWHERE}, f"code: pipeline/gone.py was {NOWHERE}, now missing"),
        ("inputs", {"data/fable/belling_the_cat.txt": NOWHERE}, "data: data/fable/belling_the_cat.txt was 000"),
        ("params", {f"models.{MODEL}.fast.rate": 0.5}, f"parameter: models.{MODEL}.fast.rate was 0.5, now 0.01"),
        ("params", {"seed": 7}, "parameter: seed was 7, now 20"),
        ("params", {"models.gone.fast.rate": 1}, "parameter: models.gone.fast.rate was 1, now missing"),
        ("recipe", "published", "parameter: recipe was published, now fast"),
    ],
)
def test_what_differs_before_the_training_is_named_with_exit_status_1(
    kept: Path, field: str, change: Any, expected: str
) -> None:
    told = provenance(kept, recorded(kept).info.run_id)
    told[field] = told[field] | change if isinstance(change, dict) else change
    run_id = another(kept, "told otherwise", told)
    done = tiny.ask("reproduce", run_id)
    assert done.exit_code == 1, done.output
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith(f"told otherwise: {expected}")


def test_a_commit_that_is_gone(kept: Path) -> None:
    told = provenance(kept, recorded(kept).info.run_id) | {"commit": "0" * 40}
    refused(tiny.ask("reproduce", another(kept, "gone", told)), "0" * 40, "git fetch --all")


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_data_that_the_cache_does_not_hold_whole(kept: Path, damage: str) -> None:
    found = recorded(kept)
    md5 = provenance(kept, found.info.run_id)["inputs"]["data/split/bits/examples.parquet"]
    held = kept / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    content, mode = held.read_bytes(), held.stat().st_mode
    held.chmod(0o644)
    try:
        if damage == "gone":
            held.unlink()
        else:
            held.write_bytes(content[:-1])
        done = tiny.ask("reproduce", found.info.run_name)
    finally:
        held.parent.mkdir(exist_ok=True)
        held.unlink(missing_ok=True)
        held.write_bytes(content)
        held.chmod(mode)
    assert (kept / "data/split/bits/examples.parquet").is_file(), "the workspace's own copy may be of another run"
    refused(done, "examples.parquet", md5, "dvc pull")


@pytest.mark.parametrize(
    "patch", [b"no patch", b"diff --git a/params.yaml b/params.yaml\n--- a/params.yaml\n+++ b/par"]
)
def test_changes_that_no_longer_apply(kept: Path, patch: bytes) -> None:
    told = provenance(kept, recorded(kept).info.run_id) | {"uncommitted": True}
    refused(tiny.ask("reproduce", another(kept, "patched", told, patch)), "no longer apply", "take another run")


def test_changes_that_are_gone(kept: Path) -> None:
    told = provenance(kept, recorded(kept).info.run_id) | {"uncommitted": True}
    refused(tiny.ask("reproduce", another(kept, "bare", told)), "its changes.patch is gone")


@pytest.mark.parametrize("text", ["nope", "", "../..", "-", "bits-lstm24@fffffff", "ffffffff", "mnist-*", "'; drop"])
def test_a_run_that_is_not_there(kept: Path, text: str) -> None:
    refused(tiny.ask("reproduce", "--", text), "there is no run, experiment, revision or model", MODEL)


def test_two_runs_of_one_name(kept: Path) -> None:
    told = provenance(kept, recorded(kept).info.run_id)
    ids = [another(kept, "twins", told) for _ in range(2)]
    refused(tiny.ask("reproduce", "twins"), "calls 2 runs", ids[0][:8], ids[1][:8])


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, "holds no provenance.json"),
        ("{", "provenance.json is missing, damaged or of another version"),
        ("[]", "provenance.json is missing, damaged or of another version"),
        ('{"model": "bits-lstm24"}', "provenance.json is missing, damaged or of another version"),
    ],
)
def test_a_run_that_does_not_tell_where_it_comes_from(kept: Path, told: str | None, expected: str) -> None:
    refused(tiny.ask("reproduce", another(kept, "silent", told)), expected)


def test_a_run_whose_data_are_not_known(kept: Path) -> None:
    told = provenance(kept, recorded(kept).info.run_id) | {"inputs": {}}
    refused(tiny.ask("reproduce", another(kept, "without DVC", told)), "trained without DVC", "dvc repro")


# What a training makes, from a project whose stages take no time.

STAGES = """
import hashlib
import sys
from pathlib import Path

stage, model = sys.argv[1:]
made = {"train": "model.weights.h5", "export": "export/model.onnx", "evaluate": "metrics.json"}
path = Path("models") / model / made[stage]
path.parent.mkdir(parents=True, exist_ok=True)
content = Path("params.yaml").read_bytes() + Path("data/split/bits/examples.parquet").read_bytes()
path.write_text(stage + hashlib.md5(content).hexdigest())
"""
OUTPUTS = ("models/toy/export/model.onnx", "models/toy/metrics.json", "models/toy/model.weights.h5")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> run.Provenance:
    """What a run of that project tells of itself, the project being the working folder."""
    monkeypatch.chdir(tmp_path)
    files = {
        "pipeline/__init__.py": "",
        "pipeline/__main__.py": STAGES,
        "params.yaml": "recipe: fast\nseed: 1\n",
        "data/split/bits/examples.parquet": "examples",
        ".dvc/config": "[core]\n    analytics = false\n",
        ".dvc/.gitignore": "/cache\n/tmp\n",
        ".gitignore": "/models/\n__pycache__/\n",
    }
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)
    tiny.run(tmp_path, "git", "init", "--quiet")
    examples = Path("data/split/bits/examples.parquet")
    md5 = hashlib.md5(examples.read_bytes()).hexdigest()
    tiny.run(tmp_path, "dvc", "add", "--quiet", str(examples))
    tiny.commit(tmp_path, "toy")
    for stage in reproduce.STAGES:
        subprocess.run([sys.executable, "-m", "pipeline", stage, "toy"], check=True)
    return run.Provenance(
        model="toy",
        task="bits",
        recipe="fast",
        commit=said(tmp_path, "rev-parse", "HEAD").strip(),
        uncommitted=False,
        experiment="",
        params={"seed": 1},
        inputs={"pipeline/__main__.py": data.md5(Path("pipeline/__main__.py")), str(examples): md5},
        outputs={path: data.md5(Path(path)) for path in OUTPUTS},
        machine={"numpy": np.__version__, "python": ".".join(map(str, sys.version_info[:3]))},
    )


def other_outputs(told: run.Provenance, *paths: str) -> run.Provenance:
    return replace(told, outputs=told.outputs | dict.fromkeys(paths, NOWHERE))


def test_all_the_same_is_no_difference(toy: run.Provenance) -> None:
    assert reproduce.run(toy, b"") == (None, [])


@pytest.mark.parametrize(
    ("paths", "kind", "what"),
    [
        (["models/toy/model.weights.h5"], "weights", "models/toy/model.weights.h5"),
        (["models/toy/metrics.json"], "figure", "models/toy/metrics.json"),
        (OUTPUTS, "weights", "models/toy/model.weights.h5"),  # from which all others follow
    ],
)
def test_what_came_of_it_is_named_weights_first(toy: run.Provenance, paths: list[str], kind: str, what: str) -> None:
    difference, versions = reproduce.run(other_outputs(toy, *paths), b"")
    assert difference == Difference(kind, what, NOWHERE, toy.outputs[what])
    assert versions == []


def test_an_output_that_is_not_made_any_more_is_named(toy: run.Provenance) -> None:
    difference, _ = reproduce.run(other_outputs(toy, "models/toy/more.csv"), b"")
    assert difference == Difference("figure", "models/toy/more.csv", NOWHERE, "missing")


@pytest.mark.parametrize("name", ["numpy", "python"])
def test_another_version_is_the_cause_only_where_something_differs(toy: run.Provenance, name: str) -> None:
    was = Difference("library version", name, "0.1", toy.machine[name])
    told = replace(toy, machine=toy.machine | {name: "0.1"})
    assert reproduce.run(told, b"") == (None, [was])
    assert reproduce.run(other_outputs(told, "models/toy/model.weights.h5"), b"") == (was, [was])


def test_the_run_s_own_changes_data_and_parameters_count_not_the_workspace_s(toy: run.Provenance) -> None:
    Path("params.yaml").write_text("recipe: fast\nseed: 2\n")
    Path("data/split/bits/examples.parquet").unlink()
    Path("data/split/bits/examples.parquet").write_text("other examples")
    Path("pipeline/__main__.py").write_text("raise SystemExit(3)")
    assert reproduce.run(toy, b"") == (None, [])
    patch = tiny.run(Path(), "git", "diff", "--binary", "params.yaml").stdout.encode()
    difference, _ = reproduce.run(toy, patch)
    assert difference == Difference("parameter", "seed", "1", "2")
    difference, _ = reproduce.run(replace(toy, params={"seed": 2}), patch)
    assert difference is not None
    assert difference.kind == "weights"


def test_a_stage_that_does_not_run_is_bad_input_and_leaves_nothing(toy: run.Provenance) -> None:
    Path("pipeline/__main__.py").write_text("raise SystemExit(3)")
    tiny.commit(Path(), "broken")
    told = replace(toy, commit="HEAD", inputs={"data/split/bits/examples.parquet": lock_hash(toy)})
    with pytest.raises(BadInput, match=r"stage train of toy does not run .* requirements\.lock"):
        reproduce.run(told, b"")
    assert len(tiny.run(Path(), "git", "worktree", "list").stdout.splitlines()) == 1


def lock_hash(told: run.Provenance) -> str:
    return told.inputs["data/split/bits/examples.parquet"]


def test_a_provenance_is_read_as_it_was_written(toy: run.Provenance) -> None:
    run.save(toy, Path("provenance.json"))
    assert run.load(Path("provenance.json")) == toy
    assert json.loads(Path("provenance.json").read_text()) == asdict(toy)
    assert lock.flat({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}
