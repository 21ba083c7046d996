"""Read and write files: written whole or not at all; a file that is missing or damaged becomes a PipelineError."""

import builtins
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pipeline.errors import PipelineError, quoted, shortened

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 200_000  # values of a YAML document
DEEPEST = 100  # levels of a YAML document
DRAFT = ".writing-"  # the name of a folder that holds a draft begins with it


def require(path: Path, command: str) -> None:
    """Raise PipelineError unless `path` exists; `command` is the one that makes it."""
    if not path.exists():
        raise PipelineError(f"{path} does not exist; run `{command}` to make it.")
    if not (path.is_file() or path.is_dir()):  # which would block, or never end
        raise PipelineError(f"{path} is a device or a pipe; remove it, and run `{command}` to make the file.")


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and below it, sorted, but those of drafts that a killed process left."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not any(part.startswith(DRAFT) for part in path.relative_to(folder).parts))


def md5(path: Path) -> str:
    """The MD5 of a file, in hexadecimal: DVC's name for its contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def md5_of(content: bytes) -> str:
    """The MD5 of bytes that are not in a file."""
    return hashlib.md5(content).hexdigest()


def parse_yaml(text: bytes | str) -> Any:
    """Parse YAML 1.2, as DVC does. PyYAML reads YAML 1.1, where 1e-3 is a string.

    Raises ValueError if it is not valid, nested too deeply, or would grow too much by its aliases.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an anchor that is used twice, in several lines
            try:
                content = YAML(typ="safe", pure=_may_be_deep(text)).load(text)
            except YAMLError:  # C's parser refuses an anchor that is used twice, and has other reasons
                content = YAML(typ="safe", pure=True).load(text)
        if _size(content) > LARGEST:
            raise ValueError(f"more than {LARGEST:,} values, aliases counted each time")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (YAMLError, ValueError, KeyError, AttributeError, TypeError) as error:  # of tags that do not fit their value
        raise ValueError(" ".join(str(error).split())) from None
    return content


def _may_be_deep(text: bytes | str) -> bool:
    """Whether YAML may be nested so deeply that the parser in C, four times as fast, crashes: from 10,000 levels on.

    Each level takes a bracket, or a character of one line.
    """
    text = text if isinstance(text, bytes) else text.encode()
    return text.count(b"[") + text.count(b"{") + max(map(len, text.splitlines()), default=0) > 5_000


def _size(content: Any, known: dict[int, int] | None = None, depth: int = 0) -> int:
    """How many values a YAML document has; one that several aliases share is counted for each, but visited once."""
    known = {} if known is None else known
    if depth > DEEPEST:
        raise RecursionError
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in known:
        known[id(content)] = 1  # an alias inside its own value
        values = [*content.keys(), *content.values()] if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_size(value, known, depth + 1) for value in values)
    return known[id(content)]


def load_json(path: Path, command: str, kind: Any = Any) -> Any:
    """Read JSON of a type such as dict[str, int]; see `fits`.

    Raises PipelineError if the file is missing or damaged; `command` makes it again.
    """
    require(path, command)
    try:
        if not path.is_file():  # a folder, or a pipe, which would block
            raise ValueError("it is not a file")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not fits(content, kind):
            raise ValueError("a value has another type")
    except (ValueError, OSError, RecursionError) as error:  # not JSON, not UTF-8
        raise damaged(path, command, str(error)) from None
    return content


def fits(content: Any, kind: Any) -> bool:
    """Whether what JSON holds has a type. A tuple is a list of so many values; a float is any number.

    {"name": kind, ...} is the type of an object that has these names, and maybe others.

    pydantic does the same, and takes a tenth of the time of a prediction to prepare for a DatasetInfo.
    """
    of = get_args(kind)
    match get_origin(kind) or kind:
        case types.UnionType:
            good = any(fits(content, each) for each in of)
        case dict() as kinds:
            good = isinstance(content, dict) and all(key in content and fits(content[key], kinds[key]) for key in kinds)
        case builtins.list:
            good = isinstance(content, list) and all(fits(value, of[0]) for value in content)
        case builtins.tuple:
            good = isinstance(content, list) and len(content) == len(of) and all(map(fits, content, of))
        case builtins.dict:
            good = isinstance(content, dict) and all(fits(k, of[0]) and fits(v, of[1]) for k, v in content.items())
        case builtins.float:
            good = isinstance(content, float) or fits(content, int)
        case builtins.int:
            good = type(content) is int and abs(content) < 2**63
        case builtins.str:
            good = isinstance(content, str) and not re.search("[\ud800-\udfff]", content)  # which no file can hold
        case _:
            good = kind is Any or type(content) is kind
    return good


