"""Stages that run on another machine: what they read, and what they wrote, checked and put into DVC's cache.

From then on, DVC knows such a run as if it had happened here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, quoted
from pipeline.files import files_below, md5, md5_of, parse_yaml, write_bytes
from pipeline.lineage import dvc
from pipeline.paths import DATA, LOCK, MODELS, PARAMS

COMMAND = re.compile(r"python -m pipeline [a-z]+( [\w-]+)?")  # of a stage
RUN = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}/[0-9a-f]{64}")  # the path of an entry in DVC's run cache


@dataclass(frozen=True)
class Inputs:
    """The outputs of stages that other stages read."""

    files: dict[str, str]  # the hash of each file or folder, by its path
    objects: dict[str, bytes]  # the content of each hash; of a folder, the list of its files


def outputs_of(addresses: Iterable[str]) -> Inputs:
    """The outputs of these stages in the workspace. Raises PipelineError unless they are those of dvc.lock."""
    entries, wanted = dvc.lock_entries(), list(addresses)
    files: dict[str, str] = {}
    for address in wanted:
        files |= dvc.hashes(entries.get(address, {}), "outs")
    changed = [path for path, hash_name in files.items() if dvc.hash_of(Path(path)) != hash_name]
    if changed or not all(address in entries for address in wanted) or dvc.changed_stages(addresses=wanted):
        raise PipelineError(
            f"the data are not those of {LOCK} and {PARAMS}; run `dvc repro {wanted[-1]}`, then try again."
        )
    objects: dict[str, bytes] = {}
    for path, hash_name in files.items():
        if hash_name.endswith(".dir"):
            objects |= {md5(file): file.read_bytes() for file in files_below(Path(path))}
            objects[hash_name] = dvc.listing(Path(path))
        else:
            objects[hash_name] = Path(path).read_bytes()
    return Inputs(files, objects)


def add(objects: Mapping[str, bytes], runs: Mapping[str, bytes]) -> None:
    """Put files, by their hashes, and entries of the run cache into DVC's cache.

    Raises PipelineError, and adds nothing, if one is not what its name says.
    """
    for hash_name, content in objects.items():
        if not dvc.MD5.fullmatch(hash_name) or md5_of(content) != hash_name.removesuffix(".dir"):
            raise PipelineError(f"a file came damaged: its hash is not {quoted(hash_name)}; run the trial again.")
    for path, content in runs.items():
        if not RUN.fullmatch(path):
            raise PipelineError(f"{quoted(path)} is not the path of an entry of DVC's run cache; run the trial again.")
        _check_entry(content)
    cache = dvc.Cache()
    for hash_name, content in objects.items():
        _write(cache.path(hash_name), content)
    for path, content in runs.items():
        _write(cache.runs / path, content)


def require_own(entry: dict[str, Any]) -> None:
    """Raise PipelineError unless an entry of another machine runs a stage, and writes data or models alone.

    One that is damaged raises one of dvc.INVALID.
    """
    dvc.check(entry)
    command, outs = str(entry["cmd"]), dvc.hashes(entry, "outs")
    if not COMMAND.fullmatch(command):
        raise PipelineError(f"an entry that came has the command {quoted(command)}; it is not taken.")
    for path, hash_name in outs.items():
        if not any(Path(path).is_relative_to(each) for each in (DATA, MODELS)):
            raise PipelineError(f"an entry that came writes {quoted(path)}, as no stage does; it is not taken.")
        if not dvc.MD5.fullmatch(hash_name):
            raise ValueError(f"{quoted(hash_name)} is no hash")
    for path in [*dvc.hashes(entry, "deps"), *outs]:
        dvc.inside(Path(), path)


def _check_entry(content: bytes) -> None:
    """Raise PipelineError if an entry of the run cache is damaged, or none of a stage."""
    try:
        require_own(parse_yaml(content))
    except dvc.INVALID:
        raise PipelineError("an entry of the run cache came damaged; run the trial again.") from None


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    write_bytes(content, path)
    path.chmod(0o444)  # as DVC protects its cache
