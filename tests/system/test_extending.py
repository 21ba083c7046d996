"""docs/extending.md, done as it says: each addition touches params.yaml and at most one new folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.files import md5, parse_yaml
from tests.harness import page as harness
from tests.harness import project
from tests.harness.documents import Block, commands, sections
from tests.harness.process import free_port, responds, running

ADDITIONS = sections(project.ROOT / "docs" / "extending.md")
TASK, MODEL, RECIPE = [heading for heading in ADDITIONS if heading.startswith("A ")]


def add(folder: Path, blocks: list[Block]) -> None:
    """Write the files of a section, and merge its parameters into params.yaml."""
    yaml = YAML()  # keeps what the file has of anchors and comments
    params = yaml.load(folder / "params.yaml")
    for block in blocks:
        if block.title == "params.yaml":
            _merge(params, parse_yaml(block.text))
        elif block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(params, file)


def _merge(old: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            _merge(old[key], value)
        else:
            old[key] = value


def follow(folder: Path, heading: str) -> str:
    """Do what a section says; return what its last command prints."""
    add(folder, ADDITIONS[heading])
    changed = project.run(folder, "git", "status", "--porcelain", "--untracked-files=normal").stdout.split()[1::2]
    assert changed in (["params.yaml"], ["params.yaml", "pipeline/tasks/iris/"])
    output = ""
    for command in commands(ADDITIONS[heading]):
        output = project.run(folder, *command, PYTHONPATH=str(folder)).stdout  # the program `pipeline` is the copy's
    return output


def metrics(folder: Path, model: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "models" / model / "metrics.json").read_text())
    return content


def test_a_task_is_a_folder_and_a_section(trained_project: Path) -> None:
    printed = follow(trained_project, TASK)
    assert printed.split()[0] == "setosa"
    result = metrics(trained_project, "iris-lstm16")
    assert result["dataset"] == "iris"
    assert result["accuracy"] > 0.9


@harness.NEEDED
@pytest.mark.browser
def test_a_task_of_ones_own_is_on_the_page_without_a_line_of_javascript(trained_project: Path, tmp_path: Path) -> None:
    follow(trained_project, TASK)
    port = free_port()
    command = [sys.executable, "-m", "pipeline", "demo", "--no-browser", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with (
        running(command, tmp_path / "demo.log", lambda: responds(address), cwd=trained_project),
        harness.opened(tmp_path, address) as page,
    ):
        page.open("iris")
        page.shows("#task-answer", "After step 4")
        page.write("#task-text", "5.1,3.5,1.4,0.2")
        page.shows(".bars", "setosa")
        page.shows(".steps", "setosa")
        page.click("#task-step-2")
        page.shows(".step", "Step 2: ")
        page.click("#step-on")
        page.shows(".step", "Step 3: ")
        page.write("#task-text", "5.1")
        page.shows("[role=alert]", "has 1 numbers, expected 4")


def test_a_gru_is_trained_exported_compared_and_predicts(trained_project: Path) -> None:
    brief = {"steps": 200, "log_every": 100}
    blocks = ADDITIONS[MODEL]
    add(trained_project, blocks)
    project.change(trained_project, "models.bits-gru24.recipes.fast", _gru_recipe(blocks) | brief)
    output = ""
    for command in commands(blocks):
        output = project.run(trained_project, *command, PYTHONPATH=str(trained_project)).stdout
    assert "network.cell" in output
    assert "of the same 156 examples" in output
    info = json.loads((trained_project / "models/bits-gru24/export/info.json").read_text())
    assert info["parameters"] == 3 * (24 * (1 + 24) + 2 * 24) + (24 + 1) * 9
    result = project.run(trained_project, "pipeline", "predict", "bits-gru24", "--json", "01100110").stdout
    assert json.loads(result)["label"] in info["class_names"]


def _gru_recipe(blocks: list[Block]) -> dict[str, Any]:
    (params,) = [parse_yaml(block.text) for block in blocks if block.title == "params.yaml"]
    recipe: dict[str, Any] = params["models"]["bits-gru24"]["recipes"]["fast"]
    return recipe


def test_a_third_recipe_needs_params_yaml_alone(trained_project: Path) -> None:
    output = follow(trained_project, RECIPE)
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.strip()}
    assert rows["recipe"] == ["fast", "brief"]
    assert rows["steps"] == ["25", "2000"]


def test_a_recipe_that_a_model_does_not_have_is_refused_by_name(trained_project: Path) -> None:
    add(trained_project, ADDITIONS[MODEL])
    project.change(trained_project, "models.bits-gru24.recipe", "published")
    before = {path: md5(path) for path in (trained_project / "models").rglob("*") if path.is_file()}
    done = project.run(trained_project, "dvc", "repro", ok=False)
    assert done.returncode != 0
    assert "models.bits-gru24.recipe: got 'published', expected one of its `recipes`: fast." in done.stderr
    assert {path: md5(path) for path in (trained_project / "models").rglob("*") if path.is_file()} == before


def test_no_existing_test_needs_an_edit(tmp_path: Path) -> None:
    """With all three additions in a copy of the repository, its tests that need no training pass."""
    tracked = subprocess.run(["git", "ls-files"], cwd=project.ROOT, capture_output=True, text=True, check=True)
    for name in tracked.stdout.split():
        if (project.ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project.ROOT / name, tmp_path / name)
    for heading in (TASK, MODEL, RECIPE):
        add(tmp_path, ADDITIONS[heading])
    for command in commands(ADDITIONS[TASK])[:2]:  # which make its data
        project.run(tmp_path, *command)
    tests = ["tests/test_config.py", "tests/test_layers.py", "tests/tasks/test_contract.py"]
    pytest_command = (sys.executable, "-m", "pytest", "--numprocesses=0", "-p", "no:cacheprovider", *tests)
    done = project.run(tmp_path, *pytest_command, ok=False, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout[-3000:]
