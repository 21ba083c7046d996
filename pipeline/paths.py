"""Every path and every stage address of the project. No other module spells one out."""

import os
from collections.abc import Iterable
from pathlib import Path

PARAMS = Path("params.yaml")
STAGES = Path("dvc.yaml")
SCHEMA = Path("params.schema.json")
DATA = Path("data")
CHECKED = DATA / "checked.txt"  # which says that params.yaml was checked
LOCK = Path("dvc.lock")
RAW = DATA / "raw"
SPLIT = DATA / "split"
MODELS = Path("models")
LOGS = Path("logs")  # ignored by git and DVC: what differs from one run to the next
MANIFEST = "manifest.json"  # in each folder that a stage writes
CHECKPOINTS = Path("checkpoints")  # ignored, too
SWEEPS = Path("sweeps")  # ignored, too

TASK_STAGES = ("generate", "split")
MODEL_STAGES = ("train", "export", "evaluate")


def stage(verb: str, name: str) -> str:
    """DVC's address of a stage: `train@bits-lstm24`."""
    return f"{verb}@{name}"


def stages(tasks: Iterable[str], models: Iterable[str]) -> list[str]:
    """The addresses of all stages of these tasks and models."""
    named = [stage(verb, task) for task in tasks for verb in TASK_STAGES]
    return named + [stage(verb, model) for model in models for verb in MODEL_STAGES]


def repro(verb: str, name: str, force: bool = False) -> str:
    """The command that runs a stage, for messages."""
    return f"dvc repro {'--force ' if force else ''}{stage(verb, name)}"


def is_split_data(path: str) -> bool:
    """Whether a path of dvc.lock is a file of data/split, which git does not hold."""
    return path.startswith(f"{SPLIT}/")


def repository() -> Path:
    """The root of the repository.

    `dvc exp run --temp` and `--queue` run stages in a temporary copy; DVC_ROOT then names the repository, which
    outlives the copy.
    """
    root = os.environ.get("DVC_ROOT")
    return Path(root) if root and (Path(root) / ".dvc").is_dir() else Path()


class TaskPaths:
    """Where the data of one task are, under `root`."""

    def __init__(self, name: str, root: Path = Path()):
        self.name, self.root = name, root
        self.raw = root / RAW / name
        self.split = root / SPLIT / name
        self.examples = self.split / "examples.npy"  # a row for each example: code, target
        self.info = self.split / "info.json"  # the DatasetInfo
        self.manifest = self.split / MANIFEST
        self.balance = self.split / "balance.csv"  # how many examples each class has in each split


class ModelPaths:
    """Where the files of one model are, under `root`."""

    def __init__(self, name: str, root: Path = Path()):
        self.name, self.root = name, root
        self.folder = root / MODELS / name
        self.weights = self.folder / "model.weights.h5"
        self.logits = self.folder / "logits.npy"  # of the trained network, for the reference examples
        self.history = self.folder / "history.csv"  # the metrics logged while training
        self.manifest = self.folder / MANIFEST  # of the training's files
        self.export = self.folder / "export"  # all that predictions need
        self.onnx = self.export / "model.onnx"
        self.info = self.export / "info.json"  # the DatasetInfo
        self.metrics = self.folder / "metrics.json"
        # A row for each prediction; of an implicit split, for each wrong one.
        self.predictions = self.folder / "predictions.parquet"
        self.confusion = self.folder / "confusion.csv"
        self.by_class = self.folder / "by_class.csv"
        self.errors = self.folder / "errors.png"
        self.reliability = self.folder / "reliability.png"  # whether its probabilities are right
        self.inside = self.folder / "inside.png"  # its states while it reads an example
        self.certificate = self.folder / "certificate.json"  # the longest sequence whose count is proven; a list of one
        self.signature = root / MODELS / f"{name}.sig"  # of the export, by `pipeline promote --sign`
        self.verdict = root / LOGS / name / "verdict.json"  # what the gate decided

    def provenance(self, weights_md5: str) -> Path:
        """What is known of the training that made these weights, in the repository's logs."""
        return repository() / LOGS / self.name / f"{weights_md5}.json"

    def evaluation(self, fingerprint: str) -> Path:
        """Where the chunks of an evaluation that has not ended are."""
        return CHECKPOINTS / f"evaluate-{self.name}-{fingerprint[:14]}"

    def events(self, fingerprint: str) -> Path:
        """Where TensorBoard's files of one training are, in the repository's logs."""
        return repository() / LOGS / self.name / "tensorboard" / fingerprint[:7]
