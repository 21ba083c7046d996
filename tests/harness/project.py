"""A copy of the project whose parameters are so small that all stages take a minute."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from bench.clone import IN_ONE_PROCESS, set_params
from pipeline import cli
from pipeline.paths import MODEL_STAGES
from pipeline.tracking.connection import ADDRESSES
from tests.harness.process import with_path, without

ROOT = Path(__file__).parent.parent.parent
MODELS = ("bits-lstm24", "mnist-lstm128", "fable-lstm512")
TASKS = ("bits", "mnist", "fable")
BIN = Path(sys.executable).parent
NOBODY = "http://127.0.0.1:9"  # nothing listens on the discard port
IN_ORDER = [f"{verb}@{task}" for verb in ("generate", "split") for task in TASKS]
IN_ORDER += [f"{verb}@{model}" for verb in MODEL_STAGES for model in MODELS]
STAGES = set(IN_ORDER)


def make(folder: Path, models: Sequence[str] = MODELS) -> Path:
    """Copy the code into `folder`, a git repository of its own, with tiny parameters."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data" / "fable", folder / "data" / "fable")
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    for name in ("dvc.yaml", "params.schema.json", "data/checked.txt", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (folder / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n")
    write(folder, tiny(read(ROOT), models))
    run(folder, "git", "init", "--quiet")
    # DVC's experiments are commits. Who signs commits does so in the global settings.
    settings = {"user.name": "t", "user.email": "t@example.org", "commit.gpgsign": "false", "tag.gpgsign": "false"}
    for key, value in settings.items():
        run(folder, "git", "config", key, value)
    commit(folder, "tiny")
    return folder


def tiny(params: dict[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """The project's parameters for these models, with small data, small networks and few steps."""
    params["tasks"]["bits"] |= {"generate": {"length": 8}, "split": {"train": 100}}
    params["tasks"]["mnist"]["generate"]["mirrors"] = [NOBODY]
    params["models"] = {name: params["models"][name] for name in models}
    params["tasks"] = {name: params["tasks"][name] for name in TASKS}
    for model in params["models"].values():
        model["recipe"] = "fast"
        network = model["network"]
        network |= {"units": [8] * len(network["units"]), "dense": network["dense"] and 4}
        for recipe in model["recipes"].values():
            recipe |= {"steps": 25, "epochs": None, "log_every": 10, "batch_size": min(recipe["batch_size"], 20)}
    return params


def copy(source: Path, folder: Path) -> Path:
    """An independent copy of a project whose stages have run: MLflow's store names its folders by absolute paths."""
    shutil.copytree(source, folder, symlinks=True, dirs_exist_ok=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as store, store:
        for table, column in ADDRESSES:
            store.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",  # noqa: S608
                [str(source), str(folder)],
            )
    return folder


def read(folder: Path) -> dict[str, Any]:
    """The parameters of a copy."""
    params: dict[str, Any] = YAML(typ="safe").load(folder / "params.yaml")
    return params


def write(folder: Path, params: dict[str, Any]) -> None:
    """Set the parameters of a copy."""
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(params, file)


def change(folder: Path, key: str, value: Any) -> None:
    """Set one parameter of a copy by its dotted key."""
    set_params(folder, {key: value})


def commit(folder: Path, message: str) -> None:
    """Commit all of a copy."""
    run(folder, "git", "add", "--all")
    settings = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    run(folder, "git", *settings, "commit", "--quiet", "--message", message)


def run(
    folder: Path, *command: str, ok: bool = True, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python environment in a copy."""
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    if folder != ROOT:
        settings["KERAS_HOME"] = str(folder / "keras")  # where no MNIST is cached
    done = subprocess.run(
        command,
        cwd=folder,
        env=with_path(without("DVC_", "MLFLOW_", "GIT_", "MNIST_DIR", "COV_", "COVERAGE_"), BIN)
        | settings
        | environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done


def run_stages(folder: Path, *stages: str) -> None:
    """What `dvc repro` does with these stages of a copy, in a third of the time; tests/system/test_flow.py compares."""
    evaluations = [stage for stage in stages if stage.startswith("evaluate@")]
    for some in ([stage for stage in stages if stage not in evaluations], evaluations):  # which read dvc.lock
        run(folder, sys.executable, "-c", IN_ONE_PROCESS, *(stage.replace("@", " ") for stage in some))
        run(folder, "dvc", "commit", "--force", *some)


def invoke(*words: str) -> Result:
    """Run a `pipeline` command in this process and its working folder, which saves the time of importing libraries."""
    return CliRunner().invoke(cli.app, words)


def stages_run(output: str) -> set[str]:
    """The stages of tasks and models that `dvc repro` printed that it ran."""
    ran = {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}
    return {address for address in ran if "@" in address}
