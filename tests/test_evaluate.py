import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pipeline import config, data, evaluate, export, generate, onnx_graph, split, train
from pipeline.errors import BadInput
from tests import tiny

CARD = data.Card("bits", "bits-2", (2, 1), ["0", "1", "2"], "")


@pytest.fixture
def answers() -> data.Answers:
    classes, said = np.array([0, 1, 1, 2, 1]), np.array([0, 1, 0, 2, 0])
    return data.Answers(CARD, np.arange(5)[:, None], classes, said, np.full(5, 0.5, np.float32))


def test_the_figures_are_counts_of_the_answers(answers: data.Answers) -> None:
    assert evaluate.metrics(answers, 0.25) == {
        "dataset": "bits-2",
        "examples": 5,
        "wrong": 2,
        "accuracy": 0.6,
        "loss": 0.25,
    }


def test_the_tables_say_who_was_taken_for_whom(answers: data.Answers) -> None:
    assert evaluate.confusion(answers).to_numpy().tolist() == [
        ["0", "0", 1],
        ["1", "0", 2],
        ["1", "1", 1],
        ["2", "2", 1],
    ]
    table = evaluate.by_class(answers).set_index("label")
    assert table["wrong"].to_dict() == {"0": 0, "1": 2, "2": 0}
    assert table["accuracy"].to_dict() == pytest.approx({"0": 1, "1": 1 / 3, "2": 1})


def test_an_export_that_answers_otherwise_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = config.load()
    generate.run("bits", params)
    split.run("bits", params)
    train.run("bits-lstm24", params)
    whole = onnx_graph.build

    def disturbed(*args: Any) -> onnx.ModelProto:
        graph = whole(*args)
        kernel = next(constant for constant in graph.graph.initializer if constant.name == "logits.kernel")
        values = np.frombuffer(kernel.raw_data, np.float32).copy()
        values[0] += 0.01
        kernel.raw_data = values.tobytes()
        return graph

    monkeypatch.setattr(onnx_graph, "build", disturbed)
    with pytest.raises(BadInput, match=r"model\.onnx is not the model that was trained"):
        export.run("bits-lstm24", params)
    assert not (copy / "models/bits-lstm24/export").exists(), "no half of an export is left"
    monkeypatch.undo()
    monkeypatch.chdir(copy)
    export.run("bits-lstm24", params)
    card = json.loads((copy / "models/bits-lstm24/export/card.json").read_text())
    assert card["parameters"] == 4 * 8 * (1 + 8 + 1) + (8 + 1) * 9
    assert card["labels"] == [str(count) for count in range(9)]


def test_a_million_strings_are_measured_in_little_memory(copy: Path) -> None:
    params = tiny.read(copy)
    params["tasks"]["bits"] = {
        "source": "pipeline/tasks/bits.py",
        "generate": {"length": 20},
        "split": {"train": 10_000},
    }
    tiny.write(copy, params)
    for verb, name in (("generate", "bits"), ("split", "bits"), ("train", "bits-lstm24"), ("export", "bits-lstm24")):
        tiny.run(copy, "pipeline", verb, name)
    code = (
        "import resource\nfrom pipeline import config, evaluate\nevaluate.run('bits-lstm24', config.load())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    said, peak = tiny.run(copy, "python", "-c", code).stdout.splitlines()
    assert "of 1,038,576 wrong" in said
    assert int(peak) < 1.5 * 1024**2, "KiB"
