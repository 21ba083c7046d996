"""A training that was killed ends with the same bytes as one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import config, data, generate, split, train
from tests import tiny


class Killed(BaseException):
    """What stops a training in its tracks, in this process."""


def made(model: str) -> dict[str, bytes]:
    folder = data.MODELS / model
    return {name: (folder / name).read_bytes() for name in ("model.weights.h5", "history.csv")}


def stop_at(step: int) -> train.OnReport:
    def tell(at: int, row: dict[str, float]) -> None:
        if at >= step:
            raise Killed

    return tell


def prepare(task: str) -> config.Config:
    params = config.load()
    generate.run(task, params)
    split.run(task, params)
    return params


@pytest.mark.parametrize(
    ("model", "recipe", "dropout", "stop"),
    [
        ("bits-lstm24", "fast", 0.5, 20),  # dropout's random states; one cycle; shuffled
        ("bits-lstm24", "published", 0.0, 25),  # stopped in the last, shorter epoch
        ("fable-lstm512", "published", 0.0, 20),  # RMSprop; a walk along the text
    ],
)
def test_it_ends_with_the_same_bytes(
    copy: Path, capsys: pytest.CaptureFixture[str], model: str, recipe: str, dropout: float, stop: int
) -> None:
    tiny.change(copy, "recipe", recipe)
    tiny.change(copy, f"models.{model}.network.dropout", dropout)
    params = prepare(model.split("-", maxsplit=1)[0])
    train.run(model, params)
    whole = made(model)
    assert not list(Path("checkpoints").iterdir()), "a training that ended leaves none"
    with pytest.raises(Killed):
        train.run(model, params, stop_at(stop))
    steps: list[int] = []
    train.run(model, params, lambda step, row: steps.append(step))
    assert made(model) == whole
    assert f"going on from step {stop // 10 * 10 - (10 if stop % 10 == 0 else 0)}," in capsys.readouterr().out
    assert steps == [10, 20, 25], "who listens hears of every report"


def test_one_stopped_after_its_last_epoch_has_only_to_write_its_files(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = prepare("bits")
    train.run("bits-lstm24", params)
    whole = made("bits-lstm24")

    def full(path: Path, write: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        kept = data.write_whole
        patch.setattr(data, "write_whole", lambda path, write: (kept if path.suffix == ".npz" else full)(path, write))
        with pytest.raises(OSError, match="No space left"):
            train.run("bits-lstm24", params)
    train.run("bits-lstm24", params)
    assert made("bits-lstm24") == whole


def test_two_of_one_model_do_not_mix(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = prepare("bits")
    seeds = [params.model_copy(update={"seed": seed}) for seed in (1, 2)]
    whole = []
    for each in seeds:
        train.run("bits-lstm24", each)
        whole.append(made("bits-lstm24"))
    for each in seeds:
        with pytest.raises(Killed):
            train.run("bits-lstm24", each, stop_at(20))
    assert len(list(Path("checkpoints").iterdir())) == 2
    capsys.readouterr()
    for each, expected in zip(seeds, whole, strict=True):
        train.run("bits-lstm24", each)
        assert made("bits-lstm24") == expected
    assert capsys.readouterr().out.count("going on from step 10,") == 2


def test_a_damaged_one_is_left_aside(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = prepare("bits")
    with pytest.raises(Killed):
        train.run("bits-lstm24", params, stop_at(20))
    (path,) = Path("checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    train.run("bits-lstm24", params)
    printed = capsys.readouterr().out
    assert "is damaged" in printed
    assert "going on" not in printed
    kept = made("bits-lstm24")
    train.run("bits-lstm24", params)
    assert made("bits-lstm24") == kept


def test_kill_9_in_the_middle_of_dvc_repro(copy: Path) -> None:
    for recipe in ("fast", "published"):
        tiny.change(copy, f"models.bits-lstm24.{recipe}.steps", 1000)
    tiny.run(copy, "dvc", "repro", "train@bits-lstm24")
    lock = (copy / "dvc.lock").read_text()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    running = subprocess.Popen(
        ["dvc", "repro", "--force", "--single-item", "train@bits-lstm24"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert running.stdout is not None
    assert any(line.startswith("step     50 ") for line in running.stdout), "it has begun"
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert not (copy / "models/bits-lstm24/model.weights.h5").exists(), "DVC removes what a stage is to make"
    again = tiny.run(copy, "dvc", "repro", "--force", "--single-item", "train@bits-lstm24")
    assert "going on from step" in again.stdout
    assert (copy / "dvc.lock").read_text() == lock
