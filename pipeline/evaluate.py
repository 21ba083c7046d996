"""Measure the exported ONNX file, in a stream: what is published is what answers."""

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

from pipeline import data, tasks
from pipeline.config import Config

BATCH = 4096  # examples at a time: what keeps the memory of a million strings small


def run(name: str, config: Config) -> None:
    """Ask model `name` every example of the part that counts; write metrics, tables and the picture into its folder."""
    folder = data.MODELS / name
    spec = config.model(name)
    data.need(folder / "export" / "model.onnx", f"dvc repro export@{name}")
    task = tasks.load(spec.task)
    examples = data.load_examples(data.SPLIT / spec.task)
    answers, loss = ask(folder / "export" / "model.onnx", task, examples)

    figures = metrics(answers, loss) | task.metrics(answers)
    data.write_json(figures, folder / "metrics.json")
    data.write_csv(confusion(answers), folder / "confusion.csv")
    data.write_csv(by_class(answers), folder / "by_class.csv")
    told = pd.DataFrame({"class": answers.classes, "said": answers.said, "probability": answers.probability})
    data.write_parquet(told, folder / "answers.parquet")
    picture = task.draw(answers)
    # matplotlib would write its version into the file
    data.write_whole(folder / "errors.png", lambda draft: picture.savefig(draft, dpi=110, metadata={"Software": None}))
    print(f"{name}: {figures['wrong']:,} of {figures['examples']:,} wrong on {figures['dataset']}")


def ask(model: Path, task: tasks.Task, examples: data.Examples) -> tuple[data.Answers, float]:
    """What the ONNX file `model` says to the part that counts, and its mean cross-entropy in nats."""
    codes, classes = examples.part(task.EVALUATED)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    said, probability = np.empty(len(codes), np.int32), np.empty(len(codes), np.float32)
    loss = 0.0
    for start in range(0, len(codes), BATCH):
        rows = slice(start, min(start + BATCH, len(codes)))
        sequence = task.features(codes[rows], examples.card.shape)
        probabilities = session.run(["probabilities"], {"sequence": sequence})[0]  # (batch, classes)
        said[rows] = probabilities.argmax(axis=1)
        probability[rows] = probabilities.max(axis=1)
        right = np.take_along_axis(probabilities, classes[rows, None].astype(np.int64), axis=1)
        loss -= float(np.log(np.maximum(right, np.finfo(np.float32).tiny), dtype=np.float64).sum())
    return data.Answers(examples.card, codes, classes.astype(np.int32), said, probability), loss / len(codes)


def accuracy(model: Path, split: Path) -> float:
    """The accuracy of any ONNX file on the test data of folder `split`; ValueError if it cannot read them."""
    task, examples = tasks.load(split.name), data.load_examples(split)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    reads, says = session.get_inputs()[0].shape[1:], session.get_outputs()[0].shape[1]
    if (tuple(reads), says) != (examples.card.shape, len(examples.card.labels)):
        raise ValueError(f"it reads {reads} and names {says} classes")
    answers, _ = ask(model, task, examples)
    return float(1 - answers.wrong.mean())


def metrics(answers: data.Answers, loss: float) -> dict[str, float | int | str]:
    """The figures of metrics.json: loss is the mean cross-entropy in nats."""
    wrong, examples = int(answers.wrong.sum()), len(answers.classes)
    return {
        "dataset": answers.card.dataset,
        "examples": examples,
        "wrong": wrong,
        "accuracy": (examples - wrong) / examples,
        "loss": round(loss, 9),
    }


def confusion(answers: data.Answers) -> pd.DataFrame:
    """Pairs of the true label and the one said, with how often; pairs that never came are left out."""
    pairs = pd.DataFrame({"label": answers.classes, "said": answers.said})
    table = pairs.value_counts(sort=False).rename("examples").reset_index().sort_values(["label", "said"])
    return table.assign(
        label=[answers.card.labels[i] for i in table["label"]], said=[answers.card.labels[i] for i in table["said"]]
    )


def by_class(answers: data.Answers) -> pd.DataFrame:
    """For each label that was asked: how many examples, how many wrong, the accuracy."""
    table = pd.DataFrame({"label": answers.classes, "wrong": answers.wrong})
    table = table.groupby("label")["wrong"].agg(examples="size", wrong="sum").reset_index()
    table["accuracy"] = 1 - table["wrong"] / table["examples"]
    table["label"] = [answers.card.labels[i] for i in table["label"]]
    return table
