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


def forbidden(node: ast.AST) -> str:
    """What a node does that would unpickle or run text; empty if it does neither."""
    if isinstance(node, ast.Import):
        return ", ".join({name.name.split(".")[0] for name in node.names} & UNPICKLING)
    if isinstance(node, ast.ImportFrom):
        return ", ".join({(node.module or "").split(".")[0]} & UNPICKLING)
    if not isinstance(node, ast.Call):
        return ""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for keyword in node.keywords:
        constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if constant is not {"allow_pickle": False, "shell": False, "safe_mode": True}.get(keyword.arg or "", constant):
            return str(keyword.arg)
    return name if name in CALLS else ""


def test_no_module_unpickles_or_runs_text() -> None:
    found = [(path, forbidden(node)) for path in MODULES for node in ast.walk(ast.parse(path.read_text()))]
    assert not [(str(path), what) for path, what in found if what]


@pytest.mark.parametrize(
    "text", ["import pickle", "from dill import x", "eval('1')", "np.load(x, allow_pickle=y)", "run(x, shell=True)"]
)
def test_what_unpickles_or_runs_text_is_found(text: str) -> None:
    assert any(forbidden(node) for node in ast.walk(ast.parse(text)))


def test_no_module_names_an_address_that_other_machines_reach() -> None:
    assert not [str(path) for path in MODULES if re.search(r"0\.0\.0\.0|\[::\]|INADDR_ANY", path.read_text())]


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
