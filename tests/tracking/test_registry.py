"""MLflow's registry: what a version holds, which version is the champion, and that it predicts as the export does."""

import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline import config
from pipeline.files import md5, parse_yaml
from pipeline.inference import evaluation, predict
from pipeline.inference.onnx_session import Session
from pipeline.lineage.artifacts import workspace
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.stages import evaluate, export, generate, split, train
from pipeline.tracking import registry, schema
from tests.harness import project
from tests.harness.process import free_port, responds, running, with_path
from tests.harness.signing import keys

MODEL, MNIST, _ = project.MODELS
STAGES = ("generate@bits", "split@bits", f"train@{MODEL}", f"export@{MODEL}", f"evaluate@{MODEL}")
Variant = Callable[[str], Path]


@pytest.fixture(scope="module")
def variant(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Variant:
    """A project with one model: as it is (`first`), trained longer (`better`), or so on other examples (`other data`)
    or on shorter strings (`other dataset`).
    """
    variants: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in variants:
            variants[name] = _copy(trained, tmp_path_factory.mktemp("variant") / "project", MODEL)
            if name != "first":
                length = 7 if name == "other dataset" else 8
                _train_longer(variants[name], examples=120 if name == "other data" else 100, length=length)
        return variants[name]

    return get


def _copy(trained: Path, folder: Path, model: str) -> Path:
    """A project with one model, for which no accuracy is too low.

    Without DVC's run cache, since `pipeline track` would record its models, too.
    """
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", "runs"))
    params = project.read(folder)
    params["models"] = {model: params["models"][model] | {"gate": {"floor": 0.0}}}
    project.write(folder, params)
    return folder


def _train_longer(folder: Path, examples: int, length: int) -> None:
    project.change(folder, f"models.{MODEL}.recipes.fast.steps", 400)
    project.change(folder, f"models.{MODEL}.recipes.fast.log_every", 200)
    project.change(folder, "tasks.bits.split.train", examples)
    project.change(folder, "tasks.bits.generate.length", length)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        setup = config.load().model(MODEL)
        generate.run(setup.task)
        split.run(setup.task)
        for stage in (train, export, evaluate):
            stage.run(setup)
    project.run(folder, "dvc", "commit", "--force", *STAGES)


@pytest.fixture
def client(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A store of the test's own, to which every command records."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return MlflowClient(uri, registry_uri=uri)


def track(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = project.invoke("track")
    assert done.exit_code == 0, done.output
    assert "skipped" not in done.stdout, done.stdout


def promote(status: int = 0) -> str:
    """Promote the model of the working folder."""
    done = project.invoke("promote")
    assert done.exit_code == status, done.output
    return done.stdout


def champion(client: MlflowClient, model: str = MODEL, dataset: str = "bits-8") -> str | None:
    version = client.get_registered_model(model).aliases.get(f"champion-{dataset}")  # MLflow gives a number or a text
    return None if version is None else str(version)


def artifacts(client: MlflowClient, version: str, model: str = MODEL) -> Path:
    run_id = client.get_model_version(model, version).run_id
    assert run_id
    return Path(urlparse(client.get_run(run_id).info.artifact_uri).path)


def package(client: MlflowClient, version: str) -> Path:
    return Path(urlparse(str(client.get_model_version(MODEL, version).source)).path)


def verdict(client: MlflowClient, version: str, model: str = MODEL) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((artifacts(client, version, model) / "verdict.json").read_text())
    return content


def accuracy(folder: Path) -> float:
    return float(json.loads(ModelPaths(MODEL, folder).metrics.read_text())["accuracy"])


def class_names(folder: Path) -> list[str]:
    return list(json.loads(ModelPaths(MODEL, folder).info.read_text())["class_names"])


def test_a_run_can_hold_the_page_of_its_model(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(variant("first"), monkeypatch)
    done = project.invoke("promote", "--page", MODEL)
    assert done.exit_code == 0, done.output
    page = artifacts(client, "1") / "page"
    assert json.loads((page / "site.json").read_text())["models"] == [{"name": MODEL, "task": "bits"}]
    assert (page / "index.html").is_file()
    assert (page / f"models/{MODEL}/weights.bin").is_file()


def test_a_champion_s_export_is_signed_and_its_signature_verifies_the_package(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    track(variant("first"), monkeypatch)
    paths = ModelPaths(MODEL)
    key, public = keys(tmp_path)
    _, other = keys(tmp_path, "other")
    done = project.invoke("promote", MODEL, "--sign", str(public))
    assert done.exit_code == 2
    assert f"'{public}' is not a private key" in done.stderr
    encrypted, _ = keys(tmp_path, "encrypted", password=b"secret")
    done = project.invoke("promote", MODEL, "--sign", str(encrypted))
    assert done.exit_code == 2
    assert f"'{encrypted}' is encrypted; run this in a terminal, which is asked for its password" in done.stderr
    assert champion(client) is None, "a key that is none is found before anything changes"
    done = project.invoke("promote", MODEL, "--sign", str(key))
    assert done.exit_code == 0, done.output
    done = project.invoke("verify", MODEL, "--signature", str(public))
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith(f"\nthe holder of {public} signed the exports: {MODEL}\n")
    done = project.invoke("verify", "--signature", str(other))
    assert done.exit_code == 1
    assert f"{paths.signature}: the holder of {other} did not sign {paths.export} as it is here" in done.stderr
    # Who has the version of the registry and the file of its run can verify it without the project.
    theirs = [sys.executable, "-m", "model_signing", "verify", "key", str(package(client, "1") / "data" / MODEL)]
    signed = artifacts(client, "1") / paths.signature.name
    subprocess.run([*theirs, "--signature", str(signed), "--public_key", str(public)], check=True)


def test_a_version_holds_the_model_its_signature_an_example_and_the_verdict(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = variant("first")
    for _ in range(2):
        track(folder, monkeypatch)
    assert champion(client) is None, "only `pipeline promote` gives the title"
    assert promote().startswith(f"{MODEL} version 1 is the champion of bits-8 now: it was measured on bits-8 itself; ")
    assert promote() == f"{MODEL} version 1 is the champion of bits-8 already\n"
    (version,) = client.search_model_versions(f"name = '{MODEL}'")
    assert champion(client) == str(version.version) == "1"
    assert version.tags == {
        "model": md5(ModelPaths(MODEL, folder).onnx),
        "examples": md5(TaskPaths("bits", folder).examples),
        "dataset": "bits-8",
        "accuracy": repr(accuracy(folder)),
        "verdict": "passed",
    }
    decided = verdict(client, "1")
    assert (decided["passed"], decided["accuracy"], decided["floor"]) == (True, accuracy(folder), 0.0)
    assert decided["champion"] is None
    card = project.invoke("card", MODEL).stdout
    assert version.description == f"passed: {'; '.join(decided['reasons'])}.\n\n{card}"

    packed = package(client, "1")
    assert (packed / f"data/{MODEL}/model.onnx").is_file()
    assert not [path for path in packed.rglob("*") if path.suffix in (".pkl", ".pickle", ".cloudpickle", ".joblib")]
    described = parse_yaml((packed / "MLmodel").read_text())
    assert described["flavors"]["python_function"]["loader_module"] == "pipeline.tracking.served_model"
    assert not any(
        str(project.ROOT) in file.read_text(errors="replace") for file in packed.rglob("*") if file.is_file()
    )
    assert described["metadata"]["class_names"] == class_names(folder)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion-bits-8")
    signature = model.metadata.signature
    assert [str(column) for column in signature.inputs] == ["string (required)"]
    assert [column.name for column in signature.outputs] == ["label", "probability", "top"]
    assert {param.name: param.default for param in signature.params} == asdict(predict.DEFAULT)
    (example,) = model.input_example
    (answer,) = model.predict([example])
    assert answer["label"] == json.loads(project.invoke("predict", MODEL, "--json", example).stdout)["label"]


def test_below_the_floor_there_is_no_champion_until_the_floor_is_lowered(
    client: MlflowClient, variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(variant("first"), tmp_path / "project")
    project.change(folder, f"models.{MODEL}.gate.floor", 0.995)
    track(folder, monkeypatch)
    assert promote(status=1).startswith(f"{MODEL} version 1 is not promoted: it was measured on bits-8 itself; its acc")
    assert champion(client) is None
    assert client.get_model_version(MODEL, "1").tags["verdict"] == "did not pass"
    assert not verdict(client, "1")["passed"]
    project.change(folder, f"models.{MODEL}.gate.floor", 0.0)
    promote()
    assert champion(client) == "1", "the same version passes"
    assert client.get_model_version(MODEL, "1").tags["verdict"] == "passed"
    assert verdict(client, "1")["passed"]


def test_a_better_version_becomes_the_champion(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert accuracy(variant("first")) < accuracy(variant("better"))
    for name in ("first", "better"):
        track(variant(name), monkeypatch)
        promote()
    assert champion(client) == "2"
    assert verdict(client, "2")["champion"] == {"name": "version 1", "accuracy": accuracy(variant("first"))}


def test_a_worse_version_does_not_become_the_champion(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(variant("better"), monkeypatch)
    promote()
    track(variant("first"), monkeypatch)
    promote(status=1)
    assert champion(client) == "1"
    decided = verdict(client, "2")
    assert not decided["passed"]
    assert decided["champion"] == {"name": "version 1", "accuracy": accuracy(variant("better"))}
    assert client.get_model_version(MODEL, "2").description == f"did not pass: {'; '.join(decided['reasons'])}."


def test_an_equal_version_becomes_the_champion(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(variant("first"), monkeypatch)
    promote()
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    client.delete_run(run.info.run_id)  # so that the same model becomes another run, and another version
    track(variant("first"), monkeypatch)
    assert champion(client) == "1", "until it is promoted"
    promote()
    assert champion(client) == "2"
    assert verdict(client, "2")["champion"] == {"name": "version 1", "accuracy": accuracy(variant("first"))}


def test_on_other_test_data_the_champion_is_measured_again(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = variant("other data")
    track(variant("first"), monkeypatch)
    promote()
    track(folder, monkeypatch)
    promote()
    session = Session(package(client, "1") / f"data/{MODEL}/model.onnx", "")
    measured = evaluation.accuracy(session, TaskPaths("bits", folder))
    assert verdict(client, "2")["champion"] == {"name": "version 1", "accuracy": measured}
    assert measured != accuracy(variant("first"))
    assert champion(client) == "2"


@pytest.mark.parametrize("damage", ["a bit", "gone"])
def test_a_champion_whose_file_is_damaged_is_an_error_that_adds_one_version(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    track(variant("first"), monkeypatch)
    promote()
    onnx = package(client, "1") / f"data/{MODEL}/model.onnx"
    if damage == "gone":
        onnx.unlink()
    else:
        onnx.write_bytes(b"x" + onnx.read_bytes()[1:])
    monkeypatch.chdir(variant("other data"))
    for _ in range(2):
        done = project.invoke("track")
        assert done.stdout.endswith(
            f"note: {MODEL} is skipped: the files of the champion, {MODEL} version 1, are incomplete or damaged; "
            "restore MLflow's artifacts, or remove its alias in MLflow.\n"
        )
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 2


def test_a_run_whose_record_failed_gets_its_model(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(variant("first"), monkeypatch)
    (run,) = schema.recorded_runs(client)
    assert run.outputs
    with sqlite3.connect(client.tracking_uri.removeprefix("sqlite:///")) as database:
        database.execute("DELETE FROM inputs WHERE destination_type = 'MODEL_OUTPUT'")
    track(variant("first"), monkeypatch)
    (again,) = schema.recorded_runs(client)
    assert again.outputs
    assert again.outputs.model_outputs[0].model_id == run.outputs.model_outputs[0].model_id


def test_datasets_in_any_script_have_champions_of_their_own(client: MlflowClient, tmp_path: Path) -> None:
    client.create_registered_model(MODEL)
    names = [registry.alias(dataset) for dataset in ("Колобок", "Репка", "the cat (2)")]
    for name in names:
        version = client.create_model_version(MODEL, tmp_path.as_uri()).version
        client.set_registered_model_alias(MODEL, name, version)
    assert {name: str(client.get_model_version_by_alias(MODEL, name).version) for name in names} == {
        "champion-Колобок": "1",
        "champion-Репка": "2",
        "champion-the-cat-2-": "3",
    }


@pytest.mark.parametrize("tag", [None, "high"])
def test_a_champion_without_its_accuracy_is_measured_again(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch, tag: str | None
) -> None:
    first, better = variant("first"), variant("better")
    track(first, monkeypatch)
    promote()
    if tag is None:
        client.delete_model_version_tag(MODEL, "1", "accuracy")
    else:
        client.set_model_version_tag(MODEL, "1", "accuracy", tag)
    track(better, monkeypatch)
    promote()
    assert champion(client) == "2"
    assert verdict(client, "2")["champion"] == {"name": "version 1", "accuracy": pytest.approx(accuracy(first))}


def test_each_dataset_has_a_champion_of_its_own(
    client: MlflowClient, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("better", "other dataset"):
        track(variant(name), monkeypatch)
        promote()
    assert (champion(client), champion(client, dataset="bits-7")) == ("1", "2")
    assert verdict(client, "2")["champion"] is None


def test_a_stand_in_is_a_version_and_never_the_champion(
    client: MlflowClient, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(_copy(trained, tmp_path / "project", MNIST), monkeypatch)
    promote(status=1)
    assert champion(client, MNIST, "uci-digits") is None
    version = client.get_model_version(MNIST, "1")
    assert (version.tags["dataset"], version.tags["verdict"]) == ("uci-digits", "did not pass")
    decided = verdict(client, "1", MNIST)
    assert not decided["passed"]
    assert decided["reasons"][0] == "it was measured on uci-digits, which only stands in for another dataset"


def test_the_champion_predicts_as_the_export_does_loaded_or_served(
    client: MlflowClient, variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(variant("better"), monkeypatch)
    promote()
    assert champion(client) == "1"
    strings = ["00000000", "11111111", "01101010", "10000001", "00000111"]
    printed = project.invoke("predict", MODEL, "--json", *strings).stdout
    expected = [json.loads(line) for line in printed.splitlines()]
    names = class_names(variant("better"))
    sequence = np.array([[[float(bit)] for bit in text] for text in strings], np.float32)

    def check(probabilities: Any) -> None:
        shares = np.asarray(probabilities)
        assert [names[best] for best in shares.argmax(axis=1)] == [each["label"] for each in expected]
        assert shares.max(axis=1).tolist() == pytest.approx([each["probability"] for each in expected], abs=1e-6)

    assert len({each["label"] for each in expected}) > 1
    loaded = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion-bits-8")
    check(loaded.predict({"sequence": sequence})["probabilities"])
    answers = [{key: value for key, value in each.items() if key != "input"} for each in expected]
    assert loaded.predict(strings) == answers

    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{MODEL}@champion-bits-8"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = with_path(os.environ, project.BIN)
    with running(command, tmp_path / "serve.log", lambda: responds(f"{address}/ping"), env=environment):
        check(ask(address, dataframe_records=[{"sequence": each} for each in sequence.tolist()])["probabilities"])
        assert ask(address, inputs=strings) == answers
        (brief, wrong) = ask(address, inputs=[strings[0], "0112"], params={"top": 1})
        assert brief == {key: value if key != "top" else value[:1] for key, value in answers[0].items()}
        assert wrong["error"].startswith("'0112' contains '2', expected ")


def ask(address: str, **question: Any) -> Any:
    """The predictions of a model server."""
    request = urllib.request.Request(  # noqa: S310
        f"{address}/invocations", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_pictures_come_in_base64_and_no_path_is_opened(
    client: MlflowClient, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(_copy(trained, tmp_path / "project", MNIST), monkeypatch)
    model = mlflow.pyfunc.load_model(f"models:/{MNIST}/1")
    (example,) = model.predict(model.input_example)
    assert example["label"] in [str(digit) for digit in range(10)], "the example is a picture"
    picture = project.ROOT / "docs" / "seven.png"
    printed = json.loads(project.invoke("predict", MNIST, "--json", str(picture)).stdout)
    sent = base64.b64encode(picture.read_bytes()).decode()
    (read, path, word, text) = model.predict([sent, str(picture), "sept élèves", base64.b64encode(b"seven").decode()])
    assert printed == {"input": str(picture)} | read
    assert path == word == {"error": "the input is not base64; encode the file, as `base64 FILE` does."}
    assert text["error"].startswith("the file is not a picture (5 bytes); ")


def test_a_table_without_features_is_one_of_texts(trained: Path, tmp_path: Path) -> None:
    artifacts = workspace(MODEL, "bits")
    artifacts = replace(artifacts, paths=ModelPaths(MODEL, trained), task=TaskPaths("bits", trained))
    registry.write_package(artifacts, tmp_path / "package")
    model = mlflow.pyfunc.load_model(str(tmp_path / "package"))
    (answer,) = model.predict({"other": [[[0.0]]]})
    assert answer["error"].startswith("'[[0.0]]' contains '")
    assert model.predict(pd.DataFrame({"other": ["0110"]})) == model.predict(["0110"])


@pytest.mark.parametrize(
    ("question", "params", "sentence"),
    [
        ({"sequence": [[0.0]]}, {}, "an array (1, 1) came, expected (batch, 8, 1); pass float32 features."),
        (
            {"sequence": [[["a"]]]},
            {},
            "the features are no array of numbers; pass a column `sequence`",
        ),
        (["01101010"], {"top": 0}, "top is 0, expected 1 to 1,000,000; change it."),
        (["01101010"], {"words": 10**9}, "words is 1000000000, expected 1 to 10,000; change it."),
    ],
)
def test_a_question_that_cannot_be_answered_gets_a_sentence(
    trained: Path, tmp_path: Path, question: Any, params: dict[str, Any], sentence: str
) -> None:
    artifacts = workspace(MODEL, "bits")
    artifacts = replace(artifacts, paths=ModelPaths(MODEL, trained), task=TaskPaths("bits", trained))
    registry.write_package(artifacts, tmp_path / "package")
    with pytest.raises(MlflowException, match=re.escape(sentence)):
        mlflow.pyfunc.load_model(str(tmp_path / "package")).predict(question, params=params)
