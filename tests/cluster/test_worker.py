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
