"""What every task promises. A new folder under pipeline/tasks is tested here with no edit of a test."""

import io
import json
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import manifest, tasks
from pipeline.config import TaskParams
from pipeline.dataset import SPLITS, DatasetInfo, Examples, load_info, save_info
from pipeline.errors import PipelineError
from pipeline.paths import TaskPaths
from pipeline.predictions import Predictions
from pipeline.stages import split
from tests.harness import project
from tests.harness.examples import evaluated
from tests.harness.examples import predictions as made_predictions
from tests.harness.model import FunctionModel

EVERY_TASK = pytest.mark.parametrize("name", tasks.names())
SOME = 200  # examples, where a property of each example is tested


@cache
def params(name: str) -> TaskParams:
    """The task's section of the tiny params.yaml; of the project's own where the tiny one does not have it."""
    tiny = project.tiny(project.read(project.ROOT), project.MODELS)["tasks"]
    section = tiny.get(name) or project.read(project.ROOT)["tasks"].get(name)
    if section is None:
        pytest.fail(f"params.yaml has no section tasks.{name} for pipeline/tasks/{name}; add it.")
    return TaskParams.model_validate(section)


def make_examples(name: str, seed: int = 1) -> Examples:
    """Generate and split in a folder of their own."""
    data, given = tasks.load(name).data, params(name)
    with tempfile.TemporaryDirectory() as folder:
        data.generate(data.Generate.model_validate(given.generate), project.ROOT / given.source, Path(folder))
        return data.split(data.Split.model_validate(given.split), Path(folder), np.random.default_rng(seed))


@cache
def examples(name: str) -> Examples:
    """The examples that all tests here read."""
    return make_examples(name)


