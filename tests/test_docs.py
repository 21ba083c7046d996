"""What the documents say is true."""

import json
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.core import TyperGroup

from docs import screenshot
from pipeline import config
from pipeline.cli import app
from pipeline.cluster import overrides
from pipeline.config import flatten
from pipeline.reports import results
from pipeline.reports.metrics import METRICS
from tests.harness import project
from tests.harness.documents import commands, sections

ROOT = project.ROOT
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUP = typer.main.get_command(app)
assert isinstance(GROUP, TyperGroup)
GROUP_COMMANDS = GROUP.commands
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
COMMANDS = [
    command
    for document in DOCUMENTS
    for blocks in sections(document, preamble=True).values()
    for command in commands(blocks)
]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 170


def test_every_command_is_in_a_document() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    for name in GROUP_COMMANDS:
        assert f"pipeline {name}" in text, name


def test_every_layer_is_in_the_readme_from_top_to_bottom() -> None:
    from tests.test_layers import LAYERS

    tree = README.split("```\npipeline/\n")[1].split("```")[0]
    layers = [re.split(r"[/.]", line.split()[0])[0] for line in tree.splitlines()]
    assert layers == list(LAYERS)


def test_every_link_leads_to_a_file() -> None:
    links = [(doc, link) for doc in DOCUMENTS for link in re.findall(r"\]\(([^)#:]+)\)", doc.read_text())]
    assert links
    assert not [link for doc, link in links if str((doc.parent / link).resolve().relative_to(ROOT)) not in TRACKED]


def test_every_command_can_be_given_as_it_stands() -> None:
    params, makefile = flatten(project.read(ROOT)), (ROOT / "Makefile").read_text()
    for program, *words in COMMANDS:
        if program == "pipeline":
            name, *arguments = words
            given = (
                GROUP_COMMANDS[name].make_context(name, arguments).params
            )  # raises for an unknown option, runs nothing
            if name == "sweep":
                if not given["search"]:  # which Ray draws from
                    assert overrides.trials(given["model"], given["grid"], [], None, config.load())
                continue
        elif program == "make":
            assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), words
        if program == "python":  # whose code is no parameter
            continue
        for key, separator, _ in (word.partition("=") for word in words if "." in word and "://" not in word):
            assert not separator or key in params, (program, words)


def test_what_commands_write_in_documents_is_up_to_date() -> None:
    documents = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
    checked = project.run(ROOT, "cog", "-I", ".", "--check", *documents, ok=False)
    assert not checked.returncode, f"run `make docs`: {checked.stdout}{checked.stderr}"


def test_the_costs_of_many_bits_were_measured_for_these_lengths() -> None:
    measured = json.loads((ROOT / "bench" / "results.json").read_text())["many_bits"]
    assert [each["length"] for each in measured["measured"]] == [24, 26]


@pytest.mark.results
def test_the_readme_shows_the_results_of_the_default_recipe_and_those_over_seeds() -> None:
    assert results.show(pd.read_csv(ROOT / "results" / "fast.csv")) in README
    assert results.show_seeds(pd.read_csv(ROOT / "results" / "seeds.csv")) in README


@pytest.mark.results
@pytest.mark.parametrize("name", screenshot.SHOWN)
def test_the_pictures_of_pages_are_as_new_as_what_they_show(name: str) -> None:
    assert screenshot.current(name), "`make docs` takes it anew"


@pytest.mark.results
def test_the_published_results_of_fast_reach_the_references() -> None:
    fast, published = (
        pd.read_csv(ROOT / "results" / f"{recipe}.csv").set_index("model") for recipe in ("fast", "published")
    )
    assert (fast["accuracy"] >= fast["reference"].fillna(0)).all()
    assert (fast["accuracy"].reindex(published.index) >= published["accuracy"]).all()


@pytest.mark.results
def test_no_string_of_bits_is_miscounted_with_any_seed() -> None:
    table = pd.read_csv(ROOT / "results" / "seeds.csv")
    bits = table[table["model"] == "bits-lstm24"]
    assert bits.groupby("recipe")["seed"].nunique().to_dict() == {"fast": 5, "best": 5}
    columns = ["wrong", "wrong_shorter", "wrong_100_bits", "wrong_1000_bits", "wrong_10000_bits"]
    assert (bits[columns] == 0).all(axis=None)
    assert bits["certified_steps"].min() > 1_000_000


@pytest.mark.results
def test_the_committed_metrics_are_those_of_the_results() -> None:
    fast = pd.read_csv(ROOT / "results" / "fast.csv").set_index("model")
    for model in fast.index:
        path = f"HEAD:models/{model}/metrics.json"  # a user may have run something else in the working tree
        shown = subprocess.run(["git", "show", path], cwd=ROOT, capture_output=True, text=True, check=True)
        assert json.loads(shown.stdout)["wrong"] == fast.loc[model, "wrong"]


def test_every_metric_is_explained(trained: Path) -> None:
    explained = set(re.findall(r"`([a-z0-9_]+)`", (ROOT / "docs" / "metrics.md").read_text()))
    named = set(METRICS)
    for path in [*(ROOT / "models").glob("*/metrics.json"), *(trained / "models").glob("*/metrics.json")]:
        named |= set(json.loads(path.read_text()))
    assert {re.sub(r"_\d+_bits", "_100_bits", name) for name in named} <= explained


def test_versions_agree() -> None:
    from pipeline import __version__

    assert f"## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert project.invoke("--version").stdout == f"pipeline {__version__}\n"


def test_locks_have_a_hash_for_each_package_and_no_addresses() -> None:
    for path in ROOT.glob("requirements*.lock"):
        text = path.read_text()
        assert "://" not in text, path
        assert "--index" not in text, path
        entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
        assert entries, path
        assert all("--hash=sha256:" in entry for entry in entries), path


def test_nothing_large_and_no_mnist_is_tracked() -> None:
    for name in TRACKED:
        path = ROOT / name
        assert not path.is_file() or path.stat().st_size < 1_000_000, name
        assert "ubyte" not in name


def test_help_imports_no_library() -> None:
    code = (
        "import sys, pipeline.cli\n"
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'numpy', 'tensorflow', 'mlflow', 'pandas'}))"
    )
    assert project.run(ROOT, "python", "-c", code).stdout == "[]\n"
