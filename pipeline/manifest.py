"""manifest.json: the SHA-256 of each file that a stage wrote, beside the files. What was damaged since is refused."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.files import files_below, load_json, require
from pipeline.formats import write_json
from pipeline.paths import MANIFEST, repro


def write(folder: Path, files: Iterable[Path]) -> None:
    """Write the manifest of files in a folder, or below it."""
    hashes = {path.relative_to(folder).as_posix(): _sha256(path) for path in sorted(files)}
    write_json(hashes, folder / MANIFEST)


def write_all(folder: Path) -> None:
    """Write the manifest of all files in a folder."""
    write(folder, (path for path in files_below(folder) if path != folder / MANIFEST))


def verify(folder: Path, stage: tuple[str, str], *files: str) -> None:
    """Check files of a folder, without `files` all that its manifest lists.

    Raises PipelineError if one is missing or not as it was written by `stage`, as ("train", "bits-lstm24").
    """
    for name in (*files, MANIFEST):
        require(folder / name, repro(*stage))
    again = repro(*stage, force=True)
    hashes: dict[str, str] = load_json(folder / MANIFEST, again, dict[str, str])
    for name in files or hashes:
        require(folder / name, again)
        if hashes.get(name) != _sha256(folder / name):
            raise PipelineError(f"{folder / name} was changed after it was written; run `{again}` to make it again.")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PipelineError(f"{path} could not be read ({error.strerror}); fix that.") from None