def some(rows: np.ndarray) -> np.ndarray:
    """Some rows, spread over all of them."""
    return rows[:: -(-len(rows) // SOME)]


def predictions(name: str, wrong: Iterable[int]) -> Predictions:
    """Predictions for the evaluated split; those in these rows are wrong."""
    encoded, targets = evaluated(examples(name))
    predicted = targets.astype(np.int32)
    for row in wrong:
        predicted[row] = (predicted[row] + 1) % len(examples(name).info.class_names)
    probability = np.linspace(0.1, 1, len(targets), dtype=np.float32)
    return made_predictions(examples(name).info, encoded, targets, predicted, probability)


@EVERY_TASK
def test_the_info_describes_the_task_and_survives_a_file(name: str, tmp_path: Path) -> None:
    info = examples(name).info
    assert info.task == name
    assert info.dataset
    assert info.encoding
    assert len(info.shape) == 2
    assert min(info.shape) > 0
    assert len(set(info.class_names)) == len(info.class_names) > 1
    assert info.eval_split in SPLITS
    save_info(info, tmp_path / "info.json")
    manifest.write_all(tmp_path)
    assert load_info(tmp_path / "info.json", ("split", name)) == info


@EVERY_TASK
def test_every_example_is_in_one_split(name: str) -> None:
    made = examples(name)
    split.check(made, TaskPaths(name).raw)
    assert set(made.info.splits) <= set(SPLITS)
    assert sum(len(made.split(each)[0]) for each in SPLITS) == len(made.encoded) == len(made.targets)
    parts = {each: made.split(each) for each in SPLITS} | {made.info.eval_split: evaluated(made)}
    for each in ("train", made.info.eval_split):
        encoded, targets = parts[each]
        assert len(encoded) == len(targets) == made.info.splits[each] > 0
        assert made.class_sizes(each).tolist() == np.bincount(targets, minlength=len(made.info.class_names)).tolist()
    rows = {each: {code.tobytes() for code in parts[each][0]} for each in SPLITS}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not rows[first] & rows[second], "an example is in two splits"


@EVERY_TASK
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_example_to_show_is_one_that_the_model_reads(name: str, share: float) -> None:
    made, task = examples(name), tasks.load(name)
    wrong = range(round(share * made.info.splits[made.info.eval_split]))
    code = task.evaluation.example_to_show(made, predictions(name, wrong))
    assert code.shape == made.encoded.shape[1:]
    assert task.features(code[None], made.info).shape == (1, *made.info.shape)
    text = task.inputs.decode(code, made.info)
    assert not text or task.inputs.encode(text, made.info).tolist() == code.tolist()
    assert len(task.inputs.step_names(code, made.info)) == made.info.shape[0]


@EVERY_TASK
def test_codes_are_numbers_and_targets_are_integers_that_index_the_class_names(name: str) -> None:
    made = examples(name)
    assert made.encoded.ndim == 2
    assert np.issubdtype(made.encoded.dtype, np.integer) or np.issubdtype(made.encoded.dtype, np.floating)
    assert made.targets.ndim == 1
    assert np.issubdtype(made.targets.dtype, np.integer)
    assert made.targets.min() >= 0
    assert made.targets.max() < len(made.info.class_names)


@EVERY_TASK
def test_the_same_seed_gives_the_same_examples(name: str) -> None:
    first, again = examples(name), make_examples(name)
    for ours, theirs in zip((first.encoded, first.targets), (again.encoded, again.targets), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert first.info == again.info


@EVERY_TASK
def test_features_are_float32_of_the_shape_and_do_not_depend_on_the_batch(name: str) -> None:
    task, info = tasks.load(name), examples(name).info
    encoded = some(examples(name).encoded)
    before = encoded.copy()
    features = task.features(encoded, info)
    assert features.dtype == np.float32
    assert features.shape == (len(encoded), *info.shape)
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(encoded, before)
    np.testing.assert_array_equal(np.concatenate([task.features(code[None], info) for code in encoded]), features)


@EVERY_TASK
def test_encode_and_decode_agree(name: str) -> None:
    task, info = tasks.load(name), examples(name).info
    inputs = task.inputs
    if not inputs.decode(examples(name).encoded[0], info):
        assert not info.autoregressive, "a task whose predictions are fed back must define decode"
        return
    for code in some(examples(name).encoded):
        text = inputs.decode(code, info)
        again = inputs.encode(text, info)
        assert again.shape == code.shape
        assert inputs.decode(again, info) == text
        np.testing.assert_array_equal(task.features(again[None], info), task.features(code[None], info))


@EVERY_TASK
def test_the_measures_of_an_example_are_finite_numbers_and_names(name: str) -> None:
    task, made = tasks.load(name), examples(name)
    found = [task.inputs.measures(code, made.info) for code in some(made.encoded)]
    assert len({tuple(measures) for measures in found}) == 1, "each example has the same measures"
    assert found[0]
    assert all(isinstance(value, str) or np.isfinite(value) for measures in found for value in measures.values())
    assert json.loads(json.dumps(found)) == found, "a log can hold them"


@EVERY_TASK
@pytest.mark.parametrize("share", [0, 0.1, 1], ids=["none wrong", "some wrong", "all wrong"])
def test_metrics_are_floats_and_errors_are_a_picture(name: str, share: float) -> None:
    from matplotlib.figure import Figure

    size = examples(name).info.splits[examples(name).info.eval_split]
    made = predictions(name, range(round(share * size)))
    metrics, figure = tasks.load(name).evaluation.evaluate(examples(name), made, FunctionModel())
    for key, value in metrics.items():
        assert isinstance(key, str)
        assert isinstance(value, float)
        assert np.isfinite(value)
    assert isinstance(figure, Figure)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=40)
    assert picture.getvalue().startswith(b"\x89PNG")


@EVERY_TASK
def test_an_outline_says_what_the_split_then_makes(name: str) -> None:
    data, given = tasks.load(name).data, params(name)
    generate, split = data.Generate.model_validate(given.generate), data.Split.model_validate(given.split)
    outline = data.outline(generate, split, project.ROOT / given.source)
    assert outline in (None, examples(name).outline)


@EVERY_TASK
def test_the_sample_line_is_one_line(name: str) -> None:
    made = examples(name)
    line = tasks.load(name).evaluation.sample_line(made.encoded[0], 0, int(made.targets[0]), made.info)
    assert "\n" not in line


NO_SPLIT = "from pipeline.tasks import data\nclass Data(data.Data): ...\n"


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("data.py", None, r"data\.py does not define Data\.split; add it\."),
        ("data.py", NO_SPLIT, r"data\.py does not define Data\.split; add it\."),
        (
            "inputs.py",
            "class Inputs: ...\n",
            r"inputs\.py: Inputs does not subclass pipeline\.tasks\.inputs's",
        ),
        ("features.py", "features = 1\n", r"features\.py does not define the function features; add it\."),
        ("features.py", "def features(:\n", r"features\.py, line 1: invalid syntax; fix it\."),
    ],
)
def test_a_folder_is_checked_before_its_first_stage_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, text: str | None, sentence: str
) -> None:
    folder = tmp_path / f"check_{abs(hash((file, text)))}"  # a name that no other case has imported
    shutil.copytree(Path(tasks.__file__).parent / "bits", folder)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    tasks.load(folder.name).check()
    other = shutil.copytree(folder, tmp_path / f"{folder.name}_broken")
    (other / file).unlink()
    if text is not None:
        (other / file).write_text(text)
    with pytest.raises(PipelineError, match=sentence):
        tasks.load(other.name).check()


