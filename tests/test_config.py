from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.errors import PipelineError
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.recipe import Recipe
from tests.harness import project

PUBLISHED = {"bits-lstm24", "mnist-lstm256x2", "mnist-lstm128", "fable-lstm512x2", "fable-lstm512"}
BITS, FABLE = "models.bits-lstm24", "models.fable-lstm512"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a test, with tiny parameters in params.yaml and the sources that they name."""
    for name in ("pipeline", "data"):
        (tmp_path / name).symlink_to(project.ROOT / name)
    project.write(tmp_path, project.tiny(project.read(project.ROOT), project.MODELS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> config.Config:
    """The project's own parameters."""
    monkeypatch.chdir(project.ROOT)
    return config.load()


def test_the_project_s_own_parameters_are_valid_and_every_model_has_the_selected_recipe(own: config.Config) -> None:
    assert set(own.models) >= PUBLISHED
    assert [setup.name for setup in own.all_models()] == list(own.models)
    for setup in own.all_models():
        assert setup.recipe is own.models[setup.name].recipes[setup.params.recipe]
        assert setup.task.source.exists()


def test_the_published_recipes_are_the_published_ones(own: config.Config) -> None:
    recipes = {name: own.models[name].recipes["published"] for name in PUBLISHED}
    assert {
        name: (r.optimizer, r.learning_rate, r.batch_size, r.steps, r.loss_reduction) for name, r in recipes.items()
    } == {
        "bits-lstm24": ("adam", 0.001, 1000, 600 * 10_000 // 1000, "sum"),
        "mnist-lstm256x2": ("adam", 0.001, 128, 2000, "mean-over-classes"),
        "mnist-lstm128": ("adam", 0.001, 128, 100_000 // 128, "mean"),
        "fable-lstm512x2": ("rmsprop-tensorflow-1", 0.001, 1, 50_000, "mean"),
        "fable-lstm512": ("rmsprop-tensorflow-1", 0.001, 1, 50_000, "mean"),
    }
    assert {name: r.min_probability for name, r in recipes.items() if r.min_probability} == {"bits-lstm24": 1e-10}
    assert {r.schedule for r in recipes.values()} == {"constant"}
    assert {own.models[name].network.cell for name in PUBLISHED} == {"lstm"}


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("seed", -1, "seed"),
        ("seed", "7", "seed"),
        ("recipe", "fast", "recipe is not a parameter"),
        (f"{BITS}.recipe", "Fast!", f"{BITS}.recipe"),
        (f"{BITS}.recipe", None, f"{BITS}.recipe"),
        ("sed", 1, "sed is not a parameter"),
        (f"{BITS}.recipes", {}, f"{BITS}.recipes"),
        (f"{BITS}.recipes.Slow", {}, f"{BITS}.recipes.Slow"),
        (f"{BITS}.recipes.fast.steps", 0, f"{BITS}.recipes.fast.steps"),
        (f"{BITS}.recipes.fast.learning_rate", "1e-3", f"{BITS}.recipes.fast.learning_rate"),
        (f"{BITS}.recipes.fast.learning_rate", float("nan"), f"{BITS}.recipes.fast.learning_rate"),
        (f"{BITS}.recipes.fast.batch_size", 2.5, f"{BITS}.recipes.fast.batch_size"),
        (f"{BITS}.recipes.fast.monitor", "none", f"{BITS}.recipes.fast.monitor"),
        (f"{BITS}.recipes.fast.monitor", "train", f"{BITS}.recipes.fast.monitor"),
        (f"{BITS}.recipes.fast.min_probability", 0.0, f"{BITS}.recipes.fast.min_probability"),
        (f"{BITS}.recipes.fast.speed", 1, f"{BITS}.recipes.fast.speed is not a parameter"),
        (f"{BITS}.recipes.fast.init.stddev", 1.0, f"{BITS}.recipes.fast.init: "),
        (f"{BITS}.recipes.fast.init.kernel", "normal", f"{BITS}.recipes.fast.init: "),
        (f"{BITS}.recipes.fast.init.bias", "normal", f"{BITS}.recipes.fast.init: "),
        (f"{BITS}.network.units", [], f"{BITS}.network.units"),
        (f"{BITS}.network.units", [24, 0], f"{BITS}.network.units.1"),
        (f"{BITS}.network.cell", "perceptron", f"{BITS}.network.cell"),
        (f"{BITS}.network.dense", 0, f"{BITS}.network.dense"),
        (f"{BITS}.network.dropout", 1.0, f"{BITS}.network.dropout"),
        (f"{BITS}.reference.accuracy", 1.5, f"{BITS}.reference.accuracy"),
        (f"{BITS}.gate.floor", -0.1, f"{BITS}.gate.floor"),
        (f"{BITS}.task", "chess", f"{BITS}.task: got 'chess', expected one of "),
        ("models.Bits", {}, "models.Bits"),
        ("models." + "b" * 101, {}, "models.'bbb"),
        (
            "tasks.chess",
            {"source": "params.yaml", "generate": {}, "split": {}},
            "tasks.chess: there is no task 'chess'",
        ),
        ("tasks.bits.generate.length", True, "tasks.bits.generate.length"),
        ("tasks.bits.generate.length", 60, "tasks.bits.generate.length"),
        ("tasks.bits.split.test", 3, "tasks.bits.split.test is not a parameter"),
        ("tasks.fable.source", "no/such.txt", "tasks.fable.source: 'no/such.txt' does not exist"),
        ("tasks.fable.source", "", "tasks.fable.source: '' does not exist"),
        ("tasks.fable.source", "/dev/null", "tasks.fable.source: '/dev/null' does not exist"),
        ("tasks.fable.source", "a$b.txt", "tasks.fable.source: got 'a$b.txt'; "),
        ("tasks.mnist.split", None, "tasks.mnist.split"),
    ],
)
def test_an_invalid_value_is_refused_by_its_dotted_name(folder: Path, key: str, value: Any, named: str) -> None:
    project.change(folder, key, value)
    with pytest.raises(PipelineError) as refused:
        config.load()
    assert str(refused.value).startswith(f"params.yaml: {named}")
    assert str(refused.value).count("\n") == 0


