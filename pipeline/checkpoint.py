"""What a killed training goes on from: its state after the last finished epoch, known by all that decides it."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import data


class Checkpoint:
    """One file for one training: other parameters, data, code or versions are another file.

    So two trainings of a model never read each other's state, unless they are the same training; and then it is the
    same state. Under `dvc exp run --temp` the file lies in the repository, which outlives the temporary copy.
    """

    def __init__(self, name: str, decides: dict[str, Any]):
        """`decides` is JSON of all that the weights come from."""
        key = hashlib.md5(json.dumps([decides, _code()], sort_keys=True).encode()).hexdigest()
        self.path = data.root() / "checkpoints" / f"{name}-{key}.npz"

    def save(self, arrays: list[np.ndarray], notes: dict[str, Any]) -> None:
        """Put the state in place of the one before: whole, or not at all."""
        named = {f"array_{i}": array for i, array in enumerate(arrays)}

        def write(draft: Path) -> None:
            np.savez(draft, allow_pickle=False, notes=np.array(json.dumps(notes)), **named)

        data.write_whole(self.path, write)

    def load(self) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """The arrays and notes last saved; None if there are none, or if the file is damaged."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = [content[f"array_{i}"] for i in range(len(content.files) - 1)]
                return arrays, json.loads(str(content["notes"]))
        except FileNotFoundError:
            return None
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            print(f"{self.path} is damaged ({' '.join(str(error).split())[:100]}): training from the beginning")
            return None

    def remove(self) -> None:
        """The training has ended: nothing is left to go on from."""
        self.path.unlink(missing_ok=True)


def _code() -> list[str]:
    return [data.md5(path) for path in sorted(Path(__file__).parent.rglob("*.py"))]
