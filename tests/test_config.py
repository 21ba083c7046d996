from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.errors import BadInput
from tests import tiny


def test_the_project_s_own_parameters_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.ROOT)
    params = config.load()
    assert list(params.models) == [
        "bits-lstm24",
        "mnist-lstm256x2",
        "mnist-lstm128",
        "fable-lstm512x2",
        "fable-lstm512",
    ]
    assert params.lesson("bits-lstm24") is params.models["bits-lstm24"].fast


def test_the_published_recipes_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.ROOT)
    models = config.load().models
    told = {
        name: (m.published.optimizer, m.published.rate, m.published.batch, m.published.steps, m.published.loss)
        for name, m in models.items()
    }
    assert told == {
        "bits-lstm24": ("adam", 0.001, 1000, 600 * 10_000 // 1000, "sum"),
        "mnist-lstm256x2": ("adam", 0.001, 128, 2000, "mean-over-classes"),
        "mnist-lstm128": ("adam", 0.001, 128, 100_000 // 128, "mean"),
        "fable-lstm512x2": ("rmsprop", 0.001, 1, 50_000, "mean"),
        "fable-lstm512": ("rmsprop", 0.001, 1, 50_000, "mean"),
    }
    assert models["bits-lstm24"].published.clip == 1e-10
    assert all(model.published.schedule == "constant" for model in models.values())


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("seed", -1, "seed"),
        ("seed", "7", "seed"),
        ("recipe", "slow", "recipe"),
        ("sed", 1, "sed"),
        ("models.bits-lstm24.fast.steps", 0, "models.bits-lstm24.fast.steps"),
        ("models.bits-lstm24.fast.rate", "1e-3", "models.bits-lstm24.fast.rate"),
        ("models.bits-lstm24.fast.rate", float("nan"), "models.bits-lstm24.fast.rate"),
        ("models.bits-lstm24.fast.batch", 2.5, "models.bits-lstm24.fast.batch"),
        ("models.bits-lstm24.fast.speed", 1, "models.bits-lstm24.fast.speed"),
        ("models.bits-lstm24.network.lstm", [], "models.bits-lstm24.network.lstm"),
        ("models.bits-lstm24.network.lstm", [24, 0], "models.bits-lstm24.network.lstm.1"),
        ("models.bits-lstm24.network.dropout", 1.0, "models.bits-lstm24.network.dropout"),
        ("models.bits-lstm24.task", "chess", "models.bits-lstm24.task"),
        ("models.Bits", {}, "models.Bits"),
        ("tasks.chess", {"source": "params.yaml", "generate": {}, "split": {}}, "tasks.chess"),
        ("tasks.bits.generate.length", True, "tasks.bits.generate.length"),
        ("tasks.bits.generate.length", 60, "tasks.bits.generate.length"),
        ("tasks.bits.split.test", 3, "tasks.bits.split.test"),
        ("tasks.fable.source", "no/such.txt", "tasks.fable.source"),
        ("tasks.mnist.split", None, "tasks.mnist.split"),
    ],
)
def test_a_bad_value_is_refused_by_its_dotted_name(copy: Path, key: str, value: Any, named: str) -> None:
    tiny.change(copy, key, value)
    with pytest.raises(BadInput) as refused:
        config.load()
    assert str(refused.value).startswith(f"params.yaml: {named}")
    assert str(refused.value).count("\n") == 0


def test_a_missing_key_is_named(copy: Path) -> None:
    params = tiny.read(copy)
    del params["models"]["bits-lstm24"]["fast"]["loss"]
    tiny.write(copy, params)
    with pytest.raises(BadInput, match=r"models\.bits-lstm24\.fast\.loss is missing; add it"):
        config.load()


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "a: 1\na: 2\n", "\x00"])
def test_what_is_no_mapping_is_refused(copy: Path, text: str) -> None:
    (copy / "params.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"params\.yaml"):
        config.load()


def test_numbers_read_as_dvc_reads_them(copy: Path) -> None:
    text = (copy / "params.yaml").read_text()
    (copy / "params.yaml").write_text(text.replace("rate: 0.01", "rate: 1e-3"))
    assert config.load().models["bits-lstm24"].fast.rate == 0.001


@pytest.mark.parametrize("address", ["https://me:hush@mirror.example/mnist", "https://mirror.example/mnist?key=hush"])
def test_an_address_that_holds_credentials_is_no_parameter_and_is_not_shown(copy: Path, address: str) -> None:
    tiny.change(copy, "tasks.mnist.generate.mirrors", [address])
    with pytest.raises(BadInput, match="MNIST_DIR") as refused:
        config.load()
    assert "hush" not in str(refused.value)
