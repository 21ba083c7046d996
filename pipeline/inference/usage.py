"""A log of predictions: a line of JSON for each, which `pipeline drift` compares with the test set.

A line holds no input unless that is asked for, but a hash of it as the model reads it: of a picture, of its pixels, not
of the name of its file; of a refused input, of what was given. Of short inputs, such as a few bits, a hash can be
turned back by trying all of them.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_type_hints

from pipeline.errors import PipelineError, quoted
from pipeline.files import fits, md5
from pipeline.inference.predict import Prediction, Predictor, Result

LARGEST = 1e15  # of a measure; a larger one was not logged here


@dataclass(frozen=True)
class Entry:
    """One prediction."""

    time: str  # UTC, ISO 8601
    model: str
    onnx: str  # MD5 of the file that predicted
    input: str  # as it was given, or sha256: and its hash
    label: str | None  # None if the input was refused
    probability: float | None  # 0 to 1; None if there is a count alone
    measures: dict[str, float | str]  # what `Inputs.measures` says of the encoded input


def logged(results: Iterable[Result], path: Path, predictor: Predictor, with_inputs: bool) -> Iterator[Result]:
    """The same results, each appended to a file as it passes. Raises PipelineError if the file can't be written."""
    name = quoted(str(path), 200)
    if path.exists() and not path.is_file():
        raise PipelineError(f"{name} is not a file; name a file for the log.")
    if path.exists() and path.stat().st_mode & 0o077:
        raise PipelineError(
            f"{name} can be opened by others; run `chmod 600 {shlex.quote(str(path))}`, or name another file."
        )
    onnx = md5(predictor.onnx)
    try:
        path.touch(0o600)  # inputs may be private
        with path.open("a", encoding="utf-8") as file:
            for result in results:
                file.write(json.dumps(asdict(_entry(result, predictor, onnx, with_inputs))) + "\n")
                file.flush()
                yield result
    except OSError as error:
        raise PipelineError(f"{name} could not be written ({error.strerror}); name another file.") from None


def _entry(result: Result, predictor: Predictor, onnx: str, with_inputs: bool) -> Entry:
    predicted = result if isinstance(result, Prediction) else None
    content = predicted.codes.tobytes() if predicted else result.input.encode("utf-8", "surrogateescape")
    text = result.input.encode(errors="replace").decode()  # JSON has no bytes that are not UTF-8
    return Entry(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        model=predictor.name,
        onnx=onnx,
        input=text if with_inputs else f"sha256:{hashlib.sha256(content).hexdigest()}",
        label=predicted.label if predicted else None,
        probability=predicted.probability if predicted else None,
        measures=predictor.measures(predicted.codes[0]) if predicted else {},
    )


def read(path: Path) -> list[Entry]:
    """The entries of a log. Raises PipelineError for a line that is none."""
    name, entries = quoted(str(path), 200), []
    if not path.is_file():
        raise PipelineError(f"{name} is not a file; write one with `pipeline predict MODEL INPUT --log FILE`.")
    kinds = get_type_hints(Entry)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                content = json.loads(line)
                entry = Entry(**{key: content[key] for key in kinds}) if fits(content, kinds) else None
                if entry is None or not _in_range(entry):
                    raise PipelineError(f"line {number} of {name} is no logged prediction; remove it.")
                entries.append(entry)
    except (ValueError, RecursionError, OSError) as error:
        raise PipelineError(f"{name} is no log of predictions (line {len(entries) + 1}: {error}); remove it.") from None
    return entries


def _in_range(entry: Entry) -> bool:
    """Whether the numbers of an entry are some that a prediction has; NaN is none."""
    numbers = [value for value in entry.measures.values() if not isinstance(value, str)]
    return all(abs(each) <= LARGEST for each in numbers) and 0 <= (entry.probability or 0) <= 1.00001  # rounding
