"""More data than memory: strings of many bits, and a story of millions of words."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.files import md5
from pipeline.paths import ModelPaths
from tests.harness import project
from tests.harness.process import until, with_path, without

BITS, _, FABLE = project.MODELS


def start(folder: Path, *words: str) -> "subprocess.Popen[bytes]":
    environment = with_path(without("DVC_", "MLFLOW_", "GIT_", "COV_"), project.BIN) | {"PIPELINE_RECORD": "off"}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def own_memory(folder: Path, *words: str) -> int:
    """Run a command; the most memory in KiB that is its own, not that of files which it has mapped."""
    process, most = start(folder, *words), 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        most = max(most, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
        time.sleep(0.05)
    assert process.returncode == 0, words
    return most


def test_an_evaluation_of_millions_of_strings_goes_on_after_a_kill(trained_project: Path) -> None:
    project.change(trained_project, "tasks.bits.generate.length", 21)
    project.run(trained_project, "dvc", "repro", f"evaluate@{BITS}", PIPELINE_RECORD="off")
    paths = ModelPaths(BITS, trained_project)
    expected = {path: md5(path) for path in (paths.metrics, paths.predictions, paths.confusion, paths.reliability)}
    metrics = json.loads(paths.metrics.read_text())
    assert metrics["examples"] == 2**21 - 100
    assert metrics["wrong"] > 1_000_000, "more than are kept"
    for path in expected:
        path.unlink()
    process = start(trained_project, "evaluate", BITS)
    try:
        assert until(lambda: bool(list((trained_project / "checkpoints").glob("evaluate-*/00000.chunk"))), 120)
    finally:
        process.kill()
        process.wait()
    (folder,) = (trained_project / "checkpoints").glob("evaluate-*")
    project.run(trained_project, "pipeline", "evaluate", BITS, PIPELINE_RECORD="off")
    assert {path: md5(path) for path in expected} == expected
    assert not folder.exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_story_of_millions_of_words_trains_in_the_memory_of_a_short_one(trained_project: Path) -> None:
    words = np.array([f"w{chr(97 + i // 20)}{chr(97 + i % 20)}" for i in range(400)])
    memory = {}
    for size in (50_000, 1_000_000):
        story = trained_project / "data" / "fable" / f"story{size}.txt"
        chosen = words[np.random.default_rng(1).integers(0, len(words), size)].reshape(-1, 10)
        story.write_text("\n".join(" ".join(line) for line in chosen))
        project.change(trained_project, "tasks.fable.source", str(story.relative_to(trained_project)))
        used = [own_memory(trained_project, *words) for words in (("generate", "fable"), ("split", "fable"))]
        memory[size] = [*used, own_memory(trained_project, "train", FABLE)]
    more = np.subtract(memory[1_000_000], memory[50_000]) / 2**10  # MiB
    # A token is a number of four bytes in `split`, and four more for its place in the order of a pass in `train`.
    assert more[0] < 5
    assert more[1] < 20
    assert more[2] < 30
