"""What the documents say is so."""

import json
import re
import subprocess

import pandas as pd
import pytest
import typer

from pipeline import results
from pipeline.cli import app
from tests import tiny

README = (tiny.ROOT / "README.md").read_text()
TRACKED = subprocess.run(["git", "ls-files"], cwd=tiny.ROOT, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "command", [command.callback.__name__ for command in app.registered_commands if command.callback]
)
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert f"pipeline {command}" in README


def test_every_module_stands_in_the_tree() -> None:
    tree = README.split("## The tree")[1].split("```")[1]
    for path in (tiny.ROOT / "pipeline").rglob("*.py"):
        if path.name != "__main__.py" and path.parent.name + path.name != "pipeline__init__.py":
            assert re.search(rf"^ +{re.escape(path.name)} ", tree, re.MULTILINE), path


def test_every_link_leads_to_a_file() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert link in TRACKED, link


@pytest.mark.parametrize("recipe", ["fast", "published"])
def test_the_results_are_those_that_a_command_wrote(recipe: str) -> None:
    table = pd.read_csv(tiny.ROOT / "results" / f"{recipe}.csv")
    assert results.show(table) in README
    assert (table["recipe"] == recipe).all()


def test_fast_is_no_worse_than_published_in_a_fifth_of_the_time() -> None:
    fast, published = (pd.read_csv(tiny.ROOT / "results" / f"{recipe}.csv") for recipe in ("fast", "published"))
    assert (fast["accuracy"] >= fast["published"].fillna(0)).all()
    assert (fast["accuracy"] >= published["accuracy"]).all()
    share = fast["seconds"].sum() / published["seconds"].sum()
    assert share <= 0.2
    assert f"take {share:.0%} of the time" in " ".join(README.split())


def test_the_committed_metrics_are_those_of_the_results() -> None:
    fast = pd.read_csv(tiny.ROOT / "results" / "fast.csv").set_index("model")
    for model in fast.index:
        path = f"HEAD:models/{model}/metrics.json"  # not the working tree's: a person may have run other things there
        shown = subprocess.run(["git", "show", path], cwd=tiny.ROOT, capture_output=True, text=True, check=True)
        metrics = json.loads(shown.stdout)
        assert metrics["wrong"] == fast.loc[model, "wrong"]


def test_locks_hold_hashes_and_no_addresses() -> None:
    for name in ("requirements.lock", "requirements-cuda.lock"):
        text = (tiny.ROOT / name).read_text()
        assert "://" not in text
        assert "--index" not in text
        assert text.count("==") <= text.count("--hash=sha256:")


def test_nothing_large_and_no_mnist_is_tracked() -> None:
    for name in TRACKED:
        path = tiny.ROOT / name
        assert not path.is_file() or path.stat().st_size < 1_000_000, name
        assert "ubyte" not in name


def test_help_needs_no_library() -> None:
    assert isinstance(typer.main.get_command(app), typer.core.TyperGroup)
    code = (
        "import sys, pipeline.cli\n"
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'numpy', 'tensorflow', 'mlflow', 'pandas'}))"
    )
    assert tiny.run(tiny.ROOT, "python", "-c", code).stdout == "[]\n"
