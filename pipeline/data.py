"""What passes between the stages: examples from split to train, answers from evaluate to its pictures.

Every task is one sentence (read a short sequence, name its class), so all three share these forms.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import BadInput, quoted

if TYPE_CHECKING:
    import pandas as pd

RAW = Path("data/raw")
SPLIT = Path("data/split")
MODELS = Path("models")

PARTS = ("train", "validation", "test")
STAND_INS = frozenset({"uci-digits"})  # data sets that only take the place of another: no published figure is theirs


@dataclass(frozen=True)
class Card:
    """What one must know to ask a model, or to build one: no array in it."""

    task: str
    dataset: str  # what the examples are: "bits", "mnist", "uci-digits", a story's file name
    shape: tuple[int, int]  # (steps, features) of one example
    labels: list[str]  # the class names, in class order
    encoding: str  # how what a person writes becomes (steps, features)


@dataclass(frozen=True)
class Examples:
    """A task's examples: their compact codes, their classes, and the part that each is in."""

    card: Card
    codes: np.ndarray  # (examples, code) integers; the task's features() makes (batch, steps, features) of them
    classes: np.ndarray  # (examples,) index into labels
    parts: np.ndarray  # (examples,) one of PARTS

    def part(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The codes and classes of one part, in their order."""
        chosen = self.parts == name
        return self.codes[chosen], self.classes[chosen]


@dataclass(frozen=True)
class Answers:
    """What an exported model said to each example of the part that counts."""

    card: Card
    codes: np.ndarray  # (examples, code)
    classes: np.ndarray  # (examples,) the true class
    said: np.ndarray  # (examples,) the class that the model gave
    probability: np.ndarray  # (examples,) float32, of the class given

    @property
    def wrong(self) -> np.ndarray:
        """Where the model erred, (examples,) bool."""
        return np.asarray(self.said != self.classes)


def save_examples(examples: Examples, folder: Path) -> None:
    """Write examples.parquet (a row an example), card.json and balance.csv (a row a class and part)."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(examples.codes, columns=[f"code_{i}" for i in range(examples.codes.shape[1])])
    table["class"] = examples.classes
    table["part"] = pd.Categorical(examples.parts, categories=list(PARTS))
    write_parquet(table, folder / "examples.parquet")
    save_card(examples.card, folder / "card.json")
    balance = table.groupby(["part", "class"], observed=True).size().rename("examples").reset_index()
    balance.insert(1, "label", [examples.card.labels[i] for i in balance.pop("class")])
    write_csv(balance, folder / "balance.csv")


def load_examples(folder: Path) -> Examples:
    """Read what save_examples wrote; BadInput if it is not there."""
    command = f"dvc repro split@{folder.name}"
    need(folder / "examples.parquet", command)
    table = load_parquet(folder / "examples.parquet", command)
    codes = table[[name for name in table.columns if name.startswith("code_")]].to_numpy()
    return Examples(
        load_card(folder / "card.json"), codes, table["class"].to_numpy(), table["part"].to_numpy(dtype=str)
    )


def save_card(card: Card, path: Path, **more: Any) -> None:
    """Write a card as JSON, with what else is known by then."""
    write_json({**asdict(card), **more}, path)


def load_card(path: Path) -> Card:
    """Read a card, leaving aside what else stands in the file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["shape"] = tuple(content["shape"])
    return Card(**{name: content[name] for name in Card.__dataclass_fields__})


def load_json(path: Path, command: str) -> Any:
    """Read JSON; BadInput, with the command that makes the file, if it is missing or damaged."""
    need(path, command)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise BadInput(f"{path} is damaged ({error}); make it again with `{command}`.") from None


def load_parquet(path: Path, command: str) -> "pd.DataFrame":
    """Read a table; BadInput, with the command that makes the file, if it is missing or damaged."""
    import pandas as pd

    need(path, command)
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are of these
        raise BadInput(
            f"{path} is damaged ({' '.join(str(error).split())[:100]}); `{command}` makes it again."
        ) from None


def need(path: Path, command: str) -> None:
    """BadInput unless `path` is there, naming the command that makes it."""
    if not path.exists():
        raise BadInput(f"there is no {path}: make it with `{command}`.")


def md5(path: Path) -> str:
    """The MD5 of a file, as DVC writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def root() -> Path:
    """The repository: under `dvc exp run --temp`, DVC_ROOT names it, and it outlives the temporary copy."""
    named = os.environ.get("DVC_ROOT")
    return Path(named) if named and (Path(named) / ".dvc").is_dir() else Path()


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place: whole, or BadInput and not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            draft = Path(folder) / (path.name or "draft")
            write(draft)
            draft.replace(path)
    except OSError as error:
        raise BadInput(
            f"{quoted(str(path))} cannot be written ({error.strerror or error}); make room there, or name another file."
        ) from None


def write_json(content: Any, path: Path) -> None:
    """Write JSON, indented, with a newline at the end."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV, its floats with nine significant digits."""
    write_whole(path, lambda draft: table.to_csv(draft, index=False, float_format="%.9g", lineterminator="\n"))


def write_parquet(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as Parquet."""
    write_whole(path, lambda draft: table.to_parquet(draft, index=False, compression="zstd"))
