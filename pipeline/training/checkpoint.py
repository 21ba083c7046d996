"""The state of a training after a logged step, so that a training that is killed ends with the same bytes.

Keras' BackupAndRestore is not used, since it loses the random state of dropout: `Layer.save_own_variables` leaves out
seed generators.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import md5, md5_of, parse_yaml, write_atomic
from pipeline.paths import CHECKED, CHECKPOINTS, STAGES, repository


class Checkpoint:
    """One file for each training: other parameters, data, code or versions have another file.

    So two trainings of a model never read each other's state, unless they are the same training. Under `dvc exp run
    --temp` the file lies in the repository, which outlives the temporary copy.
    """

    def __init__(self, model: str, fingerprint: str):
        """`fingerprint` identifies all that the weights depend on."""
        self.fingerprint = fingerprint
        self.path = repository() / CHECKPOINTS / f"{model}-{fingerprint}.npz"

    def save(self, arrays: list[np.ndarray], progress: dict[str, Any]) -> None:
        """Replace the state by these arrays and progress (JSON)."""
        named = {f"array_{i}": array for i, array in enumerate(arrays)}

        def write(draft: Path) -> None:
            np.savez(draft, allow_pickle=False, progress=np.array(json.dumps(progress)), **named)

        write_atomic(self.path, write)

    def load(self) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """The arrays and progress saved last; None if there are none, or if the file is damaged."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = [content[f"array_{i}"] for i in range(len(content.files) - 1)]
                return arrays, json.loads(str(content["progress"]))
        except FileNotFoundError:
            return None
        except Exception as error:  # NumPy's, of a damaged file: OSError, ValueError, TokenError, NotImplementedError
            print(f"{self.path} is damaged ({' '.join(str(error).split())[:100]}); training from the beginning")
            return None

    def remove(self) -> None:
        """Delete the state of a training that has ended."""
        self.path.unlink(missing_ok=True)


def fingerprint(inputs: dict[str, Any], files: Sequence[Path]) -> str:
    """The MD5 of `inputs` (JSON) and of `files`."""
    return md5_of(json.dumps([inputs, [md5(path) for path in files]], sort_keys=True).encode())


def watched(task: str) -> list[Path]:
    """The files that decide the weights: data and code that dvc.yaml lists as the inputs of `train`."""
    deps = parse_yaml(STAGES.read_text(encoding="utf-8"))["stages"]["train"]["do"]["deps"]
    return [Path(dep.replace("${item.task}", task)) for dep in deps if dep != str(CHECKED)]
