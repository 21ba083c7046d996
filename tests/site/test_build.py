"""The files of the page."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.inference.trace import read_weights
from pipeline.lineage.artifacts import workspace
from pipeline.paths import ModelPaths
from pipeline.reports.card import card
from pipeline.site.build import build
from tests.harness import project


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("precision", "kind", "most"), [("float32", "<f4", 0), ("float16", "<f2", 1e-3)])
def test_the_weights_are_those_of_the_exported_file(exported: Path, precision: str, kind: str, most: float) -> None:
    names = [built.name for built in build(Path("site"), precision)]
    assert names == sorted(project.MODELS)
    for name in names:
        model = json.loads(Path(f"site/models/{name}/model.json").read_text())
        numbers = np.frombuffer(Path(f"site/models/{name}/weights.bin").read_bytes(), kind)
        weights = read_weights(ModelPaths(name).onnx)
        assert sum(np.prod(each["shape"]) for each in model["tensors"]) == len(numbers)
        for tensor in model["tensors"]:
            expected = weights[tensor["name"]]
            found = numbers[tensor["start"] : tensor["start"] + expected.size].reshape(tensor["shape"])
            np.testing.assert_allclose(found, expected, rtol=most, atol=most / 10)


def test_float16_says_how_much_it_changes(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    differences = {built.name: built.difference for built in build(tmp_path / "site", "float16")}
    assert all(difference is not None and 0 < difference < 0.05 for difference in differences.values()), differences
    rounded = json.loads((tmp_path / "site/models/bits-lstm24/model.json").read_text())
    assert rounded["certified_steps"] == 0, "the proof is of other weights"
    assert {built.difference for built in build(tmp_path / "site")} == {0.0}


def test_the_page_is_the_same_bytes_each_time_and_takes_the_place_of_an_older_one(exported: Path) -> None:
    build(Path("site"))
    first = contents(Path("site"))
    Path("site/old.js").write_text("of an older version")
    build(Path("site"))
    assert contents(Path("site")) == first


def test_a_folder_that_holds_something_else_is_refused(exported: Path) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    Path("link").symlink_to("mine")
    build(Path("site"))
    for name in (".git/config", "CNAME", "models/mnist-lstm128/info.json"):
        Path("site", name).parent.mkdir(exist_ok=True)
        Path("site", name).write_text("mine")
        with pytest.raises(PipelineError, match=re.escape(f"is no page of this project: it has '{name}'")):
            build(Path("site"))
        Path("site", name).unlink()
    build(Path("site"))
    shutil.rmtree("site")
    for name in ("mine", "mine/notes.txt", "link", "."):
        with pytest.raises(PipelineError, match=r"is no page of this project|cannot become a page"):
            build(Path(name))
        Path("mine/site.json").write_text("{}")
    Path("other").mkdir()
    for name in ("index.html", "notes.html", "site.json"):  # a page, but none of this project
        Path("other", name).write_text('{"name": "mine"}')
    with pytest.raises(PipelineError, match=r"it has no site\.json of a page"):
        build(Path("other"))
    assert Path("other/notes.html").is_file()
    with pytest.raises(PipelineError, match="expected float32 or float16"):
        build(Path("site"), "float8")
    assert Path("mine/notes.txt").read_text() == "mine"
    assert not Path("site").exists()


def test_a_damaged_model_is_named(exported: Path) -> None:
    ModelPaths("bits-lstm24").onnx.write_bytes(b"damaged")
    with pytest.raises(PipelineError, match="bits-lstm24"):
        build(Path("site"))
    assert not Path("site").exists()


def test_damaged_files_links_and_other_types_are_named(trained_project: Path) -> None:
    paths, lesson = ModelPaths("mnist-lstm128"), Path("docs/learn.md")
    lesson.parent.mkdir()
    for path, content in {
        paths.history: b"step,accuracy\n1,x\n",
        paths.confusion: b"actual,predicted\n",
        paths.by_class: b"",
        paths.predictions: b"PAR1",
        paths.metrics: b'{"accuracy": []}',
        paths.certificate: b'[{"onnx": "", "certified_steps": 1e400}]',
        lesson: b"\xff",
    }.items():
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        with pytest.raises(PipelineError, match=re.escape(str(path))):
            build(Path("site"))
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    Path("secret").write_text("secret")
    for path in (lesson, paths.errors):
        path.unlink(missing_ok=True)
        path.symlink_to(Path("secret").resolve())
        with pytest.raises(PipelineError, match="is a link"):
            build(Path("site"))
        path.unlink()
    build(Path("site"))


def test_numbers_that_json_does_not_have_are_null(trained_project: Path) -> None:
    history = ModelPaths("bits-lstm24").history
    history.chmod(0o644)
    history.write_text("step,loss,accuracy\n1,,0.5\n2,inf,0.5\n")
    build(Path("site"))
    text = Path("site/models/bits-lstm24/model.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["facts"]["history"]["loss"] == [None, None]


def test_the_page_shows_what_training_and_evaluation_found(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    build(tmp_path / "site")
    model = json.loads((tmp_path / "site/models/mnist-lstm128/model.json").read_text())
    shown, metrics = dict(model["facts"]["table"]), json.loads(ModelPaths("mnist-lstm128").metrics.read_text())
    assert model["facts"]["metrics"] == metrics
    assert shown["accuracy"] == f"{metrics['accuracy']:.3%}"
    assert shown["wrong"] == f"{metrics['wrong']:,}"
    assert shown["training_seconds"].endswith(" s")
    assert {"history", "confusion", "by_class", "certificate"} <= set(model["facts"])
    assert all((tmp_path / "site/models/mnist-lstm128" / name).is_file() for name in model["pictures"])
    assert model["pictures"] == ["errors.png", "reliability.png", "inside.png"]
    text = (tmp_path / "site/models/mnist-lstm128" / model["card"]).read_text()
    assert text == card(workspace("mnist-lstm128", "mnist"))
    assert np.shape([example["features"] for example in model["examples"]]) == (12, 28, 28)


def test_the_lesson_is_a_page_without_a_script(exported: Path) -> None:
    Path("docs").mkdir()
    text = "# Title\n\n<!-- [[[cog x ]]] -->\n| a |\n| :--- |\n| <b>1</b> |\n\nthe [page](demo.md), a [file](../x.py)\n"
    Path("docs/learn.md").write_text(text)
    build(Path("site"))
    page = Path("site/learn.html").read_text()
    assert "<h1>Title</h1>" in page
    assert "<td>&lt;b&gt;1&lt;/b&gt;</td>" in page
    assert 'the <a href="index.html">page</a>, a file' in page
    assert "<script" not in page
    assert "cog" not in page
    assert "style=" not in page, "the policy of the page forbids it"
    assert json.loads(Path("site/site.json").read_text())["lesson"] == "learn.html"


def test_the_page_refers_to_no_other_host() -> None:
    static = project.ROOT / "pipeline" / "site" / "static"
    text = "".join(path.read_text() for path in sorted(static.iterdir()))
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert sum(path.stat().st_size for path in static.iterdir()) < 100_000, "bytes before any weights"
