"""Whose fault it is that stages on a node failed. No Ray is started."""

from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make cluster` installs it")
from pipeline.cluster import worker  # it imports Ray


@pytest.mark.parametrize(
    ("log", "is_fault"),
    [
        ("", True),  # a disk that is full takes no word
        ("Running stage 'train@bits-lstm24':\n> python -m pipeline train bits-lstm24\n", True),
        ("ERROR: failed to reproduce: [Errno 28] No space left on device: 'models'\n", True),
        ("error: data/bits is damaged; run `dvc repro`.\nERROR: failed to reproduce 'train@bits-lstm24'\n", False),
    ],
)
def test_stages_that_could_not_say_why_they_failed_are_the_fault_of_their_node(
    tmp_path: Path, log: str, is_fault: bool
) -> None:
    (tmp_path / "log").write_text(log)
    assert bool(worker.node_fault(tmp_path / "log")) == is_fault


ERROR = (
    "ERROR: failed to reproduce 'train@bits-lstm24': failed to run: python -m pipeline train bits-lstm24, exited with"
)


@pytest.mark.parametrize(
    ("status", "log", "killed"),
    [
        (255, f"error: training diverged; lower learning_rate.\n{ERROR} 2\n", False),
        (255, f"{ERROR} -9\n", True),
        (255, f"{ERROR} 137\n", True),
        (252, "ERROR: interrupted by the user\n", True),
        (-9, "Running stage 'train@bits-lstm24':\n", True),
        (137, "Running stage 'train@bits-lstm24':\n", True),
    ],
    ids=[
        "failed",
        "a stage was killed",
        "and its shell is dash",
        "dvc was interrupted",
        "dvc was killed",
        "its shell was killed",
    ],
)
def test_only_stages_that_were_killed_run_again(tmp_path: Path, status: int, log: str, killed: bool) -> None:
    trial = object.__new__(worker.Trial)
    trial._log, trial._rows, trial._trial = tmp_path / "log", [], {"steps": 10, "name": "t"}
    trial._log.write_text(log)
    if killed:
        with pytest.raises(RuntimeError, match="the stages were killed"):
            trial._end(status)
    else:
        result = trial._end(status)
        assert result["outcome"] == "failed"
        assert "training diverged; lower learning_rate." in result["reason"]
