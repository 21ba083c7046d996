"""What a worker sends is checked: what is none of its outputs becomes a failed trial. No Ray is started."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.files import md5_of
from pipeline.lineage import dvc
from pipeline.lineage.artifacts import trained_weights
from pipeline.paths import stage
from tests.cluster.conftest import MODEL
from tests.harness import project

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make cluster` installs it")
from pipeline.cluster import overrides, plan, receiver, worker  # they import Ray

TRIAL = "rates-1"
ESCAPE = "../../../escaped"
NOTHING: tuple[Any, ...] = (None, [], {1: 2})


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained project, which no test changes: what it receives is what it has."""
    return project.copy(trained, tmp_path_factory.mktemp("receiver") / "project")


@pytest.fixture(autouse=True)
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def sweep(folder: Path) -> plan.Sweep:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = config.load()
        return plan.plan(settings.model(MODEL), overrides.trials(MODEL, ["seed=1"], [], None, settings), "rates")


@pytest.fixture(scope="module")
def content(folder: Path, sweep: plan.Sweep) -> dict[str, Any]:
    return worker.outputs(folder, sweep.shipment)


def received(sweep: plan.Sweep, content: Any) -> tuple[str, str]:
    """The outcome of a trial that sent this, and the reason; the cache has got nothing if it failed."""
    before = sorted(Path(".dvc/cache").rglob("*"))
    record = receiver.receive(sweep, TRIAL, content, [])
    str(record), record.score
    if record.outcome == worker.FAILED:
        assert sorted(Path(".dvc/cache").rglob("*")) == before
    return record.outcome, record.reason


def test_the_outputs_of_a_trial_are_those_of_its_stages(sweep: plan.Sweep, content: dict[str, Any]) -> None:
    assert received(sweep, content) == (worker.FINISHED, "")


def test_a_hash_that_is_a_path_writes_no_file(sweep: plan.Sweep, content: dict[str, Any], folder: Path) -> None:
    entries = json.loads(json.dumps(content["entries"]))
    for each in entries[stage("train", MODEL)]["outs"]:
        each["md5"] = ESCAPE
    sent = {"entries": entries, "pushed": [ESCAPE], "provenances": {f"{ESCAPE}.json": b"x"}}
    assert received(sweep, content | sent)[0] == worker.FAILED
    assert not list(folder.parent.rglob("escaped*"))


@pytest.mark.parametrize("path", ["../x", "/x", ".git/hooks/post-checkout", "pipeline/__main__.py", "data/../../x"])
def test_a_path_that_no_stage_writes_is_refused(sweep: plan.Sweep, content: dict[str, Any], path: str) -> None:
    entries = json.loads(json.dumps(content["entries"]))
    out = entries[stage("export", MODEL)]["outs"][0]
    entries[stage("export", MODEL)]["outs"].append({**out, "path": path})
    outcome, reason = received(sweep, content | {"entries": entries})
    assert outcome == worker.FAILED
    assert "no stage does" in reason or "not a path inside the project" in reason


def changed(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content | {key: value}


@pytest.mark.parametrize(
    "damage",
    [
        *(changed(key, value) for key in ("entries", "objects", "runs", "provenances") for value in NOTHING),
        *(changed("metrics", value) for value in (None, "text", b"", b"[", b"{}", b"[]")),
        *(changed("pushed", value) for value in (None, [1], "text")),
        lambda content: {**content["objects"]},
        lambda content: None,
        lambda content: [content],
    ],
)
def test_what_is_no_trial_at_all_has_failed(
    sweep: plan.Sweep, content: dict[str, Any], damage: Callable[[dict[str, Any]], Any]
) -> None:
    outcome, reason = received(sweep, damage(content))
    assert outcome == worker.FAILED
    assert "came damaged; run the sweep again" in reason or "did not come" in reason


@pytest.mark.parametrize("metrics", [{}, {"accuracy": "x", "wrong": 1}, {"accuracy": float("nan"), "wrong": 1}])
def test_metrics_without_an_accuracy_are_damaged(
    sweep: plan.Sweep, content: dict[str, Any], metrics: dict[str, Any]
) -> None:
    sent = json.dumps(metrics).encode()
    entries = json.loads(json.dumps(content["entries"]))
    for each in entries[stage("evaluate", MODEL)]["outs"]:
        if each["path"].endswith("metrics.json"):
            each["md5"] = md5_of(sent)
    objects = content["objects"] | {md5_of(sent): sent}
    outcome, reason = received(sweep, content | {"metrics": sent, "entries": entries, "objects": objects})
    assert outcome == worker.FAILED
    assert "metrics.json came damaged" in reason


def test_provenances_of_other_weights_are_left(sweep: plan.Sweep, content: dict[str, Any]) -> None:
    weights = trained_weights(dvc.lock_entries(), MODEL)
    known = sweep.setup.paths.provenance(weights).read_bytes()
    other = {f"{'0' * 32}.json": b"x", "../../x.json": b"x", f"{weights}.json": known}
    assert received(sweep, content | {"provenances": other}) == (worker.FINISHED, "")
    folder = sweep.setup.paths.provenance(weights).parent
    assert not (folder / f"{'0' * 32}.json").exists()
