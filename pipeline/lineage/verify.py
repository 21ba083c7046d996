"""Whether the files of the project are, to the byte, those that dvc.lock names."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from pipeline.lineage import dvc, git
from pipeline.paths import LOCK


def problems(names: Collection[str]) -> Iterator[str]:
    """A sentence for each file or folder of these tasks and models that is missing here or was changed.

    DVC keeps the entries of tasks and models that params.yaml no longer has.
    """
    cache = dvc.Cache()
    for address, entry in dvc.lock_entries().items():
        if "@" in address and address.rpartition("@")[2] not in names:
            continue
        for path, was in dvc.hashes(entry, "outs").items():
            if dvc.hash_of(Path(path)) != was:
                state = "was changed" if Path(path).exists() else "is missing"
                yield f"{path} {state} since {LOCK} was written; {_advice(address, path, cache.damaged(was))}."


def _advice(address: str, path: str, damaged: list[Path]) -> str:
    if damaged:
        names = " ".join(os.path.relpath(file) for file in damaged)
        return f"its copy in the cache is damaged: run `rm -f {names}`, then `dvc repro --force {address}`"
    if git.is_tracked(path):
        return f"run `git checkout {path}`, or `dvc repro {address}` if git has another version"
    return f"run `rm -rf {path} && dvc checkout {path}`, or `dvc repro {address}` where the cache does not have it"