def test_a_missing_key_is_named(folder: Path) -> None:
    params = project.read(folder)
    del params["models"]["bits-lstm24"]["recipes"]["fast"]["learning_rate"]
    project.write(folder, params)
    with pytest.raises(PipelineError, match=r"models\.bits-lstm24\.recipes\.fast\.learning_rate is missing; add it"):
        config.load()


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "a: 1\na: 2\n", "\x00", "\xff"])
def test_a_file_that_is_not_a_mapping_is_refused(folder: Path, text: str) -> None:
    (folder / "params.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(PipelineError, match=r"params\.yaml") as refused:
        config.load()
    assert str(refused.value).count("\n") == 0


def test_outside_the_project_the_file_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"there is no params\.yaml here; run this command in the root"):
        config.load()


def test_numbers_are_read_as_dvc_reads_them(folder: Path) -> None:
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("learning_rate: 0.01", "learning_rate: 1e-3"))
    assert config.load().model("bits-lstm24").recipe.learning_rate == 0.001


@pytest.mark.parametrize("address", ["https://me:hush@mirror.example/mnist", "https://mirror.example/mnist?key=hush"])
def test_an_address_with_credentials_is_refused_and_not_shown(folder: Path, address: str) -> None:
    project.change(folder, "tasks.mnist.generate.mirrors", [address])
    with pytest.raises(PipelineError, match="MNIST_DIR") as refused:
        config.load()
    assert "hush" not in str(refused.value)


# Recipes.


@pytest.mark.parametrize("name", ["slow", "half-the-steps", "2024"])
def test_a_recipe_may_have_any_valid_name(folder: Path, name: str) -> None:
    params = project.read(folder)
    recipes = params["models"]["bits-lstm24"]["recipes"]
    recipes[name] = recipes["fast"] | {"steps": 7}
    params["models"]["bits-lstm24"]["recipe"] = name
    project.write(folder, params)
    setup = config.load().model("bits-lstm24")
    assert (setup.recipe_name, setup.recipe.steps) == (name, 7)
    assert f"models.bits-lstm24.recipes.{name}.steps" in setup.used_params()


def test_each_model_has_its_own_recipe(folder: Path) -> None:
    project.change(folder, "models.bits-lstm24.recipe", "best")
    loaded = config.load()
    assert loaded.model("bits-lstm24").recipe == loaded.models["bits-lstm24"].recipes["best"]
    assert {setup.recipe_name for setup in loaded.all_models()} == {"best", "fast"}


def test_a_recipe_that_a_model_does_not_have_is_refused_with_those_it_has(folder: Path) -> None:
    project.change(folder, "models.fable-lstm512.recipe", "third")
    with pytest.raises(PipelineError) as refused:
        config.load()
    assert str(refused.value) == (
        "params.yaml: models.fable-lstm512.recipe: got 'third', expected one of its `recipes`: fast, best, published."
    )


def test_an_alias_or_a_merge_key_shares_a_recipe(folder: Path) -> None:
    text = (project.ROOT / "params.yaml").read_text()
    plain = config.load(project.ROOT / "params.yaml")
    assert "published: *fable-published" in text, "the project shares a recipe so"
    merged = text.replace("published: *fable-published", "published: {<<: *fable-published, steps: 7}")
    (folder / "params.yaml").write_text(merged)
    original = plain.models["fable-lstm512x2"].recipes["published"]
    assert plain.models["fable-lstm512"].recipes["published"] == original
    recipe = config.load().models["fable-lstm512"].recipes["published"]
    assert recipe == original.model_copy(update={"steps": 7})