def load_csv(path: Path, command: str, columns: Collection[str], texts: Collection[str] = ()) -> "pd.DataFrame":
    """Read a table with these columns, and maybe others: some may be texts, all others are numbers.

    Raises PipelineError if the file is missing or damaged; `command` makes it again.
    """
    import pandas as pd

    require(path, command)
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=[""])
    except (ValueError, OSError, RecursionError) as error:  # pandas derives its own from ValueError
        raise damaged(path, command, shortened(str(error), 100)) from None
    if missing := {*columns, *texts} - {*table}:
        raise damaged(path, command, f"it has no column {min(missing)}")
    table[[*texts]] = table[[*texts]].fillna("")
    if wrong := {*table} - {*texts} - {*table.select_dtypes("number")}:
        raise damaged(path, command, f"{shortened(str(min(wrong)), 60)} is not a column of numbers")
    return table


def damaged(path: Path, command: str, reason: str = "") -> PipelineError:
    """The error of a file that is not what was written; `command` makes it again."""
    return PipelineError(f"{path} is damaged{reason and f' ({reason})'}; run `{command}` to make it again.")


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A place beside `path` to write a file or folder to, which becomes `path` at the end of the `with`.

    A link is replaced, and what it leads to stays. Raises PipelineError if `path` is a device or a pipe, if a link
    leads out of the working folder, or if the operating system refuses, and leaves what was there before.
    """
    try:
        for place in (path, *path.parents):
            if place.is_symlink() and not place.resolve().is_relative_to(Path.cwd()) and _is_ours(path):
                raise PipelineError(f"{quoted(str(place), 200)} is a link that leads out of this folder; remove it.")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise PipelineError(f"{quoted(str(path), 200)} is a device or a pipe; name a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f"{DRAFT}{os.getpid()}-", ignore_cleanup_errors=True
        ) as folder:
            yield (written := Path(folder) / (path.name or "draft"))
            if written.is_dir() and path.is_symlink():
                path.unlink()
            if written.is_dir() and path.is_dir():  # which a folder cannot replace
                path.rename(old := Path(folder) / f"{DRAFT}old")
                try:
                    written.replace(path)
                except OSError:
                    old.rename(path)
                    raise
            else:
                written.replace(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: what h5py raises where a disk is full, and a loop of links
        reason = error.strerror if isinstance(error, OSError) and error.strerror else shortened(str(error), 200)
        raise PipelineError(
            f"{quoted(str(path), 200)} could not be written ({reason}); free some space, fix the permissions, or "
            "choose another path."
        ) from None


def _is_ours(path: Path) -> bool:
    """Whether a path, as it is written, is one of the working folder."""
    return Path(os.path.abspath(path)).is_relative_to(Path.cwd())  # noqa: PTH100  # resolve() would follow links


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file, whole or not at all. Raises what `draft` raises."""
    with draft(path) as written:
        write(written)


def _sweep(folder: Path) -> None:
    """Remove the drafts of killed processes, if older than an hour: other machines may write here, too."""
    for old in folder.glob(f"{DRAFT}*"):
        with suppress(FileNotFoundError):  # another process has just ended its own
            ours = re.fullmatch(rf"{re.escape(DRAFT)}(\d+)-\w+", old.name)
            if ours and old.is_dir() and time.time() - old.stat().st_mtime > 3600 and not is_running(int(ours[1])):
                shutil.rmtree(old, ignore_errors=True)


def is_running(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file."""
    write_atomic(path, lambda draft: draft.write_bytes(content))
