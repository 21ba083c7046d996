"""The base of every section of params.yaml."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of params.yaml: its keys are these fields and no others, each of exactly its type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
