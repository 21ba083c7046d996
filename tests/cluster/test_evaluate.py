"""What an evaluation in parts refuses; test_hosts.py has the evaluation itself."""

from pathlib import Path

import pytest

from tests.cluster.conftest import MODEL
from tests.harness import project

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = pytest.mark.cluster


def test_a_split_that_is_stored_is_not_spread(swept: Path) -> None:
    params = project.read(project.ROOT)
    project.change(swept, "models.fable-lstm512", params["models"]["fable-lstm512"])
    project.run(swept, "dvc", "repro", "split@fable")
    done = project.run(swept, "pipeline", "evaluate", "fable-lstm512", "--workers", "2", ok=False)
    assert done.returncode == 2
    assert done.stderr == ("error: fable-lstm512 has few examples, which one process evaluates; leave out --workers.\n")


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_an_address_needs_workers(swept: Path, verb: str) -> None:
    done = project.run(swept, "pipeline", verb, MODEL, "--address", "auto", ok=False)
    assert done.returncode == 2
    assert "need" in done.stderr
    assert "--workers" in done.stderr
