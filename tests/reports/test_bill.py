"""The bill of materials."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from pipeline.paths import ModelPaths
from pipeline.reports import bill
from tests.harness import project


@pytest.fixture
def printed(trained: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(trained)
    return project.invoke("sbom").stdout


def test_it_has_what_the_lock_pins_and_no_tool_of_development(printed: str) -> None:
    lock = set(re.findall(r"^([a-z0-9-]+)==(\S+)", (project.ROOT / "requirements.lock").read_text(), re.MULTILINE))
    listed = {
        each["purl"].removeprefix("pkg:pypi/").split("@")[0]: each["version"]
        for each in json.loads(printed)["components"]
        if each["type"] == "library"
    }
    assert set(listed.items()) <= lock, "which may have two versions, for two Pythons"
    assert {"tensorflow", "dvc", "mlflow", "onnxruntime", "numpy", "h5py"} <= set(listed), "h5py: of TensorFlow"
    assert not {"pytest", "ruff", "mypy", "selenium", "hypothesis"} & set(listed)


def test_it_has_the_exported_models_and_their_data(printed: str, trained: Path) -> None:
    components = {each["bom-ref"]: each for each in json.loads(printed)["components"]}
    for name in project.MODELS:
        content = ModelPaths(name, trained).onnx.read_bytes()
        assert components[f"model:{name}"]["hashes"][0]["content"] == hashlib.sha256(content).hexdigest()
    assert components["data:uci-digits"]["licenses"] == [{"expression": "CC-BY-4.0"}]
    assert len(components) == len(json.loads(printed)["components"]), "every name is there once"


def test_the_same_environment_gives_the_same_bytes(printed: str) -> None:
    assert project.invoke("sbom").stdout == printed


def test_nearly_every_licence_is_known() -> None:
    found = [bill.licence(package) for package in bill.packages()]
    assert found.count(bill.UNKNOWN) <= 3
    assert max(map(len, found)) <= 120, "a name, not the text"


def test_the_library_of_the_format_finds_it_valid(printed: str) -> None:
    reason = "not in the lock, for it needs 17 packages: cyclonedx-python-lib[json-validation]"
    validation = pytest.importorskip("cyclonedx.validation.json", reason=reason)
    schema = pytest.importorskip("cyclonedx.schema", reason=reason)
    assert validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(printed) is None
