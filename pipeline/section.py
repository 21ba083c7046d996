"""The base of every section of params.yaml, and how a value that is not valid is refused."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import PipelineError, quoted, redact, shortened


class Section(BaseModel):
    """A mapping of params.yaml: its keys are these fields and no others, each of exactly its type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


def check(kind: type[AnySection], value: Any, path: Path, prefix: tuple[str, ...]) -> AnySection:
    """`value` as a section. Raises PipelineError with the file and the dotted key of the first thing that is wrong."""
    try:
        return kind.model_validate(value)
    except ValidationError as invalid:
        error = invalid.errors()[0]
    key = ".".join(_short(part) for part in (*prefix, *error["loc"])) or "the file"
    if error["type"] == "extra_forbidden":
        raise PipelineError(f"{path}: {key} is not a parameter; remove it, or fix its spelling.")
    if error["type"] == "missing":
        raise PipelineError(f"{path}: {key} is missing; add it.")
    reason = error["msg"].removeprefix("Value error, ")
    raise PipelineError(
        f"{path}: {key}: got {shortened(redact(repr(error['input'])))}; {reason[0].lower()}{reason[1:]}."
    )


def _short(part: str | int) -> str:
    """A part of a key, in quotes if it is longer than a line or breaks it."""
    text = str(part)
    return text if text.isprintable() and len(text) <= 60 else quoted(text)
