"""Every path and every stage address of the project. No other module spells one out."""

import os
from dataclasses import dataclass
from pathlib import Path

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
RAW = Path("data/raw")
SPLIT = Path("data/split")
MODELS = Path("models")
LOGS = Path("logs")  # ignored by git and DVC: what differs from one run to the next
CHECKPOINTS = Path("checkpoints")  # ignored, too

TASK_STAGES = ("generate", "split")
MODEL_STAGES = ("train", "export", "evaluate")


def stage(verb: str, name: str) -> str:
    """DVC's address of a stage: `train@bits-lstm24`."""
    return f"{verb}@{name}"


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


@dataclass(frozen=True)
class TaskPaths:
    """Where the data of one task are, under `root`."""

    name: str
    root: Path = Path()

    @property
    def raw(self) -> Path:
        """The folder of the raw data."""
        return self.root / RAW / self.name

    @property
    def split(self) -> Path:
        """The folder of the checked examples."""
        return self.root / SPLIT / self.name

    @property
    def examples(self) -> Path:
        """A row for each example: its code, its target, its split."""
        return self.split / "examples.parquet"

    @property
    def info(self) -> Path:
        """The DatasetInfo of the examples."""
        return self.split / "info.json"

    @property
    def balance(self) -> Path:
        """How many examples each class has in each split."""
        return self.split / "balance.csv"


@dataclass(frozen=True)
class ModelPaths:
    """Where the files of one model are, under `root`."""

    name: str
    root: Path = Path()

    @property
    def folder(self) -> Path:
        """All that the stages make of the model."""
        return self.root / MODELS / self.name

    @property
    def weights(self) -> Path:
        """The trained weights."""
        return self.folder / "model.weights.h5"

    @property
    def history(self) -> Path:
        """The metrics logged while training."""
        return self.folder / "history.csv"

    @property
    def export(self) -> Path:
        """The folder that prediction needs, and nothing else."""
        return self.folder / "export"

    @property
    def onnx(self) -> Path:
        """The exported model."""
        return self.export / "model.onnx"

    @property
    def info(self) -> Path:
        """The DatasetInfo of the exported model."""
        return self.export / "info.json"

    @property
    def metrics(self) -> Path:
        """The metrics of the exported model."""
        return self.folder / "metrics.json"

    @property
    def predictions(self) -> Path:
        """A row for each evaluated example: target, predicted, probability."""
        return self.folder / "predictions.parquet"

    @property
    def confusion(self) -> Path:
        """How often each class was predicted for each other."""
        return self.folder / "confusion.csv"

    @property
    def by_class(self) -> Path:
        """The accuracy of each class."""
        return self.folder / "by_class.csv"

    @property
    def errors(self) -> Path:
        """The picture of what the model gets wrong."""
        return self.folder / "errors.png"

    @property
    def logs(self) -> Path:
        """TensorBoard's files."""
        return self.root / LOGS / self.name / "tensorboard"

    @property
    def verdict(self) -> Path:
        """What the gate decided."""
        return self.root / LOGS / self.name / "verdict.json"

    def training_note(self, weights: str) -> Path:
        """What is known of the training that made the weights with this MD5, in the repository's logs."""
        return repository() / LOGS / self.name / f"{weights}.json"