# Setups.


def test_a_setup_resolves_a_name_once(folder: Path) -> None:
    loaded = config.load()
    setup = loaded.model("mnist-lstm128")
    assert (setup.name, setup.seed, setup.recipe_name) == ("mnist-lstm128", loaded.seed, "fast")
    assert setup.params is loaded.models["mnist-lstm128"]
    assert setup.network is setup.params.network
    assert setup.recipe is setup.params.recipes["fast"]
    assert setup.paths.weights == ModelPaths("mnist-lstm128").weights
    assert setup.task == loaded.task("mnist")
    assert (setup.task.name, setup.task.seed, setup.task.source) == (
        "mnist",
        loaded.seed,
        Path("pipeline/tasks/mnist/raw"),
    )
    assert setup.task.paths.examples == TaskPaths("mnist").examples
    assert setup.task.name == "mnist"
    assert isinstance(setup.task.params.generate, setup.task.data.Generate)
    assert isinstance(setup.task.params.split, setup.task.data.Split)
    assert setup.network.layer_names == ["lstm_1"]


def test_an_unknown_model_or_task_is_refused_with_those_there_are(folder: Path) -> None:
    loaded = config.load()
    with pytest.raises(PipelineError) as refused:
        loaded.model("bits-lstm42")
    assert str(refused.value) == (
        "params.yaml has no model 'bits-lstm42'; use one of bits-lstm24, mnist-lstm128, fable-lstm512."
    )
    with pytest.raises(PipelineError, match="'bits' is a task; give one of its models: bits-lstm24"):
        loaded.model("bits")
    with pytest.raises(PipelineError, match=r"params\.yaml has no task 'chess'; use one of bits, mnist, fable\."):
        loaded.task("chess")


def test_the_used_parameters_are_those_that_the_stages_of_the_model_read(folder: Path) -> None:
    loaded = config.load()
    used = loaded.model("bits-lstm24").used_params()
    expected = {"seed", "tasks.bits.source", "tasks.bits.generate.length", "tasks.bits.split.train", f"{BITS}.task"}
    written = project.read(folder)["models"]["bits-lstm24"]
    expected |= {f"{BITS}.network.{key}" for key in written["network"]}
    expected |= {f"{BITS}.recipes.fast.{key}" for key in written["recipes"]["fast"] if key != "init"}
    expected |= {f"{BITS}.recipes.fast.init.{key}" for key in written["recipes"]["fast"]["init"]}
    assert set(used) == expected, "no gate, no reference, no other recipe"
    assert used["seed"] == loaded.seed
    assert used[f"{BITS}.task"] == "bits"
    assert used[f"{BITS}.network.units"] == [8]
    assert used[f"{BITS}.network.dense"] is None
    assert used["tasks.bits.generate.length"] == 8


def test_flatten_joins_the_names_of_nested_mappings() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [2, 3]}, "e": None, "f": {}}
    assert config.flatten(nested) == {"a.b.c": 1, "a.d": [2, 3], "e": None, "f": {}}
    assert config.flatten({}) == {}


def test_a_count_needs_the_cell_state_of_an_lstm(folder: Path) -> None:
    project.change(folder, f"{BITS}.network.cell", "gru")
    with pytest.raises(PipelineError, match=r"params\.yaml: models\.bits-lstm24: .*the recipe fast reads a count from"):
        config.load()


def test_only_an_lstm_takes_first_recurrent_weights_and_a_forget_bias(folder: Path) -> None:
    project.change(folder, f"{FABLE}.network.cell", "gru")
    config.load()
    project.change(folder, f"{FABLE}.recipe", "published")
    with pytest.raises(
        PipelineError, match=r"the recipe published sets init\.recurrent or init\.forget_bias; use cell"
    ):
        config.load()


def test_a_walk_has_steps() -> None:
    with pytest.raises(ValueError, match="a walk has no epochs"):
        Recipe(order="walk", epochs=3, batch_size=20, log_every=1, learning_rate=0.1)


def test_a_recipe_has_steps_or_epochs(folder: Path) -> None:
    project.change(folder, f"{BITS}.recipes.fast.epochs", 3)
    with pytest.raises(PipelineError, match=r"recipes\.fast: .*needs steps or epochs, and not both"):
        config.load()
    recipe = Recipe(epochs=3, batch_size=20, log_every=1, learning_rate=0.1)
    assert recipe.total_steps(101) == 16, "303 examples, in batches of 20"
