"""Read and write files: written whole or not at all; a file that is missing or damaged becomes a PipelineError."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError, quoted

if TYPE_CHECKING:
    import pandas as pd


def require(path: Path, command: str) -> None:
    """Raise PipelineError unless `path` exists; `command` is the one that makes it."""
    if not path.exists():
        raise PipelineError(f"{path} does not exist; run `{command}` to make it.")


def md5(path: Path) -> str:
    """The MD5 of a file, in hexadecimal: DVC's name for its contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def md5_of(content: bytes) -> str:
    """The MD5 of bytes that are not in a file."""
    return hashlib.md5(content).hexdigest()


def parse_yaml(text: bytes | str) -> Any:
    """Parse YAML 1.2, as DVC does. PyYAML reads YAML 1.1, where 1e-3 is a string.

    Raises ruamel.yaml.error.YAMLError.
    """
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def load_json(path: Path, command: str) -> Any:
    """Read JSON. Raises PipelineError if the file is missing or damaged; `command` makes it again."""
    require(path, command)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        raise PipelineError(f"{path} is damaged ({error}); run `{command}` to make it again.") from None


def load_parquet(path: Path, command: str) -> "pd.DataFrame":
    """Read a table. Raises PipelineError if the file is missing or damaged; `command` makes it again."""
    import pandas as pd

    require(path, command)
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:  # the base classes of pyarrow's errors
        reason = " ".join(str(error).split())[:100]
        raise PipelineError(f"{path} is damaged ({reason}); run `{command}` to make it again.") from None


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    Raises PipelineError if the operating system refuses, and leaves what was there before.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            draft = Path(folder) / (path.name or "draft")
            write(draft)
            draft.replace(path)
    except OSError as error:
        raise PipelineError(
            f"{quoted(str(path))} could not be written ({error.strerror or error}); free some space, fix the "
            "permissions, or choose another path."
        ) from None


def write_json(content: Any, path: Path) -> None:
    """Write JSON, indented, with a newline at the end."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV, floats with nine significant digits."""
    write_atomic(path, lambda draft: table.to_csv(draft, index=False, float_format="%.9g", lineterminator="\n"))


def write_parquet(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as Parquet."""
    write_atomic(path, lambda draft: table.to_parquet(draft, index=False, compression="zstd"))
