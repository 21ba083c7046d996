"""What no module of the package does: unpickle, or listen beyond this machine."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.harness import project
from tests.harness.project import ROOT

MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
UNPICKLING = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "read_pickle", "to_pickle", "unsafe_load", "full_load"}  # of any object


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_unpickles_or_runs_text(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not {name.name.split(".")[0] for name in node.names} & UNPICKLING
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNPICKLING
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in CALLS
            for keyword in node.keywords:
                constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                assert not (keyword.arg in ("allow_pickle", "shell") and constant is not False), keyword.arg
                assert not (keyword.arg == "safe_mode" and constant is not True)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_names_an_address_that_other_machines_reach(path: Path) -> None:
    assert not re.search(r"0\.0\.0\.0|\[::\]|INADDR_ANY", path.read_text())


# Python names each class that it unpickles, and each address that it binds, to such a hook.
WATCHED = """
import sys
from pipeline import cli

def watch(event, arguments):
    if event == "pickle.find_class":
        print("UNPICKLED", arguments, file=sys.stderr)
    if event == "socket.bind" and len(arguments) > 1 and arguments[1][0] not in ("127.0.0.1", "::1", "localhost"):
        print("BOUND", arguments[1], file=sys.stderr)

sys.addaudithook(watch)
cli.app(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "bits-lstm24", "01101010"),
        ("predict", "fable-lstm512", "there came a"),
        ("export", "bits-lstm24"),
        ("evaluate", "bits-lstm24"),
        ("track", "HEAD"),
    ],
    ids=" ".join,
)
def test_no_command_unpickles_or_listens(trained_project: Path, words: tuple[str, ...]) -> None:
    watched = trained_project / "watched.py"
    watched.write_text(WATCHED)
    done = project.run(trained_project, sys.executable, str(watched), *words)
    assert "UNPICKLED" not in done.stderr
    assert "BOUND" not in done.stderr
