"""MLflow's registry: what a version holds, who becomes the champion, and that it answers as the export does."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from pipeline import config, data, evaluate, export, generate, split, train
from tests import tiny

MODEL = "bits-lstm24"
STAGES = ("split@bits", f"train@{MODEL}", f"export@{MODEL}", f"evaluate@{MODEL}")
Variant = Callable[[str], Path]


@pytest.fixture(scope="module")
def variant(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Variant:
    """The copy with its model as it is (`first`), taught longer (`better`), or so from other data (`other data`)."""
    variants: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in variants:
            folder = tmp_path_factory.mktemp("variant") / "copy"
            # Without DVC's run cache: MLflow would be told of the models that it remembers, too.
            shutil.copytree(made, folder, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", "runs"))
            tiny.change(folder, f"models.{MODEL}.gate.floor", 0.0)
            if name != "first":
                _teach(folder, train=120 if name == "other data" else 100)
            variants[name] = folder
        return variants[name]

    return get


def _teach(folder: Path, train: int) -> None:
    tiny.change(folder, f"models.{MODEL}.fast.steps", 400)
    tiny.change(folder, f"models.{MODEL}.fast.report", 200)
    tiny.change(folder, "tasks.bits.split.train", train)
    there = Path.cwd()
    os.chdir(folder)
    try:
        make(MODEL, "bits")
    finally:
        os.chdir(there)
    tiny.run(folder, "dvc", "commit", "--force", *STAGES)


def make(model: str, task: str) -> None:
    """The stages in this process, which has TensorFlow already."""
    params = config.load()
    if not (data.RAW / task).exists():
        generate.run(task, params)
    split.run(task, params)
    for stage in (train, export, evaluate):
        stage.run(model, params)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds nothing yet: to make its tables takes longer than to copy them."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def client(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A store of the test's own."""
    shutil.copy(empty, tmp_path / "mlflow.db")
    for name in ("DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return MlflowClient(uri, registry_uri=uri)


def track(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = tiny.ask("track")
    assert done.exit_code == 0, done.output


def champion(client: MlflowClient, model: str = MODEL) -> str | None:
    version = client.get_registered_model(model).aliases.get("champion")  # MLflow gives a number or a text
    return None if version is None else str(version)


def artifacts(client: MlflowClient, version: str, model: str = MODEL) -> Path:
    run_id = client.get_model_version(model, version).run_id
    assert run_id
    return Path(urlparse(client.get_run(run_id).info.artifact_uri).path)


def packed(client: MlflowClient, version: str) -> Path:
    (folder,) = artifacts(client, version).glob("model-*")
    return folder


def verdict(client: MlflowClient, version: str, model: str = MODEL) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((artifacts(client, version, model) / "verdict.json").read_text())
    return told


def accuracy(folder: Path) -> float:
    return float(json.loads((folder / "models" / MODEL / "metrics.json").read_text())["accuracy"])


def test_a_version_holds_the_model_its_signature_an_example_and_the_verdict(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = variant("first")
    for _ in range(2):
        track(folder, monkeypatch)
    (version,) = client.search_model_versions(f"name = '{MODEL}'")
    assert champion(client) == str(version.version) == "1"
    exported = folder / "models" / MODEL / "export"
    assert version.tags == {
        "model": data.md5(exported / "model.onnx"),
        "examples": data.md5(folder / "data/split/bits/examples.parquet"),
        "dataset": "bits-8",
        "accuracy": repr(accuracy(folder)),
        "verdict": "passed",
    }
    told = verdict(client, "1")
    assert (told["passed"], told["accuracy"], told["floor"], told["champion"]) == (True, accuracy(folder), 0.0, None)
    assert version.description == f"passed: {'; '.join(told['reasons'])}."

    kept = packed(client, "1")
    assert (kept / "model.onnx").is_file()
    assert not [path for path in kept.rglob("*") if path.suffix in (".pkl", ".pickle", ".cloudpickle", ".joblib")]
    about = YAML(typ="safe").load(kept / "MLmodel")
    assert about["flavors"]["python_function"]["loader_module"] == "mlflow.onnx"
    assert about["metadata"]["labels"] == json.loads((exported / "card.json").read_text())["labels"]
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion")
    assert model.metadata.signature.inputs.to_dict() == [
        {"type": "tensor", "name": "sequence", "tensor-spec": {"dtype": "float32", "shape": (-1, 8, 1)}}
    ]
    assert model.metadata.signature.outputs.to_dict() == [
        {"type": "tensor", "name": "probabilities", "tensor-spec": {"dtype": "float32", "shape": (-1, 9)}}
    ]
    example = model.input_example
    assert example["sequence"].shape == (1, 8, 1)
    assert model.predict(example)["probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_below_the_floor_there_is_no_champion(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = variant("first")
    tiny.change(folder, f"models.{MODEL}.gate.floor", 0.995)
    try:
        track(folder, monkeypatch)
    finally:
        tiny.change(folder, f"models.{MODEL}.gate.floor", 0.0)
    assert champion(client) is None
    assert client.get_model_version(MODEL, "1").tags["verdict"] == "did not pass"
    assert not verdict(client, "1")["passed"]
    track(folder, monkeypatch)
    assert champion(client) == "1", "a lowered floor lets the same version pass"
    assert verdict(client, "1")["passed"]


def test_a_better_one_takes_the_title(client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert accuracy(variant("first")) < accuracy(variant("better"))
    track(variant("first"), monkeypatch)
    track(variant("better"), monkeypatch)
    assert champion(client) == "2"
    assert verdict(client, "2")["champion"] == {"name": "version 1", "accuracy": accuracy(variant("first"))}


def test_a_worse_one_does_not(client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    track(variant("better"), monkeypatch)
    track(variant("first"), monkeypatch)
    assert champion(client) == "1"
    told = verdict(client, "2")
    assert not told["passed"]
    assert told["champion"] == {"name": "version 1", "accuracy": accuracy(variant("better"))}
    assert client.get_model_version(MODEL, "2").description == f"did not pass: {'; '.join(told['reasons'])}."


def test_an_equal_one_does(client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    track(variant("first"), monkeypatch)
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    client.delete_run(run.info.run_id)  # so the same model becomes another run, and another version
    track(variant("first"), monkeypatch)
    assert champion(client) == "2"
    assert verdict(client, "2")["champion"] == {"name": "version 1", "accuracy": accuracy(variant("first"))}


def test_on_other_test_data_the_champion_is_measured_anew(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = variant("other data")
    track(variant("first"), monkeypatch)
    track(folder, monkeypatch)
    there = verdict(client, "2")["champion"]
    measured = evaluate.accuracy(packed(client, "1") / "model.onnx", folder / "data/split/bits")
    assert there == {"name": "version 1", "accuracy": measured}
    assert measured != accuracy(variant("first"))
    assert champion(client) == "2"


def test_a_stand_in_is_a_version_and_never_the_champion(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.make(tmp_path / "mnist", models=["mnist-lstm128"])
    tiny.change(folder, "models.mnist-lstm128.gate.floor", 0.0)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    with pytest.warns(UserWarning) as warned:
        make("mnist-lstm128", "mnist")
    stages = [f"{stage}@mnist" for stage in ("generate", "split")]
    stages += [f"{stage}@mnist-lstm128" for stage in ("train", "export", "evaluate")]
    tiny.run(folder, "dvc", "commit", "--force", *stages)
    assert any("uci-digits" in str(each.message) for each in warned)
    track(folder, monkeypatch)
    assert champion(client, "mnist-lstm128") is None
    told = verdict(client, "1", "mnist-lstm128")
    assert not told["passed"]
    assert told["reasons"][0] == "it was measured on uci-digits, which only stands in for another data set"


def test_the_champion_answers_as_the_export_does_loaded_or_served(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(variant("better"), monkeypatch)
    strings = ["00000000", "11111111", "01101010", "10000001", "00000111"]
    said = [json.loads(line) for line in tiny.ask("predict", MODEL, "--json", *strings).stdout.splitlines()]
    labels = json.loads((variant("better") / "models" / MODEL / "export" / "card.json").read_text())["labels"]
    sequence = np.array([[[float(bit)] for bit in text] for text in strings], np.float32)

    def agrees(probabilities: Any) -> None:
        shares = np.asarray(probabilities)
        assert [labels[best] for best in shares.argmax(axis=1)] == [each["label"] for each in said]
        assert shares.max(axis=1).tolist() == pytest.approx([each["probability"] for each in said], abs=1e-6)

    assert len({each["label"] for each in said}) > 1
    agrees(mlflow.pyfunc.load_model(f"models:/{MODEL}@champion").predict({"sequence": sequence})["probabilities"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{MODEL}@champion"),
            *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)),
        ],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _until_it_answers(f"{address}/ping", served)
        asked = urllib.request.Request(  # noqa: S310
            f"{address}/invocations",
            json.dumps({"inputs": {"sequence": sequence.tolist()}}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            agrees(json.load(answer)["predictions"]["probabilities"])
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.wait(60)


def _until_it_answers(address: str, served: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 180
    while served.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("it does not serve")