@pytest.mark.parametrize("share", [0, 0.1, 1], ids=["none wrong", "some wrong", "all wrong"])
@pytest.mark.parametrize("text", [None, '"""Nothing yet."""\n'], ids=["no file", "no evaluate"])
def test_a_task_without_an_evaluation_shows_the_accuracy_of_each_class(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, share: float
) -> None:
    folder = tmp_path / f"plain_{abs(hash((text, share)))}"  # a name that no other case has imported
    shutil.copytree(Path(tasks.__file__).parent / "bits", folder)
    (folder / "evaluation.py").unlink()
    if text is not None:
        (folder / "evaluation.py").write_text(text)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    task, made = tasks.load(folder.name), examples("bits")
    task.check()
    predicted = predictions("bits", range(round(share * made.info.splits[made.info.eval_split])))
    metrics, figure = task.evaluation.evaluate(made, predicted, FunctionModel())
    assert metrics == {}
    (axes,) = figure.axes
    _, tried, wrong = predicted.totals.by_class().T
    heights = [bar.get_height() for bar in axes.containers[0]]
    np.testing.assert_allclose(heights, 100 * (1 - wrong / tried))
    assert task.evaluation.example_to_show(made, predicted).shape == made.encoded.shape[1:]


def test_a_task_is_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "__init__.py").touch()
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    assert "half" in tasks.names()
    with pytest.raises(PipelineError, match=r"tasks/half/features\.py does not define the function features; add it\."):
        _ = tasks.load("half").features
    with pytest.raises(PipelineError, match=r"there is no task 'chess'; add the folder pipeline/tasks/chess, or"):
        tasks.load("chess")


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tasks.Task:
    """A task that defines no more than it must: two steps of two measurements."""
    folder = tmp_path / "tasks" / "measurements"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "data.py").write_text(
        "from pipeline.tasks import data\nclass Data(data.Data):\n    def split(self, params, folder, rng): ...\n"
    )
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(folder.parent)])
    return tasks.load("measurements")


MEASUREMENTS = DatasetInfo("measurements", "m", False, (2, 2), ["a", "b"], "test", False, "", {"train": 1, "test": 1})


def test_by_default_the_raw_data_are_a_copy_of_the_source(measurements: tasks.Task, tmp_path: Path) -> None:
    source, folder = tmp_path / "table.csv", tmp_path / "raw"
    source.write_bytes(b"1,2\r\n")
    data = measurements.data
    assert data.outline(data.Generate(), data.Split(), source) is None
    data.generate(data.Generate(), source, folder)
    assert (folder / "table.csv").read_bytes() == source.read_bytes()
    with pytest.raises(PipelineError, match="is not a file; name one in the task's source, or define generate"):
        data.generate(data.Generate(), tmp_path, folder)


@pytest.mark.parametrize("text", ["1,2.5,-3,4e-3", " 1 2.5 -3 4e-3 ", "1; 2.5; -3; 4e-3"])
def test_by_default_an_input_is_the_numbers_of_an_example(measurements: tasks.Task, text: str) -> None:
    code = measurements.inputs.encode(text, MEASUREMENTS)
    assert code.dtype == np.float32
    np.testing.assert_allclose(code, [1, 2.5, -3, 0.004])
    assert measurements.inputs.step_names(code, MEASUREMENTS) == ["1", "2"]
    with pytest.raises(PipelineError, match="does not read pictures; leave out --show"):
        measurements.inputs.image(code, MEASUREMENTS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "1,2,3",
            "'1,2,3' has 3 numbers, expected 4 with commas between, as of an example without its class: ",
        ),
        ("", "'' has 0 numbers, expected 4"),
        ("1,2,3,x", "'1,2,3,x' has something that is no number"),
        ("1,2,3,inf", "'1,2,3,inf' has a number that is not finite"),
    ],
)
def test_by_default_other_inputs_are_refused(measurements: tasks.Task, text: str, sentence: str) -> None:
    with pytest.raises(PipelineError, match=sentence):
        measurements.inputs.encode(text, MEASUREMENTS)


@pytest.mark.parametrize("sizes", [{"shape": [2**40, 28]}, {"shape": [2**13, 2**12]}, {"max_steps": 2**30}])
def test_facts_of_an_example_larger_than_memory_are_refused(sizes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "info.json"
    save_info(examples("bits").info, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | sizes))
    manifest.write_all(tmp_path)
    with pytest.raises(PipelineError, match=r"shape, min_steps and max_steps are"):
        load_info(path, ("split", "bits"))
