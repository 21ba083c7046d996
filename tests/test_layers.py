"""Who may import whom, and that DVC knows it."""

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests import tiny

MODULES = {
    ".".join(path.relative_to(tiny.ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (tiny.ROOT / "pipeline").rglob("*.py")
}
STAGES: dict[str, Any] = YAML(typ="safe").load(tiny.ROOT / "dvc.yaml")["stages"]
TRACKING = {module for module in MODULES if f"{module}.".startswith("pipeline.tracking.")}
VERBS = {"generate", "split", "train", "export", "evaluate", "predict"}


def imports(module: str) -> set[str]:
    """The modules of ours that a module imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(module: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """All modules of ours that a module needs, itself among them."""
    seen |= {module}
    for other in sorted(imports(module) & set(MODULES)):
        if other not in seen:
            seen |= ours(other, seen)
    return seen


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_imports_no_other(verb: str) -> None:
    assert not {f"pipeline.{other}" for other in VERBS - {verb}} & ours(f"pipeline.{verb}")


@pytest.mark.parametrize("module", sorted(set(MODULES) - TRACKING))
def test_only_tracking_knows_mlflow(module: str) -> None:
    assert not any(name.split(".")[0] == "mlflow" for name in imports(module))
    if module != "pipeline.cli":
        assert not TRACKING & imports(module)


@pytest.mark.parametrize("module", sorted(TRACKING))
def test_tracking_needs_no_stage_and_no_tensorflow(module: str) -> None:
    assert not {f"pipeline.{verb}" for verb in VERBS} & ours(module)
    assert not {name.split(".")[0] for each in ours(module) for name in imports(each)} & {"tensorflow", "keras"}


@pytest.mark.parametrize("module", sorted(ours("pipeline.predict")))
def test_predict_and_the_tasks_need_no_tensorflow(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & {"tensorflow", "keras", "mlflow"}


@pytest.mark.parametrize("verb", sorted(STAGES))
def test_every_stage_depends_on_each_module_that_it_imports(verb: str) -> None:
    deps = {dep for dep in STAGES[verb]["do"]["deps"] if dep.startswith("pipeline/")}
    needed = ours(f"pipeline.{verb}") - {"pipeline"}  # the package itself is a docstring
    assert {str(MODULES[name].relative_to(tiny.ROOT)) for name in needed} == {dep for dep in deps if "${" not in dep}
    assert any(dep.startswith("pipeline/tasks/${") for dep in deps), "and on its task's own module"


def test_a_task_s_helper_is_its_source() -> None:
    params = YAML(typ="safe").load(tiny.ROOT / "params.yaml")["tasks"]
    for name, task in params.items():
        helpers = ours(f"pipeline.tasks.{name}") - {f"pipeline.tasks.{name}", "pipeline.data", "pipeline.errors"}
        helpers -= {"pipeline.tasks", "pipeline"}
        assert {str(MODULES[helper].relative_to(tiny.ROOT)) for helper in helpers} <= {task["source"]}


@pytest.mark.parametrize("path", sorted(MODULES.values()))
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
