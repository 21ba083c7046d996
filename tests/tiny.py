"""A copy of the project whose parameters are so small that the whole flow takes a minute or two."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from pipeline import cli

ROOT = Path(__file__).parent.parent
MODELS = ("bits-lstm24", "mnist-lstm128", "fable-lstm512")


def make(folder: Path, models: Sequence[str] = MODELS) -> Path:
    """Copy the code into `folder`, a git repository of its own, with tiny parameters."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data" / "fable", folder / "data" / "fable")
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (folder / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n")
    yaml = YAML(typ="safe")
    params: dict[str, Any] = yaml.load(ROOT / "params.yaml")
    params["tasks"]["bits"] |= {"generate": {"length": 8}, "split": {"train": 100}}
    params["tasks"]["mnist"]["generate"]["mirrors"] = ["http://127.0.0.1:9"]  # nobody listens on the discard port
    params["models"] = {name: params["models"][name] for name in models}
    for model in params["models"].values():
        model["network"] |= {"lstm": [8] * len(model["network"]["lstm"]), "dense": min(model["network"]["dense"], 4)}
        for recipe in (model["fast"], model["published"]):
            recipe |= {"steps": 25, "report": 10, "batch": min(recipe["batch"], 20)}
    write(folder, params)
    run(folder, "git", "init", "--quiet")
    for key, value in {"user.name": "t", "user.email": "t@example.org"}.items():  # DVC's experiments are commits
        run(folder, "git", "config", key, value)
    commit(folder, "tiny")
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
    """Set one parameter of a copy by its dotted name."""
    params = place = read(folder)
    *path, last = key.split(".")
    for part in path:
        place = place[part]
    place[last] = value
    write(folder, params)


def commit(folder: Path, message: str) -> None:
    """Commit all of a copy."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", message)


def run(
    folder: Path, *command: str, ok: bool = True, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment in a copy."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_", "GIT_", "MNIST_DIR"))
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept
        | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "KERAS_HOME": str(folder / "keras")}
        | environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done


def ask(*words: str) -> Result:
    """Run a command of ours in this process and the working folder: MLflow, once loaded, need not be loaded again."""
    return CliRunner().invoke(cli.app, words)


def ran(output: str) -> set[str]:
    """The stages that `dvc repro` said it ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}
