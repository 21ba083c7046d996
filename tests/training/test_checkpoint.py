"""A training that is killed and started again ends with the same bytes as one that is not."""

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import config
from pipeline.config import ModelSetup
from pipeline.errors import PipelineError
from pipeline.files import parse_yaml
from pipeline.recipe import OnReport
from pipeline.stages import train
from pipeline.training.checkpoint import Checkpoint, fingerprint, watched
from tests.harness import project
from tests.harness.process import with_path
from tests.harness.stages import prepare

BITS = "bits-lstm24"


@pytest.fixture(autouse=True)
def every_log_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of a few steps logs many times a second."""
    monkeypatch.setattr(train, "REWRITE", 0.0)


class Killed(BaseException):
    """What stops a training in this process, wherever it is."""


def outputs(setup: ModelSetup) -> list[bytes]:
    return [path.read_bytes() for path in (setup.paths.weights, setup.paths.logits, setup.paths.history)]


def stop_at(step: int) -> OnReport:
    def on_report(row: dict[str, float]) -> None:
        if row["step"] >= step:
            raise Killed

    return on_report


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "changes", "stop", "resumed"),
    [
        # dropout's random states; one cycle; shuffled
        (BITS, {f"models.{BITS}.recipes.fast.dropout": 0.5}, 20, 10),
        # augmentation; Muon
        ("mnist-lstm128", {"models.mnist-lstm128.recipes.fast.augment.elastic": 1.0}, 20, 10),
        # stopped in the last, shorter epoch; another cell
        ("fable-lstm512", {"models.fable-lstm512.network.cell": "gru"}, 25, 20),
        # RMSprop; a walk along the text
        ("fable-lstm512", {"models.fable-lstm512.recipe": "published"}, 20, 10),
    ],
    ids=["dropout", "augmentation, muon", "last epoch, gru", "walk"],
)
def test_a_resumed_training_ends_with_the_same_bytes(
    untrained_project: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    changes: dict[str, object],
    stop: int,
    resumed: int,
) -> None:
    for key, value in changes.items():
        project.change(untrained_project, key, value)
    setup = prepare(model)
    train.run(setup)
    expected = outputs(setup)
    assert not list(Path("checkpoints").iterdir()), "a training that has ended leaves none"
    with pytest.raises(Killed):
        train.run(setup, stop_at(stop))
    steps: list[int] = []
    train.run(setup, lambda row: steps.append(int(row["step"])))
    assert outputs(setup) == expected
    assert f"resuming from step {resumed}," in capsys.readouterr().out
    assert steps == [10, 20, 25], "listeners receive the rows before the checkpoint, too"


@pytest.mark.slow
def test_a_training_stopped_after_its_last_step_has_only_to_write_its_files(
    untrained_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = prepare(BITS)
    train.run(setup)
    expected = outputs(setup)
    setup.paths.weights.unlink()
    setup.paths.weights.mkdir()  # a file cannot take its place
    with pytest.raises(PipelineError, match=r"model\.weights\.h5' could not be written"):
        train.run(setup)
    setup.paths.weights.rmdir()
    train.run(setup)
    assert "resuming from step 25," in capsys.readouterr().out
    assert outputs(setup) == expected


@pytest.mark.slow
def test_between_two_checkpoints_lies_some_time(
    untrained_project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "REWRITE", 1000.0)
    setup = prepare(BITS)
    train.run(setup)
    expected = outputs(setup)
    with pytest.raises(Killed):
        train.run(setup, stop_at(25))
    train.run(setup)
    assert "resuming from step 10," in capsys.readouterr().out, "the first log is saved, the second is not"
    assert outputs(setup) == expected


@pytest.mark.slow
def test_two_trainings_of_one_model_do_not_mix(untrained_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup = prepare(BITS)
    setups = [replace(setup, seed=seed) for seed in (1, 2)]
    expected = []
    for each in setups:
        train.run(each)
        expected.append(outputs(each))
    assert expected[0] != expected[1]
    for each in setups:
        with pytest.raises(Killed):
            train.run(each, stop_at(20))
    assert len(list(Path("checkpoints").iterdir())) == 2
    capsys.readouterr()
    for each, files in zip(setups, expected, strict=True):
        train.run(each)
        assert outputs(each) == files
    assert capsys.readouterr().out.count("resuming from step 10,") == 2


@pytest.mark.slow
def test_a_damaged_checkpoint_is_not_used(untrained_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup = prepare(BITS)
    with pytest.raises(Killed):
        train.run(setup, stop_at(20))
    (path,) = Path("checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    train.run(setup)
    printed = capsys.readouterr().out
    assert "is damaged" in printed
    assert "resuming" not in printed
    resumed = outputs(setup)
    train.run(setup)
    assert outputs(setup) == resumed


def test_a_checkpoint_returns_what_it_saved_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint("model", "fingerprint")
    assert checkpoint.load() is None
    arrays: list[np.ndarray] = [np.array([1.5, np.nan], np.float32), np.array(7, np.int64)]
    checkpoint.save(arrays, {"step": 3, "rows": [{"loss": 0.1}]})
    saved = checkpoint.load()
    assert saved is not None
    for ours, theirs in zip(arrays, saved[0], strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert saved[1] == {"step": 3, "rows": [{"loss": 0.1}]}
    assert Checkpoint("model", "other").load() is None
    content = checkpoint.path.read_bytes()
    for size in range(0, len(content), 37):
        checkpoint.path.write_bytes(content[:size])
        assert checkpoint.load() is None, size
    checkpoint.remove()
    checkpoint.remove()
    assert not checkpoint.path.exists()


@pytest.mark.parametrize("changed", ["input", "file"])
def test_other_inputs_or_data_have_another_fingerprint(tmp_path: Path, changed: str) -> None:
    (tmp_path / "data").write_text("a")
    inputs = {"seed": 1, "recipe": {"steps": 3}}
    before = fingerprint(inputs, [tmp_path / "data"])
    assert fingerprint(dict(reversed(inputs.items())), [tmp_path / "data"]) == before
    if changed == "file":
        (tmp_path / "data").write_text("b")
    else:
        inputs["seed"] = 2
    assert fingerprint(inputs, [tmp_path / "data"]) != before


def test_a_checkpoint_belongs_to_every_input_of_the_stage_that_dvc_names() -> None:
    """But for the file that says that params.yaml was checked, which decides no weight."""
    stages = parse_yaml((project.ROOT / "dvc.yaml").read_text())["stages"]
    deps = {dep.replace("${item.task}", "bits") for dep in stages["train"]["do"]["deps"]}
    assert {str(path) for path in watched("bits")} == deps - {"data/checked.txt"}
    assert {"pipeline/networks/lstm.py", "pipeline/tasks/bits/features.py", "data/split/bits/examples.npy"} <= deps


@pytest.mark.system
def test_kill_9_during_dvc_repro_loses_no_step_and_changes_no_byte(trained_project: Path) -> None:
    project.change(trained_project, f"models.{BITS}.recipes.fast.steps", 300)
    setup = config.load().model(BITS)
    train.run(setup)
    expected = outputs(setup)
    command = ["dvc", "repro", "--single-item", f"train@{BITS}"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=with_path(os.environ, project.BIN) | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert running.stdout is not None
    assert any(line.startswith("step     50 ") for line in running.stdout), "it has begun"
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert not setup.paths.weights.exists(), "DVC removes the outputs of a stage before it runs"
    resumed = project.run(trained_project, *command).stdout
    assert f"Running stage 'train@{BITS}'" in resumed
    assert "resuming from step" in resumed
    assert outputs(setup) == expected
