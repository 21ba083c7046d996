"""Which layer may import which, and that DVC knows what each stage imports."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline import tasks
from pipeline.files import parse_yaml
from tests.harness import project

# The layers of pipeline/, from top to bottom: a layer imports from these, which all lie below it, and from the base.
BASE = {"errors", "files", "formats", "figure", "manifest", "paths", "section", "recipe", "dataset", "predictions"}
LAYERS: dict[str, set[str]] = {
    "cli": {
        "cluster",
        "site",
        "reports",
        "tracking",
        "lineage",
        "stages",
        "training",
        "inference",
        "networks",
        "config",
        "tasks",
    },
    "cluster": {"reports", "tracking", "lineage", "training", "inference", "config"},
    "site": {"reports", "lineage", "inference", "tasks"},
    "reports": {"tracking", "lineage", "config", "tasks"},
    "tracking": {"lineage", "inference", "config", "tasks"},
    "lineage": {"config"},
    "stages": {"training", "inference", "networks", "config", "tasks"},
    "training": {"config"},
    "inference": {"tasks"},
    "networks": {"config"},
    "config": {"tasks"},
    "tasks": set(),
    "predictions": set(),
    "dataset": set(),
    "manifest": set(),
    "figure": set(),
    "formats": set(),
    "recipe": set(),
    "section": set(),
    "files": set(),
    "paths": set(),
    "errors": set(),
}
LIBRARIES = {  # libraries that only these layers import
    "ray": {"cluster"},
    "mlflow": {"tracking"},
    "tensorflow": {"stages", "training", "networks"},
    "keras": {"stages", "training", "networks"},
    "onnxruntime": {"inference"},
    "dvc": {"lineage", "cluster"},  # worker.py travels to nodes alone
    "dvc_data": {"lineage"},
    "hydra": {"lineage"},
}
PACKAGE = project.ROOT / "pipeline"
MODULES = {
    ".".join(path.relative_to(project.ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
DVC_STAGES: dict[str, Any] = parse_yaml((project.ROOT / "dvc.yaml").read_text())["stages"]
# Modules that every stage imports and that change no byte of an output: they read a file, find it, write it whole,
# refuse a value, or forward a call. DVC does not watch them, nor what a stage imports through them alone.
NEUTRAL = {
    f"pipeline.{name}"
    for name in (
        "config",
        "errors",
        "files",
        "networks.saved_model",
        "paths",
        "section",
        "tasks",
        "training.channel",
        "training.keys",
    )
}
NOT_NEUTRAL = {"check": {"pipeline.config"}}  # writes the schema of config.py
# The files of a task's folder that a stage uses through tasks.Task. `sample_line` of evaluation.py only prints, so
# training does not depend on it.
TASK_FILES = {
    "generate": {"data"},
    "split": {"data"},
    "train": {"features"},
    "export": {"features"},
    "evaluate": {"features", "inputs", "evaluation"},
}


def imports(module: str) -> set[str]:
    """The modules that a module imports, anywhere in its text."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def closure(
    module: str, neutral: frozenset[str] | set[str] = frozenset(), seen: frozenset[str] = frozenset()
) -> frozenset[str]:
    """All modules of ours that a module needs, itself among them, without neutral ones and what only these need."""
    seen |= {module}
    for other in sorted(imports(module) & set(MODULES) - neutral):
        if other not in seen:
            seen |= closure(other, neutral, seen)
    return seen


def layer(module: str) -> str:
    """The layer of a module: `tracking` for pipeline.tracking.track."""
    return module.split(".")[1] if "." in module else ""


def files(modules: frozenset[str]) -> set[str]:
    """The paths of modules in the repository; packages that hold a docstring alone are left out."""
    paths = {MODULES[module] for module in modules}
    return {str(path.relative_to(project.ROOT)) for path in paths if not _only_docstring(path)}


def _only_docstring(path: Path) -> bool:
    return path.name == "__init__.py" and path.parent.name != "tasks"


def test_a_module_imports_only_from_the_layers_below_its_own() -> None:
    order, wrong = list(LAYERS), []
    for module in MODULES:
        own = layer(module)
        if own in ("", "__main__"):
            continue
        assert own in LAYERS, "a new layer needs a row in the table"
        used = {layer(name) for name in imports(module) & set(MODULES)} - {"", own}
        above = {other for other in used if own in BASE and order.index(other) < order.index(own)}
        wrong += [(module, other) for other in above | (used - LAYERS[own] - BASE)]
    assert not wrong


def test_the_table_has_no_circle() -> None:
    order = list(LAYERS)
    for name, below in LAYERS.items():
        assert all(order.index(other) > order.index(name) for other in below), name


