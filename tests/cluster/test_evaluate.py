"""An evaluation whose chunks two nodes predict."""

from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.files import md5
from pipeline.paths import ModelPaths
from tests.cluster.conftest import MODEL, Cluster, end, start
from tests.harness import project
from tests.harness.process import until

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = pytest.mark.cluster


def predicting(cluster: Cluster) -> list[psutil.Process]:
    """The Ray workers of the cluster that predict a chunk."""
    found = []
    for each in psutil.Process(cluster.process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if "_predict" in " ".join(each.cmdline()[:1]):
                found.append(each)
    return found


def results(folder: Path) -> dict[str, str]:
    """The hash of each file that evaluate writes."""
    paths = ModelPaths(MODEL, folder)
    files = (paths.metrics, paths.predictions, paths.confusion, paths.by_class, paths.errors, paths.reliability)
    return {path.name: md5(path) for path in files}


def test_two_nodes_count_what_one_process_counts_though_a_worker_is_killed(swept: Path, cluster: Cluster) -> None:
    project.change(swept, "tasks.bits.generate.length", 22)
    project.run(swept, "dvc", "repro", f"evaluate@{MODEL}", PIPELINE_RECORD="off")
    expected = results(swept)
    for name in expected:
        (ModelPaths(MODEL, swept).folder / name).unlink()
    words = ("evaluate", MODEL, "--workers", "2", "--address", cluster.address)
    with start(swept, *words, **cluster.environment, PIPELINE_RECORD="off") as process:
        assert until(lambda: len(predicting(cluster)) == 2, 120)
        predicting(cluster)[0].kill()
        end(process, swept)
    assert results(swept) == expected
    assert not list((swept / "checkpoints").glob("*"))
    done = project.run(swept, "dvc", "repro", f"evaluate@{MODEL}", PIPELINE_RECORD="off")
    assert not project.stages_run(done.stdout), "DVC knows the evaluation"


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
