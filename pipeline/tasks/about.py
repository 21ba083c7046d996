"""The base of every task's about.py: where its data come from, for the card of the dataset."""

from dataclasses import dataclass

from pipeline.dataset import DatasetInfo


@dataclass(frozen=True)
class Origin:
    """Where a dataset comes from. What is empty is not known."""

    description: str
    licence: str = ""  # its SPDX identifier, or a sentence
    source: str = ""  # an address
    citation: str = ""
    limits: tuple[str, ...] = ()  # sentences


class About:
    """Where the data of a task come from."""

    def origin(self, info: DatasetInfo) -> Origin:
        """The origin of a dataset of the task."""
        return Origin(f"Examples of the task {info.task}: {info.encoding}.")