def test_reports_use_only_the_gate_of_tracking() -> None:
    for module in MODULES:
        if layer(module) == "reports":
            used = {name for name in closure(module) if layer(name) == "tracking"}
            assert used <= {"pipeline.tracking", "pipeline.tracking.gate"}, module


def test_a_library_is_imported_in_its_own_layers_alone() -> None:
    used = {(module, name.split(".")[0]) for module in MODULES for name in imports(module)}
    assert not {(module, name) for module, name in used if layer(module) not in LIBRARIES.get(name, layer(module))}


@pytest.mark.parametrize("verb", sorted(DVC_STAGES))
def test_stages_do_not_import_each_other(verb: str) -> None:
    needed = closure(f"pipeline.stages.{verb}")
    assert {name for name in needed if layer(name) == "stages"} <= {"pipeline.stages", f"pipeline.stages.{verb}"}


@pytest.mark.parametrize(
    "module",
    ["pipeline.inference.predict", "pipeline.tracking.track", "pipeline.stages.evaluate", "pipeline.stages.export"],
)
def test_what_predicts_exports_records_or_measures_needs_no_tensorflow(module: str) -> None:
    needed = closure(module) | {name for name in MODULES if layer(name) == "tasks"}
    assert not {library.split(".")[0] for name in needed for library in imports(name)} & {"tensorflow", "keras"}


@pytest.mark.parametrize("verb", sorted(DVC_STAGES))
def test_every_stage_depends_on_what_it_imports_and_can_change_its_outputs(verb: str) -> None:
    stage = DVC_STAGES[verb]
    deps = {dep for dep in stage.get("do", stage)["deps"] if dep.startswith("pipeline/")}
    neutral = NEUTRAL - NOT_NEUTRAL.get(verb, set())
    needed = closure(f"pipeline.stages.{verb}", neutral)
    for file in TASK_FILES.get(verb, ()):
        for task in tasks.names():
            if f"pipeline.tasks.{task}.{file}" in MODULES:
                needed |= closure(f"pipeline.tasks.{task}.{file}", neutral)
        if f"pipeline.tasks.{file}" in MODULES:
            needed |= closure(f"pipeline.tasks.{file}", neutral)
    expected = {str(path) for path in map(Path, files(needed)) if len(path.parts) < 4 or path.parts[1] != "tasks"}
    assert {dep for dep in deps if "${" not in dep} == expected
    if verb == "check":
        return
    assert "data/checked.txt" in stage["do"]["deps"], "so that no value is used before it is checked"
    name = "${key}" if verb in ("generate", "split") else "${item.task}"
    used = {f"pipeline/tasks/{name}/{file}.py" for file in TASK_FILES[verb]}
    if verb == "evaluate":
        used = {f"pipeline/tasks/{name}"}  # what inputs.py and evaluation.py import of the folder, too
    assert {dep for dep in deps if "${" in dep} == used


@pytest.mark.parametrize("verb", sorted(TASK_FILES))
def test_a_stage_uses_the_files_of_a_task_that_it_depends_on_and_no_others(verb: str) -> None:
    used = set()
    for module in closure(f"pipeline.stages.{verb}"):
        if layer(module) in ("stages", "training", "inference", "networks"):
            used |= set(re.findall(r"\btask\.(data|features|inputs|evaluation)\b", MODULES[module].read_text()))
    assert used - {"evaluation"} == TASK_FILES[verb] - {"evaluation"}
    assert ("evaluation" in used) == (verb in ("train", "evaluate")), "`sample_line` of it only prints"


@pytest.mark.parametrize("task", tasks.names())
@pytest.mark.parametrize("file", ["data", "features"])
def test_what_a_task_computes_for_a_stage_stands_in_the_files_that_dvc_watches(task: str, file: str) -> None:
    """So that an edit of a picture or of a reader runs no training. data.py may use the task's `source`, too."""
    module = f"pipeline.tasks.{task}.{file}"
    below = {name for name in closure(module, NEUTRAL) if layer(name) == "tasks"} - {"pipeline.tasks.data"}
    source = Path(project.read(project.ROOT)["tasks"][task]["source"])
    watched = {name for name in below if file == "data" and MODULES[name].is_relative_to(project.ROOT / source)}
    assert below - watched <= {module}


def test_paths_and_stage_addresses_are_built_in_one_place() -> None:
    spelled = re.compile(
        r"model\.weights\.h5|examples\.npy|predictions\.parquet$|^models/|^data/split|^(generate|split|train|export|evaluate)@"
    )
    wrong = []
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)  # type: ignore[attr-defined]
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False)
        }
        wrong += [
            (module, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
            if module != "pipeline.paths" and spelled.search(node.value)
        ]
    assert not wrong
